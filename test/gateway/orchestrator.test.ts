import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import type { FaultRule } from "../../src/sandbox/faults.ts";
import { type Caller, grpcClient, testClients } from "../support/clients.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { completeCallback, reportCallbackProgress } = CallbackService.method;

function complete(caller: Caller, route: string, json = '{"return_code":0}') {
  return caller.call(completeCallback, {
    target: { case: "callbackRoute", value: route },
    payload: { case: "json", value: json },
  });
}

async function failComplete(caller: Caller, route: string, json = '{"return_code":0}'): Promise<string> {
  const { code, reason, message } = await caller.fail(completeCallback, {
    target: { case: "callbackRoute", value: route },
    payload: { case: "json", value: json },
  });
  return `${Code[code]} ${reason} ${message}`;
}

describe.each(testClients)("the Orchestrator, over $name", (client) => {
  test("W-09 W-10 W-20 progress and a result end the step, and DELIVERED says nothing of validation", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    const good = sandbox.orchestrator.processes.start({});
    const target = { case: "callbackRoute", value: good.callback_route ?? "" } as const;
    await caller.call(reportCallbackProgress, { target, progress: { case: "text", value: "half" } });
    expect(sandbox.orchestrator.processes.get(good.process_id)?.callback_progress).toBe("half");
    await caller.call(reportCallbackProgress, { target, progress: { case: "object", value: { n: 1 } } });
    expect(sandbox.orchestrator.processes.get(good.process_id)?.callback_progress).toEqual({ n: 1 });
    await complete(caller, good.callback_route ?? "");
    expect(sandbox.orchestrator.processes.get(good.process_id)).toMatchObject({
      status: "completed",
      callback_result: { return_code: 0 },
      validations: 1,
    });

    const bad = sandbox.orchestrator.processes.start({});
    expect(await complete(caller, bad.callback_route ?? "", '{"return_code":1}')).toMatchObject({
      receipt: { attempts: 1 },
    });
    expect(sandbox.orchestrator.processes.get(bad.process_id)?.status).toBe("failed");
  });
});

async function useOrchestrator(options: Parameters<typeof useGatewayWithSandbox>[1] = {}) {
  const used = await useGatewayWithSandbox({ TASKGATE_ORCHESTRATOR_TIMEOUT: "1s" }, options);
  const { orchestrator } = used.sandbox;
  return {
    caller: grpcClient.connect(used.url),
    orchestrator,
    start: (plan: Parameters<typeof orchestrator.processes.start>[0] = {}) => {
      const { process_id, callback_route } = orchestrator.processes.start(plan);
      return { id: process_id, route: callback_route ?? "" };
    },
  };
}

describe("what the Orchestrator refuses", () => {
  test("W-15 an upper-case UUID is taken", async () => {
    const { caller, start, orchestrator } = await useOrchestrator();
    const { id, route } = start();
    await complete(caller, route.replace(id, id.toUpperCase()));
    expect(orchestrator.processes.get(id)?.status).toBe("completed");
  });

  test("W-21 a call without the credential that it wants", async () => {
    const { caller, start } = await useOrchestrator({ orchestrator: { token: "oauth" } });
    expect(await failComplete(caller, start().route)).toBe(
      "FailedPrecondition UPSTREAM_AUTH orchestrator answered 403: Not authenticated",
    );
  });

  test("W-22 everything while its engine is locked", async () => {
    const { caller, start, orchestrator } = await useOrchestrator();
    const { route } = start();
    orchestrator.switches.locked = true;
    expect(await failComplete(caller, route)).toMatch(/^Unavailable UPSTREAM_UNAVAILABLE .* locked/);
    orchestrator.switches.locked = false;
    await complete(caller, route);
  });

  test("W-24 a workflow that was removed", async () => {
    const { caller, start, orchestrator } = await useOrchestrator();
    const { route } = start();
    orchestrator.switches.workflowRemoved = true;
    expect(await failComplete(caller, route)).toMatch(
      /^FailedPrecondition UPSTREAM_REJECTED orchestrator answered 400: This workflow cannot be resumed/,
    );
  });

  test("W-25 a process that it does not know", async () => {
    const { caller, start } = await useOrchestrator();
    const { id, route } = start();
    const unknown = "00000000-0000-4000-8000-000000000000";
    expect(await failComplete(caller, route.replace(id, unknown))).toBe(
      `FailedPrecondition UPSTREAM_REJECTED orchestrator answered 404: Process with process_id ${unknown} not found`,
    );
  });

  test("W-26 W-36 a token that is not the current one", async () => {
    const { caller, start, orchestrator } = await useOrchestrator();
    const { id, route } = start({ steps: 2 });
    expect(await failComplete(caller, `${route.slice(0, -43)}${"x".repeat(43)}`)).toBe(
      "FailedPrecondition UPSTREAM_REJECTED orchestrator answered 404: Invalid token",
    );
    await complete(caller, route);
    expect(await failComplete(caller, route)).toMatch(/404: Invalid token$/);
    await complete(caller, orchestrator.processes.get(id)?.callback_route ?? "");
    expect(await failComplete(caller, route)).toMatch(/409: This process is not in an awaiting state\.$/);
  });

  test("W-27 W-35 a result and a progress before the action step has returned", async () => {
    const { caller, start, orchestrator } = await useOrchestrator();
    const { id, route } = start({ actionMs: 60_000 });
    expect(await failComplete(caller, route)).toMatch(/409: This process is not in an awaiting state\.$/);
    expect(
      await caller.fail(reportCallbackProgress, {
        target: { case: "callbackRoute", value: route },
        progress: { case: "text", value: "x" },
      }),
    ).toMatchObject({ code: Code.Unavailable, metadata: { http_status: "409" } });
    orchestrator.processes.actionReturned(id);
    await complete(caller, route);
  });

  test("W-38 a result after the workflow's own timeout", async () => {
    const { caller, start, orchestrator } = await useOrchestrator({ orchestrator: { sweepIntervalMs: 20 } });
    const { id, route } = start({ timeoutMs: 10 });
    await expect.poll(() => orchestrator.processes.get(id)?.status).toBe("failed");
    expect(await failComplete(caller, route)).toMatch(/409: This process is not in an awaiting state\.$/);
  });

  test("W-37 it may answer only when validation is done, and that is awaited", async () => {
    const { caller, start, orchestrator } = await useOrchestrator({ orchestrator: { testing: true } });
    const { id, route } = start({ validateMs: 300 });
    const startMs = performance.now();
    await complete(caller, route);
    expect(performance.now() - startMs).toBeGreaterThan(290);
    expect(orchestrator.processes.get(id)?.status).toBe("completed");
  });
});

describe("an Orchestrator in trouble", () => {
  test.each<[name: string, fault: FaultRule, expected: RegExp]>([
    [
      "W-23 422",
      {
        action: {
          kind: "answer",
          status: 422,
          body: '{"detail":[{"type":"dict_type","msg":"Input should be a valid dictionary"}]}',
        },
      },
      /^FailedPrecondition UPSTREAM_REJECTED .* 422: Input should be a valid dictionary$/,
    ],
    [
      "W-28 404 of the framework",
      { action: { kind: "answer", status: 404, body: '{"detail":"Not Found"}' } },
      /^FailedPrecondition UPSTREAM_REJECTED .* the base URL is wrong$/,
    ],
    [
      "W-28 307",
      { action: { kind: "redirect", status: 307, location: "/elsewhere" } },
      /^FailedPrecondition UPSTREAM_REJECTED .* a redirect, which is not followed/,
    ],
    ["W-29 500", { action: { kind: "answer", status: 500, body: "x" } }, /^Unknown UPSTREAM_UNCERTAIN /],
    ["W-30 502", { action: { kind: "answer", status: 502 } }, /^Unknown UPSTREAM_UNCERTAIN /],
    ["W-30 504", { action: { kind: "answer", status: 504 } }, /^Unknown UPSTREAM_UNCERTAIN /],
    ["W-31 429", { action: { kind: "answer", status: 429 } }, /^Unavailable UPSTREAM_UNAVAILABLE /],
    [
      "W-32 200 with a page",
      { action: { kind: "html" } },
      /^FailedPrecondition UPSTREAM_REJECTED .* no Orchestrator/,
    ],
    ["W-33 taken, and a reset", { when: "after", action: { kind: "reset" } }, /^Unknown UPSTREAM_UNCERTAIN /],
    [
      "W-33 no answer",
      { action: { kind: "hang" } },
      /^Unknown UPSTREAM_UNCERTAIN .* no answer within 1000 ms$/,
    ],
    [
      "W-34 503 of the policy agent",
      { action: { kind: "answer", status: 503, body: '{"detail":"Policy agent is unavailable"}' } },
      /^Unavailable UPSTREAM_UNAVAILABLE .* Policy agent is unavailable$/,
    ],
  ])("%s has its code and reason", async (_, fault, expected) => {
    const { caller, start, orchestrator } = await useOrchestrator();
    const id = orchestrator.faults.add(fault);
    expect(await failComplete(caller, start().route)).toMatch(expected);
    expect(orchestrator.faults.fired(id)).toBe(1);
  });

  test("W-29 its broker down is in doubt, and it has the result", async () => {
    const { caller, start, orchestrator } = await useOrchestrator();
    const { id, route } = start();
    orchestrator.switches.brokerDown = true;
    expect(await failComplete(caller, route)).toMatch(/^Unknown UPSTREAM_UNCERTAIN /);
    expect(orchestrator.processes.get(id)).toMatchObject({
      status: "resumed",
      callback_result: { return_code: 0 },
    });
  });
});

describe("the Orchestrator's races", () => {
  // What a client does that talks to the Orchestrator by itself.
  function post(url: string, body: string) {
    return fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
  }

  test("W-39 two results at once are validated twice, but not through the gateway", async () => {
    const { caller, start, orchestrator } = await useOrchestrator({ orchestrator: { raceWindowMs: 20 } });
    const naive = start();
    await Promise.all([1, 2].map(() => post(orchestrator.url + naive.route, '{"return_code":0}')));
    await expect.poll(() => orchestrator.processes.get(naive.id)?.validations).toBe(2);

    const guarded = start();
    const results = await Promise.allSettled([1, 2].map(() => complete(caller, guarded.route)));
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    await expect.poll(() => orchestrator.processes.get(guarded.id)?.status).toBe("completed");
    expect(orchestrator.processes.get(guarded.id)?.validations).toBe(1);
  });

  test("W-40 progress can erase a result, but not through the gateway", async () => {
    const { caller, start, orchestrator } = await useOrchestrator({ orchestrator: { raceWindowMs: 20 } });
    const naive = Array.from({ length: 12 }, () => start());
    await Promise.all(
      naive.flatMap(({ route }) => [
        ...[1, 2, 3].map((n) => post(`${orchestrator.url}${route}/progress`, `"${n}"`)),
        post(orchestrator.url + route, '{"return_code":0}'),
      ]),
    );
    const lost = naive.filter(
      ({ id }) =>
        orchestrator.processes.get(id)?.failed_reason === "Could not find key 'callback_result' in state",
    );
    expect(lost.length).toBeGreaterThan(0);

    const guarded = Array.from({ length: 12 }, () => start());
    await Promise.all(
      guarded.flatMap(({ route }) => [
        ...[1, 2, 3].map((n) =>
          caller
            .call(reportCallbackProgress, {
              target: { case: "callbackRoute", value: route },
              progress: { case: "text", value: String(n) },
            })
            .catch(() => undefined),
        ),
        complete(caller, route),
      ]),
    );
    const statuses = () => new Set(guarded.map(({ id }) => orchestrator.processes.get(id)?.status));
    await expect.poll(statuses).toEqual(new Set(["completed"]));
  });
});
