import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import {
  ExecutorService,
  type WorkRequestSchema,
  type WorkResponseSchema,
  type WorkSubscribe,
} from "../../gen/taskgate/v1/executor_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive, OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import { sandboxSettings } from "../../src/sandbox-settings.ts";
import { grpcClient } from "../support/clients.ts";
import { type StreamClient, streamClients } from "../support/streams.ts";
import { useDirectory } from "../support/use-directory.ts";
import { useGateway } from "../support/use-gateway.ts";
import { useGatewayWithSandbox, useSandbox } from "../support/use-sandbox.ts";

const rpc = ExecutorService.method;
const quick = { TASKGATE_LEASE_DURATION: "1s", TASKGATE_HEARTBEAT_INTERVAL: "300ms" };
const [grpcJs] = streamClients as [StreamClient, ...StreamClient[]];

type Frame = NonNullable<MessageInitShape<typeof WorkRequestSchema>["frame"]>;
type Attempt = { id: string; execId: string };

type Answer = MessageShape<typeof WorkResponseSchema>;
type AnswerOf<Case extends string> = Answer & { frame: Extract<Answer["frame"], { case: Case }> };

/** A worker on its stream, which says what it is told to say. */
function openWorker(client: StreamClient, url: string, headers?: Record<string, string>) {
  const stream = client.open(url, rpc.work, headers);
  // Frames that came before the one that was waited for.
  const kept: Answer[] = [];
  const say = (requestId: string, frame: Frame) => stream.send({ requestId, frame });

  async function find<Case extends string>(
    name: Case,
    isIt: (answer: AnswerOf<Case>) => boolean = () => true,
  ): Promise<AnswerOf<Case>> {
    const isFound = (answer: Answer): answer is AnswerOf<Case> =>
      answer.frame.case === name && isIt(answer as AnswerOf<Case>);
    const index = kept.findIndex(isFound);
    if (index >= 0) {
      return kept.splice(index, 1)[0] as AnswerOf<Case>;
    }
    for (;;) {
      const answer = await stream.next();
      if (answer === undefined) {
        throw new Error(`the stream ended before a ${name} came`);
      }
      if (isFound(answer)) {
        return answer;
      }
      kept.push(answer);
    }
  }

  const ack = async (requestId: string) =>
    (await find("ack", (answer) => answer.requestId === requestId)).frame.value;
  let made = 0;

  return {
    ...stream,
    say,
    nextOf: find,
    async subscribe(value: Partial<Omit<WorkSubscribe, "$typeName" | "$unknown">> = {}) {
      say("subscribe", { case: "subscribe", value: { taskDefinitions: ["a/b"], ...value } });
      return (await find("ready")).frame.value;
    },
    async take(): Promise<Attempt> {
      const { id, execId } = (await find("task")).frame.value;
      return { id, execId };
    },
    ack,
    /** Says something that must be accepted; of an outcome that it is stored. */
    async tell(frame: Frame) {
      made += 1;
      say(`f${made}`, frame);
      return ack(`f${made}`);
    },
    async begin(): Promise<Attempt> {
      const attempt = await this.take();
      await this.tell({ case: "start", value: attempt });
      return attempt;
    },
    /** Beats for tasks; returns the answer to the beat. */
    async beat(...tasks: Attempt[]) {
      const beatId = randomUUID();
      say(beatId, { case: "heartbeat", value: { tasks } });
      const { frame } = await find(
        "directive",
        ({ requestId, frame }) => requestId === beatId && frame.value.taskId === "",
      );
      return frame.value;
    },
    /** The next directive about a task. */
    async stopped() {
      const { frame } = await find("directive", ({ frame }) => frame.value.taskId !== "");
      const { directive, cause, taskId, execId } = frame.value;
      return { directive, cause, id: taskId, execId };
    },
  };
}

async function useWork(
  env: Record<string, string> = {},
  options: Parameters<typeof useGatewayWithSandbox>[1] = {},
) {
  const used = await useGatewayWithSandbox(env, options);
  const { aidbox } = used.sandbox;
  return {
    ...used,
    aidbox,
    caller: grpcClient.connect(used.url),
    create: (count = 1, definition = "a/b") =>
      Array.from({ length: count }, () => aidbox.tasks.create({ definition, params: {} }).value?.id ?? ""),
    task: (id: string) => aidbox.tasks.get(id)?.resource,
    rpcs: (method: string) => aidbox.requests.filter(({ body }) => body.includes(`"${method}"`)),
  };
}

describe.each(streamClients)("Work over $name", (client) => {
  test("a task is pushed, begun, beaten for and ended on one stream", async () => {
    const { url, create, task } = await useWork();
    const worker = openWorker(client, url);
    expect(await worker.subscribe({ maxInFlight: 2 })).toMatchObject({
      resumed: false,
      capabilities: { pull: true, cancelDetection: true, handBack: false },
      startTimeout: { seconds: 4n },
      leaseDuration: { seconds: 30n },
    });
    const [id = ""] = create();
    const pushed = await worker.nextOf("task");
    expect(pushed).toMatchObject({
      requestId: "",
      frame: { case: "task", value: { id, definition: "a/b", status: "requested" } },
    });
    const { execId } = pushed.frame.value;
    const attempt = { id, execId };
    worker.say("2", { case: "start", value: attempt });
    expect(await worker.next()).toMatchObject({
      requestId: "2",
      frame: { case: "ack", value: { id, execId, task: { status: "in-progress" } } },
    });
    worker.say("3", { case: "heartbeat", value: { tasks: [attempt] } });
    expect(await worker.next()).toMatchObject({
      requestId: "3",
      frame: { case: "directive", value: { directive: Directive.CONTINUE, taskId: "" } },
    });
    worker.say("4", { case: "progress", value: { ...attempt, current: 1n, total: 2n, unit: "rows" } });
    expect(await worker.next()).toMatchObject({ requestId: "4", frame: { case: "ack", value: attempt } });
    worker.say("5", {
      case: "succeed",
      value: { ...attempt, outcome: { case: "resultJson", value: "[1]" } },
    });
    expect(await worker.next()).toMatchObject({
      requestId: "5",
      frame: { case: "ack", value: { ...attempt, receipt: { state: DeliveryState.STORED } } },
    });
    expect(await worker.next()).toMatchObject({
      requestId: "5",
      frame: {
        case: "ack",
        value: { ...attempt, receipt: { state: DeliveryState.DELIVERED }, task: { status: "done" } },
      },
    });
    worker.halfClose();
    expect(await worker.next()).toBeUndefined();
    expect(task(id)).toMatchObject({ outcome: "succeeded", result: [1], retryCount: 1 });
  });

  test("a workflow is driven to its end by typed decisions", async () => {
    const { url, aidbox } = await useWork();
    const worker = openWorker(client, url);
    await worker.subscribe({ taskDefinitions: ["a/step"], workflowDefinitions: ["a/flow"], maxInFlight: 5 });
    const { value: flow } = aidbox.workflows.create({ definition: "a/flow", params: {} });
    const begun = (await worker.nextOf("task")).frame.value;
    expect(begun.decision).toMatchObject({
      workflowId: flow?.id,
      workflowDefinition: "a/flow",
      event: "awf.workflow.event/workflow-init",
    });
    const decide = async ({ id, execId }: Attempt, action: object) => {
      await worker.tell({ case: "start", value: { id, execId } });
      const outcome = { case: "actions", value: { actions: [{ action }] } } as never;
      await worker.tell({ case: "succeed", value: { id, execId, outcome } });
    };
    await decide(begun, { case: "scheduleTask", value: { definition: "a/step", label: "one" } });
    const step = await worker.begin();
    worker.say("done", { case: "succeed", value: step });
    const completed = (await worker.nextOf("task")).frame.value;
    expect(completed.decision).toMatchObject({ event: "awf.workflow.event/task-completed", taskId: step.id });
    await decide(completed, {
      case: "completeWorkflow",
      value: { outcome: { case: "resultJson", value: '{"n":1}' } },
    });
    await expect
      .poll(() => aidbox.workflows.get(flow?.id ?? ""))
      .toMatchObject({ status: "done", outcome: "succeeded", result: { n: 1 } });
  });

  test("a task that is cancelled through the gateway is told to stop at once, and its credit is free", async () => {
    const { url, caller, create } = await useWork();
    const worker = openWorker(client, url);
    await worker.subscribe();
    create();
    const begun = await worker.begin();
    create(2);
    await caller.call(rpc.cancelTask, { id: begun.id });
    expect(await worker.stopped()).toEqual({
      ...begun,
      directive: Directive.CANCEL,
      cause: ErrorReason.TASK_CANCELLED,
    });
    const pushed = await worker.take();
    await caller.call(rpc.cancelTask, { id: pushed.id });
    expect(await worker.stopped()).toMatchObject({ ...pushed, cause: ErrorReason.TASK_CANCELLED });
    await worker.begin();
  });

  test("a workflow that is cancelled through the gateway takes its tasks from their workers at once", async () => {
    const { url, caller, aidbox } = await useWork();
    const worker = openWorker(client, url);
    await worker.subscribe({ taskDefinitions: ["a/b"], workflowDefinitions: ["a/flow"], maxInFlight: 5 });
    const { value: flow } = aidbox.workflows.create({ definition: "a/flow", params: {} });
    const decision = await worker.begin();
    const schedule = { case: "scheduleTask", value: { definition: "a/b", label: "one" } } as const;
    const outcome = { case: "actions", value: { actions: [{ action: schedule }] } } as never;
    await worker.tell({ case: "succeed", value: { ...decision, outcome } });
    const begun = await worker.begin();
    await caller.call(rpc.cancelWorkflow, { id: flow?.id ?? "" });
    expect(await worker.stopped()).toMatchObject({ ...begun, cause: ErrorReason.TASK_CANCELLED });
  });

  test("A-66 a worker that falls silent has its tasks reported as failed", async () => {
    const { url, create, task, rpcs } = await useWork(quick, {
      aidbox: { definitions: { "a/b": { allowedRetryCount: 1 } } },
    });
    const worker = openWorker(client, url);
    await worker.subscribe({ maxInFlight: 3 });
    create(3);
    const begun = [await worker.begin(), await worker.begin(), await worker.begin()];
    const causes = [await worker.stopped(), await worker.stopped(), await worker.stopped()];
    expect(causes).toEqual(
      begun.map((attempt) => ({
        ...attempt,
        directive: Directive.CANCEL,
        cause: ErrorReason.LEASE_EXPIRED,
      })),
    );
    await expect
      .poll(() => begun.map(({ id }) => task(id)?.outcomeReason?.type))
      .toEqual(Array(3).fill("awf.task/failed-by-executor"));
    for (const { body } of rpcs("awf.task/fail")) {
      expect(Object.keys(JSON.parse(body).params)).toEqual(["id", "execId"]);
    }
    worker.say("late", { case: "heartbeat", value: { tasks: begun.slice(0, 1) } });
    expect(await worker.stopped()).toMatchObject({ ...begun[0], cause: ErrorReason.LEASE_EXPIRED });
  });

  test("a stream that breaks is resumed: nothing is lost, and its tasks go on", async () => {
    const { url, create, task } = await useWork(quick);
    const first = openWorker(client, url);
    const { sessionId } = await first.subscribe({ maxInFlight: 3 });
    create(2);
    const done = await first.begin();
    const going = await first.begin();
    await first.tell({ case: "succeed", value: done });
    first.cancel();
    await sleep(400);
    const second = openWorker(client, url);
    const ready = await second.subscribe({ maxInFlight: 3, sessionId });
    expect(ready).toMatchObject({ sessionId, resumed: true });
    expect(ready.acceptedRequestIds.toSorted()).toEqual(["f2", "f3"]);
    for (let beats = 0; beats < 4; beats += 1) {
      await sleep(400);
      expect(await second.beat(going)).toMatchObject({ directive: Directive.CONTINUE });
    }
    await second.tell({ case: "succeed", value: going });
    await expect.poll(() => task(going.id)?.outcome).toBe("succeeded");
    expect(task(going.id)?.retryCount).toBe(1);
  });
});

describe("credits", () => {
  test("no more tasks are taken from Aidbox than the worker has room for, and they can be changed", async () => {
    const { url, aidbox, create, rpcs } = await useWork();
    const ids = create(10);
    const held = () => ids.filter((id) => aidbox.tasks.get(id)?.resource.status !== "ready").length;
    const worker = openWorker(grpcJs, url);
    await worker.subscribe({ maxInFlight: 3 });
    const taken = [await worker.take(), await worker.take(), await worker.take()];
    // Oldest first.
    expect(taken.map(({ id }) => id)).toEqual(ids.slice(0, 3));
    await sleep(100);
    expect(held()).toBe(3);
    for (const { body } of rpcs("awf.task/long-poll")) {
      expect(JSON.parse(body).params.maxBatchSize).toBeLessThanOrEqual(3);
    }
    const [first, second, third] = taken as [Attempt, Attempt, Attempt];
    worker.say("none", { case: "subscribe", value: { maxInFlight: 0 } });
    await worker.ack("none");
    for (const attempt of [first, second]) {
      await worker.tell({ case: "start", value: attempt });
      await worker.tell({ case: "succeed", value: attempt });
    }
    await worker.tell({ case: "release", value: third });
    await sleep(100);
    expect(held()).toBe(3);
    worker.say("two", { case: "subscribe", value: { maxInFlight: 2 } });
    expect(await worker.take()).toMatchObject({ id: ids[3] });
    expect(await worker.take()).toMatchObject({ id: ids[4] });
    await sleep(100);
    expect(held()).toBe(5);
    worker.say("bad", { case: "subscribe", value: { maxInFlight: -1 } });
    expect(await worker.nextOf("failure")).toMatchObject({
      requestId: "bad",
      frame: { value: { code: Code.InvalidArgument, reason: ErrorReason.INVALID_REQUEST } },
    });
  });

  test("a task that its worker gives up, or leaves with, is another worker's at once", async () => {
    const { url, create } = await useWork();
    const one = openWorker(grpcJs, url);
    await one.subscribe();
    create();
    const task = await one.take();
    const two = openWorker(grpcJs, url);
    await two.subscribe();
    one.say("back", { case: "release", value: task });
    expect(await one.ack("back")).toMatchObject(task);
    expect(await two.take()).toEqual(task);
    const three = openWorker(grpcJs, url);
    await three.subscribe();
    two.cancel();
    expect(await three.begin()).toEqual(task);
    three.say("back", { case: "release", value: task });
    expect(await three.nextOf("failure")).toMatchObject({
      requestId: "back",
      frame: { value: { code: Code.FailedPrecondition } },
    });
    one.say("mine", { case: "start", value: task });
    expect(await one.nextOf("failure")).toMatchObject({
      requestId: "mine",
      frame: { value: { code: Code.FailedPrecondition, reason: ErrorReason.LEASE_SUPERSEDED } },
    });
  });

  test("a task that nobody is left for returns to Aidbox by Aidbox's own timer", async () => {
    const { url, create, task } = await useWork(
      {},
      { aidbox: { definitions: { "a/b": { requestedToStartTimeout: 1500 } } } },
    );
    const worker = openWorker(grpcJs, url);
    await worker.subscribe();
    const [id = ""] = create();
    await worker.take();
    worker.halfClose();
    expect(await worker.next()).toBeUndefined();
    expect(task(id)?.status).toBe("requested");
    await expect.poll(() => task(id)?.status, { timeout: 4000 }).toBe("ready");
    const next = openWorker(grpcJs, url);
    await next.subscribe();
    // The gateway cannot know that this definition's timer is so short.
    next.say("stale", { case: "start", value: await next.take() });
    expect(await next.nextOf("failure")).toMatchObject({
      requestId: "stale",
      frame: { value: { code: Code.FailedPrecondition, reason: ErrorReason.LEASE_EXPIRED } },
    });
    expect(await next.begin()).toMatchObject({ id });
  });
});

describe("what a worker does wrong", () => {
  test("a first frame that is not subscribe, or that asks for nothing, ends the stream", async () => {
    const { url } = await useWork();
    const early = openWorker(grpcJs, url);
    early.say("", { case: "heartbeat", value: {} });
    expect(await early.failure()).toMatchObject({
      code: Code.InvalidArgument,
      reason: "INVALID_REQUEST",
      violations: { frame: "is heartbeat; the first one must be subscribe" },
    });
    const empty = openWorker(grpcJs, url);
    empty.say("", { case: "subscribe", value: { maxInFlight: -1 } });
    expect((await empty.failure()).violations).toEqual({
      task_definitions: "is required unless workflow_definitions is set",
      max_in_flight: "must not be negative",
    });
    const invented = openWorker(grpcJs, url);
    invented.say("", { case: "subscribe", value: { taskDefinitions: ["a/b"], sessionId: "x".repeat(32) } });
    expect(await invented.failure()).toMatchObject({ code: Code.NotFound, reason: "SESSION_UNKNOWN" });
  });

  test("a frame about a task that it does not hold, or has not begun, is refused, and the stream goes on", async () => {
    const { url, create, aidbox } = await useWork();
    const worker = openWorker(grpcJs, url);
    await worker.subscribe({ maxInFlight: 2 });
    const strange = { id: "no", execId: "such" };
    const failed = async (requestId: string, frame: Frame) => {
      worker.say(requestId, frame);
      const { requestId: answered, frame: answer } = await worker.nextOf("failure");
      expect(answered).toBe(requestId);
      return [answer.value.code, answer.value.reason];
    };
    expect(await failed("1", { case: "start", value: strange })).toEqual([
      Code.NotFound,
      ErrorReason.TASK_UNKNOWN,
    ]);
    expect(await failed("2", { case: "release", value: strange })).toEqual([
      Code.NotFound,
      ErrorReason.TASK_UNKNOWN,
    ]);
    expect(await failed("3", { case: "start", value: { id: "", execId: "" } })).toEqual([
      Code.InvalidArgument,
      ErrorReason.INVALID_REQUEST,
    ]);
    create();
    const task = await worker.take();
    expect(await failed("4", { case: "succeed", value: task })).toEqual([
      Code.FailedPrecondition,
      ErrorReason.INVALID_REQUEST,
    ]);
    expect(await failed("5", { case: "progress", value: { ...task, current: 1n } })).toEqual([
      Code.FailedPrecondition,
      ErrorReason.INVALID_REQUEST,
    ]);
    await worker.tell({ case: "start", value: task });
    // Again, as after a lost answer.
    worker.say("7", { case: "start", value: task });
    expect(await worker.ack("7")).toMatchObject(task);
    expect(aidbox.tasks.get(task.id)?.executions[task.execId]).toEqual({
      start: { accepted: 1, refused: 0 },
    });
    worker.say("8", { case: "heartbeat", value: { tasks: [task, strange] } });
    expect(await worker.stopped()).toEqual({
      ...strange,
      directive: Directive.CANCEL,
      cause: ErrorReason.TASK_UNKNOWN,
    });
  });

  test("an attempt that Aidbox has handed out anew is told to stop, and its outcome is refused", async () => {
    const { url, create } = await useWork(
      { TASKGATE_LEASE_DURATION: "60s" },
      { aidbox: { definitions: { "a/b": { inProgressTimeout: 300, retryDelay: 10 } } } },
    );
    const worker = openWorker(grpcJs, url);
    await worker.subscribe({ maxInFlight: 2 });
    create();
    const first = await worker.begin();
    const second = await worker.take();
    expect(second.id).toBe(first.id);
    expect(await worker.stopped()).toEqual({
      ...first,
      directive: Directive.CANCEL,
      cause: ErrorReason.LEASE_SUPERSEDED,
    });
    worker.say("late", { case: "succeed", value: first });
    expect((await worker.ack("late")).receipt?.state).toBe(DeliveryState.STORED);
    expect((await worker.ack("late")).receipt).toMatchObject({
      state: DeliveryState.REJECTED,
      failure: { reason: ErrorReason.LEASE_SUPERSEDED },
    });
  });

  test("definitions that Aidbox refuses are told to whoever wants them", async () => {
    const { url, log } = await useWork({}, { aidbox: { strictDefinitions: true } });
    const worker = openWorker(grpcJs, url);
    await worker.subscribe({ taskDefinitions: ["no/such"] });
    expect(await worker.nextOf("failure")).toMatchObject({
      requestId: "subscribe",
      frame: { value: { reason: ErrorReason.UPSTREAM_REJECTED } },
    });
    expect(log).toContainEqual(expect.objectContaining({ message: "aidbox refuses to be asked for tasks" }));
  });
});

describe("who is alive", () => {
  test("a hung handler does not look alive because its worker does", async () => {
    const { url, create, task } = await useWork(quick, {
      aidbox: { definitions: { "a/b": { allowedRetryCount: 1 } } },
    });
    const worker = openWorker(grpcJs, url);
    await worker.subscribe({ maxInFlight: 2 });
    create(2);
    const hung = await worker.begin();
    const good = await worker.begin();
    for (let beats = 0; beats < 8; beats += 1) {
      worker.say("beat", { case: "heartbeat", value: { tasks: [good] } });
      await sleep(200);
    }
    expect(await worker.stopped()).toMatchObject({ ...hung, cause: ErrorReason.LEASE_EXPIRED });
    await expect.poll(() => task(hung.id)?.outcome).toBe("failed");
    expect(task(good.id)?.status).toBe("in-progress");
  });

  test("of a lost worker nobody is told where it asked for that", async () => {
    const { url, create, task, rpcs } = await useWork(quick);
    const worker = openWorker(grpcJs, url);
    await worker.subscribe({ onLost: OnLost.IGNORE });
    create();
    const begun = await worker.begin();
    expect(await worker.stopped()).toMatchObject({ ...begun, cause: ErrorReason.LEASE_EXPIRED });
    await sleep(200);
    expect(task(begun.id)?.status).toBe("in-progress");
    expect(rpcs("awf.task/fail")).toEqual([]);
    // It was only asleep, and nobody has taken its task meanwhile.
    expect(await worker.beat(begun)).toMatchObject({ directive: Directive.CONTINUE });
    await worker.tell({ case: "succeed", value: begun });
    await expect.poll(() => task(begun.id)?.outcome).toBe("succeeded");
  });

  test("Aidbox hears of a task once in an interval while its worker beats, and never after", async () => {
    const { url, create, rpcs } = await useWork({
      TASKGATE_LEASE_DURATION: "3s",
      TASKGATE_HEARTBEAT_INTERVAL: "400ms",
    });
    const worker = openWorker(grpcJs, url);
    await worker.subscribe();
    create();
    const begun = await worker.begin();
    for (let beats = 0; beats < 40; beats += 1) {
      worker.say("beat", { case: "heartbeat", value: { tasks: [begun] } });
      await sleep(25);
    }
    const told = rpcs("awf.task/notify").length;
    expect(told).toBeGreaterThanOrEqual(2);
    expect(told).toBeLessThanOrEqual(8);
    worker.cancel();
    await sleep(100);
    const before = rpcs("awf.task/notify").length;
    await sleep(1000);
    expect(rpcs("awf.task/notify").length).toBe(before);
  });

  test("a cancel that happened elsewhere is learnt with the next beat", async () => {
    const { url, create, aidbox } = await useWork(quick);
    const worker = openWorker(grpcJs, url);
    await worker.subscribe();
    create();
    const begun = await worker.begin();
    aidbox.tasks.cancel(begun.id);
    await worker.beat(begun);
    expect(await worker.stopped()).toEqual({
      ...begun,
      directive: Directive.CANCEL,
      cause: ErrorReason.TASK_CANCELLED,
    });
  });

  test("a session that another stream resumes ends on the first one", async () => {
    const { url, create } = await useWork();
    const first = openWorker(grpcJs, url);
    const { sessionId } = await first.subscribe({ maxInFlight: 2 });
    create(2);
    const begun = await first.begin();
    const pushed = await first.take();
    const second = openWorker(grpcJs, url);
    await second.subscribe({ maxInFlight: 2, sessionId });
    expect(await first.failure()).toMatchObject({ code: Code.Aborted, reason: "LEASE_SUPERSEDED" });
    // What had not begun is given anew.
    expect(await second.take()).toEqual(pushed);
    expect(await second.beat(begun)).toMatchObject({ directive: Directive.CONTINUE });
  });

  test("workers and what they hold are listed, also a worker without tasks", async () => {
    const { url, caller, create } = await useWork();
    const busy = openWorker(grpcJs, url);
    const { sessionId } = await busy.subscribe({ maxInFlight: 2, worker: "busy" });
    const ids = create(2);
    await busy.begin();
    await busy.begin();
    const idle = openWorker(grpcJs, url);
    await idle.subscribe({ worker: "idle" });
    const { sessions } = await caller.call(GatewayService.method.listSessions, { upstream: "aidbox" });
    expect(sessions).toMatchObject([
      { sessionId, worker: "busy", connected: true, caller: "everyone", taskIds: ids },
      { worker: "idle", connected: true, taskIds: [] },
    ]);
  });

  test("two callers never see each other's tasks", async () => {
    const { url, create } = await useWork({
      TASKGATE_AUTH_TOKEN: "a".repeat(32),
      TASKGATE_ADMIN_TOKEN: "b".repeat(32),
    });
    const one = openWorker(grpcJs, url, { authorization: `Bearer ${"a".repeat(32)}` });
    const two = openWorker(grpcJs, url, { authorization: `Bearer ${"b".repeat(32)}` });
    const { sessionId } = await one.subscribe({ taskDefinitions: ["a/b"] });
    create();
    const begun = await one.begin();
    await two.subscribe({ taskDefinitions: ["c/d"] });
    create(1, "c/d");
    await two.begin();
    two.say("steal", { case: "succeed", value: begun });
    expect(await two.nextOf("failure")).toMatchObject({
      requestId: "steal",
      frame: { value: { reason: ErrorReason.TASK_UNKNOWN } },
    });
    two.say("beat", { case: "heartbeat", value: { tasks: [begun] } });
    expect(await two.stopped()).toMatchObject({ ...begun, cause: ErrorReason.TASK_UNKNOWN });
    const thief = openWorker(grpcJs, url, { authorization: `Bearer ${"b".repeat(32)}` });
    thief.say("", { case: "subscribe", value: { taskDefinitions: ["a/b"], sessionId } });
    expect(await thief.failure()).toMatchObject({ code: Code.NotFound, reason: "SESSION_UNKNOWN" });
    expect(await one.beat(begun)).toMatchObject({ directive: Directive.CONTINUE });
  });
});

describe("a gateway that goes away", () => {
  test("after a restart a worker resumes, and its tasks have their full time", async () => {
    const sandbox = await useSandbox();
    const env = { ...quick, TASKGATE_DATA_DIR: useDirectory(), TASKGATE_DRAIN_TIMEOUT: "200ms" };
    const before = await useGateway(env, sandboxSettings(sandbox));
    const first = openWorker(grpcJs, before.url);
    const { sessionId } = await first.subscribe({ maxInFlight: 1 });
    sandbox.aidbox.tasks.create({ definition: "a/b", params: {} });
    const begun = await first.begin();
    await before.gateway.stop();
    const after = await useGateway(env, sandboxSettings(sandbox));
    await sleep(500);
    const second = openWorker(grpcJs, after.url);
    expect(await second.subscribe({ maxInFlight: 1, sessionId })).toMatchObject({ resumed: true, sessionId });
    sandbox.aidbox.tasks.create({ definition: "a/b", params: {} });
    for (let beats = 0; beats < 4; beats += 1) {
      await sleep(400);
      expect(await second.beat(begun)).toMatchObject({ directive: Directive.CONTINUE });
    }
    await second.tell({ case: "succeed", value: begun });
    // What it held counted: only now there is room for another one.
    const next = await second.take();
    expect(sandbox.aidbox.tasks.get(begun.id)?.resource).toMatchObject({
      outcome: "succeeded",
      retryCount: 1,
    });
    expect(next.id).not.toBe(begun.id);
  });

  test("draining takes nothing new, lets what has begun end, and then ends the streams well", async () => {
    const { url, caller, create, task } = await useWork();
    const busy = openWorker(grpcJs, url);
    const { sessionId } = await busy.subscribe({ maxInFlight: 5 });
    const idle = openWorker(grpcJs, url);
    await idle.subscribe({ taskDefinitions: ["c/d"] });
    create();
    const begun = await busy.begin();
    await caller.call(GatewayService.method.drain, {});
    expect((await idle.nextOf("directive")).frame.value).toMatchObject({
      directive: Directive.DRAIN,
      cause: ErrorReason.DRAINING,
    });
    expect(await idle.next()).toBeUndefined();
    expect((await busy.nextOf("directive")).frame.value.directive).toBe(Directive.DRAIN);
    const [id = ""] = create();
    const late = openWorker(grpcJs, url);
    late.say("", { case: "subscribe", value: { taskDefinitions: ["a/b"] } });
    expect(await late.failure()).toMatchObject({ code: Code.Unavailable, reason: "DRAINING" });
    for (const failing of [
      caller.fail(rpc.pollTasks, { taskDefinitions: ["a/b"] }),
      caller.fail(rpc.longPollTasks, { taskDefinitions: ["a/b"] }),
      caller.fail(rpc.createTask, { definition: "a/b" }),
      caller.fail(rpc.createWorkflow, { definition: "a/flow" }),
    ]) {
      expect(await failing).toMatchObject({ code: Code.Unavailable, reason: "DRAINING" });
    }
    busy.cancel();
    const again = openWorker(grpcJs, url);
    await again.subscribe({ sessionId, maxInFlight: 5 });
    expect(await again.beat(begun)).toMatchObject({
      directive: Directive.DRAIN,
      cause: ErrorReason.DRAINING,
    });
    again.say("end", { case: "succeed", value: begun });
    expect((await again.ack("end")).receipt?.state).toBe(DeliveryState.STORED);
    expect((await again.ack("end")).receipt?.state).toBe(DeliveryState.DELIVERED);
    expect(await again.next()).toBeUndefined();
    expect(task(begun.id)?.outcome).toBe("succeeded");
    expect(task(id)?.status).not.toBe("in-progress");
  });
});
