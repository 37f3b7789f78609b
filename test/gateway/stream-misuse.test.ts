import { randomUUID } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import {
  TaskRunStatus,
  TaskStatusService,
  TrackRunRequestSchema,
} from "../../gen/taskgate/v1/task_status_pb.ts";
import { grpcClient } from "../support/clients.ts";
import { grpcFrame } from "../support/grpc-frame.ts";
import { openByteByByte, openRaw } from "../support/raw-stream.ts";
import { type StreamClient, streamClients } from "../support/streams.ts";
import { useHttp2Session } from "../support/use-listener.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { trackRun } = TaskStatusService.method;

type Frame = MessageInitShape<typeof TrackRunRequestSchema>;

const bytesOf = (frame: Frame) => toBinary(TrackRunRequestSchema, create(TrackRunRequestSchema, frame));
const framed = (...frames: Frame[]) => Buffer.concat(frames.map((frame) => grpcFrame(bytesOf(frame))));
const openFrame = (taskRunId: string): Frame => ({
  requestId: "open",
  frame: { case: "open", value: { taskRunId } },
});
const beatFrame = (requestId: string): Frame => ({ requestId, frame: { case: "heartbeat", value: {} } });
const messageFrame = (requestId: string, message: string): Frame => ({
  requestId,
  frame: { case: "update", value: { message } },
});
// A field that a newer client knows: number 99, a message of three bytes.
const newerFrame = Buffer.from([0x9a, 0x06, 3, 1, 2, 3]);

/** A gateway with one good stream on it, which must not notice what happens beside it. */
async function use(client: StreamClient, env: Record<string, string> = {}) {
  const used = await useGatewayWithSandbox({ TASKGATE_DRAIN_TIMEOUT: "500ms", ...env });
  const good = client.open(used.url, trackRun);
  good.send(openFrame(randomUUID()));
  await good.nextOf("ready");
  const undisturbed = async () => {
    good.send(beatFrame("good"));
    expect(await good.nextOf("directive")).toMatchObject({
      requestId: "good",
      frame: { value: { directive: Directive.CONTINUE } },
    });
  };
  const taskRunId = randomUUID();
  const run = () => used.sandbox.orchestra.taskRuns.get(taskRunId);
  return { ...used, undisturbed, taskRunId, run };
}

describe.each(streamClients)("misuse of TrackRun over $name", (client) => {
  test("a second open ends the stream, and the run goes on", async () => {
    const { url, undisturbed, taskRunId } = await use(client);
    const stream = client.open(url, trackRun);
    stream.send(openFrame(taskRunId));
    const { frame } = await stream.nextOf("ready");
    stream.send(openFrame(taskRunId));
    expect(await stream.failure()).toMatchObject({
      code: Code.InvalidArgument,
      reason: "INVALID_REQUEST",
      violations: { frame: "is a second open" },
    });
    await undisturbed();
    const again = client.open(url, trackRun);
    again.send({ frame: { case: "open", value: { taskRunId, sessionId: frame.value.sessionId } } });
    expect(await again.nextOf("ready")).toMatchObject({
      frame: { value: { resumed: true, acceptedRequestIds: ["open"] } },
    });
  });

  test.each<[what: string, frame: Frame, violation: object]>([
    ["no run", openFrame("not a run"), { task_run_id: expect.any(String) }],
    [
      "a choice that there is not",
      { frame: { case: "open", value: { taskRunId: randomUUID(), onLost: 17 as never } } },
      { on_lost: expect.any(String) },
    ],
    [
      "a text that no upstream can store",
      { frame: { case: "open", value: { taskRunId: randomUUID(), message: "a\0b" } } },
      { message: "contains U+0000, which the upstream cannot store" },
    ],
  ])("an open with %s ends its stream, and no other", async (_, frame, violations) => {
    const { url, undisturbed } = await use(client);
    const stream = client.open(url, trackRun);
    stream.send(frame);
    expect(await stream.failure()).toMatchObject({
      code: Code.InvalidArgument,
      reason: "INVALID_REQUEST",
      violations,
    });
    await undisturbed();
  });

  test("frames behind the finish are refused in band, but for a log and the same finish again", async () => {
    const { url, undisturbed, taskRunId, run } = await use(client);
    const stream = client.open(url, trackRun);
    stream.send(openFrame(taskRunId));
    const finish = (requestId: string, status: TaskRunStatus): Frame => ({
      requestId,
      frame: { case: "finish", value: { status } },
    });
    stream.send(finish("finish", TaskRunStatus.SUCCEEDED));
    const answers: [string, unknown][] = [];
    const answered = async (id: string) => {
      for (;;) {
        const next = await stream.next();
        if (next?.requestId === id) {
          return next.frame;
        }
      }
    };
    await answered("finish");
    expect(await answered("finish")).toMatchObject({ value: { state: DeliveryState.DELIVERED } });
    stream.send(messageFrame("update", "late"));
    stream.send({
      requestId: "output",
      frame: { case: "output", value: { name: "a", output: { case: "valueJson", value: "1" } } },
    });
    stream.send(finish("other", TaskRunStatus.FAILED));
    stream.send(finish("same", TaskRunStatus.SUCCEEDED));
    stream.send({ requestId: "log", frame: { case: "log", value: { name: "a", data: "b" } } });
    stream.send(beatFrame("beat"));
    const wanted = new Set(["update", "output", "other", "same", "log", "beat"]);
    while (wanted.size > 0) {
      const next = await stream.next();
      if (next !== undefined && wanted.delete(next.requestId)) {
        answers.push([next.requestId, next.frame]);
      }
    }
    const failed = (code: Code, reason: ErrorReason) => ({ case: "failure", value: { code, reason } });
    expect(Object.fromEntries(answers)).toMatchObject({
      update: failed(Code.FailedPrecondition, ErrorReason.TASK_FINISHED),
      output: failed(Code.FailedPrecondition, ErrorReason.TASK_FINISHED),
      other: failed(Code.AlreadyExists, ErrorReason.CONFLICTING_OUTCOME),
      same: { case: "receipt", value: { state: DeliveryState.DELIVERED } },
      log: { case: "receipt" },
      beat: {
        case: "directive",
        value: { directive: Directive.CANCEL, cause: ErrorReason.TASK_FINISHED },
      },
    });
    stream.halfClose();
    expect(await stream.next()).toBeUndefined();
    await undisturbed();
    await expect.poll(() => run()?.logs).toHaveLength(1);
    expect(run()?.events.map(({ event }) => event.type)).toEqual(["UPDATE_STATUS", "UPDATE_STATUS", "LOG"]);
  });

  test("a frame that is too large ends its stream, says so, and the run goes on", async () => {
    const { url, undisturbed, taskRunId } = await use(client);
    const stream = client.open(url, trackRun);
    stream.send(openFrame(taskRunId));
    const { frame } = await stream.nextOf("ready");
    stream.send(messageFrame("1", "x".repeat(5 * 1024 * 1024)));
    expect(await stream.failure()).toMatchObject({
      code: Code.ResourceExhausted,
      reason: "PAYLOAD_TOO_LARGE",
    });
    await undisturbed();
    const again = client.open(url, trackRun);
    again.send({ frame: { case: "open", value: { taskRunId, sessionId: frame.value.sessionId } } });
    expect(await again.nextOf("ready")).toMatchObject({ frame: { value: { resumed: true } } });
  });

  test("a payload that is too large is refused in band", async () => {
    const { url, undisturbed, taskRunId } = await use(client);
    const stream = client.open(url, trackRun);
    stream.send(openFrame(taskRunId));
    await stream.nextOf("ready");
    const value = JSON.stringify("x".repeat(2 * 1024 * 1024));
    stream.send({
      requestId: "1",
      frame: { case: "output", value: { name: "a", output: { case: "valueJson", value } } },
    });
    expect(await stream.nextOf("failure")).toMatchObject({
      requestId: "1",
      frame: { value: { code: Code.ResourceExhausted, reason: ErrorReason.PAYLOAD_TOO_LARGE } },
    });
    stream.send(beatFrame("2"));
    expect(await stream.nextOf("directive")).toMatchObject({ requestId: "2" });
    await undisturbed();
  });

  test("a thousand reports at once are all answered, in order, and so is a beat behind them", async () => {
    const { url, undisturbed, taskRunId } = await use(client);
    const stream = client.open(url, trackRun);
    stream.send(openFrame(taskRunId));
    const ids = Array.from({ length: 1000 }, (_, index) => String(index));
    for (const id of ids) {
      stream.send(messageFrame(id, `message ${id}`));
    }
    stream.send(beatFrame("beat"));
    const receipts: string[] = [];
    for (let isBeaten = false; !isBeaten || receipts.length <= ids.length; ) {
      const next = await stream.next();
      if (next?.frame.case === "receipt") {
        receipts.push(next.requestId);
      } else if (next?.requestId === "beat") {
        isBeaten = true;
      } else {
        expect(next?.frame.case).toBe("ready");
      }
    }
    expect(receipts).toEqual(["open", ...ids]);
    await undisturbed();
  });
});

describe("streams that no library would make", () => {
  const [client] = streamClients as [StreamClient];

  test("an unknown frame of a newer client is ignored, as the first one, too", async () => {
    const { url, undisturbed, taskRunId } = await use(client);
    const stream = openRaw(useHttp2Session(url), trackRun);
    stream.read();
    await stream.write(Buffer.concat([grpcFrame(newerFrame), framed(openFrame(taskRunId))]));
    await stream.write(
      Buffer.concat([grpcFrame(newerFrame), grpcFrame(Buffer.alloc(0)), framed(beatFrame("1"))]),
    );
    await expect
      .poll(() => stream.received.map(({ requestId, frame }) => `${requestId} ${frame.case}`))
      .toEqual(expect.arrayContaining(["open ready", "open receipt", "1 directive"]));
    await undisturbed();
  });

  test("a known frame with fields of a newer client is understood", async () => {
    const { url, taskRunId } = await use(client);
    const stream = openRaw(useHttp2Session(url), trackRun);
    stream.read();
    await stream.write(
      grpcFrame(Buffer.concat([bytesOf(openFrame(taskRunId)), Buffer.from([0x98, 0x06, 7])])),
    );
    await expect.poll(() => stream.received[0]?.frame.case).toBe("ready");
  });

  const invalid = { "grpc-status": "3", "taskgate-reason": "INVALID_REQUEST" };
  // As the protocol of gRPC wants it.
  const internal = { "grpc-status": "13", "taskgate-reason": "INTERNAL" };
  test.each<[what: string, bytes: Buffer, answer: object]>([
    ["bytes that are no message", grpcFrame(Buffer.from([0xff, 0xff, 0xff])), invalid],
    ["text that is no UTF-8", grpcFrame(Buffer.from([0x0a, 2, 0xc3, 0x28])), invalid],
    ["a frame that is cut", grpcFrame(Buffer.from([1, 2, 3]), 0, 100), invalid],
    ["a frame that says it is compressed, and is not", grpcFrame(bytesOf(beatFrame("1")), 1), internal],
  ])("%s: it ends the stream, and no other", async (what, bytes, answer) => {
    const { url, undisturbed, taskRunId } = await use(client);
    const session = useHttp2Session(url);
    const [stream, beside] = [openRaw(session, trackRun), openRaw(session, trackRun)];
    for (const each of [stream, beside]) {
      each.read();
      await each.write(framed(openFrame(each === stream ? taskRunId : randomUUID())));
      await expect.poll(() => each.received[0]?.frame.case).toBe("ready");
    }
    await stream.write(bytes);
    if (what === "a frame that is cut") {
      stream.halfClose();
    }
    expect(await stream.ended).toMatchObject(answer);
    await beside.write(framed(beatFrame("beside")));
    await expect.poll(() => beside.received.map(({ requestId }) => requestId)).toContain("beside");
    await undisturbed();
  });

  test("clients that never end what has failed have their connection for more than its streams", async () => {
    const { url, undisturbed } = await use(client);
    const session = useHttp2Session(url);
    for (let count = 0; count < 1100; count += 1) {
      const stream = openRaw(session, trackRun);
      stream.read();
      await stream.write(framed(beatFrame("no open")));
      expect(await stream.ended).toMatchObject(invalid);
    }
    await undisturbed();
  });

  test("a length of four gigabytes is refused before they come", async () => {
    const { url, undisturbed, taskRunId } = await use(client);
    const stream = openRaw(useHttp2Session(url), trackRun);
    stream.read();
    await stream.write(framed(openFrame(taskRunId)));
    await stream.write(grpcFrame(Buffer.alloc(10), 0, 0xffff_ffff));
    expect(await stream.ended).toMatchObject({
      "grpc-status": "8",
      "taskgate-reason": "PAYLOAD_TOO_LARGE",
    });
    await undisturbed();
  });

  test("a writer of one byte at a time is served", async () => {
    const { url, undisturbed, taskRunId, run } = await use(client);
    const stream = await openByteByByte(url, trackRun);
    onTestFinished(stream.close);
    await stream.write(framed(openFrame(taskRunId), beatFrame("1"), messageFrame("2", "slowly")));
    await expect
      .poll(() => stream.received.map(({ requestId, frame }) => `${requestId} ${frame.case}`).toSorted())
      .toEqual(["1 directive", "2 receipt", "open ready", "open receipt"]);
    await expect.poll(() => run()?.message).toBe("slowly");
    await undisturbed();
  });

  test("a client that is reset in the middle of a frame has said what came before", async () => {
    const { url, undisturbed, taskRunId, run } = await use(client);
    const stream = openRaw(useHttp2Session(url), trackRun);
    stream.read();
    await stream.write(framed(openFrame(taskRunId), messageFrame("1", "whole")));
    await stream.write(framed(messageFrame("2", "cut")).subarray(0, 8));
    await expect.poll(() => run()?.message).toBe("whole");
    stream.reset();
    await undisturbed();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(run()?.events).toHaveLength(2);
  });

  test("clients that leave as soon as they have asked carry no session", async () => {
    const { url, undisturbed, gateway } = await use(client);
    for (let count = 0; count < 50; count += 1) {
      const session = useHttp2Session(url);
      const stream = openRaw(session, trackRun);
      await stream.write(framed(openFrame(randomUUID())));
      setTimeout(() => session.destroy(), count / 5);
    }
    const operator = grpcClient.connect(url);
    onTestFinished(async () => void (await gateway.stop()));
    async function connected() {
      const { sessions } = await operator.call(GatewayService.method.listSessions, {});
      return sessions.filter((session) => session.connected).length;
    }
    await expect.poll(connected, { timeout: 5000 }).toBe(1);
    await undisturbed();
  });

  test("a client that never reads while it beats is not lost", async () => {
    const { url, undisturbed, taskRunId, run } = await use(client, {
      TASKGATE_LEASE_DURATION: "2s",
      TASKGATE_HEARTBEAT_INTERVAL: "500ms",
    });
    const stream = openRaw(useHttp2Session(url), trackRun);
    await stream.write(framed(openFrame(taskRunId)));
    // More answers than any window holds.
    const burst = Array.from({ length: 5000 }, (_, index) => beatFrame(String(index)));
    await stream.write(framed(...burst));
    for (let count = 0; count < 20; count += 1) {
      await stream.write(framed(beatFrame(`last ${count}`)));
      await undisturbed();
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(run()?.status).toBe("RUNNING");
    stream.read();
    await expect.poll(() => stream.received.at(-1)?.requestId).toBe("last 19");
  });
});
