import http2 from "node:http2";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { OnLost } from "../../../gen/taskgate/v1/session_pb.ts";
import {
  TaskStatusService,
  TrackRunRequestSchema,
  type TrackRunResponse,
} from "../../../gen/taskgate/v1/task_status_pb.ts";
import { grpcFrame } from "../../support/grpc-frame.ts";
import { openRaw, type RawStream } from "../../support/raw-stream.ts";
import type { Verdict } from "../judge.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { setStage, sleep } from "../stage.ts";

export interface FloodsOptions {
  /** Reports at once on a stream that is read. */
  reports: number;
  /** Beats on a stream that is never read. */
  beats: number;
  /** Reports on a stream that is not read, of a size each. */
  unread: number;
  unreadBytes: number;
  /** Logs at once, of a size each, on each of some streams. */
  logStreams: number;
  logs: number;
  logBytes: number;
  leaseMs: number;
  /** How much more memory the gateway may have in each part. */
  maxGrowthMiB: number;
  /** How long a beat of a stream beside it may wait for its answer. */
  maxNeighbourMs: number;
  /** The safeguard: without it, the one that is not read is, and is slowed by nothing. */
  isUnread: boolean;
}

/** Streams that write as fast as they can, and read or do not. */
export const floods: Scenario = {
  timeoutMs: 180_000,
  run: (context) => runFloods(context, { ...long, isUnread: true }),
  control: (context) => runFloods(context, { ...long, reports: 100, beats: 100, logs: 1, isUnread: false }),
};

const long: Omit<FloodsOptions, "isUnread"> = {
  reports: 10_000,
  beats: 50_000,
  unread: 10_000,
  unreadBytes: 4096,
  logStreams: 4,
  logs: 25,
  logBytes: 3_000_000,
  leaseMs: 6000,
  maxGrowthMiB: 512,
  maxNeighbourMs: 2000,
};

type Frame = MessageInitShape<typeof TrackRunRequestSchema>;

function beatFrame(requestId: string): Frame {
  return { requestId, frame: { case: "heartbeat", value: {} } };
}

function messageFrame(requestId: string, message: string): Frame {
  return { requestId, frame: { case: "update", value: { message } } };
}

// No library: grpc-js reads whether it is asked to or not.
interface Told extends RawStream<TrackRunResponse> {
  taskRunId: string;
  say(frame: Frame): Promise<void>;
}

export async function runFloods(context: Context, options: FloodsOptions): Promise<Verdict> {
  const { leaseMs } = options;
  const { sandbox, client, address, gateway } = await setStage(context, {
    env: { TASKGATE_LEASE_DURATION: `${leaseMs}ms`, TASKGATE_HEARTBEAT_INTERVAL: `${leaseMs / 3}ms` },
  });
  const problems: string[] = [];
  const figures: Verdict["figures"] = {};

  function connect(): http2.ClientHttp2Session {
    const session = http2.connect(`http://${address}`);
    session.on("error", () => undefined);
    context.defer(() => session.destroy());
    return session;
  }

  function open(session: http2.ClientHttp2Session, isRead = true, onLost: OnLost = OnLost.FAIL): Told {
    const taskRunId = uuidOf(context.random);
    const stream = openRaw(session, TaskStatusService.method.trackRun);
    if (isRead) {
      stream.read();
    }
    const say: Told["say"] = (frame) =>
      stream.write(grpcFrame(toBinary(TrackRunRequestSchema, create(TrackRunRequestSchema, frame))));
    void say({ requestId: "open", frame: { case: "open", value: { taskRunId, onLost } } });
    return { ...stream, taskRunId, say };
  }

  async function until(what: string, isSo: () => boolean, timeoutMs = 20_000): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (!isSo()) {
      if (performance.now() > endMs) {
        problems.push(`${what}: not within ${timeoutMs / 1000} s`);
        return;
      }
      await sleep(20);
    }
  }

  const [other, flooding] = [connect(), connect()];
  let ownPauseMs = 0;
  // One on a connection of its own, and one on that of the flood.
  const neighbours = [other, flooding].map((by) => {
    const told = open(by);
    const sentMs = new Map<string, number>();
    let number = 0;
    let lastMs = performance.now();
    const timer = setInterval(() => {
      number += 1;
      ownPauseMs = Math.max(ownPauseMs, performance.now() - lastMs);
      lastMs = performance.now();
      sentMs.set(String(number), performance.now());
      void told.say(beatFrame(String(number)));
    }, 100);
    context.defer(() => clearInterval(timer));
    return {
      told,
      worstMs() {
        const nowMs = performance.now();
        for (const { requestId } of told.received) {
          sentMs.delete(String(requestId));
        }
        return Math.max(0, ...[...sentMs.values()].map((ms) => nowMs - ms));
      },
    };
  });

  async function part(name: string, run: () => Promise<void>): Promise<void> {
    await sleep(500);
    const before = gateway().rssMiB();
    let most = before;
    let waitedMs = 0;
    ownPauseMs = 0;
    const watching = setInterval(() => {
      most = Math.max(most, gateway().rssMiB());
      waitedMs = Math.max(waitedMs, ...neighbours.map(({ worstMs }) => worstMs()));
    }, 50);
    context.defer(() => clearInterval(watching));
    const startMs = performance.now();
    try {
      await run();
    } finally {
      clearInterval(watching);
    }
    figures[`${name} s`] = ((performance.now() - startMs) / 1000).toFixed(1);
    figures[`${name} RSS MiB`] = `${before.toFixed(0)} → ${most.toFixed(0)}`;
    figures[`${name} neighbours ms`] = `${waitedMs.toFixed(0)} (here ${ownPauseMs.toFixed(0)})`;
    if (most - before > options.maxGrowthMiB) {
      problems.push(`${name}: the gateway grew by ${(most - before).toFixed(0)} MiB`);
    }
    // What this process stood still is its own fault.
    if (waitedMs - ownPauseMs > options.maxNeighbourMs) {
      problems.push(`${name}: a beat beside it waited ${waitedMs.toFixed(0)} ms for its answer`);
    }
  }

  const receiptsOf = ({ received }: Told) => received.filter(({ frame }) => frame.case === "receipt").length;
  const statusOf = ({ taskRunId }: Told) => sandbox.orchestra.taskRuns.get(taskRunId)?.status;

  await until("a neighbour opens", () => neighbours.every(({ told }) => told.received.length > 0));
  await part("reports", async () => {
    const told = open(flooding);
    for (let count = 1; count <= options.reports; count += 1) {
      void told.say(messageFrame(String(count), `message ${count}`));
    }
    await until("all reports are answered", () => receiptsOf(told) === options.reports + 1);
    const ids = told.received.flatMap(({ frame, requestId }) =>
      frame.case === "receipt" ? [requestId] : [],
    );
    if (ids.some((id, index) => index > 0 && id !== String(index))) {
      problems.push("the reports were answered in another order");
    }
    told.reset();
  });

  await part("beats", async () => {
    const told = open(flooding, false);
    const written = Array.from({ length: options.beats }, (_, index) => told.say(beatFrame(String(index))));
    await Promise.race([Promise.all(written), sleep(60_000)]);
    const startMs = performance.now();
    while (performance.now() - startMs < 2 * leaseMs) {
      void told.say(beatFrame("last"));
      await sleep(leaseMs / 6);
    }
    if (statusOf(told) !== "RUNNING") {
      problems.push(`one that beat and did not read is ${statusOf(told)}`);
    }
    told.read();
    await until("the last beat is answered", () => told.received.at(-1)?.requestId === "last");
    told.reset();
  });

  await part("unread", async () => {
    // Whoever is slowed down cannot beat either.
    const told = open(flooding, !options.isUnread, OnLost.IGNORE);
    const message = "x".repeat(options.unreadBytes);
    for (let count = 1; count <= options.unread; count += 1) {
      void told.say(messageFrame(String(count), message));
    }
    const arrived = () => sandbox.orchestra.taskRuns.get(told.taskRunId)?.events.length ?? 0;
    // Until it gets no further.
    for (let before = -1; before !== arrived(); ) {
      before = arrived();
      await sleep(1500);
    }
    figures["taken of the unread"] = `${arrived()} of ${options.unread}`;
    if (arrived() > options.unread / 2) {
      problems.push(`one that did not read was slowed by nothing: ${arrived()} of its reports were taken`);
    }
    told.read();
    await until("all reports are answered in the end", () => receiptsOf(told) === options.unread + 1);
    told.reset();
  });

  await part("logs", async () => {
    const data = "x".repeat(options.logBytes);
    const all = Array.from({ length: options.logStreams }, () => open(flooding));
    for (const { say } of all) {
      for (let count = 1; count <= options.logs; count += 1) {
        const value = { name: `${count}.log`, data };
        void say({ requestId: String(count), frame: { case: "log", value } });
        // Else this process would stand still for long.
        await sleep(0);
      }
    }
    await until("all logs are answered", () => all.every((told) => receiptsOf(told) === options.logs + 1));
    for (const { reset } of all) {
      reset();
    }
  });

  for (const { told } of neighbours) {
    if (statusOf(told) !== "RUNNING") {
      problems.push(`the run of a stream beside them is ${statusOf(told)}`);
    }
  }
  const answer = await client.call("GatewayService", "GetInfo", {});
  if (answer.kind === "error") {
    problems.push(`the gateway answers ${answer.message}`);
  }
  return { problems, figures };
}
