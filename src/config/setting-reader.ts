import { type ListenAddress, parseListenAddress, type TcpAddress } from "../model/listen-address.ts";
import { parseDurationMs } from "./duration.ts";
import { type Setting, settingEnv, settingFlag } from "./settings.ts";

/** Where settings come from. What is fixed wins over a flag, and a flag over a variable. */
export interface SettingSources<Name extends string> {
  /** Values that nobody may change. */
  fixed?: Partial<Record<Name, string>>;
  env: Readonly<Record<string, string | undefined>>;
  /** By flag name, without dashes. */
  flags: Readonly<Record<string, string | undefined>>;
  /** Reads a file as text; throws when it cannot. */
  readFile: (path: string) => string;
}

/** Reads settings one by one; what is wrong with one is added to the problems, in a sentence. */
export type SettingReader<Name extends string> = ReturnType<typeof createSettingReader<Name>>;

/** Creates a reader of the settings in a table. Pure but for `readFile`. */
export function createSettingReader<Name extends string>(
  table: Readonly<Record<Name, Setting>>,
  sources: SettingSources<Name>,
  problems: string[],
) {
  function value(name: Name): string | undefined {
    const fixed = sources.fixed?.[name];
    if (fixed !== undefined) {
      return fixed;
    }
    const setting = table[name];
    const env = settingEnv(name, setting);
    const flag = sources.flags[settingFlag(name, setting)];
    if (setting.isSecret !== true) {
      return flag ?? nonEmpty(sources.env[env]) ?? setting.default;
    }
    const path = flag ?? nonEmpty(sources.env[`${env}_FILE`]);
    return path === undefined ? nonEmpty(sources.env[env]) : file(`${env}_FILE`, path)?.trim();
  }
  function file(env: string, path: string): string | undefined {
    try {
      return sources.readFile(path);
    } catch (error) {
      problems.push(`${env} cannot be read: ${error instanceof Error ? error.message : "unknown error"}`);
      return undefined;
    }
  }
  function parsed<Value>(
    name: Name,
    parse: (text: string) => Value | undefined,
    form: string,
  ): Value | undefined {
    const text = value(name);
    const result = text === undefined ? undefined : parse(text);
    if (text !== undefined && result === undefined) {
      problems.push(`${settingEnv(name, table[name])} must be ${form}`);
    }
    return result;
  }
  return {
    value,
    file: (name: Name) => {
      const path = value(name);
      return path === undefined ? undefined : file(settingEnv(name, table[name]), path);
    },
    text: (name: Name) => nonEmpty(value(name)),
    // A header carries it, and must be able to.
    token: (name: Name): string | undefined =>
      parsed(
        name,
        (text) => (tokenPattern.test(text) ? text : undefined),
        "printable ASCII without spaces",
      ) || undefined,
    address: (name: Name): ListenAddress | undefined =>
      parsed(name, parseListenAddress, "host:port or unix:PATH"),
    tcpAddress: (name: Name): TcpAddress | undefined =>
      parsed(
        name,
        (text) => {
          const address = parseListenAddress(text);
          return address?.kind === "tcp" ? address : undefined;
        },
        "host:port",
      ),
    durationMs: (name: Name): number =>
      parsed(
        name,
        (text) => {
          const ms = parseDurationMs(text);
          return ms !== undefined && ms >= 1 && ms <= maxDurationMs ? ms : undefined;
        },
        "a duration such as 30s, 500ms or 2m, up to 576h",
      ) ?? 0,
    count: (name: Name): number =>
      parsed(name, (text) => (/^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined), "a number from 1") ??
      0,
    choice: <Value>(name: Name, choices: ReadonlyMap<string, Value>): Value | undefined =>
      parsed(name, (text) => choices.get(text), [...choices.keys()].join(" or ")),
    boolean: (name: Name): boolean =>
      parsed(name, (text) => booleans.get(text.toLowerCase()), "true or false") ?? false,
    url: (name: Name): URL | undefined =>
      parsed(name, parseBaseUrl, "an http or https URL without credentials, query or fragment"),
    webhookUrl: (name: Name): URL | undefined =>
      parsed(name, parseHttpUrl, "an http or https URL without credentials or fragment"),
    urls: (name: Name): readonly URL[] =>
      parsed(
        name,
        (text) => allDefined(splitList(text).map(parseBaseUrl)),
        "http or https URLs without credentials, query or fragment, with commas between",
      ) ?? [],
    texts: (name: Name): readonly string[] => splitList(value(name) ?? ""),
  };
}

/** What a header can carry as a token. */
export const tokenPattern = /^[\x21-\x7e]*$/;

// What a timer of Node can hold.
const maxDurationMs = 24 * 86_400_000;

const booleans = new Map([
  ["true", true],
  ["1", true],
  ["false", false],
  ["0", false],
]);

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

function splitList(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

/** Takes an empty text for none. */
export function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
