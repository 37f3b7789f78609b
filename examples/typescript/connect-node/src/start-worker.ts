import { hostname } from "node:os";
import { type JsonValue, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type {
  ExecutorService,
  Task,
  WorkRequestSchema,
  WorkResponse,
} from "../gen/taskgate/v1/executor_pb.ts";
import { Directive } from "../gen/taskgate/v1/session_pb.ts";
import { openSessionStream } from "./session-stream.ts";

type Frame = NonNullable<MessageInitShape<typeof WorkRequestSchema>["frame"]>;

export interface WorkerOptions {
  /** The task definition, `namespace/name`. */
  definition: string;
  /** How many tasks are performed at once. */
  maxInFlight: number;
  /** Performs a task. What it throws fails the task; the signal says that nobody waits any more. */
  perform: (params: JsonValue, signal: AbortSignal) => JsonValue | Promise<JsonValue>;
}

/** Performs tasks of Aidbox, as many at once as it may. */
export interface Worker {
  /** Takes no more tasks, and ends when those that it has are done. */
  drain(): void;
  /** Resolves with the number of tasks that were ended, once the worker is drained. */
  readonly drained: Promise<number>;
}

/** Starts a worker. */
export function startWorker(client: Client<typeof ExecutorService>, options: WorkerOptions): Worker {
  const { definition, perform } = options;
  // By attempt: a task that comes back is another one.
  const held = new Map<string, { id: string; execId: string; cancelled: AbortController }>();
  let isDraining = false;
  let ended = 0;

  const subscribe = (sessionId = ""): Frame => ({
    case: "subscribe",
    value: {
      taskDefinitions: [definition],
      maxInFlight: isDraining ? 0 : options.maxInFlight,
      worker: hostname(),
      sessionId,
    },
  });

  const stream = openSessionStream<Frame, WorkResponse>({
    // A worker stays: no deadline.
    call: (requests) => client.work(requests, { timeoutMs: 0 }),
    open: subscribe,
    heartbeat: () => ({
      case: "heartbeat",
      value: { tasks: Array.from(held.values(), ({ id, execId }) => ({ id, execId })) },
    }),
    endsWithLease: false,
    onSessionUnknown() {
      for (const { cancelled } of held.values()) {
        cancelled.abort();
      }
      held.clear();
      endIfDrained();
    },
    onAnswer({ frame }) {
      if (frame.case === "task") {
        take(frame.value).catch((error) => console.error(`task ${frame.value.id}: ${error.message}`));
      } else if (frame.case === "directive" && frame.value.directive === Directive.CANCEL) {
        held.get(frame.value.execId)?.cancelled.abort();
      }
    },
  });

  async function take({ id, execId, params }: Task): Promise<void> {
    // After a break a task is pushed again whose start has not come to the gateway.
    if (held.has(execId)) {
      return;
    }
    if (isDraining) {
      await stream.send({ case: "release", value: { id, execId } });
      return;
    }
    const cancelled = new AbortController();
    const attempt = { id, execId, cancelled };
    held.set(execId, attempt);
    try {
      // Refused where another worker has the task by now.
      await stream.send({ case: "start", value: { id, execId } });
      const frame = await outcome();
      // Otherwise the task was lost with its session, and is another's.
      if (held.get(execId) === attempt) {
        await stream.send(frame);
        ended += 1;
      }
    } finally {
      if (held.get(execId) === attempt) {
        held.delete(execId);
      }
      endIfDrained();
    }

    async function outcome(): Promise<Frame> {
      try {
        const result = await perform(
          params === undefined ? null : toJson(ValueSchema, params),
          cancelled.signal,
        );
        return {
          case: "succeed",
          value: { id, execId, outcome: { case: "resultJson", value: JSON.stringify(result) } },
        };
      } catch (error) {
        const value = JSON.stringify({ message: String(error) });
        return { case: "fail", value: { id, execId, reason: { case: "errorJson", value } } };
      }
    }
  }

  function endIfDrained(): void {
    if (isDraining && held.size === 0) {
      stream.end();
    }
  }

  return {
    drain() {
      isDraining = true;
      stream.send(subscribe()).catch(() => {});
      endIfDrained();
    },
    drained: stream.closed.then(() => ended),
  };
}
