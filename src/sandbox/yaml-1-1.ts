import {
  isScalar,
  Lexer,
  type Pair,
  parseDocument,
  type Scalar,
  type ScalarTag,
  type Tags,
  visit,
} from "yaml";
import type { Json } from "./json.ts";

const deepestNesting = 200;
const longestImplicitKey = 1024;
const mostAliases = 50;

// What a YAML 1.1 stream may hold unescaped.
const unprintable = /[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;

/**
 * Reads one document of YAML 1.1, as strictly as the strictest of its common readers. Scalars that are not quoted
 * become what YAML 1.1 makes of them: dates are `Date`s, `yes` is true, `12:30` is 750. Throws an Error with a
 * message for what is not YAML 1.1 and for what `yaml` would let pass: unescaped control characters, the escape `\/`,
 * escaped surrogates (1.1 has no pairs), implicit keys over 1024 characters, tags without a meaning, `=` and `<<` as
 * values, more than one document.
 */
export function readYaml11(text: string): unknown {
  const found = unprintable.exec(text)?.[0];
  if (found !== undefined) {
    throw new Error(`special character ${JSON.stringify(found)} is not allowed`);
  }
  if (isNestedTooDeeply(text)) {
    throw new Error("nested too deeply");
  }
  const mustLookClosely = holdsSuspects(text);
  const document = parseDocument(text, {
    version: "1.1",
    keepSourceTokens: mustLookClosely,
    customTags: withoutSingleLetters,
    intAsBigInt: true,
    uniqueKeys: false,
    logLevel: "error",
  });
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) {
    throw new Error(problem.message);
  }
  if (mustLookClosely) {
    visit(document, {
      Scalar: (key, scalar) => refuseScalar(scalar, key === "key"),
      Pair: (_key, pair) => refuseLongKey(pair),
    });
  }
  return document.toJS({ maxAliasCount: mostAliases });
}

/** `y` and `n` are booleans to the letter of YAML 1.1, and strings to its common readers, SnakeYAML and PyYAML. */
function withoutSingleLetters(tags: Tags): Tags {
  return tags.map((tag) => {
    if (typeof tag === "string" || tag.tag !== "tag:yaml.org,2002:bool" || !("test" in tag)) {
      return tag;
    }
    const isTrue = tag.test?.test("yes");
    const test = isTrue
      ? /^(?:[Yy]es|YES|[Tt]rue|TRUE|[Oo]n|ON)$/
      : /^(?:[Nn]o|NO|[Ff]alse|FALSE|[Oo]ff|OFF)$/;
    return { ...tag, test } as ScalarTag;
  });
}

/** Whether a text holds anything that the parser lets pass and that must be looked at node by node. */
function holdsSuspects(text: string): boolean {
  return (
    text.length > longestImplicitKey ||
    /\\(?:\/|u[dD][89A-Fa-f]|U)/.test(text) ||
    /(?:^|[\s:,[{])(?:=|<<)/.test(text)
  );
}

function refuseScalar(scalar: Scalar, isKey: boolean): void {
  if (scalar.type === "PLAIN" && (scalar.source === "=" || (scalar.source === "<<" && !isKey))) {
    throw new Error(`could not determine a constructor for ${scalar.source}`);
  }
  const token = scalar.srcToken;
  if (scalar.type !== "QUOTE_DOUBLE" || token === undefined || !("source" in token)) {
    return;
  }
  for (const [sequence] of token.source.matchAll(/\\(?:u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[\s\S])/g)) {
    if (sequence === "\\/") {
      throw new Error("found unknown escape character /(47)");
    }
    const code = /^\\u/i.test(sequence) ? Number.parseInt(sequence.slice(2), 16) : 0;
    if (code >= 0xd800 && code <= 0xdfff) {
      throw new Error(`${sequence} is no character`);
    }
  }
}

function refuseLongKey({ key, srcToken }: Pair): void {
  const isExplicit = srcToken?.start.some(({ type }) => type === "explicit-key-ind");
  const range = isScalar(key) ? key.range : undefined;
  if (isExplicit || !range || range[1] - range[0] <= longestImplicitKey) {
    return;
  }
  throw new Error("could not find expected ':'");
}

/** Counted before parsing: the parser recurses, and has no limit. */
function isNestedTooDeeply(text: string): boolean {
  const openers = text.match(/[[{]/g)?.length ?? 0;
  if (openers <= deepestNesting) {
    return false;
  }
  let depth = 0;
  for (const token of new Lexer().lex(text)) {
    if (token === "[" || token === "{") {
      depth++;
    } else if (token === "]" || token === "}") {
      depth--;
    }
    if (depth > deepestNesting) {
      return true;
    }
  }
  return false;
}

/** A parsed YAML value as JSON. FACT: Aidbox turns a date into an instant, `2021-10-25T00:00:00Z`. */
export function jsonOfYaml(value: unknown): Json {
  if (value === null || value === undefined) {
    return null;
  }
  if (typeof value === "bigint") {
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }
  if (value instanceof Date) {
    return value.toISOString().replace(".000Z", "Z");
  }
  if (value instanceof Uint8Array) {
    return Buffer.from(value).toString("base64");
  }
  if (Array.isArray(value)) {
    return value.map(jsonOfYaml);
  }
  if (value instanceof Set) {
    return [...value].map(jsonOfYaml);
  }
  if (typeof value === "object") {
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    return Object.fromEntries(entries.map(([key, item]) => [String(key), jsonOfYaml(item)]));
  }
  return value as string | number | boolean;
}
