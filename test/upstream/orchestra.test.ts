import { inspect } from "node:util";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { AttemptResult } from "../../src/model/attempt-result.ts";
import { constantCredential } from "../../src/model/credential.ts";
import type { DeliveryUpstream, NewDelivery, SentDelivery } from "../../src/model/delivery.ts";
import type { RunReport, RunStatus } from "../../src/model/run-report.ts";
import { createOrchestra, orchestraEvent, prepareRunReport } from "../../src/upstream/orchestra.ts";
import {
  answering,
  type ScriptedServer,
  unusedOrigin,
  useScriptedServer,
} from "../support/scripted-server.ts";
import { useHttpClient } from "../support/use-http-client.ts";
import { expectedFailure } from "./expected-failure.ts";

const run = { taskRunId: "1d876307-8c0a-42a1-8299-af0516223652", attempt: 2 };
const key = `${run.taskRunId}/2`;
const apiKey = "orch_s3cr3t+/=";
const nowMs = Date.UTC(2026, 0, 1);

const head = (type: string) => `{"event_type":"${type}","metadata":{},"task_run_id":"${run.taskRunId}"`;

function status(each: RunStatus | undefined, message?: string): RunReport {
  return { run, kind: "status", status: each, message };
}

function useOrchestra(
  origin: string,
  options: { webhookPath?: string; timeoutMs?: number } = {},
): DeliveryUpstream {
  return createOrchestra({
    http: useHttpClient(origin),
    webhookPath: "/",
    apiKey: constantCredential(apiKey),
    timeoutMs: 10_000,
    now: () => nowMs,
    ...options,
  });
}

function sent({ taskId, attempt, target, body }: NewDelivery, isInDoubt = false): SentDelivery {
  return { taskId, attempt, target, body, isInDoubt };
}

const delivery = sent(prepareRunReport(status("RUNNING")));

/** What Orchestra makes of an event when it gives one answer. */
async function resultOf(
  statusCode: number,
  body = "",
  headers: Record<string, string> = { "content-type": "application/json" },
): Promise<AttemptResult> {
  const server = await useScriptedServer(answering(statusCode, body, headers));
  return useOrchestra(server.origin).send(delivery);
}

function rejected(statusCode: number, words?: { said?: string; type?: string }): AttemptResult {
  return failed("rejected", Code.FailedPrecondition, ErrorReason.UPSTREAM_REJECTED, statusCode, words);
}

function failed(
  kind: "rejected" | "unauthorized" | "unavailable" | "inDoubt",
  code: Code,
  reason: ErrorReason,
  statusCode: number,
  words: { said?: string; type?: string } = {},
  retrySeconds?: number,
): AttemptResult {
  const { said, type } = words;
  return {
    kind,
    failure: expectedFailure(
      code,
      reason,
      said === undefined ? `orchestra answered ${statusCode}` : `orchestra answered ${statusCode}: ${said}`,
      {
        upstream: "orchestra",
        http_status: String(statusCode),
        ...(type === undefined ? {} : { upstream_type: type }),
        ...(said === undefined ? {} : { upstream_message: said }),
      },
      retrySeconds,
    ),
  };
}

const statuses: readonly RunStatus[] = ["RUNNING", "SUCCEEDED", "FAILED", "WARNING", "CANCELLED"];

describe("an event", () => {
  test.each(statuses)("O-03 O-04 O-08 with the status %s alone has no message and no timestamp", (each) => {
    expect(orchestraEvent(status(each))).toBe(`${head("UPDATE_STATUS")},"status":"${each}"}`);
  });

  test("O-05 with status and message has both", () => {
    expect(orchestraEvent(status("FAILED", 'it "broke"\n'))).toBe(
      `${head("UPDATE_STATUS")},"status":"FAILED","message":"it \\"broke\\"\\n"}`,
    );
  });

  test.each(["", "half way", '","status":"FAILED', "é 😀"])(
    "O-05 O-06 with the message %j says the status that was reported, and RUNNING where none was",
    (message) => {
      for (const each of [...statuses, undefined]) {
        const event = orchestraEvent(status(each, message));
        expect(event).toBe(
          `${head("UPDATE_STATUS")},"status":"${each ?? "RUNNING"}","message":${JSON.stringify(message)}}`,
        );
        expect(JSON.parse(event)).toStrictEqual({
          event_type: "UPDATE_STATUS",
          metadata: {},
          task_run_id: run.taskRunId,
          status: each ?? "RUNNING",
          message,
        });
      }
    },
  );

  test.each([['"text"'], ["null"], ["12345678901234567890.10"], ['{"b" : 1, "a" : [ 1e400 ]}']])(
    "O-09 with an output carries %s as it is",
    (valueJson) => {
      expect(orchestraEvent({ run, kind: "output", name: "row_count", valueJson })).toBe(
        `${head("SET_OUTPUT")},"output_name":"row_count","output_value":${valueJson}}`,
      );
    },
  );

  test("O-11 with a log carries the whole text", () => {
    const data = `first line\n${"more \u001b[31m\t".repeat(10_000)}`;
    expect(JSON.parse(orchestraEvent({ run, kind: "log", name: "orchestra.log", data }))).toEqual({
      event_type: "LOG",
      metadata: {},
      task_run_id: run.taskRunId,
      log_name: "orchestra.log",
      data,
    });
  });

  test.each<RunReport>([
    status("RUNNING", '","status":"FAILED'),
    { run, kind: "output", name: 'a","x":"', valueJson: "1" },
    { run, kind: "log", name: "a\\", data: '","event_type":"UPDATE_STATUS' },
  ])("O-03 is one flat object, whatever its texts hold: $kind", (report) => {
    const event: Record<string, unknown> = JSON.parse(orchestraEvent(report));
    expect(
      Object.values(event).every((each) => typeof each !== "object" || Object.keys(each ?? {}).length === 0),
    ).toBe(true);
    expect([event.event_type, event.metadata, event.task_run_id, event.status]).toEqual([
      { status: "UPDATE_STATUS", output: "SET_OUTPUT", log: "LOG" }[report.kind],
      {},
      run.taskRunId,
      report.kind === "status" ? report.status : undefined,
    ]);
    expect("timestamp" in event).toBe(false);
  });
});

describe("a delivery", () => {
  const task = {
    upstream: "orchestra",
    lane: "orchestra",
    key,
    taskId: run.taskRunId,
    attempt: "2",
    target: "",
  };

  test.each<[what: string, report: RunReport, kind: string]>([
    ["O-09 of an output", { run, kind: "output", name: "a", valueJson: "1" }, "output"],
    ["O-11 O-12 of a log", { run, kind: "log", name: "a.log", data: "" }, "log"],
    ["O-08 of the status RUNNING", status("RUNNING", "half way"), "status"],
    ["O-06 of a message alone", status(undefined, "half way"), "status"],
  ])("%s has its event as the body, belongs to its attempt, and ends nothing", (_, report, kind) => {
    expect(prepareRunReport(report)).toStrictEqual({
      ...task,
      kind,
      outcomeTag: "",
      body: orchestraEvent(report),
    });
  });

  test.each<RunStatus>(["SUCCEEDED", "FAILED", "WARNING", "CANCELLED"])(
    "O-08 of the status %s is an outcome, and the same one whatever its message",
    (each) => {
      for (const report of [status(each), status(each, "it ended")]) {
        expect(prepareRunReport(report)).toStrictEqual({
          ...task,
          kind: "outcome",
          outcomeTag: each,
          body: orchestraEvent(report),
        });
      }
    },
  );

  test("of another attempt, or of another run, has another key", () => {
    const keys = [
      run,
      { ...run, attempt: 0 },
      { ...run, taskRunId: "00000000-0000-0000-0000-000000000000" },
    ].map((each) => prepareRunReport({ run: each, kind: "log", name: "a.log", data: "" }).key);
    expect(keys).toEqual([key, `${run.taskRunId}/0`, "00000000-0000-0000-0000-000000000000/2"]);
  });

  test("O-29 O-30 O-32 that is in doubt is sent again as it was", async () => {
    const server = await useScriptedServer(answering(200));
    const prepared = prepareRunReport(status("FAILED", "é 😀"));
    const orchestra = useOrchestra(server.origin);
    await orchestra.send(sent(prepared));
    expect(await orchestra.send(sent(prepared, true))).toEqual({ kind: "accepted", answer: "" });
    expect(server.seen.map(({ body }) => body)).toEqual([prepared.body, prepared.body]);
  });
});

describe("a request", () => {
  async function sentTo(webhookPath: string, report: RunReport): Promise<ScriptedServer> {
    const server = await useScriptedServer(answering(200));
    const result = await useOrchestra(server.origin, { webhookPath }).send(sent(prepareRunReport(report)));
    expect(result).toEqual({ kind: "accepted", answer: "" });
    return server;
  }

  test.each(["/", "/hook", "/hook/", "/a//b", "/hook?tenant=1&x=%2F", "/?"])(
    "O-01 O-02 is a POST to exactly %s, with the key and the event",
    async (webhookPath) => {
      const body = `${head("UPDATE_STATUS")},"status":"FAILED","message":"é 😀"}`;
      const { origin, seen } = await sentTo(webhookPath, status("FAILED", "é 😀"));
      expect(seen).toEqual([
        {
          method: "POST",
          url: webhookPath,
          headers: {
            host: new URL(origin).host,
            connection: "keep-alive",
            accept: "*/*",
            "user-agent": "taskgate/1.2.3",
            authorization: `Bearer ${apiKey}`,
            "content-type": "application/json",
            "content-length": String(Buffer.byteLength(body)),
          },
          body,
        },
      ]);
    },
  );

  test("O-06 with a message alone says that the run is running", async () => {
    const { seen } = await sentTo("/", status(undefined, "half way"));
    expect(seen.map(({ body }) => body)).toEqual([
      `${head("UPDATE_STATUS")},"status":"RUNNING","message":"half way"}`,
    ]);
  });

  test.each<RunReport>([
    { run, kind: "output", name: "a", valueJson: '{"b" : 1.0, "a" : [ 9007199254740993 ]}' },
    { run, kind: "log", name: "a.log", data: "é 😀" },
  ])("O-09 O-11 without a status has the body as it is: $kind", async (report) => {
    const { seen } = await sentTo("/", report);
    expect(seen.map(({ body }) => body)).toEqual([orchestraEvent(report)]);
  });

  test("O-16 with text outside ASCII arrives as the same text", async () => {
    const message = "naïve 日本語 👩‍👩‍👧 \u0085\u2028\ufeff \u{10ffff}";
    const { seen } = await sentTo("/", status("RUNNING", message));
    expect(JSON.parse(seen[0]?.body ?? "")).toMatchObject({ message });
  });

  test("O-11 with a log of megabytes is one request", async () => {
    const data = "a line of the log é\n".repeat(100_000);
    const { seen } = await sentTo("/", { run, kind: "log", name: "a.log", data });
    expect(seen.length).toBe(1);
    expect(JSON.parse(seen[0]?.body ?? "").data === data).toBe(true);
  });

  test("has the key that is current when it is sent", async () => {
    const server = await useScriptedServer(answering(200));
    const keys = ["first", "second"];
    const orchestra = createOrchestra({
      http: useHttpClient(server.origin),
      webhookPath: "/",
      apiKey: { current: () => keys.shift() ?? "", isReplaced: async () => false },
      timeoutMs: 10_000,
      now: () => nowMs,
    });
    await orchestra.send(delivery);
    await orchestra.send(delivery);
    expect(server.seen.map(({ headers }) => headers.authorization)).toEqual([
      "Bearer first",
      "Bearer second",
    ]);
  });
});

describe("an answer", () => {
  test("O-20 of success is accepted", async () => {
    const body = '{"success": true, "message": "Outputs set successfully", "task_run_id": "task_run_12345"}';
    expect(await resultOf(200, body)).toEqual({ kind: "accepted", answer: "" });
  });

  test.each([
    [200, ""],
    [200, "OK"],
    [200, "null"],
    [200, "[]"],
    [200, '"success"'],
    [200, '{"success": 0}'],
    [200, '{"success": "false"}'],
    [200, '{"success": null}'],
    [200, '{"success": false'],
    [200, '{"data": {"success": false}}'],
    [200, '["success", false]'],
    [200, '{"error": "none", "code": "NONE"}'],
    [200, "<html>success: false</html>"],
    [201, "{}"],
    [202, ""],
    [204, ""],
    [299, "anything"],
  ])("O-21 O-33 of %i with the body %j is accepted", async (statusCode, body) => {
    expect(await resultOf(statusCode, body, {})).toEqual({ kind: "accepted", answer: "" });
  });

  test.each<[body: string, words: { said?: string; type?: string }]>([
    ['{"success": false}', {}],
    ['{"success":false,"error":"no"}', { said: "no" }],
    ['{"success" : false, "code": "NO"}', { type: "NO" }],
    ['{"success": false, "error": 1, "code": {}}', {}],
    ['{"success": false, "error": "", "code": ""}', {}],
    [
      '{"success": false, "error": "Invalid task_run_id", "code": "TASK_NOT_FOUND"}',
      { said: "Invalid task_run_id", type: "TASK_NOT_FOUND" },
    ],
  ])("O-22 O-25 of 200 with %s is a refusal", async (body, words) => {
    expect(await resultOf(200, body)).toEqual(rejected(200, words));
  });

  test.each<[statusCode: number, body: string, words: { said?: string; type?: string }]>([
    [400, "", {}],
    [404, "<html>Not Found</html>", {}],
    [405, "null", {}],
    [409, "[]", {}],
    [410, '"gone"', {}],
    [
      400,
      '{"success": false, "error": "Malformed payload", "code": "BAD_REQUEST"}',
      { said: "Malformed payload", type: "BAD_REQUEST" },
    ],
    [
      404,
      '{"error": "Invalid task_run_id", "code": "TASK_NOT_FOUND"}',
      { said: "Invalid task_run_id", type: "TASK_NOT_FOUND" },
    ],
    [422, '{"success": true, "error": "odd"}', { said: "odd" }],
    [422, '{"code": "ODD"}', { type: "ODD" }],
  ])("O-23 O-25 of %i with %s is a refusal", async (statusCode, body, words) => {
    expect(await resultOf(statusCode, body)).toEqual(rejected(statusCode, words));
  });

  test.each([401, 403])("O-24 of %i refuses the credentials", async (statusCode) => {
    const body = '{"success": false, "error": "Invalid API key", "code": "UNAUTHORIZED"}';
    expect(await resultOf(statusCode, body)).toEqual(
      failed("unauthorized", Code.FailedPrecondition, ErrorReason.UPSTREAM_AUTH, statusCode, {
        said: "Invalid API key",
        type: "UNAUTHORIZED",
      }),
    );
  });

  test.each([300, 301, 302, 303, 307, 308, 399])(
    "O-26 a redirect with %i is not followed and is a refusal",
    async (statusCode) => {
      const other = await useScriptedServer(answering(200, '{"success": true}'));
      const server = await useScriptedServer(answering(statusCode, "", { location: `${other.origin}/` }));
      expect(await useOrchestra(server.origin).send(delivery)).toEqual(
        rejected(statusCode, { said: "a redirect, which is not followed: the webhook URL is wrong" }),
      );
      expect([server.seen.length, other.seen.length]).toEqual([1, 0]);
    },
  );

  test.each([
    ["30", 30],
    ["86400", 600],
    ["Thu, 01 Jan 2026 00:01:30 GMT", 90],
    ["soon", undefined],
    ["", undefined],
  ])("O-27 of 429 with Retry-After %j is unavailable for %s seconds", async (header, retrySeconds) => {
    expect(await resultOf(429, "", { "retry-after": header })).toEqual(
      failed("unavailable", Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE, 429, {}, retrySeconds),
    );
  });

  test("O-28 of 503 is unavailable", async () => {
    expect(await resultOf(503, '{"success": false, "error": "maintenance"}')).toEqual(
      failed("unavailable", Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE, 503, { said: "maintenance" }),
    );
  });

  test.each([500, 502, 504])("O-29 of %i leaves a doubt", async (statusCode) => {
    expect(await resultOf(statusCode, "Bad Gateway")).toEqual(
      failed("inDoubt", Code.Unknown, ErrorReason.UPSTREAM_UNCERTAIN, statusCode),
    );
    expect(await resultOf(statusCode, '{"success": false, "error": "oops"}')).toEqual(
      failed("inDoubt", Code.Unknown, ErrorReason.UPSTREAM_UNCERTAIN, statusCode, { said: "oops" }),
    );
  });
});

describe("no answer", () => {
  const inDoubt = (cause: string): AttemptResult => ({
    kind: "inDoubt",
    failure: expectedFailure(
      Code.Unknown,
      ErrorReason.UPSTREAM_UNCERTAIN,
      `orchestra may have taken the request: ${cause}`,
      { upstream: "orchestra" },
    ),
  });

  test("O-30 in time leaves a doubt", async () => {
    const server = await useScriptedServer(() => undefined);
    const result = await useOrchestra(server.origin, { timeoutMs: 300 }).send(delivery);
    expect(result).toEqual(inDoubt("no answer within 300 ms"));
  });

  test("O-31 because nobody listens is unavailable", async () => {
    const origin = await unusedOrigin();
    expect(await useOrchestra(origin).send(delivery)).toEqual({
      kind: "unavailable",
      failure: expectedFailure(
        Code.Unavailable,
        ErrorReason.UPSTREAM_UNAVAILABLE,
        `orchestra was not reached: connect ECONNREFUSED ${new URL(origin).host}`,
        { upstream: "orchestra" },
      ),
    });
  });

  test("O-31 because there is no such host is unavailable", async () => {
    expect(await useOrchestra("http://nowhere.invalid").send(delivery)).toMatchObject({
      kind: "unavailable",
      failure: { code: Code.Unavailable, reason: ErrorReason.UPSTREAM_UNAVAILABLE },
    });
  });

  test("O-32 because the connection broke leaves a doubt", async () => {
    const server = await useScriptedServer((_, response) => {
      response.destroy();
    });
    expect(await useOrchestra(server.origin).send(delivery)).toEqual(
      inDoubt("other side closed (UND_ERR_SOCKET)"),
    );
  });

  test("because the caller left leaves a doubt", async () => {
    const caller = new AbortController();
    const server = await useScriptedServer(() => caller.abort());
    expect(await useOrchestra(server.origin).send(delivery, caller.signal)).toEqual(
      inDoubt("the call was ended by its caller"),
    );
  });
});

describe("what the upstream echoes", () => {
  test.each<[what: string, statusCode: number, body: unknown]>([
    ["the key in the error", 401, { success: false, error: `${apiKey} is no key` }],
    ["the key in the error of a 2xx", 200, { success: false, error: `Bearer ${apiKey}` }],
    ["the key in the code", 401, { success: false, error: "no", code: `BAD_KEY_${apiKey}` }],
    ["the key in the code of a 2xx", 200, { success: false, code: apiKey }],
    ["the key in an escape", 400, { success: false, error: apiKey, code: apiKey }],
    [
      "the key in the middle of much",
      500,
      { success: false, error: `${"x".repeat(280)}${apiKey}${"x".repeat(280)}` },
    ],
  ])("never shows a secret: %s", async (_, statusCode, body) => {
    const json = JSON.stringify(body).replaceAll("o", "\\u006f");
    const text = inspect(await resultOf(statusCode, json), { depth: null });
    expect(text).toContain("[redacted]");
    expect(text).not.toContain(apiKey);
    expect(text).not.toContain("s3cr3t");
  });

  test("never shows a secret: the webhook's path and query", async () => {
    const server = await useScriptedServer(({ url }, response) => {
      response.writeHead(404, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: `no ${url}`, code: url.split("=").at(-1) }));
    });
    const orchestra = useOrchestra(server.origin, { webhookPath: "/hook/c4p4b1l1ty?sig=s1gn4tur3" });
    const text = inspect(await orchestra.send(delivery), { depth: null });
    expect(text).toContain("[redacted]");
    expect(text).not.toMatch(/c4p4b1l1ty|s1gn4tur3/);
  });

  test("is one line of limited length, in the code as well as in the error", async () => {
    const long = `a\n\t\u0000\ud83d${"x".repeat(20_000)}`;
    const shown = `a ${"x".repeat(295)}...`;
    expect(await resultOf(400, JSON.stringify({ success: false, error: long, code: long }))).toEqual(
      rejected(400, { said: shown, type: shown }),
    );
  });
});
