import { scanJson } from "../model/json-scan.ts";

// A key that stands without `?` must be shorter than this in YAML 1.1.
const maxImplicitKeyLength = 1000;

/**
 * Writes JSON text as YAML that a YAML 1.1 reader understands as the same value.
 *
 * JSON is almost YAML. What differs is rewritten: every string is quoted and in
 * printable ASCII, because Aidbox reads unquoted scalars by the types of YAML 1.1
 * (a date becomes a time stamp, FACT) and because YAML knows neither the escape
 * `\/` nor surrogate pairs; numbers with an exponent get the point and the sign
 * without which YAML 1.1 takes them for text; long keys get a `?`.
 */
export function yamlFromJsonText(json: string): string {
  const out: string[] = [];
  let key = -1;
  scanJson(json, {
    string(start, end) {
      key = out.length;
      out.push(quoteYaml(json.slice(start, end)));
    },
    number(start, end) {
      out.push(yamlNumber(json.slice(start, end)));
    },
    other(start, end) {
      const token = json.slice(start, end);
      if (token === ":") {
        const text = out[key] ?? "";
        out[key] = text.length > maxImplicitKeyLength ? `? ${text} ` : text;
        out.push(": ");
      } else {
        out.push(token === "," ? ", " : token);
      }
    },
  });
  return out.join("");
}

const plainJsonString = /^"[\x20-\x21\x23-\x5b\x5d-\x7e]*"$/;

function quoteYaml(token: string): string {
  if (plainJsonString.test(token)) {
    return token;
  }
  const text: string = JSON.parse(token);
  return `"${text.replace(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/gu, escapeYaml)}"`;
}

const shortEscapes = new Map([
  ['"', '\\"'],
  ["\\", "\\\\"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

function escapeYaml(char: string): string {
  const short = shortEscapes.get(char);
  if (short !== undefined) {
    return short;
  }
  const hex = (char.codePointAt(0) ?? 0).toString(16);
  if (hex.length <= 2) {
    return `\\x${hex.padStart(2, "0")}`;
  }
  return hex.length <= 4 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

function yamlNumber(token: string): string {
  const parts = /^(-?\d+)(\.\d+)?[eE]([+-]?)(\d+)$/.exec(token);
  if (parts === null) {
    return token;
  }
  const [, integer, fraction = ".0", sign, exponent] = parts;
  return `${integer}${fraction}e${sign || "+"}${exponent}`;
}
