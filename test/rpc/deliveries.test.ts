import { randomUUID } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, onTestFinished, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import {
  type Delivery,
  GatewayService,
  type WatchDeliveriesRequest,
} from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { type Caller, grpcClient, type SeenError, seenError, testClients } from "../support/clients.ts";
import { findDelivery, receiptLine, settled, troubled } from "../support/deliveries.ts";
import { answering, type Script, useScriptedServer } from "../support/scripted-server.ts";
import { useGateway } from "../support/use-gateway.ts";

const { updateTask, setOutput, sendLog } = TaskStatusService.method;
const { completeCallback } = CallbackService.method;
const { getDelivery, listDeliveries, retryDelivery, discardDelivery } = GatewayService.method;

const run = "1d876307-8c0a-42a1-8299-af0516223652";
const otherRun = "c578a224-c1fa-44c1-bc7a-9d2e624b872b";
const token = "AbC-_0123456789abcdefghijklmnopqrstuvwxyzAB";
const route = `/api/processes/${run}/callback/${token}`;
const waitFor = WaitFor.DELIVERED;
const running = { taskRunId: run, status: TaskRunStatus.RUNNING };
const output = { taskRunId: run, name: "a", output: { case: "valueJson", value: "1" } } as const;
const log = { taskRunId: run, name: "a.log", data: "x" };
const accept = answering(200, "null");

interface Upstream {
  /** What it answers; can be changed. */
  script: Script;
  bodies: () => string[];
}

async function useDeliveries(env: Record<string, string> = {}) {
  const upstream: Upstream = { script: accept, bodies: () => server.seen.map(({ body }) => body) };
  const server = await useScriptedServer((...args) => upstream.script(...args));
  const used = await useGateway({
    ORCHESTRA_WEBHOOK_URL: server.origin,
    ORCHESTRA_API_KEY: "the-key",
    TASKGATE_ORCHESTRATOR_URL: server.origin,
    TASKGATE_DRAIN_TIMEOUT: "100ms",
    ...env,
  });
  return { ...used, upstream, caller: grpcClient.connect(used.url) };
}

function complete(json: string) {
  return {
    target: { case: "callbackRoute", value: route },
    payload: { case: "json", value: json },
  } as const;
}

async function listed(
  caller: Caller,
  filter: Parameters<typeof caller.call<typeof listDeliveries.input, typeof listDeliveries.output>>[1] = {},
) {
  return (await caller.call(listDeliveries, filter)).deliveries;
}

async function rejectedId(call: Promise<{ metadata: Record<string, string> }>): Promise<string> {
  return (await call).metadata.delivery_id ?? "";
}

describe.each(testClients)("the deliveries over $name", (client) => {
  test("are found, listed, sent again and dropped", async () => {
    const { url, upstream } = await useDeliveries({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    upstream.script = answering(404, '{"error":"unknown","code":"TASK_NOT_FOUND"}');
    const secret = { ...running, message: "the payload", waitFor };
    const deliveryId = await rejectedId(caller.fail(updateTask, secret));
    const found = await findDelivery(caller, { deliveryId });
    expect(found).toMatchObject({
      receipt: {
        deliveryId,
        state: DeliveryState.REJECTED,
        attempts: 1,
        inDoubt: false,
        failure: { metadata: { http_status: "404", upstream_type: "TASK_NOT_FOUND" } },
      },
      upstream: "orchestra",
      operation: "UpdateTask",
      taskId: run,
      taskAttempt: "0",
      endsTask: false,
      caller: "everyone",
      payloadBytes: BigInt(upstream.bodies()[0]?.length ?? 0),
    });
    expect(await listed(caller)).toEqual([found]);

    upstream.script = accept;
    const { delivery: retried } = await caller.call(retryDelivery, { deliveryId });
    expect(retried?.receipt).toMatchObject({ deliveryId, state: DeliveryState.STORED });
    expect(await settled(caller, { deliveryId })).toMatchObject({
      state: DeliveryState.DELIVERED,
      attempts: 2,
    });
    expect(await caller.fail(discardDelivery, { deliveryId })).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "TASK_FINISHED",
      message: `the delivery ${deliveryId} cannot be moved: it is DELIVERED`,
    });

    upstream.script = answering(503);
    const { receipt } = await caller.call(setOutput, output);
    const dropped = { deliveryId: receipt?.deliveryId ?? "" };
    await expect
      .poll(() =>
        caller.call(discardDelivery, dropped).then(
          ({ delivery }) => delivery?.receipt?.state,
          () => undefined,
        ),
      )
      .toBe(DeliveryState.DISCARDED);
    expect(upstream.bodies()[0]).toBe(upstream.bodies()[1]);
    expect(JSON.stringify(found, (_, value) => String(value))).not.toContain("the payload");
  });
});

describe("GetDelivery", () => {
  test("shows what a callback is, and never its token", async () => {
    const { caller, upstream } = await useDeliveries();
    upstream.script = answering(404, `{"detail":"Invalid token ${token}"}`);
    const deliveryId = await rejectedId(caller.fail(completeCallback, complete('{"a":1}')));
    const found = await findDelivery(caller, { deliveryId });
    expect(found).toMatchObject({
      upstream: "orchestrator",
      operation: "CompleteCallback",
      taskId: run,
      taskAttempt: "",
      endsTask: true,
      payloadBytes: 7n,
    });
    expect(
      JSON.stringify(found, (_, value) => (typeof value === "bigint" ? `${value}` : value)),
    ).not.toContain(token);
  });

  test("answers at once, or waits for the delivery's end, or so long as it is asked to", async () => {
    const { caller, upstream } = await useDeliveries();
    const release = Promise.withResolvers<void>();
    upstream.script = async (request, response, index) => {
      await release.promise;
      await accept(request, response, index);
    };
    const { receipt } = await caller.call(updateTask, running);
    const stateAfter = async (waitMs: number) => (await findDelivery(caller, receipt, waitMs)).receipt?.state;
    expect(await stateAfter(0)).toBe(DeliveryState.STORED);
    const startMs = performance.now();
    expect(await stateAfter(100)).toBe(DeliveryState.STORED);
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(99);
    const waiting = stateAfter(15_000);
    await stateAfter(0);
    release.resolve();
    expect(await waiting).toBe(DeliveryState.DELIVERED);
    expect(await stateAfter(15_000)).toBe(DeliveryState.DELIVERED);
  });

  test("answers before its caller's deadline", async () => {
    const { caller, upstream } = await useDeliveries();
    upstream.script = () => undefined;
    const { receipt } = await caller.call(updateTask, running);
    const request = { deliveryId: receipt?.deliveryId ?? "", wait: durationFromMs(60_000) };
    const { delivery } = await caller.call(getDelivery, request, { timeoutMs: 2000 });
    expect(delivery?.receipt).toMatchObject({ state: DeliveryState.STORED, attempts: 1 });
  });
});

describe("ListDeliveries", () => {
  test("narrows by upstream, state and task, oldest first", async () => {
    const { caller, upstream } = await useDeliveries();
    upstream.script = (request, response, index) =>
      (request.body.includes("SET_OUTPUT") ? answering(400) : accept)(request, response, index);
    await caller.call(updateTask, { ...running, waitFor });
    await caller.fail(setOutput, { ...output, waitFor });
    await caller.call(sendLog, { ...log, taskRunId: otherRun, attempt: 3, waitFor });
    await caller.call(completeCallback, complete("{}"));
    const cases: [filter: Parameters<typeof listed>[1], operations: string[]][] = [
      [{}, ["UpdateTask", "SetOutput", "SendLog", "CompleteCallback"]],
      [{ upstream: "orchestra" }, ["UpdateTask", "SetOutput", "SendLog"]],
      [{ upstream: "orchestrator" }, ["CompleteCallback"]],
      [{ upstream: "aidbox" }, []],
      [{ states: [DeliveryState.REJECTED] }, ["SetOutput"]],
      [
        { states: [DeliveryState.REJECTED, DeliveryState.DELIVERED] },
        ["UpdateTask", "SetOutput", "SendLog", "CompleteCallback"],
      ],
      [{ states: [DeliveryState.STORED] }, []],
      [{ taskId: run }, ["UpdateTask", "SetOutput", "CompleteCallback"]],
      [{ taskId: otherRun }, ["SendLog"]],
      [{ taskId: "nobody" }, []],
      [{ upstream: "orchestra", taskId: run, states: [DeliveryState.DELIVERED] }, ["UpdateTask"]],
    ];
    for (const [filter, operations] of cases) {
      expect((await listed(caller, filter)).map(({ operation }) => operation)).toEqual(operations);
    }
  });

  test("comes by pages, each behind the one before, and a later delivery is on a later page", async () => {
    const { caller } = await useDeliveries();
    const ids: (string | undefined)[] = [];
    const add = async () => ids.push((await caller.call(sendLog, log)).receipt?.deliveryId);
    const page = async (pageToken: string, pageSize = 2) => {
      const { deliveries, nextPageToken } = await caller.call(listDeliveries, { pageSize, pageToken });
      return { ids: deliveries.map(({ receipt }) => receipt?.deliveryId), next: nextPageToken };
    };
    for (let count = 0; count < 4; count += 1) {
      await add();
    }
    const first = await page("");
    const second = await page(first.next);
    expect([first.ids, second.ids, second.next]).toEqual([ids.slice(0, 2), ids.slice(2), ""]);
    expect(ids).toEqual(ids.toSorted());
    await add();
    const again = await page(first.next);
    expect(again.ids).toEqual(second.ids);
    expect(await page(again.next)).toEqual({ ids: ids.slice(4), next: "" });
    expect(await page(first.next)).toEqual(again);
    expect((await page("", 2_000_000_000)).ids).toEqual(ids);
  });

  test("has pages of a hundred where nothing else is asked for", async () => {
    const { caller } = await useDeliveries();
    await Promise.all(Array.from({ length: 101 }, () => caller.call(sendLog, log)));
    const { deliveries, nextPageToken } = await caller.call(listDeliveries, {});
    expect(deliveries.length).toBe(100);
    expect((await listed(caller, { pageToken: nextPageToken })).length).toBe(1);
  });
});

test("what is wrong with a filter, a page or a wait is told by field", async () => {
  const { caller, url } = await useDeliveries();
  const filter = {
    upstream: "nowhere",
    states: [DeliveryState.STORED, DeliveryState.UNSPECIFIED, 99 as DeliveryState],
  };
  const violations = {
    upstream: "is none of orchestra, orchestrator, aidbox",
    "states[1]": "is unspecified",
    "states[2]": "is 99, which is not a member of the enum",
  };
  expect(await caller.fail(listDeliveries, { ...filter, pageSize: -1 })).toMatchObject({
    code: Code.InvalidArgument,
    reason: "INVALID_REQUEST",
    violations: { ...violations, page_size: "must not be negative" },
  });
  for (const pageToken of ["x", randomUUID(), "01a1fe61-2cd3-7000-8000-00000000000g"]) {
    expect(await caller.fail(listDeliveries, { pageToken })).toMatchObject({
      code: Code.InvalidArgument,
      violations: { page_token: "is not one that this gateway gave" },
    });
  }
  expect(await caller.fail(getDelivery, { wait: { seconds: 0n, nanos: -1 } })).toMatchObject({
    code: Code.InvalidArgument,
    violations: { delivery_id: "is required", wait: "must not be negative" },
  });
  for (const error of [await caller.fail(retryDelivery, {}), await caller.fail(discardDelivery, {})]) {
    expect(error).toMatchObject({
      code: Code.InvalidArgument,
      violations: { delivery_id: "is required" },
    });
  }
  const watched = await watch(url, filter).next().catch(seenError);
  expect(watched).toMatchObject({ code: Code.InvalidArgument, violations });
});

describe("an id that names nothing", () => {
  type Fail = (caller: Caller, deliveryId: string) => Promise<SeenError>;
  const get: Fail = (caller, deliveryId) => caller.fail(getDelivery, { deliveryId });
  const retry: Fail = (caller, deliveryId) => caller.fail(retryDelivery, { deliveryId });
  const discard: Fail = (caller, deliveryId) => caller.fail(discardDelivery, { deliveryId });

  test.each([
    ["GetDelivery", get],
    ["RetryDelivery", retry],
    ["DiscardDelivery", discard],
  ])("is unknown to %s", async (_, fail) => {
    const { caller } = await useDeliveries();
    const { receipt } = await caller.call(sendLog, log);
    const id = receipt?.deliveryId ?? "";
    const next = `${id.slice(0, -1)}2`;
    const otherStore = id.replace(/-7(...)-/, (__, salt) => `-7${salt === "000" ? "001" : "000"}-`);
    for (const each of ["x", randomUUID(), next, otherStore, `${id} `]) {
      expect(await fail(caller, each)).toMatchObject({
        code: Code.NotFound,
        reason: "DELIVERY_UNKNOWN",
        message: `there is no delivery ${each}`,
      });
    }
  });

  async function expectUnknownAtAnotherTime(_: string, fail: Fail): Promise<void> {
    const { caller, upstream } = await useDeliveries();
    upstream.script = answering(400);
    const deliveryId = await rejectedId(caller.fail(sendLog, { ...log, waitFor }));
    const forged = `00000000-0000${deliveryId.slice(13)}`;
    expect(await fail(caller, forged)).toMatchObject({ reason: "DELIVERY_UNKNOWN" });
  }

  test.each([["GetDelivery", get] as const])(
    "is unknown to %s where only its time is another",
    expectUnknownAtAnotherTime,
  );

  test.each([
    ["RetryDelivery", retry],
    ["DiscardDelivery", discard],
  ] as const)("is unknown to %s where only its time is another", expectUnknownAtAnotherTime);
});

describe("RetryDelivery", () => {
  async function useTroubled(script: Script) {
    const { caller, upstream } = await useDeliveries();
    upstream.script = script;
    const request = { ...complete("{}"), waitFor: WaitFor.STORED };
    const receipt = await troubled(caller, (await caller.call(completeCallback, request)).receipt);
    upstream.script = accept;
    async function retriedMs(): Promise<number> {
      const deliveryId = receipt?.deliveryId ?? "";
      const { delivery } = await caller.call(retryDelivery, { deliveryId });
      expect(delivery?.receipt?.state).toBe(DeliveryState.STORED);
      const startMs = performance.now();
      expect(await settled(caller, receipt)).toMatchObject({ state: DeliveryState.DELIVERED, attempts: 2 });
      return performance.now() - startMs;
    }
    return { line: receiptLine(receipt), retriedMs };
  }

  test("sends what waits now", async () => {
    const { line, retriedMs } = await useTroubled(answering(503, "", { "retry-after": "60" }));
    expect(line).toBe("STORED Unavailable UPSTREAM_UNAVAILABLE orchestrator answered 503");
    expect(await retriedMs()).toBeLessThan(1000);
  });

  test("sends what is in doubt when its last attempt is surely over", async () => {
    const { line, retriedMs } = await useTroubled(answering(500));
    expect(line).toBe("STORED in doubt Unknown UPSTREAM_UNCERTAIN orchestrator answered 500");
    const ms = await retriedMs();
    expect(ms).toBeGreaterThan(3000);
    expect(ms).toBeLessThan(7000);
  });

  test("takes an outcome that is unconfirmed, and leaves it so where nothing settles it", async () => {
    const { caller, upstream } = await useDeliveries();
    upstream.script = answering(500);
    const request = { ...complete("{}"), waitFor: WaitFor.STORED };
    const receipt = await troubled(caller, (await caller.call(completeCallback, request)).receipt);
    const deliveryId = receipt?.deliveryId ?? "";
    for (const script of [answering(409), answering(404, '{"detail":"Invalid token"}')]) {
      upstream.script = script;
      await caller.call(retryDelivery, { deliveryId });
      expect((await settled(caller, receipt))?.state).toBe(DeliveryState.UNCONFIRMED);
    }
    upstream.script = accept;
    await caller.call(retryDelivery, { deliveryId });
    expect(await settled(caller, receipt)).toMatchObject({ state: DeliveryState.DELIVERED, attempts: 4 });
  });

  test("is refused where the delivery has arrived, was dropped, or a later one of its task has left", async () => {
    const { caller, upstream } = await useDeliveries();
    const refusal = async (deliveryId: string) => {
      const { code, reason, message } = await caller.fail(retryDelivery, { deliveryId });
      return `${Code[code]} ${reason} ${message.replace(`the delivery ${deliveryId} `, "")}`;
    };
    const { receipt } = await caller.call(updateTask, { ...running, waitFor });
    const refused = "FailedPrecondition TASK_FINISHED cannot be moved:";
    expect(await refusal(receipt?.deliveryId ?? "")).toBe(`${refused} it is DELIVERED`);

    upstream.script = answering(400);
    const dropped = await rejectedId(caller.fail(updateTask, { ...running, waitFor }));
    await caller.call(discardDelivery, { deliveryId: dropped });
    expect(await refusal(dropped)).toBe(`${refused} it is DISCARDED`);

    const overtaken = await rejectedId(caller.fail(updateTask, { ...running, waitFor }));
    await caller.fail(setOutput, { ...output, waitFor });
    expect(await refusal(overtaken)).toBe(`${refused} a later delivery of the task has left`);
    expect(upstream.bodies().length).toBe(4);
  });

  test("takes a log that later deliveries have overtaken, and a report that only logs have", async () => {
    const { caller, upstream } = await useDeliveries();
    upstream.script = answering(400);
    const logId = await rejectedId(caller.fail(sendLog, { ...log, waitFor }));
    const outputId = await rejectedId(caller.fail(setOutput, { ...output, waitFor }));
    upstream.script = accept;
    await caller.call(sendLog, { ...log, waitFor });
    for (const deliveryId of [outputId, logId]) {
      await caller.call(retryDelivery, { deliveryId });
      expect((await settled(caller, { deliveryId }))?.state).toBe(DeliveryState.DELIVERED);
    }
  });

  test("is refused for an outcome whose task has another one by now", async () => {
    const { caller, upstream } = await useDeliveries();
    upstream.script = answering(422);
    const deliveryId = await rejectedId(caller.fail(completeCallback, complete("{}")));
    upstream.script = answering(503);
    await caller.call(completeCallback, { ...complete('{"a":1}'), waitFor: WaitFor.STORED });
    expect(await caller.fail(retryDelivery, { deliveryId })).toMatchObject({
      reason: "TASK_FINISHED",
      message: `the delivery ${deliveryId} cannot be moved: a later delivery of the task has left`,
    });
  });

  test("makes a refused outcome its task's again, which another one cannot be meanwhile", async () => {
    const { caller, upstream } = await useDeliveries();
    upstream.script = answering(422);
    const deliveryId = await rejectedId(caller.fail(completeCallback, complete("{}")));
    upstream.script = answering(503);
    await caller.call(retryDelivery, { deliveryId });
    expect(await caller.fail(completeCallback, complete('{"a":1}'))).toMatchObject({
      reason: "CONFLICTING_OUTCOME",
      metadata: { delivery_id: deliveryId },
    });
    upstream.script = accept;
    expect((await settled(caller, { deliveryId }))?.state).toBe(DeliveryState.DELIVERED);
  });
});

describe("DiscardDelivery", () => {
  test("drops what waits, and what waits behind it goes", async () => {
    const { caller, upstream } = await useDeliveries();
    upstream.script = (request, response, index) =>
      (request.body.includes('"stuck"') ? answering(503) : accept)(request, response, index);
    const { receipt: stuck } = await caller.call(updateTask, { ...running, message: "stuck" });
    const { receipt: behind } = await caller.call(setOutput, output);
    const deliveryId = stuck?.deliveryId ?? "";
    await expect
      .poll(() =>
        caller.call(discardDelivery, { deliveryId }).then(
          ({ delivery }) => delivery?.receipt?.state,
          () => undefined,
        ),
      )
      .toBe(DeliveryState.DISCARDED);
    expect(await settled(caller, behind)).toMatchObject({ state: DeliveryState.DELIVERED, attempts: 1 });
    const { delivery } = await caller.call(discardDelivery, { deliveryId });
    expect(delivery?.receipt?.state).toBe(DeliveryState.DISCARDED);
    expect(delivery?.receipt?.nextAttemptTime).toBeUndefined();
  });

  test("of an outcome opens its task for more work and for another outcome", async () => {
    const { caller, upstream } = await useDeliveries();
    upstream.script = answering(400);
    const ended = { taskRunId: run, status: TaskRunStatus.SUCCEEDED };
    const deliveryId = await rejectedId(caller.fail(updateTask, ended));
    upstream.script = accept;
    expect(await caller.fail(updateTask, running)).toMatchObject({ reason: "TASK_FINISHED" });
    const { delivery } = await caller.call(discardDelivery, { deliveryId });
    expect(delivery?.receipt?.state).toBe(DeliveryState.DISCARDED);
    await caller.call(updateTask, { ...running, waitFor });
    const { receipt } = await caller.call(updateTask, { taskRunId: run, status: TaskRunStatus.FAILED });
    expect(receipt?.state).toBe(DeliveryState.DELIVERED);
    expect(await caller.fail(updateTask, ended)).toMatchObject({ reason: "CONFLICTING_OUTCOME" });
  });

  test("is refused while an attempt is under way", async () => {
    const { caller, upstream } = await useDeliveries();
    const release = Promise.withResolvers<void>();
    upstream.script = async (request, response, index) => {
      await release.promise;
      await accept(request, response, index);
    };
    const { receipt } = await caller.call(updateTask, running);
    const deliveryId = receipt?.deliveryId ?? "";
    expect(await caller.fail(discardDelivery, { deliveryId })).toMatchObject({
      code: Code.FailedPrecondition,
      message: `the delivery ${deliveryId} cannot be moved: an attempt of it is under way`,
    });
    release.resolve();
    expect((await settled(caller, receipt))?.state).toBe(DeliveryState.DELIVERED);
  });
});

type Filter = Partial<Pick<WatchDeliveriesRequest, "upstream" | "states" | "taskId">>;

function watch(url: string, filter: Filter, headers: Record<string, string> = {}) {
  const leaving = new AbortController();
  onTestFinished(() => leaving.abort());
  const client = createClient(GatewayService, createGrpcTransport({ baseUrl: url }));
  return client.watchDeliveries(filter, { signal: leaving.signal, headers })[Symbol.asyncIterator]();
}

/** Watches until the test ends, and resolves once changes are surely told. */
async function useWatcher(url: string, filter: Filter = {}) {
  const told: Delivery[] = [];
  const changes = watch(url, filter);
  const first = await changes.next();
  expect(first.value).toMatchObject({ gap: false });
  expect(first.value?.delivery).toBeUndefined();
  const ended = (async () => {
    for (let next = await changes.next(); next.done !== true; next = await changes.next()) {
      if (next.value.delivery !== undefined) {
        told.push(next.value.delivery);
      }
    }
  })().catch(seenError);
  return { told, ended };
}

describe("WatchDeliveries", () => {
  const states = (told: readonly Delivery[], id: string | undefined) =>
    told
      .filter(({ receipt }) => receipt?.deliveryId === id)
      .map(({ receipt }) => receiptLine(receipt).split(" orchestra ")[0])
      .filter((line, index, lines) => line !== lines[index - 1]);

  test("tells what becomes of a delivery, as it happens", async () => {
    const { caller, url, upstream } = await useDeliveries();
    const { told } = await useWatcher(url);
    upstream.script = answering(503);
    const { receipt } = await caller.call(updateTask, running);
    const id = receipt?.deliveryId;
    const unavailable = "STORED Unavailable UPSTREAM_UNAVAILABLE";
    await expect.poll(() => states(told, id)).toEqual(["STORED", unavailable]);
    upstream.script = answering(400);
    const refused = "REJECTED FailedPrecondition UPSTREAM_REJECTED";
    await expect.poll(() => states(told, id)).toEqual(["STORED", unavailable, refused]);
    upstream.script = accept;
    await caller.call(retryDelivery, { deliveryId: id ?? "" });
    await expect.poll(() => states(told, id).at(-1)).toBe("DELIVERED");
    expect(told.at(-1)).toEqual(await findDelivery(caller, receipt));
  });

  test("tells only of what it was asked for", async () => {
    const { caller, url, upstream } = await useDeliveries();
    const all = await useWatcher(url);
    const ofTask = await useWatcher(url, { taskId: otherRun, states: [DeliveryState.DELIVERED] });
    const ofUpstream = await useWatcher(url, { upstream: "orchestrator" });
    upstream.script = (request, response, index) =>
      (request.body.includes("SET_OUTPUT") ? answering(400) : accept)(request, response, index);
    await caller.call(completeCallback, complete("{}"));
    await caller.fail(setOutput, { ...output, waitFor });
    await caller.fail(setOutput, { ...output, taskRunId: otherRun, waitFor });
    const { receipt: last } = await caller.call(sendLog, { ...log, taskRunId: otherRun, waitFor });
    for (const { told } of [all, ofTask]) {
      await expect
        .poll(() =>
          told.some(
            ({ receipt }) =>
              receipt?.deliveryId === last?.deliveryId && receipt?.state === DeliveryState.DELIVERED,
          ),
        )
        .toBe(true);
    }
    expect(new Set(all.told.map(({ operation }) => operation))).toEqual(
      new Set(["SendLog", "CompleteCallback", "SetOutput"]),
    );
    expect(new Set(ofTask.told.map(({ taskId, operation }) => `${taskId} ${operation}`))).toEqual(
      new Set([`${otherRun} SendLog`]),
    );
    expect(new Set(ofTask.told.map(({ receipt }) => receipt?.state))).toEqual(
      new Set([DeliveryState.DELIVERED]),
    );
    await expect.poll(() => ofUpstream.told.length).toBeGreaterThan(0);
    expect(new Set(ofUpstream.told.map(({ upstream: name }) => name))).toEqual(new Set(["orchestrator"]));
  });

  test("ends with UNAVAILABLE when the gateway stops, which does not wait for it", async () => {
    const { url, gateway } = await useDeliveries({ TASKGATE_DRAIN_TIMEOUT: "15s" });
    const { ended } = await useWatcher(url);
    const startMs = performance.now();
    await gateway.stop();
    expect(performance.now() - startMs).toBeLessThan(5000);
    expect(await ended).toMatchObject({ code: Code.Unavailable, reason: "DRAINING" });
  });
});

test("all of them are for operators only", async () => {
  const { url } = await useDeliveries({ TASKGATE_AUTH_TOKEN: "worker", TASKGATE_ADMIN_TOKEN: "operator" });
  const as = (token: string) => ({ authorization: `Bearer ${token}` });
  const worker = grpcClient.connect(url, as("worker"));
  const operator = grpcClient.connect(url, as("operator"));
  const { receipt } = await worker.call(sendLog, { ...log, waitFor });
  const deliveryId = receipt?.deliveryId ?? "";
  const refused = { code: Code.PermissionDenied, reason: "NOT_PERMITTED" };
  expect(await worker.fail(getDelivery, { deliveryId })).toMatchObject(refused);
  expect(await worker.fail(listDeliveries, {})).toMatchObject(refused);
  expect(await worker.fail(retryDelivery, { deliveryId })).toMatchObject(refused);
  expect(await worker.fail(discardDelivery, { deliveryId })).toMatchObject(refused);
  expect(await watch(url, {}, as("worker")).next().catch(seenError)).toMatchObject(refused);
  expect(await listed(operator)).toMatchObject([{ caller: "default", receipt: { deliveryId } }]);
});
