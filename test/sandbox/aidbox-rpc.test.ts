import { request } from "undici";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { type Sandbox, startSandbox } from "../../src/sandbox/sandbox.ts";
import type { Loose } from "./aidbox-simulation.ts";
import { control, type Sent, send, until } from "./http-client.ts";

let sandbox: Sandbox;
let authorization: string;
beforeAll(async () => {
  sandbox = await startSandbox();
  const { clientId, clientSecret } = sandbox.aidbox;
  authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString("base64")}`;
});
afterEach(async () => {
  await sandbox.aidbox.reset();
});
afterAll(async () => {
  await sandbox.close();
});

const yaml = { "content-type": "text/yaml", accept: "text/yaml" };
const json = { "content-type": "application/json", accept: "application/json" };

function rpc(body: string | Buffer, headers: Record<string, string> = yaml, path = "/rpc"): Promise<Sent> {
  return send(sandbox.aidbox.url + path, { headers: { authorization, ...headers }, body });
}

const create = (params: string) =>
  `method: awf.task/create-and-execute\nparams: {definition: ns/work, ${params}}\n`;

test("the documentation's own requests work as they are printed", async () => {
  await rpc(create("params: {a: 1}"));
  const polled = await rpc("method: awf.task/poll\nparams:\n    taskDefinitions: [ns/work]\n");
  expect(polled).toMatchObject({ status: 200, headers: { "content-type": "text/yaml" } });
  const [{ id, execId }] = parse(polled.text).result.resources;
  const ids = `    id: ${id}\n    execId: ${execId}\n`;
  expect((await rpc(`method: awf.task/start\nparams:\n${ids}`)).status).toBe(200);
  const beat = `method: awf.task/notify\nparams:\n${ids}    notification: awf.task/heartbeat\n    message: "task is alive"\n`;
  const told = await rpc(beat);
  expect(told.text).toMatch(/^result:\n {2}inProgressTimeoutAt: '\d{4}-.*Z'\n$/);
  const done = await rpc(`method: awf.task/success\nparams:\n${ids}`);
  expect(parse(done.text).result.resource).toMatchObject({
    id,
    execId,
    status: "done",
    outcome: "succeeded",
  });
});

test("an answer in YAML has folded ids, quoted timestamps and quoted numeric strings", async () => {
  const { text } = await rpc(create('params: {count: "0123"}'));
  expect(text).toMatch(/^ {4}id: >-\n {6}[0-9a-f-]{36}$/m);
  expect(text).toMatch(/^ {6}createdAt: '.*Z'$/m);
  expect(text).toMatch(/^ {6}versionId: '\d+'$/m);
  expect(text).toMatch(/^ {6}count: '0123'$/m);
});

test.each([
  ["text/yaml", "", "text/yaml"],
  ["application/json", "", "application/json"],
  ["*/*", "", "application/json"],
  ["text/yaml", "?_format=json", "application/json"],
  ["application/json", "?_format=yaml", "text/yaml"],
  ["text/yaml, application/json;q=0.5", "?_m=awf.task/list", "text/yaml"],
])("accept %s with %s is answered in %s", async (accept, query, type) => {
  for (const body of ["method: awf.task/list", "method: nothing"]) {
    const { headers } = await rpc(body, { ...yaml, accept }, `/rpc${query}`);
    expect(headers["content-type"]).toBe(type);
  }
});

test("requests and answers can be JSON all the way", async () => {
  const made = await rpc(
    '{"method":"awf.task/create-and-execute","params":{"definition":"ns/work","params":{}}}',
    json,
  );
  expect(made.status).toBe(200);
  expect(JSON.parse(made.text).result.resource).toMatchObject({ status: "ready" });
});

test("integers beyond 2^53 come back as they went in, in both formats", async () => {
  const n = "12345678901234567890123";
  expect((await rpc(create(`params: {big: ${n}}`))).text).toContain(`big: ${n}\n`);
  expect((await rpc(create(`params: {big: ${n}}`), { ...yaml, accept: json.accept })).text).toContain(
    `"big":${n}`,
  );
  const body = `{"method":"awf.task/create-and-execute","params":{"definition":"ns/work","params":{"big":${n}}}}`;
  expect((await rpc(body, json)).text).toContain(`"big":${n}`);
});

test("what YAML 1.1 makes of unquoted scalars is what the task gets", async () => {
  const { text } = await rpc(
    create("params: {date: 2021-10-25, answer: yes, time: 12:30, text: '2021-10-25'}"),
  );
  expect(parse(text).result.resource.params).toEqual({
    date: "2021-10-25T00:00:00Z",
    answer: true,
    time: 750,
    text: "2021-10-25",
  });
});

test.each([
  ["a date as id", create("id: 2021-10-25, params: {}")],
  ["a date as executeAt", create("executeAt: 2023-05-03T13:30:43, params: {}")],
  ["yes as label", create("label: yes, params: {}")],
  ["a number as id", create("id: 0123, params: {}")],
  ["a time as execId", "method: awf.task/start\nparams: {id: a, execId: 12:30}"],
])("%s without quotes is no string: Invalid params", async (_what, body) => {
  const answer = await rpc(body);
  expect(answer.status).toBe(422);
  expect(parse(answer.text).error).toMatchObject({
    message: "Invalid params",
    method: expect.stringMatching("^awf"),
    errors: [{ message: expect.stringContaining("string"), type: "string.type" }],
  });
});

test("the same with quotes is a string", async () => {
  expect(
    (await rpc(create("id: '2021-10-25', label: \"yes\", executeAt: '2023-05-03T13:30:43', params: {}")))
      .status,
  ).toBe(200);
});

test.each([
  ["a missing definition", "awf.task/create-and-execute", { params: {} }, "require"],
  ["missing params", "awf.task/create-and-execute", { definition: "ns/a" }, "require"],
  ["params of null", "awf.task/create-and-execute", { definition: "ns/a", params: null }, "map.type"],
  ["params that are a list", "awf.task/create-and-execute", { definition: "ns/a", params: [] }, "map.type"],
  [
    "an executeAt that is no date",
    "awf.task/create-and-execute",
    { definition: "ns/a", params: {}, executeAt: "soon" },
    "string.regex",
  ],
  ["an unknown parameter", "awf.task/start", { id: "a", execId: "b", force: true }, "unknown-key"],
  ["the SDK's result of a failure", "awf.task/fail", { id: "a", execId: "b", result: {} }, "unknown-key"],
  ["a missing execId", "awf.task/success", { id: "a" }, "require"],
  ["no definitions to poll", "awf.task/poll", {}, "require"],
  ["empty definitions to poll", "awf.task/poll", { taskDefinitions: [], workflowDefinitions: [] }, "require"],
  ["definitions that are one string", "awf.task/poll", { taskDefinitions: "ns/a" }, "vector.type"],
  ["definitions that are no strings", "awf.task/poll", { taskDefinitions: [1] }, "string.type"],
  ["a batch of none", "awf.task/poll", { taskDefinitions: ["ns/a"], maxBatchSize: 0 }, "number.min"],
  [
    "a batch size in quotes",
    "awf.task/poll",
    { taskDefinitions: ["ns/a"], maxBatchSize: "5" },
    "integer.type",
  ],
  [
    "a pool, as old revisions had it",
    "awf.task/poll",
    { taskDefinitions: ["ns/a"], pool: "p" },
    "unknown-key",
  ],
  ["a negative timeout", "awf.task/long-poll", { taskDefinitions: ["ns/a"], timeout: -1 }, "number.min"],
  ["an unknown filter", "awf.task/list", { filter: { colour: "blue" } }, "unknown-key"],
  ["an unknown status", "awf.task/list", { filter: { status: "gone" } }, "enum"],
  ["an unknown direction", "awf.workflow/list", { sort: { createdAt: "up" } }, "enum"],
  ["a switch that is text", "awf.task/status", { id: "a", "include-log?": "true" }, "boolean.type"],
  ["params that are a list", "awf.task/list", [], "map.type"],
])("%s is refused as invalid params", async (_what, method, params, type) => {
  const answer = await rpc(JSON.stringify({ method, params }), json);
  expect(answer.status).toBe(422);
  const { error } = JSON.parse(answer.text);
  expect(error).toMatchObject({ message: "Invalid params", method });
  expect(error.errors.map((each: Loose) => each.type)).toContain(type);
});

test.each([
  ["broken YAML", "method: [", yaml, 400],
  ["broken JSON", "{", json, 400],
  ["YAML under the name of JSON", "method: awf.task/list", json, 400],
  ["an escaped slash in YAML", '{"method": "awf.task\\/list"}', yaml, 400],
  ["an escaped pair of surrogates in YAML", '{"method": "x", "params": {"a": "\\uD83D\\uDE00"}}', yaml, 400],
  ["an alias of itself in YAML", "method: awf.task/list\nparams: &a {filter: *a}", yaml, 400],
  ["another content type", "method: awf.task/list", { "content-type": "text/plain" }, 415],
  ["no content type", "method: awf.task/list", {}, 415],
  ["an empty body", "", yaml, 422],
  ["a batch", '[{"method":"awf.task/list"}]', json, 422],
  ["no method", "params: {}", yaml, 422],
  ["a method that is no string", "method: 2021-10-25", yaml, 422],
  ["an unknown method", "method: awf.task/restart", yaml, 422],
  ["a method of the object prototype", "method: constructor", yaml, 422],
  ["U+0000", '{"method":"awf.task/list","params":{"filter":{"ilike":"\\u0000"}}}', json, 422],
  ["a lone surrogate", '{"method":"awf.task/list","params":{"filter":{"ilike":"\\ud800"}}}', json, 422],
])("%s is refused", async (_what, body, headers, status) => {
  expect((await rpc(body, headers as Record<string, string>)).status).toBe(status);
});

test("the same texts escaped for JSON are fine as JSON", async () => {
  expect(
    (await rpc('{"method":"awf.task\\/list","params":{"filter":{"ilike":"\\ud83d\\ude00"}}}', json)).status,
  ).toBe(200);
});

test("bytes that are not UTF-8 are refused", async () => {
  expect((await rpc(Buffer.from("method: \xff", "latin1"))).status).toBe(400);
});

test.each([
  ["nothing", undefined],
  ["another secret", `Basic ${Buffer.from("taskgate:wrong").toString("base64")}`],
  ["a bearer token", "Bearer x"],
])("with %s to show the answer is 401 and an OperationOutcome, in either format", async (_what, given) => {
  for (const headers of [yaml, json] as Record<string, string>[]) {
    const answer = await send(`${sandbox.aidbox.url}/rpc`, {
      headers: { ...headers, ...(given === undefined ? {} : { authorization: given }) },
      body: "{",
    });
    expect(answer.status).toBe(401);
    const body = headers === yaml ? parse(answer.text) : JSON.parse(answer.text);
    expect(body).toMatchObject({ resourceType: "OperationOutcome", issue: [{ severity: "fatal" }] });
    expect(body.error).toBeUndefined();
  }
});

test("names of the object prototype are names like any other", async () => {
  const create =
    '{"method":"awf.task/create-and-execute","params":{"definition":"__proto__","id":"__proto__","params":{"__proto__":{"a":1}}}}';
  const made = await rpc(create, json);
  expect(made.text).toContain('"params":{"__proto__":{"a":1}}');
  const [{ id, execId }] = sandbox.aidbox.tasks.poll(["task __proto__"], 1) as [Loose];
  const start = (exec: string) =>
    rpc(JSON.stringify({ method: "awf.task/start", params: { id, execId: exec } }), json);
  expect((await start("__proto__")).status).toBe(422);
  expect((await start(execId)).status).toBe(200);
  expect(({} as Loose).start).toBeUndefined();
  expect(Object.keys(sandbox.aidbox.tasks.get(id)?.executions ?? {})).toEqual(["__proto__", execId]);
});

test("a method that the policy denies is 403 with the published OperationOutcome", async () => {
  const own = await startSandbox({
    aidbox: { deniedMethods: ["awf.task/cancel"], clientId: "me", clientSecret: "it" },
  });
  try {
    const mine = `Basic ${Buffer.from("me:it").toString("base64")}`;
    const call = (method: string) =>
      send(`${own.aidbox.url}/rpc`, {
        headers: { ...json, authorization: mine },
        body: JSON.stringify({ method }),
      });
    const denied = await call("awf.task/cancel");
    expect(denied.status).toBe(403);
    expect(JSON.parse(denied.text)).toMatchObject({
      resourceType: "OperationOutcome",
      id: "forbidden",
      issue: [{ severity: "fatal", code: "forbidden", diagnostics: "Forbidden" }],
    });
    expect((await call("awf.task/list")).status).toBe(200);
  } finally {
    await own.close();
  }
});

test("other paths and methods are 404", async () => {
  expect((await rpc("method: awf.task/list", yaml, "/fhir/rpc")).status).toBe(404);
  const got = await send(`${sandbox.aidbox.url}/rpc`, { method: "GET", headers: { authorization } });
  expect(got.status).toBe(404);
});

test("tasks and workflows can be read as resources", async () => {
  await rpc("method: awf.task/create-and-execute\nparams: {definition: ns/work, id: t, params: {}}");
  await rpc("method: awf.workflow/create-and-execute\nparams: {definition: ns/flow, id: w, params: {a: 1}}");
  const read = (path: string) =>
    send(sandbox.aidbox.url + path, {
      method: "GET",
      headers: { authorization, accept: "application/json" },
    });
  expect(JSON.parse((await read("/AidboxTask/t")).text)).toMatchObject({
    resourceType: "AidboxTask",
    id: "t",
  });
  expect(JSON.parse((await read("/AidboxWorkflow/w")).text)).toMatchObject({ id: "w", params: { a: 1 } });
  expect((await read("/AidboxTask/none")).status).toBe(404);
});

test("a body of 20 MiB is taken, and one byte more is 413", async () => {
  const start = '{"method":"awf.task/list","params":{"filter":{"ilike":"';
  const fill = (size: number) => `${start}${"x".repeat(size - start.length - 4)}"}}}`;
  expect((await rpc(fill(20_971_520), json)).status).toBe(200);
  expect((await rpc(fill(20_971_521), json)).status).toBe(413);
});

test("a long-poll over a socket is woken by a new task", async () => {
  const waiting = rpc("method: awf.task/long-poll\nparams: {taskDefinitions: [ns/work], timeout: 60000}");
  await until(() => sandbox.aidbox.requests.length === 1);
  sandbox.aidbox.tasks.create({ definition: "ns/work", params: {}, id: "a" });
  expect(parse((await waiting).text).result.resources).toMatchObject([{ id: "a" }]);
});

test("a task that is handed to a long-poll whose client has left stays requested until its timeout", async () => {
  const { aidbox } = sandbox;
  aidbox.definitions.define("ns/work", { requestedToStartTimeout: 50 });
  const leaving = new AbortController();
  const gone = request(`${aidbox.url}/rpc`, {
    method: "POST",
    headers: { authorization, ...json },
    body: '{"method":"awf.task/long-poll","params":{"taskDefinitions":["ns/work"],"timeout":60000}}',
    signal: leaving.signal,
  });
  await until(() => aidbox.requests.length === 1);
  leaving.abort();
  await expect(gone).rejects.toThrow();
  aidbox.tasks.create({ definition: "ns/work", params: {}, id: "a" });
  expect(aidbox.tasks.get("a")?.resource.status).toBe("requested");
  const again = await rpc("method: awf.task/long-poll\nparams: {taskDefinitions: [ns/work], timeout: 10000}");
  expect(parse(again.text).result.resources).toMatchObject([{ id: "a", status: "requested" }]);
});

test("a method can be singled out for a fault, and requests about one task are counted together", async () => {
  const { faults, requests } = sandbox.aidbox;
  faults.set([{ id: "slow", match: { method: "awf.task/start" }, action: { kind: "delay", delayMs: 30 } }]);
  await Promise.all([
    rpc("method: awf.task/start\nparams: {id: a, execId: x}"),
    rpc("method: awf.task/start\nparams: {id: a, execId: x}"),
    rpc("method: awf.task/start\nparams: {id: b, execId: x}"),
    rpc("method: awf.task/list"),
  ]);
  expect(faults.fired("slow")).toBe(3);
  const concurrent = requests.filter(({ fault }) => fault === "slow").map((each) => each.concurrent);
  expect(concurrent.sort()).toEqual([0, 0, 1]);
  expect(requests.at(-1)?.parsed).toBeDefined();
});

test("the control surface registers definitions and shows tasks and workflows", async () => {
  const { url } = sandbox.aidbox;
  const settings = { retryDelay: 5, concurrencyPath: ["params", "a"], requiredResultKeys: ["rows"] };
  expect(await control(url, "PUT /definitions/ns/work", settings)).toMatchObject({
    name: "ns/work",
    ...settings,
  });
  expect(await control(url, "GET /definitions")).toMatchObject([{ name: "awf.workflow/decision-task" }, {}]);
  await rpc("method: awf.task/create-and-execute\nparams: {definition: ns/work, id: t, params: {}}");
  await rpc("method: awf.workflow/create-and-execute\nparams: {definition: ns/flow, id: w, params: {}}");
  await rpc("method: awf.task/start\nparams: {id: t, execId: x}");
  expect(await control(url, "GET /tasks")).toHaveLength(2);
  expect(await control(url, "GET /tasks/t")).toMatchObject({
    resource: { id: "t", status: "ready" },
    log: [{ "status-before": "created", "status-after": "ready" }],
    executions: { x: { start: { accepted: 0, refused: 1 } } },
  });
  expect(await control(url, "GET /workflows")).toMatchObject([{ id: "w" }]);
  expect(await control(url, "GET /workflows/w")).toMatchObject({
    resource: { id: "w" },
    activities: [],
    decisions: [{}],
  });
  await expect(control(url, "GET /tasks/none")).rejects.toThrow("404");
  await expect(control(url, "GET /workflows/none")).rejects.toThrow("404");
  for (const wrong of [{ colour: 1 }, { retryDelay: "5" }, { concurrencyPath: "a" }]) {
    await expect(control(url, "PUT /definitions/ns/work", wrong)).rejects.toThrow("400");
  }
});
