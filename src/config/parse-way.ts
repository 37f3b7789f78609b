import type { UpstreamProxy, UpstreamWay } from "../model/upstream-way.ts";
import { nonEmpty, type SettingReader } from "./setting-reader.ts";
import { envOf, type settings } from "./settings.ts";
import { readCertificate } from "./tls-problems.ts";

type Reader = SettingReader<typeof settings>;

/** Reads how an upstream is reached. */
export function parseWay(
  read: Reader,
  upstream: "orchestra" | "orchestrator" | "aidbox",
  problems: string[],
): UpstreamWay {
  const file = read.file(`${upstream}Ca`);
  if (file !== undefined && readCertificate(file.text()) === undefined) {
    problems.push(`${file.name} holds no certificate in PEM`);
  }
  const isCa = (text: string) => (readCertificate(text) === undefined ? undefined : text);
  return { ca: file && { ...file, parse: isCa }, proxy: parseProxy(read, upstream, problems) };
}

function parseProxy(
  read: Reader,
  upstream: "orchestra" | "orchestrator" | "aidbox",
  problems: string[],
): UpstreamProxy | undefined {
  const url = read.url(`${upstream}Proxy`);
  const credentials = read.secret(
    `${upstream}ProxyCredentials`,
    (text) => (/^[^:\n]+:[^\n]+$/.test(text) ? text : undefined),
    "a user and a password with : between",
  );
  if (url === undefined) {
    if (credentials !== undefined) {
      problems.push(`${credentials.name} needs ${envOf(`${upstream}Proxy`)}`);
    }
    return undefined;
  }
  if (nonEmpty(url.pathname.replace("/", "")) !== undefined) {
    problems.push(`${read.where(`${upstream}Proxy`)} must be the URL of a proxy, without a path`);
  }
  return { origin: url.origin, credentials };
}
