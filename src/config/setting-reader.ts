import { type ListenAddress, parseListenAddress, type TcpAddress } from "../model/listen-address.ts";
import type { Secret } from "../model/secret.ts";
import { parseDurationMs } from "./duration.ts";
import { createGivenSettings, type Given, type SettingSources } from "./given-settings.ts";
import { envName, type NamesOf, type SettingTable } from "./setting.ts";
import { parseBytes } from "./size.ts";
import { parseToken, parseTokens, tokenForm, tokensForm } from "./tokens.ts";

/** Reads settings one by one; what is wrong with one is added to the problems, in a sentence. */
export type SettingReader<Table extends SettingTable> = ReturnType<typeof createSettingReader<Table>>;

/** Creates a reader of the settings in a table. Pure but for `readFile`. */
export function createSettingReader<Table extends SettingTable>(
  table: Table,
  sources: SettingSources<keyof Table & string>,
  problems: string[],
) {
  type Name = keyof Table & string;
  const given = createGivenSettings(table, sources, problems);

  function parsed<Value>(
    name: Name,
    parse: (given: Given) => Value | undefined,
    form: string,
  ): Value | undefined {
    const value = given.find(name);
    const result = value === undefined ? undefined : parse(value);
    if (value !== undefined && result === undefined) {
      problems.push(`${value.where} must be ${form}`);
    }
    return result;
  }
  function secret<Value>(
    name: NamesOf<Table, "secret">,
    parse: (text: string) => Value | undefined,
    form: string,
  ): Secret<Value> | undefined {
    const value = given.find(name);
    if (value === undefined || (value.text === "" && value.path === undefined)) {
      return undefined;
    }
    const { text, where, path } = value;
    if (text === "" || parse(text) === undefined) {
      problems.push(text === "" ? `${where} names an empty file` : `${where} must be ${form}`);
      return undefined;
    }
    return { name: where, text: () => text, path, parse };
  }
  return {
    /** A secret, and what it must be, now and later. */
    secret,
    /** The spelling that gave a setting, with its place, or else its variable: how a sentence about it begins. */
    where: (name: Name): string => given.find(name)?.where ?? envName(name, table[name] as Table[Name]),
    isGiven: (name: Name): boolean => nonEmpty(given.find(name)?.text) !== undefined,
    text: (name: NamesOf<Table, "text" | "path">) => nonEmpty(given.find(name)?.text),
    /** The content of the file that is named. */
    file(name: NamesOf<Table, "file">): Secret | undefined {
      const value = given.find(name);
      const text = value === undefined || value.text === "" ? undefined : given.read(value);
      return value === undefined || text === undefined
        ? undefined
        : { name: value.where, text: () => text, path: value.text, parse: (later) => later };
    },
    /** Bearer tokens: a file may hold several, one a line, and a variable holds one. */
    tokens(name: NamesOf<Table, "secret">): Secret<readonly string[]> | undefined {
      return given.find(name)?.path === undefined
        ? secret(name, (text) => (parseToken(text) === undefined ? undefined : [text]), tokenForm)
        : secret(name, parseTokens, tokensForm);
    },
    address: (name: NamesOf<Table, "address">): ListenAddress | undefined =>
      parsed(name, ({ text }) => parseListenAddress(text), "host:port or unix:PATH"),
    tcpAddress(name: NamesOf<Table, "tcpAddress">): TcpAddress | undefined {
      const address = parsed(
        name,
        ({ text }) => (text === "off" ? "off" : parseTcpAddress(text)),
        "host:port",
      );
      return address === "off" ? undefined : address;
    },
    durationMs: (name: NamesOf<Table, "duration">, minMs = 1): number =>
      parsed(
        name,
        ({ text }) => {
          const ms = parseDurationMs(text);
          return ms !== undefined && ms >= minMs && ms <= maxDurationMs ? ms : undefined;
        },
        "a duration such as 30s, 500ms or 2m, up to 576h",
      ) ?? 0,
    count: (name: NamesOf<Table, "count">): number =>
      parsed(
        name,
        ({ text }) => (/^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined),
        "a number from 1",
      ) ?? 0,
    bytes: (name: NamesOf<Table, "bytes">): number =>
      parsed(name, ({ text }) => parseBytes(text) || undefined, "a size such as 65536, 64KiB or 4MiB") ?? 0,
    choice: <Value>(name: NamesOf<Table, "text">, choices: ReadonlyMap<string, Value>): Value | undefined =>
      parsed(name, ({ text }) => choices.get(text), oneOf([...choices.keys()])),
    boolean: (name: NamesOf<Table, "boolean">): boolean =>
      parsed(name, ({ text }) => booleans.get(text.toLowerCase()), "true or false") ?? false,
    url: (name: NamesOf<Table, "url">): URL | undefined =>
      parsed(
        name,
        ({ text }) => parseBaseUrl(text),
        "an http or https URL without credentials, query or fragment",
      ),
    webhookUrl: (name: NamesOf<Table, "webhookUrl">): URL | undefined =>
      parsed(name, ({ text }) => parseHttpUrl(text), "an http or https URL without credentials or fragment"),
    urls: (name: NamesOf<Table, "urls">): readonly URL[] =>
      parsed(
        name,
        (value) => allDefined(itemsOf(value).map(parseBaseUrl)),
        "http or https URLs without credentials, query or fragment, with commas between",
      ) ?? [],
    list(name: NamesOf<Table, "list">): readonly string[] {
      const value = given.find(name);
      return value === undefined ? [] : itemsOf(value);
    },
  };
}

// What a timer of Node can hold.
const maxDurationMs = 24 * 86_400_000;

const booleans = new Map([
  ["true", true],
  ["1", true],
  ["false", false],
  ["0", false],
]);

function parseTcpAddress(text: string): TcpAddress | undefined {
  const address = parseListenAddress(text);
  return address?.kind === "tcp" ? address : undefined;
}

/** Reads an http or https URL without credentials or fragment. */
export function parseHttpUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain =
    (url?.protocol === "http:" || url?.protocol === "https:") &&
    url.username === "" &&
    url.password === "" &&
    url.hash === "";
  return isPlain ? url : undefined;
}

function parseBaseUrl(text: string): URL | undefined {
  const url = parseHttpUrl(text);
  return url?.search === "" ? url : undefined;
}

function allDefined<Value>(values: readonly (Value | undefined)[]): Value[] | undefined {
  const defined = values.filter((value) => value !== undefined);
  return defined.length === values.length ? defined : undefined;
}

function itemsOf({ text, items = text.split(",") }: Given): string[] {
  return items.map((item) => item.trim()).filter((item) => item !== "");
}

function oneOf(words: readonly string[]): string {
  return words.length < 3 ? words.join(" or ") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

/** Takes an empty text for none. */
export function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
