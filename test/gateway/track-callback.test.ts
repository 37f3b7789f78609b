import { Code } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive, OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import { grpcClient, testClients } from "../support/clients.ts";
import { streamClients } from "../support/streams.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { trackCallback, heartbeatCallback, reportCallbackProgress, completeCallback } = CallbackService.method;
const { listSessions } = GatewayService.method;
const shortLease = { TASKGATE_LEASE_DURATION: "1s", TASKGATE_HEARTBEAT_INTERVAL: "300ms" };

async function useProcess(env: Record<string, string> = {}) {
  const { url, sandbox } = await useGatewayWithSandbox(env);
  const { process_id, callback_route } = sandbox.orchestrator.processes.start();
  const process = () => sandbox.orchestrator.processes.get(process_id);
  const target = { case: "callbackRoute", value: callback_route } as const;
  // By an operator of the Orchestrator.
  const aborted = async () => expect(sandbox.orchestrator.processes.abort(process_id)).toBe(true);
  return { url, process, target, aborted };
}

const events = (
  process: { history: readonly { event: string; detail?: unknown }[] } | undefined,
  name: string,
) => process?.history.filter(({ event }) => event === name) ?? [];

describe.each(streamClients)("TrackCallback over $name", (client) => {
  test("progress and result on one stream: the latest progress wins, the result is answered twice", async () => {
    const { url, process, target } = await useProcess({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const stream = client.open(url, trackCallback);
    stream.send({ requestId: "1", frame: { case: "open", value: { target, jobId: "j" } } });
    expect(await stream.next()).toMatchObject({
      requestId: "1",
      frame: { case: "ready", value: { capabilities: { cancelDetection: true, pull: false } } },
    });
    for (let step = 1; step <= 50; step += 1) {
      stream.send({ frame: { case: "progress", value: { progress: { case: "text", value: `${step} %` } } } });
    }
    stream.send({
      requestId: "2",
      frame: {
        case: "complete",
        value: {
          payload: { case: "result", value: { jobId: "j", output: ["ok"], returnCode: 0, status: "done" } },
        },
      },
    });
    const first = await stream.nextOf("receipt");
    const second = await stream.nextOf("receipt");
    expect([first, second]).toMatchObject([
      { requestId: "2", frame: { value: { state: DeliveryState.STORED } } },
      { requestId: "2", frame: { value: { state: DeliveryState.DELIVERED } } },
    ]);
    stream.halfClose();
    expect(await stream.next()).toBeUndefined();
    const progress = events(process(), "progress").map(({ detail }) => detail);
    expect(progress.length).toBeLessThanOrEqual(3);
    expect(progress.at(-1)).toBe("50 %");
    expect(process()).toMatchObject({ status: "completed", accepted_callbacks: 1 });
  });

  test("a worker that is lost has the process told so, with what it left for that", async () => {
    const { url, process, target } = await useProcess({
      ...shortLease,
      TASKGATE_FAST_LANE: String(client.fastLane),
    });
    const stream = client.open(url, trackCallback);
    stream.send({
      frame: {
        case: "open",
        value: { target, lost: { case: "lostPayloadJson", value: '{"return_code":9,"why":"gone"}' } },
      },
    });
    await stream.nextOf("ready");
    stream.cancel();
    await expect
      .poll(() => events(process(), "callback"), { timeout: 3000 })
      .toMatchObject([{ detail: { return_code: 9, why: "gone" } }]);
  });

  test("a worker whose frames are all progress is not lost while the Orchestrator takes its time", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({
      ...shortLease,
      TASKGATE_FAST_LANE: String(client.fastLane),
    });
    sandbox.orchestrator.faults.add({ action: { kind: "delay", delayMs: 2500 }, times: 1 });
    const { process_id, callback_route: value } = sandbox.orchestrator.processes.start();
    const stream = client.open(url, trackCallback);
    stream.send({ frame: { case: "open", value: { target: { case: "callbackRoute", value } } } });
    await stream.nextOf("ready");
    const saying = setInterval(
      () =>
        stream.send({
          frame: { case: "progress", value: { progress: { case: "text", value: "still here" } } },
        }),
      300,
    );
    onTestFinished(() => clearInterval(saying));
    await new Promise((resolve) => setTimeout(resolve, 3500));
    expect(events(sandbox.orchestrator.processes.get(process_id), "callback")).toEqual([]);
    expect((await grpcClient.connect(url).call(listSessions, {})).sessions).toHaveLength(1);
  });

  test("a client that leaves while its progress waits for its turn is no error", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const { process_id, callback_route: value } = sandbox.orchestrator.processes.start();
    const target = { case: "callbackRoute", value } as const;
    sandbox.orchestrator.faults.add({ action: { kind: "delay", delayMs: 1000 }, times: 1 });
    const progress = { case: "text", value: "first" } as const;
    const first = grpcClient.connect(url).call(reportCallbackProgress, { target, progress });
    const stream = client.open(url, trackCallback);
    stream.send({ frame: { case: "open", value: { target } } });
    await stream.nextOf("ready");
    const second = { case: "text", value: "second" } as const;
    stream.send({ frame: { case: "progress", value: { progress: second } } });
    stream.send({ requestId: "b", frame: { case: "heartbeat", value: {} } });
    await stream.nextOf("directive");
    await new Promise((resolve) => setTimeout(resolve, 100));
    stream.cancel();
    await first;
    // The test fails by itself if the gateway logs an error.
    expect(events(sandbox.orchestrator.processes.get(process_id), "progress")).toHaveLength(1);
  });

  test("a progress that is refused behind one that was accepted cancels the worker", async () => {
    const { url, process, target, aborted } = await useProcess({
      TASKGATE_FAST_LANE: String(client.fastLane),
    });
    const stream = client.open(url, trackCallback);
    stream.send({ frame: { case: "open", value: { target } } });
    await stream.nextOf("ready");
    const say = (value: string) =>
      stream.send({
        requestId: value,
        frame: { case: "progress", value: { progress: { case: "text", value } } },
      });
    say("first");
    await expect.poll(() => events(process(), "progress")).toHaveLength(1);
    await aborted();
    say("second");
    expect((await stream.nextOf("directive")).frame.value).toMatchObject({
      directive: Directive.CANCEL,
      cause: ErrorReason.TASK_CANCELLED,
    });
    expect(await stream.nextOf("failure")).toMatchObject({
      requestId: "second",
      frame: { value: { code: Code.FailedPrecondition, reason: ErrorReason.TASK_CANCELLED } },
    });
    stream.send({ requestId: "beat", frame: { case: "heartbeat", value: {} } });
    expect((await stream.nextOf("directive")).frame.value).toMatchObject({
      directive: Directive.CANCEL,
      cause: ErrorReason.TASK_CANCELLED,
    });
  });
});

describe.each(testClients)("leases of callbacks over $name", (client) => {
  test("a heartbeat begins a lease, and what falls silent is reported as the flat result", async () => {
    const { url, process, target } = await useProcess({
      ...shortLease,
      TASKGATE_FAST_LANE: String(client.fastLane),
    });
    const caller = client.connect(url);
    const begun = await caller.call(heartbeatCallback, { target, jobId: "j7" });
    expect(begun).toMatchObject({ directive: Directive.CONTINUE, leaseDuration: { seconds: 1n } });
    await expect
      .poll(() => events(process(), "callback"), { timeout: 3000 })
      .toMatchObject([{ detail: { job_id: "j7", return_code: -1, status: "failed" } }]);
    const { sessionId } = begun;
    expect(await caller.call(heartbeatCallback, { target, sessionId })).toMatchObject({
      directive: Directive.CANCEL,
      cause: ErrorReason.LEASE_EXPIRED,
    });
    expect(
      await caller.fail(completeCallback, { target, sessionId, payload: { case: "json", value: "{}" } }),
    ).toMatchObject({
      code: Code.AlreadyExists,
      reason: "CONFLICTING_OUTCOME",
      metadata: { outcome_by: "gateway" },
    });
  });

  test("who wants to be ignored when it is lost is, and may come back", async () => {
    const { url, process, target } = await useProcess({
      ...shortLease,
      TASKGATE_FAST_LANE: String(client.fastLane),
    });
    const caller = client.connect(url);
    const { sessionId } = await caller.call(heartbeatCallback, { target, onLost: OnLost.IGNORE });
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(events(process(), "callback")).toEqual([]);
    expect(await caller.call(heartbeatCallback, { target, sessionId })).toMatchObject({
      directive: Directive.CONTINUE,
      sessionId,
    });
  });

  test("progress is a beat, and tells at last that nobody waits any more", async () => {
    const { url, aborted, target, process } = await useProcess({
      ...shortLease,
      TASKGATE_FAST_LANE: String(client.fastLane),
    });
    const caller = client.connect(url);
    const { sessionId } = await caller.call(heartbeatCallback, { target });
    const progress = { case: "text", value: "on" } as const;
    for (let step = 0; step < 6; step += 1) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(await caller.call(reportCallbackProgress, { target, progress, sessionId })).toMatchObject({
        directive: Directive.CONTINUE,
      });
    }
    expect(events(process(), "callback")).toEqual([]);
    await aborted();
    const over = { directive: Directive.CANCEL, cause: ErrorReason.TASK_CANCELLED };
    expect(await caller.call(reportCallbackProgress, { target, progress, sessionId })).toMatchObject(over);
    expect(await caller.call(heartbeatCallback, { target, sessionId })).toMatchObject(over);
  });
});
