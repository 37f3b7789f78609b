import type { RecordedRequest } from "../support/recording-server.ts";

/** What two requests differ in, one line each; none: they are the same. */
export function compareRequests(sdk: RecordedRequest, taskgate: RecordedRequest): string[] {
  return [
    ...differ("method", sdk.method, taskgate.method),
    ...differ("path", sdk.path, taskgate.path),
    ...compareHeaders(sdk.headers, taskgate.headers),
    ...compareBodies(sdk.body, taskgate.body),
  ];
}

// Which port and how many bytes follows from elsewhere; the length is checked by
// the server that reads so many.
const ignoredHeaders = new Set(["host", "content-length"]);

function compareHeaders(sdk: Record<string, string>, taskgate: Record<string, string>): string[] {
  const names = new Set([...Object.keys(sdk), ...Object.keys(taskgate)]);
  return [...names]
    .filter((name) => !ignoredHeaders.has(name))
    .toSorted()
    .flatMap((name) => differ(`header ${name}`, sdk[name], taskgate[name]));
}

function compareBodies(sdkText: string, taskgateText: string): string[] {
  const sdk = parseEvent(sdkText);
  const taskgate = parseEvent(taskgateText);
  const names = new Set([...Object.keys(sdk), ...Object.keys(taskgate)]);
  return [
    ...[...names].flatMap((name) => differ(`body.${name}`, textOf(sdk[name]), textOf(taskgate[name]))),
    ...differ("order of the body's fields", commonKeys(sdk, taskgate), commonKeys(taskgate, sdk)),
  ];
}

function differ(what: string, sdk: string | undefined, taskgate: string | undefined): string[] {
  return sdk === taskgate ? [] : [`${what}: ${shown(sdk)} by the SDK, ${shown(taskgate)} by taskgate`];
}

function shown(text: string | undefined): string {
  return text ?? "none";
}

function textOf(value: unknown): string | undefined {
  return value === undefined ? undefined : JSON.stringify(value);
}

function commonKeys(object: Record<string, unknown>, other: Record<string, unknown>): string {
  return Object.keys(object)
    .filter((key) => key in other)
    .join(", ");
}

/** Reads a JSON object with its numbers as they are written. */
export function parseEvent(text: string): Record<string, unknown> {
  const keepNumbers = (_key: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === "number" ? { number: context?.source } : value;
  return JSON.parse(text, keepNumbers) as Record<string, unknown>;
}
