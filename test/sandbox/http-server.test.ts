import { connect } from "node:net";
import { request } from "undici";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Sandbox, startSandbox } from "../../src/sandbox/sandbox.ts";
import { findSandboxPorts } from "../support/free-port.ts";
import { control, post, postAlone, send, until } from "./http-client.ts";

const id = "1d876307-8c0a-42a1-8299-af0516223652";
const running = { event_type: "UPDATE_STATUS", task_run_id: id, status: "RUNNING" };
const key = { authorization: "Bearer sandbox-key" };

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox({ ports: await findSandboxPorts() });
});
afterEach(async () => {
  await Promise.all([sandbox.orchestra.reset(), sandbox.orchestrator.reset(), sandbox.aidbox.reset()]);
});
afterAll(async () => {
  await sandbox.close();
});

test("a request is recorded with its raw headers, raw body, parsed body, times and status", async () => {
  const text = `{"event_type":"LOG","task_run_id":"${id}","log_name":"a.log","data":"é"}`;
  await post(`${sandbox.orchestra.url}/?a=1`, text, { ...key, "X-Custom": "Value" });
  expect(sandbox.orchestra.requests).toHaveLength(1);
  const [recorded] = sandbox.orchestra.requests;
  expect(recorded).toMatchObject({
    method: "POST",
    path: "/?a=1",
    body: text,
    parsed: { data: "é" },
    status: 200,
    concurrent: 0,
    headers: { "x-custom": "Value" },
  });
  expect(recorded?.rawHeaders).toContain("X-Custom");
  expect(recorded?.endMs).toBeGreaterThanOrEqual(recorded?.atMs ?? 0);
  expect(recorded?.fault).toBeUndefined();
});

test("requests about one process at the same time are counted as concurrent, others are not", async () => {
  const { processes, requests, url, faults } = sandbox.orchestrator;
  const [one, other] = [processes.start(), processes.start()];
  faults.set([{ action: { kind: "delay", delayMs: 30 } }]);
  const progress = (route: string) => post(`${url}${route}/progress`, {});
  await Promise.all([
    progress(one.callback_route),
    progress(one.callback_route),
    progress(other.callback_route),
  ]);
  expect(requests.map(({ concurrent }) => concurrent).sort()).toEqual([0, 0, 1]);
  sandbox.orchestrator.clearRequests();
  faults.clear();
  await progress(one.callback_route);
  await progress(one.callback_route);
  expect(sandbox.orchestrator.requests.map(({ concurrent }) => concurrent)).toEqual([0, 0]);
});

test("a request whose client has left is in flight until the upstream is done with it", async () => {
  const { processes, url, faults } = sandbox.orchestrator;
  const { callback_route, process_id } = processes.start();
  faults.set([{ times: 1, action: { kind: "delay", delayMs: 1000 } }]);
  const leaving = new AbortController();
  const lost = request(`${url}${callback_route}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"return_code":0}',
    signal: leaving.signal,
  });
  await until(() => sandbox.orchestrator.requests.length === 1);
  leaving.abort();
  await expect(lost).rejects.toThrow();
  expect((await post(`${url}${callback_route}/progress`, {})).status).toBe(200);
  expect(sandbox.orchestrator.requests.at(-1)?.concurrent).toBe(1);
  await until(() => processes.get(process_id)?.status === "completed");
});

test("a body that breaks off is recorded and never processed", async () => {
  const socket = connect(Number(new URL(sandbox.orchestra.url).port), "127.0.0.1");
  socket.write(
    'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"event',
  );
  await until(() => sandbox.orchestra.requests.length === 1);
  socket.destroy();
  await until(() => sandbox.orchestra.requests.at(-1)?.endMs !== undefined);
  expect(sandbox.orchestra.requests.at(-1)).toMatchObject({ status: null, body: '{"event' });
  expect(sandbox.orchestra.taskRuns.list()).toEqual([]);
});

test("a body in chunks is read as one", async () => {
  const body = JSON.stringify(running);
  const socket = connect(Number(new URL(sandbox.orchestra.url).port), "127.0.0.1");
  socket.write(
    `POST / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sandbox-key\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`,
  );
  for (const character of body) {
    socket.write(`1\r\n${character}\r\n`);
  }
  socket.write("0\r\n\r\n");
  await until(() => sandbox.orchestra.taskRuns.get(id)?.status === "RUNNING");
  socket.destroy();
});

test("connections are kept alive without a word about it, and closed when the client asks", async () => {
  const socket = connect(Number(new URL(sandbox.orchestra.url).port), "127.0.0.1");
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await until(() => text.includes("405"));
  expect(text.toLowerCase()).not.toContain("keep-alive");
  text = "";
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.write("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  await closed;
  expect(text).toContain("405");
});

test("while it is down connections are refused, open ones are cut, and it comes back on the same port", async () => {
  const { faults, url, webhookUrl } = sandbox.orchestra;
  faults.set([{ id: "hang", action: { kind: "hang" } }]);
  const cut = postAlone(webhookUrl, running, key);
  const outcome = expect(cut).rejects.toThrow();
  await until(() => faults.fired("hang") === 1);
  faults.clear();
  await faults.setDown(true);
  await outcome;
  expect(faults.down).toBe(true);
  await expect(postAlone(webhookUrl, running, key)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await faults.setDown(false);
  expect(sandbox.orchestra.url).toBe(url);
  expect((await postAlone(webhookUrl, running, key)).status).toBe(200);
});

test("going down and up again many times at once ends as it was asked for last", async () => {
  const { faults, webhookUrl } = sandbox.orchestra;
  await Promise.all([
    faults.setDown(true),
    faults.setDown(false),
    faults.setDown(true),
    faults.setDown(false),
  ]);
  expect((await postAlone(webhookUrl, running, key)).status).toBe(200);
});

test("the control surface lists and clears requests, and does not record itself", async () => {
  const { url, webhookUrl } = sandbox.orchestra;
  await post(webhookUrl, running, key);
  await post(webhookUrl, running, key);
  const listed = await control(url, "GET /requests");
  expect(listed).toHaveLength(2);
  expect(await control(url, `GET /requests?after=${listed[0].seq}`)).toHaveLength(1);
  await control(url, "DELETE /requests");
  expect(await control(url, "GET /requests")).toEqual([]);
});

test("the control surface sets, shows and clears fault rules", async () => {
  const { url, webhookUrl } = sandbox.orchestra;
  await control(url, "PUT /faults", [{ id: "x", times: 1, action: { kind: "answer", status: 500 } }]);
  expect((await post(webhookUrl, running, key)).status).toBe(500);
  expect(await control(url, "GET /faults")).toEqual([
    { id: "x", times: 1, action: { kind: "answer", status: 500 }, fired: 1 },
  ]);
  await control(url, "DELETE /faults");
  expect(await control(url, "GET /faults")).toEqual([]);
});

test("the control surface takes an upstream down for a time", async () => {
  const { url, webhookUrl, faults } = sandbox.orchestra;
  await control(url, "PUT /faults", { downMs: 1000 });
  await until(() => faults.down);
  await expect(postAlone(webhookUrl, running, key)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await until(() => !faults.down);
  await until(() => sandbox.orchestra.url === url);
  await faults.setDown(false);
  expect((await postAlone(webhookUrl, running, key)).status).toBe(200);
});

test("reset forgets state, requests, faults and settings", async () => {
  const { url, webhookUrl, settings, taskRuns } = sandbox.orchestra;
  await post(webhookUrl, running, key);
  settings.refuseAfterOutcome = true;
  await control(url, "PUT /faults", [{ action: { kind: "hang" } }]);
  await control(url, "POST /reset");
  expect(taskRuns.list()).toEqual([]);
  expect(sandbox.orchestra.requests).toEqual([]);
  expect(sandbox.orchestra.faults.rules).toEqual([]);
  expect(settings.refuseAfterOutcome).toBe(false);
});

test.each([
  ["PUT", "/faults", '[{"action":{"kind":"no"}}]', 400],
  ["PUT", "/faults", "{broken", 400],
  ["PUT", "/faults", '{"rules":1}', 400],
  ["PUT", "/faults", '{"downMs":-1}', 400],
  ["GET", "/nothing", undefined, 404],
  ["POST", "/requests", undefined, 404],
] as const)("the control call %s %s with %s is answered with %i", async (method, path, body, status) => {
  const answer = await send(`${sandbox.orchestra.url}/_sandbox${path}`, { method, ...(body && { body }) });
  expect(answer.status).toBe(status);
  expect(JSON.parse(answer.text).error).toEqual(expect.any(String));
});

test("a rule whose path is no regular expression is refused over HTTP as well", async () => {
  const rules = [{ match: { path: "(" }, action: { kind: "hang" } }];
  await expect(control(sandbox.orchestra.url, "PUT /faults", rules)).rejects.toThrow("400");
});
