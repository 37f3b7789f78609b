import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { type Caller, seenError, type TestClient, testClients } from "../support/clients.ts";
import { receiptLine, troubled } from "../support/deliveries.ts";
import {
  answering,
  type Script,
  type ScriptedServer,
  useScriptedServer,
} from "../support/scripted-server.ts";
import { useGateway } from "../support/use-gateway.ts";

const { completeCallback, reportCallbackProgress, heartbeatCallback } = CallbackService.method;
const processId = "1d876307-8c0a-42a1-8299-af0516223652";
const token = "AbC-_0123456789abcdefghijklmnopqrstuvwxyzAB";
const route = `/api/processes/${processId}/callback/${token}`;
const target = { case: "callbackRoute", value: route } as const;
const other = { case: "callbackRoute", value: route.replace(/.$/, "x") } as const;
const accepted = answering(200, "null");

async function useOrchestrator(
  client: TestClient,
  script: Script = accepted,
  env: Record<string, string> = {},
): Promise<{ caller: Caller; upstream: ScriptedServer }> {
  const upstream = await useScriptedServer(script);
  const { url } = await useGateway({
    TASKGATE_ORCHESTRATOR_URL: `${upstream.origin}/base/`,
    TASKGATE_FAST_LANE: String(client.fastLane),
    ...env,
  });
  return { caller: client.connect(url), upstream };
}

describe.each(testClients)("CallbackService over $name", (client) => {
  test("W-01 W-02 W-04 a typed result becomes one flat object behind the base's path", async () => {
    const { caller, upstream } = await useOrchestrator(client);
    const { receipt } = await caller.call(completeCallback, {
      target,
      payload: {
        case: "result",
        value: { jobId: "job-1", output: ["line 1", "línea 2"], returnCode: 0, status: "successful" },
      },
    });
    expect(receipt).toMatchObject({ state: DeliveryState.DELIVERED });
    expect(upstream.seen).toMatchObject([
      {
        method: "POST",
        url: `/base${route}`,
        body: '{"job_id":"job-1","output":["line 1","línea 2"],"return_code":0,"status":"successful"}',
      },
    ]);
    expect(upstream.seen[0]?.headers).toMatchObject({ "content-type": "application/json" });
    expect(upstream.seen[0]?.headers).not.toHaveProperty("authorization");
    expect(upstream.seen[0]?.headers).not.toHaveProperty("content-encoding");
  });

  test("W-04 what is unset in a typed result is left out, but for the output", async () => {
    const { caller, upstream } = await useOrchestrator(client);
    await caller.call(completeCallback, { target, payload: { case: "result", value: { returnCode: 0 } } });
    await caller.call(completeCallback, { target: other, payload: { case: "result", value: {} } });
    expect(upstream.seen.map(({ body }) => body)).toEqual(['{"output":[],"return_code":0}', '{"output":[]}']);
  });

  test("W-05 W-06 an object arrives as JSON, and JSON text arrives to the letter", async () => {
    const { caller, upstream } = await useOrchestrator(client);
    await caller.call(completeCallback, {
      target,
      payload: { case: "object", value: { a: [1, "x", null, true, { b: 2.5 }] } },
    });
    const json = ' { "z": 12345678901234567890, "a": 0.10 ,"a":1e400}\n';
    await caller.call(completeCallback, { target: other, payload: { case: "json", value: json } });
    expect(upstream.seen.map(({ body }) => body)).toEqual(['{"a":[1,"x",null,true,{"b":2.5}]}', json]);
  });

  test("W-03 W-14 a URL may name one of several bases, and the credential goes to it alone", async () => {
    const second = await useScriptedServer(accepted);
    const first = await useScriptedServer(accepted);
    const { url } = await useGateway({
      TASKGATE_ORCHESTRATOR_URL: `${first.origin}, ${second.origin}/deep/er`,
      TASKGATE_ORCHESTRATOR_TOKEN: "first-token,bearer-token",
      TASKGATE_FAST_LANE: String(client.fastLane),
    });
    const caller = client.connect(url);
    const payload = { case: "result", value: { returnCode: 0 } } as const;
    await caller.call(completeCallback, {
      target: { case: "callbackUrl", value: `${second.origin}/deep/er${route}` },
      payload,
    });
    expect(first.seen).toEqual([]);
    expect(second.seen).toMatchObject([
      { url: `/deep/er${route}`, headers: { authorization: "Bearer bearer-token" } },
    ]);
    expect(await caller.fail(completeCallback, { target, payload })).toMatchObject({
      code: Code.PermissionDenied,
      reason: "CALLBACK_NOT_ALLOWED",
      violations: { callback_route: expect.stringContaining("use callback_url") },
    });
  });

  test("W-13 a target that is not a route, or behind no configured base, is refused by name", async () => {
    const { caller, upstream } = await useOrchestrator(client);
    const payload = { case: "result", value: { returnCode: 0 } } as const;
    const routes = [
      `/${route}`,
      `/api/processes/../processes/${processId}/callback/${token}`,
      `${route}?a=b`,
      `${route}/progress`,
      `https://evil.example${route}`,
      route.replace("/callback/", "/callback/%41"),
      `\\${route}`,
      route.slice(0, -1),
      "",
    ];
    for (const value of routes) {
      const error = await caller.fail(completeCallback, {
        target: { case: "callbackRoute", value },
        payload,
      });
      expect(error, value).toMatchObject({
        code: Code.PermissionDenied,
        reason: "CALLBACK_NOT_ALLOWED",
        violations: { callback_route: expect.any(String) },
      });
      expect(JSON.stringify(error)).not.toContain(token);
    }
    const urls = [
      `${upstream.origin}${route}`,
      `${upstream.origin}/base/../base${route}`,
      `http://user@127.0.0.1/base${route}`,
      `${upstream.origin}/baseevil${route}`,
      `http://evil.example/base${route}`,
    ];
    for (const value of urls) {
      expect(
        await caller.fail(completeCallback, { target: { case: "callbackUrl", value }, payload }),
        value,
      ).toMatchObject({ reason: "CALLBACK_NOT_ALLOWED", violations: { callback_url: expect.any(String) } });
    }
    expect(upstream.seen).toEqual([]);
  });

  test("W-07 W-08 a payload that the Orchestrator cannot take is refused, by field", async () => {
    const { caller, upstream } = await useOrchestrator(client);
    async function violations(payload: Parameters<typeof complete>[0]) {
      return (await complete(payload)).violations;
    }
    function complete(
      payload: { case: "json"; value: string } | { case: "object"; value: { [key: string]: number } },
    ) {
      return caller.fail(completeCallback, { target, payload });
    }
    expect(await violations({ case: "json", value: "[1]" })).toEqual({ json: "must be a JSON object" });
    expect(await violations({ case: "json", value: "null" })).toEqual({ json: "must be a JSON object" });
    expect(await violations({ case: "json", value: "{" })).toEqual({
      json: expect.stringContaining("is not valid JSON"),
    });
    expect(await violations({ case: "json", value: '{"a":"\\u0000"}' })).toEqual({
      json: "contains U+0000, which the upstream cannot store",
    });
    expect(await violations({ case: "json", value: '{"a":"\\ud800"}' })).toEqual({
      json: "contains half a surrogate pair, which is not Unicode text",
    });
    expect(await violations({ case: "json", value: '{"a":18446744073709551616}' })).toEqual({
      json: "contains the integer 18446744073709551616, which does not fit 64 bits",
    });
    expect(await violations({ case: "object", value: { a: Number.POSITIVE_INFINITY } })).toEqual({
      object: "contains Infinity, which is not a JSON number",
    });
    expect(await caller.fail(completeCallback, { target })).toMatchObject({
      code: Code.InvalidArgument,
      violations: { payload: "is required: result, object or json" },
    });
    expect(await caller.fail(completeCallback, { payload: { case: "json", value: "{}" } })).toMatchObject({
      violations: { target: "is required: callback_route or callback_url" },
    });
    expect(upstream.seen).toEqual([]);
  });

  test("W-09 W-10 progress is an object or a text, sent one level deeper", async () => {
    const { caller, upstream } = await useOrchestrator(client);
    const answer = await caller.call(reportCallbackProgress, {
      target,
      progress: { case: "text", value: 'half "way"' },
    });
    expect(answer.directive).toBe(Directive.CONTINUE);
    await caller.call(reportCallbackProgress, { target, progress: { case: "object", value: { done: 1 } } });
    await caller.call(reportCallbackProgress, { target, progress: { case: "json", value: '"exact"' } });
    expect(upstream.seen).toMatchObject([
      { url: `/base${route}/progress`, body: '"half \\"way\\""' },
      { url: `/base${route}/progress`, body: '{"done":1}' },
      { url: `/base${route}/progress`, body: '"exact"' },
    ]);
  });

  test("W-11 any other progress is refused", async () => {
    const { caller, upstream } = await useOrchestrator(client);
    for (const value of ["[1]", "7", "null", "true"]) {
      expect(
        await caller.fail(reportCallbackProgress, { target, progress: { case: "json", value } }),
      ).toMatchObject({ violations: { json: "must be a JSON object or a JSON string" } });
    }
    expect(
      await caller.fail(reportCallbackProgress, { target, progress: { case: "text", value: "\u0000" } }),
    ).toMatchObject({ violations: { text: expect.any(String) } });
    expect(await caller.fail(reportCallbackProgress, { target })).toMatchObject({
      violations: { progress: "is required: text, object or json" },
    });
    expect(upstream.seen).toEqual([]);
  });

  test("W-12 W-15 requests of one callback never overlap, whatever its letters, and others do not wait", async () => {
    let inFlight = 0;
    let most = 0;
    const otherIsDone = Promise.withResolvers<void>();
    const { caller, upstream } = await useOrchestrator(client, async (request, response) => {
      if (request.url.includes(token)) {
        inFlight += 1;
        most = Math.max(most, inFlight);
        await otherIsDone.promise;
        await new Promise((resolve) => setTimeout(resolve, 20));
        inFlight -= 1;
      }
      response.writeHead(200, { "content-type": "application/json" });
      response.end("null");
    });
    const upper = {
      case: "callbackRoute",
      value: route.replace(processId, processId.toUpperCase()),
    } as const;
    const payload = { case: "json", value: "{}" } as const;
    const ours = Promise.all([
      caller.call(reportCallbackProgress, { target, progress: { case: "text", value: "1" } }),
      caller.call(reportCallbackProgress, { target: upper, progress: { case: "text", value: "2" } }),
    ]);
    const results = Promise.all([
      caller.call(completeCallback, { target, payload }),
      caller.call(completeCallback, { target: upper, payload }),
    ]);
    await caller.call(completeCallback, { target: other, payload });
    otherIsDone.resolve();
    const sent = (await ours).filter(({ directive }) => directive === Directive.CONTINUE);
    const [result, same] = (await results).map(({ receipt }) => receipt);
    expect(same?.deliveryId).toBe(result?.deliveryId);
    expect(result?.attempts).toBe(1);
    const urls = upstream.seen.map(({ url }) => url).filter((url) => url.includes(token));
    expect(urls.length).toBe(sent.length + 1);
    expect(urls.filter((url) => url.endsWith(token)).length).toBe(1);
    expect(most).toBe(1);
  });

  test("a progress behind the stored result is told to stop, and is not sent", async () => {
    const { caller, upstream } = await useOrchestrator(client, answering(503), {
      TASKGATE_DRAIN_TIMEOUT: "100ms",
    });
    const { receipt } = await caller.call(completeCallback, {
      target,
      payload: { case: "json", value: "{}" },
      waitFor: WaitFor.STORED,
    });
    expect(receipt?.state).toBe(DeliveryState.STORED);
    expect(
      await caller.call(reportCallbackProgress, { target, progress: { case: "text", value: "late" } }),
    ).toMatchObject({ directive: Directive.CANCEL, cause: ErrorReason.TASK_FINISHED });
    expect(upstream.seen.filter(({ url }) => url.endsWith("/progress"))).toEqual([]);
  });

  test("W-21 W-22 W-25 W-27 W-29 W-32 answers have their code and reason, and never show the token", async () => {
    const answers: [script: Script, expected: string][] = [
      [
        answering(404, `{"detail":"Process with process_id ${processId} not found","token":"${token}"}`),
        "FailedPrecondition UPSTREAM_REJECTED",
      ],
      [
        answering(200, "<html></html>", { "content-type": "text/html" }),
        "FailedPrecondition UPSTREAM_REJECTED",
      ],
      [answering(404, `{"detail":"${token}"}`), "FailedPrecondition UPSTREAM_REJECTED"],
      [answering(403, '{"detail":"Not authenticated"}'), "STORED FailedPrecondition UPSTREAM_AUTH"],
      [
        answering(409, '{"detail":"This process is not in an awaiting state."}'),
        "STORED Unavailable UPSTREAM_UNAVAILABLE",
      ],
      [
        answering(500, "Internal Server Error", { "content-type": "text/plain" }),
        "STORED in doubt Unknown UPSTREAM_UNCERTAIN",
      ],
      [
        answering(503, '{"detail":"Engine is locked cannot accept changes on processes at this time"}'),
        "STORED Unavailable UPSTREAM_UNAVAILABLE",
      ],
    ];
    const idOf = (index: number) => `1d876307-8c0a-42a1-8299-00000000000${index}`;
    const { caller } = await useOrchestrator(
      client,
      (request, response, index) => {
        const [script] = answers.find((_, each) => request.url.includes(idOf(each))) ?? [accepted];
        return script(request, response, index);
      },
      { TASKGATE_DRAIN_TIMEOUT: "100ms" },
    );
    const told: unknown[] = [];
    const lines: string[] = [];
    for (const [index, [, expected]] of answers.entries()) {
      const value = route.replace(processId, idOf(index));
      const request = {
        target: { case: "callbackRoute", value },
        payload: { case: "json", value: "{}" },
      } as const;
      const answer = await (/^STORED (?!.*AUTH)/.test(expected)
        ? caller
            .call(completeCallback, { ...request, waitFor: WaitFor.STORED })
            .then(({ receipt }) => troubled(caller, receipt))
        : caller.call(completeCallback, request).then(({ receipt }) => receipt)
      )
        .then((receipt) => ({ told: receipt, line: receiptLine(receipt) }))
        .catch((error: unknown) => {
          const seen = seenError(error);
          return { told: seen, line: `${Code[seen.code]} ${seen.reason} ${seen.message}` };
        });
      told.push(answer.told);
      lines.push(answer.line);
    }
    expect(lines).toEqual(answers.map(([, expected]) => expect.stringMatching(`^${expected} orchestrator `)));
    expect(lines.at(-1)).toContain("Engine is locked");
    const text = JSON.stringify(told, (_, value) => (typeof value === "bigint" ? String(value) : value));
    expect(text).not.toContain(token);
  });

  test("W-23 W-24 a result that is refused for its payload leaves the callback open for another one", async () => {
    const { caller, upstream } = await useOrchestrator(client, (request, response, index) =>
      (request.body === "{}" ? answering(422, '{"detail":[{"msg":"no"}]}') : accepted)(
        request,
        response,
        index,
      ),
    );
    const complete = (value: string) => ({ target, payload: { case: "json", value } as const });
    const refusal = await caller.fail(completeCallback, complete("{}"));
    expect(refusal).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "UPSTREAM_REJECTED",
      metadata: { http_status: "422", task_open: "true" },
    });
    expect((await caller.call(completeCallback, complete('{"a":1}'))).receipt).toMatchObject({
      state: DeliveryState.DELIVERED,
    });
    expect(await caller.fail(completeCallback, complete("{}"))).toMatchObject({
      code: Code.AlreadyExists,
      reason: "CONFLICTING_OUTCOME",
    });
    expect(upstream.seen.map(({ body }) => body)).toEqual(["{}", '{"a":1}']);
  });

  test("a progress that was perhaps lost is just unavailable", async () => {
    const { caller } = await useOrchestrator(client, answering(500, "Internal Server Error"));
    expect(
      await caller.fail(reportCallbackProgress, { target, progress: { case: "text", value: "1" } }),
    ).toMatchObject({ code: Code.Unavailable, reason: "UPSTREAM_UNAVAILABLE" });
  });

  test("without an Orchestrator the error says what to set", async () => {
    const { url } = await useGateway({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    expect(await caller.fail(completeCallback, { target })).toMatchObject({
      reason: "UPSTREAM_NOT_CONFIGURED",
      message: "the gateway is not configured with orchestrator: set TASKGATE_ORCHESTRATOR_URL",
    });
    expect(await caller.fail(heartbeatCallback, { target })).toMatchObject({
      reason: "UPSTREAM_NOT_CONFIGURED",
    });
  });
});
