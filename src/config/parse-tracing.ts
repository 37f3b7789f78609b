import type { Config } from "./config.ts";
import type { SettingReader } from "./setting-reader.ts";
import { envOf, type settings } from "./settings.ts";

/** Reads where traces are sent; undefined: nowhere. */
export function parseTracing(read: SettingReader<typeof settings>, problems: string[]): Config["tracing"] {
  const endpoint = read.url("otlpEndpoint");
  const headers = read.secret("otlpHeaders", parseHeaders, "name=value, with commas between");
  const resource = parsePairs(read.text("otelResourceAttributes"));
  const ratio = read.text("traceSampleRatio") ?? "";
  const sampleRatio = /^(0|1|0?\.\d+|[01]\.\d+)$/.test(ratio) ? Number(ratio) : Number.NaN;
  if (resource === undefined) {
    problems.push(`${read.where("otelResourceAttributes")} must be name=value, with commas between`);
  }
  if (!(sampleRatio >= 0 && sampleRatio <= 1)) {
    problems.push(`${read.where("traceSampleRatio")} must be a number from 0 to 1`);
  }
  if (endpoint === undefined) {
    if (read.isGiven("otlpHeaders")) {
      problems.push(`${read.where("otlpHeaders")} needs ${envOf("otlpEndpoint")}`);
    }
    return undefined;
  }
  return {
    endpoint: endpoint.href.replace(/\/+$/, ""),
    headers,
    sampleRatio,
    resource: resource ?? {},
  };
}

function parseHeaders(text: string): Record<string, string> | undefined {
  const headers = parsePairs(text);
  return headers !== undefined && Object.values(headers).every((value) => /^[\x20-\x7e]*$/.test(value))
    ? headers
    : undefined;
}

// As OpenTelemetry writes them: values percent-encoded. Undefined: they are something else.
function parsePairs(text: string | undefined): Record<string, string> | undefined {
  const pairs: [string, string][] = [];
  for (const item of (text ?? "").split(",").filter((part) => part.trim() !== "")) {
    const [, name, value] = /^\s*([\w.!#$%&'*+^`|~-]+)\s*=\s*(.*?)\s*$/.exec(item) ?? [];
    if (name === undefined || value === undefined || !isEncoded(value)) {
      return undefined;
    }
    pairs.push([name, decodeURIComponent(value)]);
  }
  return Object.fromEntries(pairs);
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
