import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Sandbox, startSandbox } from "../../src/sandbox/sandbox.ts";
import { control, post, type Sent, send } from "./http-client.ts";

const id = "1d876307-8c0a-42a1-8299-af0516223652";
const key = { authorization: "Bearer sandbox-key" };

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterEach(async () => {
  await sandbox.orchestra.reset();
});
afterAll(async () => {
  await sandbox.close();
});

function tell(event: unknown, headers: Record<string, string> = key): Promise<Sent> {
  return post(sandbox.orchestra.webhookUrl, event, headers);
}

const update = (fields: object) => ({ event_type: "UPDATE_STATUS", task_run_id: id, ...fields });
const output = (fields: object) => ({ event_type: "SET_OUTPUT", task_run_id: id, ...fields });
const log = (fields: object) => ({ event_type: "LOG", task_run_id: id, ...fields });
const run = () => sandbox.orchestra.taskRuns.get(id);

test.each([
  ["a status with a message", update({ status: "RUNNING", message: "started" })],
  ["a status alone", update({ status: "SUCCEEDED" })],
  ["a message alone", update({ message: "half-way" })],
  ["a status the later SDK added", update({ status: "WARNING" })],
  ["an empty message beside a status", update({ status: "FAILED", message: "" })],
  ["metadata", update({ status: "RUNNING", metadata: {} })],
  ["a timestamp without a zone", update({ status: "RUNNING", timestamp: "2024-05-01T12:30:15.123456" })],
  ["fields nobody knows", update({ status: "RUNNING", colour: "blue" })],
  ["an output of any JSON value", output({ output_name: "my-Out_put", output_value: { deep: [1, null] } })],
  ["an output of null", output({ output_name: "nothing", output_value: null })],
  ["a log", log({ log_name: "orchestra.log", data: "line\nline\n" })],
  ["an empty log", log({ log_name: "orchestra.log", data: "" })],
])("%s is taken", async (_what, event) => {
  const answer = await tell(event);
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.text)).toEqual({ success: true, message: expect.any(String), task_run_id: id });
});

test("an accepted output is answered with the published text", async () => {
  const answer = await tell(output({ output_name: "a", output_value: 1 }));
  expect(JSON.parse(answer.text).message).toBe("Outputs set successfully");
});

test.each([
  ["neither status nor message", update({}), "MALFORMED_PAYLOAD"],
  ["an empty message alone", update({ message: "" }), "MALFORMED_PAYLOAD"],
  ["a message of null", update({ status: "RUNNING", message: null }), "MALFORMED_PAYLOAD"],
  ["a status nobody can set", update({ status: "QUEUED" }), "INVALID_STATUS"],
  ["a status in lower case", update({ status: "running" }), "INVALID_STATUS"],
  ["a status of null", update({ status: null, message: "m" }), "INVALID_STATUS"],
  ["an unknown event type", { event_type: "HEARTBEAT", task_run_id: id }, "INVALID_EVENT_TYPE"],
  ["no event type", { task_run_id: id, status: "RUNNING" }, "INVALID_EVENT_TYPE"],
  ["no task run", { event_type: "UPDATE_STATUS", status: "RUNNING" }, "INVALID_TASK_RUN_ID"],
  [
    "a task run that is no UUID",
    update({ task_run_id: "task_run_12345", status: "RUNNING" }),
    "INVALID_TASK_RUN_ID",
  ],
  [
    "a UUID in upper case",
    update({ task_run_id: id.toUpperCase(), status: "RUNNING" }),
    "INVALID_TASK_RUN_ID",
  ],
  [
    "a UUID without hyphens",
    update({ task_run_id: id.replaceAll("-", ""), status: "RUNNING" }),
    "INVALID_TASK_RUN_ID",
  ],
  ["an output without a name", output({ output_value: 1 }), "MALFORMED_PAYLOAD"],
  ["an output whose name has a digit", output({ output_name: "out1", output_value: 1 }), "MALFORMED_PAYLOAD"],
  ["an output whose name has a space", output({ output_name: "a b", output_value: 1 }), "MALFORMED_PAYLOAD"],
  ["an output without a value", output({ output_name: "a" }), "MALFORMED_PAYLOAD"],
  ["a log without a name", log({ data: "x" }), "MALFORMED_PAYLOAD"],
  ["a log whose data is no text", log({ log_name: "a", data: ["x"] }), "MALFORMED_PAYLOAD"],
  ["an array", [update({ status: "RUNNING" })], "MALFORMED_PAYLOAD"],
  ["null", "null", "MALFORMED_PAYLOAD"],
  ["broken JSON", '{"event_type":', "MALFORMED_PAYLOAD"],
  ["NaN", `{"event_type":"UPDATE_STATUS","task_run_id":"${id}","status":NaN}`, "MALFORMED_PAYLOAD"],
  ["an empty body", "", "MALFORMED_PAYLOAD"],
])("%s is refused with 400", async (_what, event, code) => {
  const answer = await tell(event);
  expect(answer.status).toBe(400);
  expect(JSON.parse(answer.text)).toEqual({ success: false, error: expect.any(String), code });
  expect(run()?.status ?? null).toBeNull();
});

test("bytes that are not UTF-8 are refused", async () => {
  const body = Buffer.concat([Buffer.from('{"a":"'), Buffer.of(0xff), Buffer.from('"}')]);
  const answer = await send(sandbox.orchestra.webhookUrl, {
    headers: { ...key, "content-type": "application/json" },
    body,
  });
  expect(answer.status).toBe(400);
});

test.each([
  ["no key", {}],
  ["another key", { authorization: "Bearer other" }],
  ["a key of another scheme", { authorization: "Basic sandbox-key" }],
])("%s is refused with 401, whatever the body says", async (_what, headers) => {
  expect((await tell("{", headers as Record<string, string>)).status).toBe(401);
});

test("another content type is refused", async () => {
  const body = JSON.stringify(update({ status: "RUNNING" }));
  const send1 = (headers: Record<string, string>) => send(sandbox.orchestra.webhookUrl, { headers, body });
  expect((await send1({ ...key, "content-type": "text/plain" })).status).toBe(400);
  expect((await send1(key)).status).toBe(400);
  expect((await send1({ ...key, "content-type": "application/json; charset=utf-8" })).status).toBe(200);
});

test.each(["GET", "PUT", "DELETE", "PATCH"] as const)("%s is refused with 405", async (method) => {
  const answer = await send(sandbox.orchestra.webhookUrl, { method, headers: key });
  expect(answer).toMatchObject({ status: 405, headers: { allow: "POST" } });
});

test("another path is 404", async () => {
  expect((await post(`${sandbox.orchestra.url}/webhook`, update({ status: "RUNNING" }), key)).status).toBe(
    404,
  );
});

test("the history is in order of arrival, repeated events included", async () => {
  for (const status of ["RUNNING", "RUNNING", "SUCCEEDED"]) {
    await tell(update({ status, message: `is ${status}` }));
  }
  expect(run()).toMatchObject({ status: "SUCCEEDED", message: "is SUCCEEDED" });
  expect(run()?.events.map(({ event }) => event)).toEqual([
    { taskRunId: id, type: "UPDATE_STATUS", status: "RUNNING", message: "is RUNNING" },
    { taskRunId: id, type: "UPDATE_STATUS", status: "RUNNING", message: "is RUNNING" },
    { taskRunId: id, type: "UPDATE_STATUS", status: "SUCCEEDED", message: "is SUCCEEDED" },
  ]);
});

test("output names do not depend on case, and values keep every digit", async () => {
  await tell(output({ output_name: "Out", output_value: "old" }));
  await tell(
    `{"event_type":"SET_OUTPUT","task_run_id":"${id}","output_name":"OUT","output_value":9007199254740993}`,
  );
  expect(run()?.outputs).toEqual({ out: 9007199254740993n });
  const told = await send(`${sandbox.orchestra.url}/_sandbox/task-runs/${id}`, { method: "GET" });
  expect(told.text).toContain('"outputs":{"out":9007199254740993}');
});

test("an output named like a property of every object is an output like any other", async () => {
  expect((await tell(output({ output_name: "__proto__", output_value: { a: 1 } }))).status).toBe(200);
  expect(Object.entries(run()?.outputs ?? {})).toEqual([["__proto__", { a: 1 }]]);
});

test.each(["SUCCEEDED", "FAILED", "WARNING", "CANCELLED"])(
  "after %s a log is taken, an output is refused, and a status is taken and flagged",
  async (status) => {
    await tell(update({ status }));
    expect((await tell(log({ log_name: "a.log", data: "x" }))).status).toBe(200);
    expect((await tell(output({ output_name: "a", output_value: 1 }))).status).toBe(409);
    expect((await tell(update({ status: "RUNNING" }))).status).toBe(200);
    expect(run()?.logs).toMatchObject([{ name: "a.log", data: "x" }]);
    expect(run()?.outputs).toEqual({});
    expect(run()?.events.map(({ afterOutcome, refused }) => [afterOutcome, refused])).toEqual([
      [false, undefined],
      [true, undefined],
      [true, "INVALID_STATE"],
      [true, undefined],
    ]);
  },
);

test("a status after the outcome can be refused instead", async () => {
  sandbox.orchestra.settings.refuseAfterOutcome = true;
  await tell(update({ status: "FAILED" }));
  expect((await tell(update({ status: "SUCCEEDED" }))).status).toBe(409);
  expect((await tell(log({ log_name: "a", data: "" }))).status).toBe(200);
  expect(run()?.status).toBe("FAILED");
});

test("a task run that was disowned is not found", async () => {
  sandbox.orchestra.taskRuns.disown(id);
  const answer = await tell(update({ status: "RUNNING" }));
  expect(answer.status).toBe(404);
  expect(JSON.parse(answer.text)).toEqual({
    success: false,
    error: "Invalid task_run_id",
    code: "TASK_NOT_FOUND",
  });
  expect(run()?.events).toMatchObject([{ refused: "TASK_NOT_FOUND" }]);
});

test("with registration required only registered task runs are found", async () => {
  await control(sandbox.orchestra.url, "PUT /settings", { requireRegistration: true });
  expect((await tell(update({ status: "RUNNING" }))).status).toBe(404);
  await control(sandbox.orchestra.url, `PUT /task-runs/${id}`, { status: "QUEUED" });
  expect(run()?.status).toBe("QUEUED");
  expect((await tell(update({ status: "RUNNING" }))).status).toBe(200);
  await control(sandbox.orchestra.url, `PUT /task-runs/${id}`, { known: false });
  expect((await tell(update({ status: "RUNNING" }))).status).toBe(404);
});

test("refusals can be answered with status 200", async () => {
  await control(sandbox.orchestra.url, "PUT /settings", { refuseWithStatus200: true });
  const answer = await tell(update({ status: "no" }));
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.text)).toMatchObject({ success: false, code: "INVALID_STATUS" });
  expect((await tell(update({ status: "RUNNING" }), {})).text).toContain("UNAUTHORIZED");
});

test("a setting that does not exist, or of another type, is refused", async () => {
  const { url } = sandbox.orchestra;
  await expect(control(url, "PUT /settings", { nothing: true })).rejects.toThrow("400");
  await expect(control(url, "PUT /settings", { refuseAfterOutcome: "yes" })).rejects.toThrow("400");
  expect(await control(url, "GET /settings")).toEqual({
    requireRegistration: false,
    refuseAfterOutcome: false,
    refuseWithStatus200: false,
  });
});

test("the control surface lists task runs", async () => {
  await tell(update({ status: "RUNNING" }));
  const { url } = sandbox.orchestra;
  expect(await control(url, "GET /task-runs")).toMatchObject([{ id, status: "RUNNING", known: true }]);
  expect(await control(url, `GET /task-runs/${id}`)).toMatchObject({ id, status: "RUNNING" });
  await expect(control(url, "GET /task-runs/none")).rejects.toThrow("404");
});

test("a path, a key, a body limit and output names of any kind can be chosen", async () => {
  const own = await startSandbox({
    orchestra: { path: "/hook/here", apiKey: "other", maxBodyBytes: 200, anyOutputName: true },
  });
  try {
    expect(own.orchestra.webhookUrl).toBe(`${own.orchestra.url}/hook/here`);
    const other = { authorization: "Bearer other" };
    const numbered = output({ output_name: "out 1", output_value: 1 });
    expect((await post(own.orchestra.webhookUrl, numbered, other)).status).toBe(200);
    expect((await post(own.orchestra.url, numbered, other)).status).toBe(404);
    const large = log({ log_name: "a", data: "x".repeat(1000) });
    expect((await post(own.orchestra.webhookUrl, large, other)).status).toBe(413);
    expect(own.orchestra.taskRuns.get(id)?.logs).toEqual([]);
  } finally {
    await own.close();
  }
});
