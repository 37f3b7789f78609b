import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Sandbox, startSandbox } from "../../src/sandbox/sandbox.ts";
import { control, post, type Sent, send, type ToSend } from "./http-client.ts";

const good = { return_code: 0, status: "successful" };
const json = { "content-type": "application/json" };

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterEach(async () => {
  await sandbox.orchestrator.reset();
});
afterAll(async () => {
  await sandbox.close();
});

const start = (plan = {}) => sandbox.orchestrator.processes.start(plan);
const view = (id: string) => sandbox.orchestrator.processes.get(id);
const url = (path: string) => sandbox.orchestrator.url + path;
const sendTo = (path: string, request: ToSend): Promise<Sent> => send(url(path), request);

const problem = (status: number, title: string, detail: string) => ({ detail, status, title });
const notAwaiting = problem(409, "Conflict", "This process is not in an awaiting state.");

test("a result is answered with null, as the Orchestrator does it, and the process goes on to its end", async () => {
  const { callback_route, process_id } = start();
  expect(callback_route).toMatch(/^\/api\/processes\/[0-9a-f-]{36}\/callback\/[A-Za-z0-9_-]{43}$/);
  const answer = await post(url(callback_route), good);
  expect(answer).toMatchObject({ status: 200, text: "null" });
  expect(answer.headers).toMatchObject({
    server: "uvicorn",
    "content-type": "application/json",
    "content-length": "4",
  });
  expect(answer.headers.date).toBeDefined();
  expect(view(process_id)).toMatchObject({
    status: "completed",
    callback_result: good,
    validations: 1,
    accepted_callbacks: 1,
    action_runs: 1,
  });
});

test.each([
  ["an object", '{"return_code":0}', json],
  ["an object with a charset", '{"return_code":0}', { "content-type": "application/json; charset=utf-8" }],
  ["an object as a vendor's JSON", '{"return_code":0}', { "content-type": "application/vnd.x+json" }],
  ["an object with a byte order mark", '\ufeff{"return_code":0}', json],
  ["NaN", '{"return_code":0,"x":NaN,"s":"NaN"}', json],
  ["keys of the Orchestrator's own", '{"return_code":0,"process_id":"x","__remove_keys":["y"]}', json],
  ["200 levels", `{"return_code":0,"deep":${"[".repeat(199)}${"]".repeat(199)}}`, json],
  ["an integer of 64 bits", '{"return_code":0,"n":9223372036854775807,"m":-9223372036854775808}', json],
  ["a pair of surrogates", '{"return_code":0,"s":"\\ud83d\\ude00"}', json],
])("%s is a result", async (_what, body, headers) => {
  const { callback_route, process_id } = start();
  expect(await sendTo(callback_route, { body, headers: headers as Record<string, string> })).toMatchObject({
    status: 200,
    text: "null",
  });
  expect(view(process_id)?.status).toBe("completed");
});

test("NaN is stored as null, and only where it is a value", async () => {
  const { callback_route, process_id } = start();
  await sendTo(callback_route, {
    body: '{"return_code":0,"x":NaN,"i":[-Infinity],"s":"NaN \\" NaN"}',
    headers: json,
  });
  expect(view(process_id)?.callback_result).toEqual({ return_code: 0, x: null, i: [null], s: 'NaN " NaN' });
});

test("an empty object is taken, and fails the usual validation", async () => {
  const { callback_route, process_id } = start();
  expect((await post(url(callback_route), {})).status).toBe(200);
  expect(view(process_id)).toMatchObject({
    status: "failed",
    callback_result: {},
    failed_reason: "Callback failure",
  });
});

const dictType = { type: "dict_type", loc: ["body"], msg: "Input should be a valid dictionary" };
const missing = { type: "missing", loc: ["body"], msg: "Field required", input: null };

test.each([
  ["an array", "[1]", json, { ...dictType, input: [1] }],
  ["a string", '"x"', json, { ...dictType, input: "x" }],
  ["a number", "7", json, { ...dictType, input: 7 }],
  ["null", "null", json, missing],
  ["an empty body", "", json, missing],
  ["an object as text", '{"a":1}', { "content-type": "text/plain" }, { ...dictType, input: '{"a":1}' }],
  ["an object without a content type", '{"a":1}', {}, { ...dictType, input: '{"a":1}' }],
  ["a form", "a=1", { "content-type": "application/x-www-form-urlencoded" }, { ...dictType, input: "a=1" }],
])("%s is no result: 422, and the token stays good", async (_what, body, headers, error) => {
  const { callback_route, process_id } = start();
  const answer = await sendTo(callback_route, { body, headers: headers as Record<string, string> });
  expect(answer.status).toBe(422);
  expect(JSON.parse(answer.text)).toEqual({ detail: [error] });
  expect(view(process_id)?.status).toBe("awaiting_callback");
});

// As Python's parser says it; `npm run interop -- orchestrator` compares them with the real one.
test.each([
  ["{", 1, "Expecting property name enclosed in double quotes"],
  ["{'a':1}", 1, "Expecting property name enclosed in double quotes"],
  ['{"a":}', 5, "Expecting value"],
  ['{"a" 1}', 5, "Expecting ':' delimiter"],
  ['{"a":01}', 6, "Expecting ',' delimiter"],
  ['{"é😀":1}x', 8, "Extra data"],
  ['["a', 1, "Unterminated string starting at"],
  ['"a\\x"', 2, "Invalid \\escape"],
])("%s is broken JSON: 422, at %i: %s", async (body, position, error) => {
  const answer = await sendTo(start().callback_route, { body, headers: json });
  expect(answer.status).toBe(422);
  expect(JSON.parse(answer.text).detail).toEqual([
    { type: "json_invalid", msg: "JSON decode error", input: {}, loc: ["body", position], ctx: { error } },
  ]);
});

test.each([
  ["Latin-1", Buffer.from('{"a":"é"}', "latin1"), json],
  ["gzip", Buffer.of(0x1f, 0x8b, 8, 0, 1, 2, 3), { ...json, "content-encoding": "gzip" }],
  ["a thousand levels", Buffer.from(`{"a":${"[".repeat(1000)}${"]".repeat(1000)}}`), json],
])("%s cannot be parsed: 400", async (_what, body, headers) => {
  const answer = await sendTo(start().callback_route, { body, headers });
  expect(answer.status).toBe(400);
  expect(JSON.parse(answer.text)).toEqual({ detail: "There was an error parsing the body" });
});

const poisons = [
  ["U+0000", '{"return_code":0,"a":"\\u0000"}'],
  ["U+0000 in a key", '{"return_code":0,"\\u0000":1}'],
  ["a lone surrogate", '{"return_code":0,"a":"\\ud800"}'],
  ["an integer beyond 64 bits", '{"return_code":0,"a":18446744073709551616}'],
  ["a negative integer beyond 64 bits", '{"return_code":0,"a":[-9223372036854775809]}'],
] as const;

test.each(poisons)(
  "%s is poison: 500, nothing is consumed, and a clean result still works",
  async (_what, body) => {
    const { callback_route, process_id } = start();
    for (const path of [callback_route, `${callback_route}/progress`]) {
      const answer = await sendTo(path, { body, headers: json });
      expect(answer).toMatchObject({ status: 500, text: "Internal Server Error" });
      expect(answer.headers["content-type"]).toMatch("text/plain");
    }
    expect(view(process_id)).toMatchObject({ status: "awaiting_callback", callback_progress: null });
    expect((await post(url(callback_route), good)).status).toBe(200);
  },
);

test.each([
  ["an object", '{"progress":["line"]}', json, { progress: ["line"] }],
  ["a string", '"half-way"', json, "half-way"],
  ["plain text", "half-way", { "content-type": "text/plain" }, "half-way"],
  ["a form", "a=1", { "content-type": "application/x-www-form-urlencoded" }, "a=1"],
  ["anything without a content type", '{"a":1}', {}, '{"a":1}'],
])("%s is progress", async (_what, body, headers, stored) => {
  const { callback_route, process_id } = start();
  const answer = await sendTo(`${callback_route}/progress`, {
    body,
    headers: headers as Record<string, string>,
  });
  expect(answer).toMatchObject({ status: 200, text: "null" });
  expect(view(process_id)).toMatchObject({
    status: "awaiting_callback",
    callback_progress: stored,
    accepted_progress: 1,
  });
});

test.each([
  ["an array", "[1]", ["string_type", "dict_type"]],
  ["a number", "7", ["string_type", "dict_type"]],
  ["true", "true", ["string_type", "dict_type"]],
  ["null", "null", ["missing"]],
  ["an empty body", "", ["missing"]],
])("%s is no progress: 422", async (_what, body, types) => {
  const { callback_route, process_id } = start();
  await post(url(`${callback_route}/progress`), { kept: true });
  const answer = await sendTo(`${callback_route}/progress`, { body, headers: json });
  expect(answer.status).toBe(422);
  expect(JSON.parse(answer.text).detail.map(({ type }: { type: string }) => type)).toEqual(types);
  expect(view(process_id)?.callback_progress).toEqual({ kept: true });
});

test.each([json, { "content-type": "text/plain" }, {}] as Record<string, string>[])(
  "progress that is not UTF-8 is never stored, with %j",
  async (headers) => {
    const { callback_route, process_id } = start();
    const answer = await sendTo(`${callback_route}/progress`, { body: Buffer.of(0x22, 0xff, 0x22), headers });
    expect(answer.status).toBe(
      "content-type" in headers && headers["content-type"] === "application/json" ? 400 : 500,
    );
    expect(view(process_id)?.callback_progress).toBeNull();
  },
);

test("each progress replaces the one before, and none is left when the process goes on", async () => {
  const { callback_route, process_id } = start();
  await post(url(`${callback_route}/progress`), { n: 1, only: "first" });
  await post(url(`${callback_route}/progress`), { n: 2 });
  expect(view(process_id)?.callback_progress).toEqual({ n: 2 });
  await post(url(callback_route), good);
  expect(view(process_id)?.callback_progress).toBeNull();
});

test("a result is good once: the same again is 409", async () => {
  const { callback_route, process_id } = start();
  await post(url(callback_route), good);
  for (const path of [callback_route, `${callback_route}/progress`]) {
    const again = await post(url(path), good);
    expect(again.status).toBe(409);
    expect(JSON.parse(again.text)).toEqual(notAwaiting);
  }
  expect(view(process_id)).toMatchObject({ validations: 1, accepted_callbacks: 1 });
});

test("another token is 404 while the process awaits one, and 409 when it does not", async () => {
  const { callback_route, process_id } = start();
  const wrong = callback_route.replace(/[^/]+$/, "x".repeat(43));
  const refused = await post(url(wrong), good);
  expect(refused.status).toBe(404);
  expect(JSON.parse(refused.text)).toEqual(problem(404, "Not Found", "Invalid token"));
  expect((await post(url(`${wrong}/progress`), good)).status).toBe(404);
  sandbox.orchestrator.processes.abort(process_id);
  expect((await post(url(wrong), good)).status).toBe(409);
});

test("an unknown process is 404", async () => {
  const id = "00000000-0000-4000-8000-000000000000";
  const answer = await post(url(`/api/processes/${id}/callback/x`), good);
  expect(answer.status).toBe(404);
  expect(JSON.parse(answer.text)).toEqual(
    problem(404, "Not Found", `Process with process_id ${id} not found`),
  );
});

test("a process id that is no UUID is 422, together with what is wrong in the body", async () => {
  const answer = await post(url("/api/processes/no-uuid/callback/x"), [1]);
  expect(answer.status).toBe(422);
  expect(JSON.parse(answer.text).detail).toMatchObject([
    { type: "uuid_parsing", loc: ["path", "process_id"], input: "no-uuid" },
    { type: "dict_type", loc: ["body"] },
  ]);
});

test("a UUID in upper case, a percent-encoded token and a query are the same callback", async () => {
  const upper = start();
  const path = upper.callback_route.replace(upper.process_id, upper.process_id.toUpperCase());
  expect((await post(url(path), good)).status).toBe(200);
  const encoded = start();
  const token = [...encoded.token].map((each) => `%${each.charCodeAt(0).toString(16)}`).join("");
  expect((await post(url(encoded.callback_route.replace(encoded.token, token)), good)).status).toBe(200);
  expect((await post(url(`${start().callback_route}?x=1`), good)).status).toBe(200);
});

test.each(["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"] as const)("%s is 405", async (method) => {
  const { callback_route, process_id } = start();
  for (const path of [callback_route, `${callback_route}/progress`]) {
    const answer = await sendTo(path, { method });
    expect(answer).toMatchObject({ status: 405, headers: { allow: "POST" } });
    if (method !== "HEAD") {
      expect(JSON.parse(answer.text)).toEqual({ detail: "Method Not Allowed" });
    }
  }
  expect(view(process_id)?.status).toBe("awaiting_callback");
});

test("a slash at the end is a 307 to the path without it, which keeps the query", async () => {
  const { callback_route } = start();
  const answer = await post(url(`${callback_route}/?a=1`), good);
  expect(answer).toMatchObject({
    status: 307,
    text: "",
    headers: { location: url(`${callback_route}?a=1`) },
  });
});

test.each([
  ["no-uuid", "invalid character: found `n` at 1"],
  ["0", "invalid length: expected length 32 for simple format, found 1"],
  ["0-0", "invalid group count: expected 5, found 2"],
  ["00000000-0000-4000-8000-00000000000", "invalid group length in group 4: expected 12, found 11"],
])("a process id %s is refused with its problem", async (id, error) => {
  const answer = await post(url(`/api/processes/${id}/callback/x`), good);
  expect(JSON.parse(answer.text).detail).toEqual([
    {
      type: "uuid_parsing",
      loc: ["path", "process_id"],
      msg: `Input should be a valid UUID, ${error}`,
      input: id,
      ctx: { error },
    },
  ]);
});

test("the root says who is there, and takes no POST", async () => {
  const root = await sendTo("/", { method: "GET" });
  expect(root).toMatchObject({ status: 200, text: '"Orchestrator Core"' });
  expect(await post(url("/"), good)).toMatchObject({ status: 405, headers: { allow: "GET" } });
});

test.each(["//api/processes", "/api", "/api/processes/x/callback"])("%s is 404 Not Found", async (path) => {
  const answer = await post(url(path), good);
  expect(answer.status).toBe(404);
  expect(JSON.parse(answer.text)).toEqual({ detail: "Not Found" });
});

test("a locked engine is 503 before the UUID, the body's type and the process are looked at", async () => {
  const { callback_route, process_id } = start();
  await send(url("/api/settings/status"), { method: "PUT", headers: json, body: '{"global_lock":true}' });
  const locked = problem(
    503,
    "Service Unavailable",
    "Engine is locked cannot accept changes on processes at this time",
  );
  for (const path of [callback_route, `${callback_route}/progress`, "/api/processes/no-uuid/callback/x"]) {
    for (const body of [good, [1]]) {
      const answer = await post(url(path), body);
      expect(answer.status).toBe(503);
      expect(JSON.parse(answer.text)).toEqual(locked);
      expect(answer.headers["retry-after"]).toBeUndefined();
    }
  }
  expect(view(process_id)?.status).toBe("awaiting_callback");
  await control(sandbox.orchestrator.url, "PUT /engine", { locked: false });
  expect((await post(url(callback_route), good)).status).toBe(200);
});

test("JSON that is broken is refused before the lock is looked at", async () => {
  sandbox.orchestrator.switches.locked = true;
  expect((await sendTo(start().callback_route, { body: "{", headers: json })).status).toBe(422);
});

test("a removed workflow is 400, consumes nothing, and works when it is back", async () => {
  const { callback_route } = start();
  sandbox.orchestrator.switches.workflowRemoved = true;
  const answer = await post(url(callback_route), good);
  expect(answer.status).toBe(400);
  expect(JSON.parse(answer.text)).toEqual(
    problem(400, "Bad Request", "This workflow cannot be resumed because it has been removed"),
  );
  expect((await post(url(`${callback_route}/progress`), {})).status).toBe(200);
  sandbox.orchestrator.switches.workflowRemoved = false;
  expect((await post(url(callback_route), good)).status).toBe(200);
});

test("with OAuth on only the right bearer token is let in, lock or no lock", async () => {
  const own = await startSandbox({ orchestrator: { token: "good-token", locked: true } });
  try {
    const { callback_route } = own.orchestrator.processes.start();
    const path = own.orchestrator.url + callback_route;
    for (const headers of [{}, { authorization: "Basic Z29vZA==" }] as Record<string, string>[]) {
      for (const each of [path, `${path}/progress`]) {
        const answer = await post(each, good, headers);
        expect(answer.status).toBe(403);
        expect(JSON.parse(answer.text)).toEqual({ detail: "Not authenticated" });
      }
    }
    expect((await post(path, good, { authorization: "Bearer other" })).status).toBe(401);
    expect((await post(path, good, { authorization: "Bearer good-token" })).status).toBe(503);
    own.orchestrator.switches.locked = false;
    expect((await post(path, good, { authorization: "Bearer good-token" })).status).toBe(200);
    expect(own.orchestrator.token).toBe("good-token");
  } finally {
    await own.close();
  }
});

test("an operator's calls work: show, counts, resume, abort, lock", async () => {
  const { callback_route, process_id } = start();
  const shown = await sendTo(`/api/processes/${process_id}`, { method: "GET" });
  expect(JSON.parse(shown.text)).toMatchObject({
    process_id,
    last_status: "awaiting_callback",
    current_state: { callback_route },
  });
  const other = start();
  expect(await sendTo(`/api/processes/${other.process_id}/abort`, { method: "PUT" })).toMatchObject({
    status: 204,
    headers: { "content-type": "application/json" },
  });
  const counts = await sendTo("/api/processes/status-counts", { method: "GET" });
  expect(JSON.parse(counts.text)).toEqual({
    process_counts: { awaiting_callback: 1, aborted: 1 },
    task_counts: {},
  });
  const resume = (id: string) =>
    sendTo(`/api/processes/${id}/resume`, { method: "PUT", headers: json, body: "[{}]" });
  expect((await resume(process_id)).status).toBe(204);
  expect(view(process_id)?.failed_reason).toBe(
    `"Could not find key 'callback_result' in state. for function sandbox.validate"`,
  );
  expect((await resume(process_id)).status).toBe(204);
  expect(view(process_id)?.status).toBe("awaiting_callback");
  const impossible = await resume(other.process_id);
  expect(impossible.status).toBe(409);
  expect(JSON.parse(impossible.text).detail).toBe("Resuming a aborted workflow is not possible");
  const settings = await sendTo("/api/settings/status", { method: "GET" });
  expect(JSON.parse(settings.text)).toEqual({
    global_lock: false,
    running_processes: 0,
    global_status: "RUNNING",
  });
  expect((await sendTo("/api/settings/status", { method: "PUT", headers: json, body: "{}" })).status).toBe(
    422,
  );
});

test("the control surface starts, lists, shows and moves processes", async () => {
  const at = sandbox.orchestrator.url;
  const made = await control(at, "POST /processes", { actionMs: 60_000, steps: 2, validate: "none" });
  expect(made).toMatchObject({
    status: "running",
    steps: 2,
    callback_route: expect.any(String),
    token: expect.any(String),
  });
  expect((await post(url(made.callback_route), {})).status).toBe(409);
  expect(await control(at, `POST /processes/${made.process_id}/action-returned`)).toMatchObject({
    status: "awaiting_callback",
  });
  await expect(control(at, `POST /processes/${made.process_id}/action-returned`)).rejects.toThrow("409");
  expect((await post(url(made.callback_route), {})).status).toBe(200);
  expect(await control(at, `GET /processes/${made.process_id}`)).toMatchObject({ step: 2, results: [{}] });
  expect(await control(at, `POST /processes/${made.process_id}/abort`)).toMatchObject({ status: "aborted" });
  await expect(control(at, `POST /processes/${made.process_id}/retry`)).rejects.toThrow("409");
  expect(await control(at, "GET /processes")).toHaveLength(1);
  await expect(control(at, "GET /processes/none")).rejects.toThrow("404");
  for (const plan of [{ steps: "2" }, { validate: "magic" }, { colour: 1 }]) {
    await expect(control(at, "POST /processes", plan)).rejects.toThrow("400");
  }
});

test("the engine's switches can be read and set", async () => {
  const at = sandbox.orchestrator.url;
  expect(await control(at, "PUT /engine", { locked: true, raceWindowMs: 5 })).toEqual({
    locked: true,
    raceWindowMs: 5,
    brokerDown: false,
    testing: false,
    workflowRemoved: false,
  });
  await expect(control(at, "PUT /engine", { locked: "yes" })).rejects.toThrow("400");
  await sandbox.orchestrator.reset();
  expect(await control(at, "GET /engine")).toMatchObject({ locked: false, raceWindowMs: 0 });
});

test("a body of some megabytes is taken, and one over the limit is 413", async () => {
  const own = await startSandbox({ orchestrator: { maxBodyBytes: 4_000_000 } });
  try {
    const { callback_route } = own.orchestrator.processes.start();
    const body = (size: number) => ({ return_code: 0, output: "x".repeat(size) });
    expect((await post(own.orchestrator.url + callback_route, body(4_000_000))).status).toBe(413);
    expect((await post(own.orchestrator.url + callback_route, body(3_000_000))).status).toBe(200);
  } finally {
    await own.close();
  }
});
