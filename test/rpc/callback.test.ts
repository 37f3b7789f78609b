import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { type Caller, type TestClient, testClients } from "../support/clients.ts";
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
    await caller.call(completeCallback, { target, payload: { case: "result", value: {} } });
    expect(upstream.seen.map(({ body }) => body)).toEqual(['{"output":[],"return_code":0}', '{"output":[]}']);
  });

  test("W-05 W-06 an object arrives as JSON, and JSON text arrives to the letter", async () => {
    const { caller, upstream } = await useOrchestrator(client);
    await caller.call(completeCallback, {
      target,
      payload: { case: "object", value: { a: [1, "x", null, true, { b: 2.5 }] } },
    });
    const json = ' { "z": 12345678901234567890, "a": 0.10 ,"a":1e400}\n';
    await caller.call(completeCallback, { target, payload: { case: "json", value: json } });
    expect(upstream.seen.map(({ body }) => body)).toEqual(['{"a":[1,"x",null,true,{"b":2.5}]}', json]);
  });

  test("W-03 W-14 a URL may name one of several bases, and the credential goes to it alone", async () => {
    const other = await useScriptedServer(accepted);
    const first = await useScriptedServer(accepted);
    const { url } = await useGateway({
      TASKGATE_ORCHESTRATOR_URL: `${first.origin}, ${other.origin}/deep/er`,
      TASKGATE_ORCHESTRATOR_TOKEN: "first-token,bearer-token",
      TASKGATE_FAST_LANE: String(client.fastLane),
    });
    const caller = client.connect(url);
    const payload = { case: "result", value: { returnCode: 0 } } as const;
    await caller.call(completeCallback, {
      target: { case: "callbackUrl", value: `${other.origin}/deep/er${route}` },
      payload,
    });
    expect(first.seen).toEqual([]);
    expect(other.seen).toMatchObject([
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

  test("W-12 requests of one callback never overlap, whatever its letters, and others do not wait", async () => {
    let inFlight = 0;
    let most = 0;
    const { caller } = await useOrchestrator(client, async (request, response) => {
      const isOurs = request.url.includes(token);
      inFlight += isOurs ? 1 : 0;
      most = Math.max(most, inFlight);
      await new Promise((resolve) => setTimeout(resolve, isOurs ? 30 : 0));
      inFlight -= isOurs ? 1 : 0;
      response.writeHead(200, { "content-type": "application/json" });
      response.end("null");
    });
    const upper = route.replace(processId, processId.toUpperCase());
    const startMs = performance.now();
    let otherMs = 0;
    await Promise.all([
      caller.call(reportCallbackProgress, { target, progress: { case: "text", value: "1" } }),
      caller.call(reportCallbackProgress, { target, progress: { case: "text", value: "2" } }),
      caller.call(completeCallback, { target, payload: { case: "json", value: "{}" } }),
      caller.call(completeCallback, {
        target: { case: "callbackRoute", value: upper },
        payload: { case: "json", value: "{}" },
      }),
      caller
        .call(completeCallback, {
          target: { case: "callbackRoute", value: route.replace(/.$/, "x") },
          payload: { case: "json", value: "{}" },
        })
        .then(() => {
          otherMs = performance.now() - startMs;
        }),
    ]);
    expect(most).toBe(1);
    expect(performance.now() - startMs).toBeGreaterThan(110);
    expect(otherMs).toBeLessThan(110);
  });

  test("W-21 W-22 W-25 W-27 W-29 W-32 answers have their code and reason, and never show the token", async () => {
    const answers: Script[] = [
      answering(403, '{"detail":"Not authenticated"}'),
      answering(503, '{"detail":"Engine is locked cannot accept changes on processes at this time"}'),
      answering(404, `{"detail":"Process with process_id ${processId} not found","token":"${token}"}`),
      answering(409, '{"detail":"This process is not in an awaiting state."}'),
      answering(500, "Internal Server Error", { "content-type": "text/plain" }),
      answering(200, "<html></html>", { "content-type": "text/html" }),
      answering(404, `{"detail":"${token}"}`),
    ];
    const { caller } = await useOrchestrator(client, (request, response, index) =>
      answers[index]?.(request, response, index),
    );
    const errors = [];
    for (const _ of answers) {
      errors.push(await caller.fail(completeCallback, { target, payload: { case: "json", value: "{}" } }));
    }
    expect(errors.map(({ code, reason }) => [Code[code], reason])).toEqual([
      ["FailedPrecondition", "UPSTREAM_AUTH"],
      ["Unavailable", "UPSTREAM_UNAVAILABLE"],
      ["FailedPrecondition", "UPSTREAM_REJECTED"],
      ["Unavailable", "UPSTREAM_UNAVAILABLE"],
      ["Unknown", "UPSTREAM_UNCERTAIN"],
      ["FailedPrecondition", "UPSTREAM_REJECTED"],
      ["FailedPrecondition", "UPSTREAM_REJECTED"],
    ]);
    expect(JSON.stringify(errors)).not.toContain(token);
    expect(errors[1]?.message).toContain("Engine is locked");
  });

  test("a progress that was perhaps lost is just unavailable", async () => {
    const { caller } = await useOrchestrator(client, answering(500, "Internal Server Error"));
    expect(
      await caller.fail(reportCallbackProgress, { target, progress: { case: "text", value: "1" } }),
    ).toMatchObject({ code: Code.Unavailable, reason: "UPSTREAM_UNAVAILABLE" });
  });

  test("without an Orchestrator the error says what to set, and what is not there yet says so", async () => {
    const { url } = await useGateway({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    expect(await caller.fail(completeCallback, { target })).toMatchObject({
      reason: "UPSTREAM_NOT_CONFIGURED",
      message: "the gateway is not configured with orchestrator: set TASKGATE_ORCHESTRATOR_URL",
    });
    expect(await caller.fail(heartbeatCallback, { target })).toMatchObject({
      code: Code.Unimplemented,
      reason: "NOT_IMPLEMENTED",
    });
  });
});
