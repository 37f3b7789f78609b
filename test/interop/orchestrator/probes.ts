/** What a probe's request is sent to. */
export interface ProbeTarget {
  processId: string;
  token: string;
}

/** One request, asked of the real Orchestrator and of the sandbox. */
export interface Probe {
  name: string;
  /** In what the process is, and the engine. Default: `awaiting`. */
  state?: "awaiting" | "acting" | "completed" | "aborted" | "failed" | "locked";
  method?: string;
  path: (target: ProbeTarget) => string;
  headers?: Record<string, string>;
  body?: string | Buffer;
}

const json = { "content-type": "application/json" };
const good = '{"return_code":0}';
const unknownId = "00000000-0000-4000-8000-000000000000";

const callback = ({ processId, token }: ProbeTarget): string =>
  `/api/processes/${processId}/callback/${token}`;
const progress = (target: ProbeTarget): string => `${callback(target)}/progress`;

type Body = [name: string, body: string | Buffer | undefined, headers?: Record<string, string>];

const bodies: readonly Body[] = [
  ["an object", good, json],
  ["an object with a charset", good, { "content-type": "application/json; charset=utf-8" }],
  ["a vendor's JSON", good, { "content-type": "application/vnd.x+json" }],
  ["an empty object", "{}", json],
  ["an array", "[1]", json],
  ["a string", '"half"', json],
  ["an empty string", '""', json],
  ["a number", "5", json],
  ["a boolean", "true", json],
  ["null", "null", json],
  ["nothing", undefined],
  ["nothing, as JSON", undefined, json],
  ["an object as text", good, { "content-type": "text/plain" }],
  ["text", "half way", { "content-type": "text/plain" }],
  ["an object without a type", good, {}],
  ["a form", "a=1", { "content-type": "application/x-www-form-urlencoded" }],
  ["bytes that are no UTF-8, without a type", Buffer.from([0xff, 0xfe]), {}],
  ["bytes that are no UTF-8, as JSON", Buffer.from([0x22, 0xff, 0x22]), json],
  ...[
    "{",
    '{"a":}',
    "{'a':1}",
    '{"a":1}x',
    '{"a":01}',
    '{"a" 1}',
    '{"é😀":1,}',
    "[1",
    '"a',
    '"\\x"',
    "nul",
  ].map((text): Body => [`broken JSON: ${text}`, text, json]),
  ["compressed", good, { ...json, "content-encoding": "gzip" }],
  ["NaN", '{"return_code":0,"x":NaN}', json],
  ["infinities", '{"return_code":0,"x":[Infinity,-Infinity]}', json],
  ["U+0000", '{"return_code":0,"x":"\\u0000"}', json],
  ["half a surrogate pair", '{"return_code":0,"x":"\\ud800"}', json],
  ["an integer of 64 bits", '{"return_code":0,"x":9223372036854775807}', json],
  ["an integer of 64 bits, unsigned", '{"return_code":0,"x":18446744073709551615}', json],
  ["an integer of 65 bits", '{"return_code":0,"x":18446744073709551616}', json],
  ["a negative integer beyond 64 bits", '{"return_code":0,"x":-9223372036854775809}', json],
  ["200 levels", `{"return_code":0,"deep":${"[".repeat(199)}${"]".repeat(199)}}`, json],
  ["its own keys", '{"return_code":0,"process_id":"x","__remove_keys":["y"]}', json],
  ["a byte order mark", '\ufeff{"return_code":0}', json],
];

function withBody([name, body, headers = {}]: Body): Pick<Probe, "name" | "headers"> & {
  body?: string | Buffer;
} {
  return { name, headers, ...(body === undefined ? {} : { body }) };
}

export const probes: readonly Probe[] = [
  ...bodies.map((body) => ({ ...withBody(body), name: `result: ${body[0]}`, path: callback })),
  ...bodies.map((body) => ({ ...withBody(body), name: `progress: ${body[0]}`, path: progress })),
  ...["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].map((method) => ({
    name: `method ${method}`,
    method,
    path: callback,
  })),
  ...(
    [
      ["a slash behind", (target) => `${callback(target)}/`],
      ["two slashes ahead", (target) => `/${callback(target)}`],
      ["a query", (target) => `${callback(target)}?x=1`],
      ["a slash behind, and a query", (target) => `${callback(target)}/?x=1`],
      ["an encoded token", ({ processId, token }) => callback({ processId, token: encodeAll(token) })],
      [
        "an upper-case UUID",
        ({ processId, token }) => callback({ processId: processId.toUpperCase(), token }),
      ],
      [
        "a UUID without hyphens",
        ({ processId, token }) => callback({ processId: processId.replaceAll("-", ""), token }),
      ],
      ["a UUID in braces", ({ processId, token }) => callback({ processId: `{${processId}}`, token })],
      ["a UUID as URN", ({ processId, token }) => callback({ processId: `urn:uuid:${processId}`, token })],
      ["no UUID", ({ token }) => callback({ processId: "no-uuid", token })],
      ["no UUID: too short", ({ token }) => callback({ processId: "0", token })],
      ["no UUID: two groups", ({ token }) => callback({ processId: "0-0", token })],
      ["no UUID: a short group", ({ token }) => callback({ processId: unknownId.slice(1), token })],
      ["no UUID: a long last group", ({ token }) => callback({ processId: `${unknownId}0`, token })],
      ["no UUID: a letter behind é", ({ token }) => callback({ processId: "%C3%A9", token })],
      ["no UUID: in braces", ({ token }) => callback({ processId: "{0x}", token })],
      ["an unknown process", ({ token }) => callback({ processId: unknownId, token })],
      ["a wrong token", ({ processId }) => callback({ processId, token: "x".repeat(43) })],
      ["no token", ({ processId }) => `/api/processes/${processId}/callback/`],
      ["another path", () => "/api/nothing"],
      ["the root", () => "/"],
    ] satisfies [string, (target: ProbeTarget) => string][]
  ).map(([name, path]) => ({ name: `path: ${name}`, path, headers: json, body: good })),
  {
    name: "no UUID and no object",
    path: ({ token }) => callback({ processId: "x", token }),
    headers: json,
    body: "[]",
  },
  ...(["acting", "completed", "aborted", "failed"] as const).flatMap((state) => [
    { name: `${state}: result`, state, path: callback, headers: json, body: good },
    { name: `${state}: progress`, state, path: progress, headers: json, body: good },
    {
      name: `${state}: wrong token`,
      state,
      path: ({ processId }: ProbeTarget) => callback({ processId, token: "x".repeat(43) }),
      headers: json,
      body: good,
    },
  ]),
  ...(
    [
      ["result", callback, good],
      ["progress", progress, good],
      ["no UUID", ({ token }) => callback({ processId: "x", token }), good],
      ["no object", callback, "[]"],
      ["broken JSON", callback, "{"],
      ["an unknown process", ({ token }) => callback({ processId: unknownId, token }), good],
      ["another path", () => "/api/nothing", good],
    ] satisfies [string, (target: ProbeTarget) => string, string][]
  ).map(([name, path, body]) => ({
    name: `locked: ${name}`,
    state: "locked" as const,
    path,
    headers: json,
    body,
  })),
  ...(["completed", "aborted", "awaiting", "acting"] as const).flatMap((state) => [
    {
      name: `resume when ${state}`,
      state,
      method: "PUT",
      path: ({ processId }: ProbeTarget) => `/api/processes/${processId}/resume`,
      headers: json,
      body: "[{}]",
    },
    {
      name: `abort when ${state}`,
      state,
      method: "PUT",
      path: ({ processId }: ProbeTarget) => `/api/processes/${processId}/abort`,
    },
  ]),
  {
    name: "resume when failed",
    state: "failed",
    method: "PUT",
    path: ({ processId }) => `/api/processes/${processId}/resume`,
    headers: json,
    body: "[{}]",
  },
  {
    name: "resume when locked",
    state: "locked",
    method: "PUT",
    path: ({ processId }) => `/api/processes/${processId}/resume`,
    headers: json,
    body: "[{}]",
  },
  {
    name: "abort when locked",
    state: "locked",
    method: "PUT",
    path: ({ processId }) => `/api/processes/${processId}/abort`,
  },
  { name: "the root", method: "GET", path: () => "/" },
  { name: "show an unknown process", method: "GET", path: () => `/api/processes/${unknownId}` },
  { name: "lock: no boolean", method: "PUT", path: () => "/api/settings/status", headers: json, body: "{}" },
];

function encodeAll(text: string): string {
  return Array.from(text, (letter) => `%${letter.charCodeAt(0).toString(16)}`).join("");
}
