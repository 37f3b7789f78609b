import { createHash } from "node:crypto";
import { request as nodeRequest } from "node:http";
import { request } from "undici";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { parseDocument } from "yaml";
import type { FaultAction } from "../../src/sandbox/faults.ts";
import { type Sandbox, startSandbox } from "../../src/sandbox/sandbox.ts";
import { findSandboxPorts } from "../support/free-port.ts";
import { post, send, until } from "./http-client.ts";

const id = "1d876307-8c0a-42a1-8299-af0516223652";
const running = { event_type: "UPDATE_STATUS", task_run_id: id, status: "RUNNING" };

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox({ ports: await findSandboxPorts() });
});
afterEach(async () => {
  await sandbox.orchestra.reset();
});
afterAll(async () => {
  await sandbox.close();
});

function tell() {
  return post(sandbox.orchestra.webhookUrl, running, { authorization: `Bearer ${sandbox.orchestra.apiKey}` });
}

function fault(action: FaultAction, when: "before" | "after" = "before") {
  sandbox.orchestra.faults.set([{ id: "it", when, times: 1, action }]);
}

/** How many events Orchestra has taken. */
function taken(): number {
  return sandbox.orchestra.taskRuns.get(id)?.events.length ?? 0;
}

test("an answer replaces the upstream's, with its own headers and body", async () => {
  fault({
    kind: "answer",
    status: 503,
    headers: { "retry-after": "7" },
    contentType: "text/plain",
    body: "busy",
  });
  const answer = await tell();
  expect(answer).toMatchObject({ status: 503, text: "busy" });
  expect(answer.headers).toMatchObject({ "retry-after": "7", "content-type": "text/plain" });
  expect(taken()).toBe(0);
  expect(sandbox.orchestra.requests.at(-1)).toMatchObject({ fault: "it", status: 503 });
  expect((await tell()).status).toBe(200);
});

test('with "after" the upstream takes the event, and the client hears something else', async () => {
  fault({ kind: "answer", status: 502 }, "after");
  expect((await tell()).status).toBe(502);
  expect(taken()).toBe(1);
});

test("a delay lets everything happen, later", async () => {
  fault({ kind: "delay", delayMs: 40 });
  const before = performance.now();
  const answer = tell();
  expect((await answer).status).toBe(200);
  expect(performance.now() - before).toBeGreaterThan(35);
  expect(taken()).toBe(1);
});

test("a delay after the upstream's work holds back only the answer", async () => {
  fault({ kind: "delay", delayMs: 60_000 }, "after");
  const aborted = new AbortController();
  const answer = request(sandbox.orchestra.webhookUrl, {
    method: "POST",
    headers: { authorization: "Bearer sandbox-key", "content-type": "application/json" },
    body: JSON.stringify(running),
    signal: aborted.signal,
  });
  await until(() => taken() === 1);
  aborted.abort();
  await expect(answer).rejects.toThrow();
});

test("hanging lasts until the client leaves", async () => {
  fault({ kind: "hang" });
  const answer = request(sandbox.orchestra.webhookUrl, {
    method: "POST",
    body: "x",
    signal: AbortSignal.timeout(50),
  });
  await expect(answer).rejects.toThrow();
  await until(() => sandbox.orchestra.requests.at(-1)?.endMs !== undefined);
  expect(sandbox.orchestra.requests.at(-1)).toMatchObject({ fault: "it", status: null, body: "x" });
});

test("a reset at the head cuts the connection before the body is read", async () => {
  fault({ kind: "reset", at: "head" });
  await expect(tell()).rejects.toMatchObject({
    code: expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET|EPIPE/),
  });
  expect(sandbox.orchestra.requests.at(-1)).toMatchObject({ fault: "it", status: null, body: "" });
});

test("a reset after the request cuts the connection without an answer", async () => {
  fault({ kind: "reset" });
  await expect(tell()).rejects.toMatchObject({ code: expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET/) });
  expect(taken()).toBe(0);
  fault({ kind: "reset" }, "after");
  await expect(tell()).rejects.toThrow();
  expect(taken()).toBe(1);
});

test("a reset is a real one: the client's socket says ECONNRESET", async () => {
  fault({ kind: "reset" });
  const error = await new Promise<NodeJS.ErrnoException>((resolve, reject) => {
    const sent = nodeRequest(sandbox.orchestra.webhookUrl, { method: "POST" }, reject);
    sent.on("error", resolve);
    sent.end("{}");
  });
  expect(error.code).toBe("ECONNRESET");
});

test("a reset in the answer cuts it in the middle", async () => {
  fault({ kind: "reset", at: "answer" }, "after");
  await expect(tell()).rejects.toThrow();
  expect(taken()).toBe(1);
  expect(sandbox.orchestra.requests.at(-1)?.status).toBe(200);
});

test("a close without an answer ends the connection in good order", async () => {
  fault({ kind: "noAnswerClose" });
  await expect(tell()).rejects.toMatchObject({ code: "UND_ERR_SOCKET" });
  expect(taken()).toBe(0);
});

test("a truncated answer is shorter than it says", async () => {
  fault({ kind: "truncate" }, "after");
  const answer = await request(sandbox.orchestra.webhookUrl, {
    method: "POST",
    headers: { authorization: "Bearer sandbox-key", "content-type": "application/json" },
    body: JSON.stringify(running),
  });
  expect(answer.statusCode).toBe(200);
  await expect(answer.body.text()).rejects.toThrow();
  expect(taken()).toBe(1);
});

test("a dribbled answer comes byte by byte, and whole", async () => {
  fault({ kind: "dribble", intervalMs: 1 }, "after");
  const answer = await request(sandbox.orchestra.webhookUrl, {
    method: "POST",
    headers: { authorization: "Bearer sandbox-key", "content-type": "application/json" },
    body: JSON.stringify(running),
  });
  let chunks = 0;
  let text = "";
  for await (const chunk of answer.body) {
    chunks++;
    text += chunk;
  }
  expect(JSON.parse(text)).toMatchObject({ success: true, task_run_id: id });
  expect(chunks).toBeGreaterThan(10);
});

test("an endless body goes on until the client has had enough", async () => {
  fault({ kind: "endless" });
  const answer = await request(sandbox.orchestra.webhookUrl, { method: "POST" });
  let bytes = 0;
  for await (const chunk of answer.body) {
    bytes += chunk.length;
    if (bytes > 5_000_000) {
      break;
    }
  }
  expect(bytes).toBeGreaterThan(5_000_000);
  await until(() => sandbox.orchestra.requests.at(-1)?.endMs !== undefined);
});

test("a log-in page is HTML with status 200", async () => {
  fault({ kind: "html" });
  const answer = await tell();
  expect(answer.status).toBe(200);
  expect(answer.headers["content-type"]).toMatch("text/html");
});

test.each([301, 302, 303, 307, 308] as const)("a redirect can be a %i", async (status) => {
  fault({ kind: "redirect", status, location: "http://127.0.0.1:9/elsewhere" });
  const answer = await tell();
  expect(answer).toMatchObject({ status, headers: { location: "http://127.0.0.1:9/elsewhere" } });
});

test("a YAML bomb is small on the wire and 10^9 strings when it is spread out", async () => {
  fault({ kind: "yamlBomb" });
  const { text, headers } = await tell();
  expect(headers["content-type"]).toBe("text/yaml");
  expect(text.length).toBeLessThan(1000);
  expect(parseDocument(text).errors).toEqual([]);
  expect(() => parseDocument(text).toJS()).toThrow("alias");
});

test("deep nesting is as deep as asked for", async () => {
  fault({ kind: "deepNesting", depth: 1000 });
  expect((await tell()).text).toBe(`{"result": ${"[".repeat(1000)}${"]".repeat(1000)}}`);
});

test("a header that HTTP cannot send cuts the connection and nothing else", async () => {
  fault({ kind: "answer", status: 200, headers: { "x-bad": "a\nb" } });
  await expect(tell()).rejects.toThrow();
  expect((await tell()).status).toBe(200);
});

test("without a fault an answer of some size arrives as it was sent", async () => {
  const body = "x".repeat(3_000_000);
  fault({ kind: "answer", status: 200, body });
  const { text } = await send(sandbox.orchestra.webhookUrl, { body: "{}" });
  expect(createHash("sha256").update(text).digest("hex")).toBe(
    createHash("sha256").update(body).digest("hex"),
  );
});
