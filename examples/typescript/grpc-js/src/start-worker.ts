import { hostname } from "node:os";
import type { ExecutorServiceClient } from "../gen/taskgate/v1/ExecutorService.ts";
import type { Task__Output } from "../gen/taskgate/v1/Task.ts";
import type { WorkRequest } from "../gen/taskgate/v1/WorkRequest.ts";
import type { WorkResponse__Output } from "../gen/taskgate/v1/WorkResponse.ts";
import { openSessionStream } from "./session-stream.ts";

export interface WorkerOptions {
  /** The task definition, `namespace/name`. */
  definition: string;
  /** How many tasks are performed at once. */
  maxInFlight: number;
  /** Performs a task. What it throws fails the task; the signal says that nobody waits any more. */
  perform: (params: unknown, signal: AbortSignal) => unknown;
}

/** Performs tasks of Aidbox, as many at once as it may. */
export interface Worker {
  /** Takes no more tasks, and ends when those that it has are done. */
  drain(): void;
  /** Resolves with the number of tasks that were ended, once the worker is drained. */
  readonly drained: Promise<number>;
}

/** Starts a worker. */
export function startWorker(client: ExecutorServiceClient, options: WorkerOptions): Worker {
  const { definition, perform } = options;
  // By attempt: a task that comes back is another one.
  const held = new Map<string, { id: string; execId: string; cancelled: AbortController }>();
  let isDraining = false;
  let ended = 0;

  const subscribe = (sessionId = ""): WorkRequest => ({
    subscribe: {
      taskDefinitions: [definition],
      maxInFlight: isDraining ? 0 : options.maxInFlight,
      worker: hostname(),
      sessionId,
    },
  });

  const stream = openSessionStream<WorkRequest, WorkResponse__Output>({
    // A worker stays: no deadline.
    call: () => client.work(),
    open: subscribe,
    heartbeat: () => ({
      heartbeat: { tasks: Array.from(held.values(), ({ id, execId }) => ({ id, execId })) },
    }),
    endsWithLease: false,
    onSessionUnknown() {
      for (const { cancelled } of held.values()) {
        cancelled.abort();
      }
      held.clear();
      endIfDrained();
    },
    onAnswer({ task, directive }) {
      if (task) {
        take(task).catch((error) => console.error(`task ${task.id}: ${error.message}`));
      } else if (directive?.directive === "DIRECTIVE_CANCEL") {
        held.get(directive.execId)?.cancelled.abort();
      }
    },
  });

  async function take({ id, execId, resourceJson }: Task__Output): Promise<void> {
    // After a break a task is pushed again whose start has not come to the gateway.
    if (held.has(execId)) {
      return;
    }
    if (isDraining) {
      await stream.send({ release: { id, execId } });
      return;
    }
    const cancelled = new AbortController();
    const attempt = { id, execId, cancelled };
    held.set(execId, attempt);
    try {
      // Refused where another worker has the task by now.
      await stream.send({ start: { id, execId } });
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

    async function outcome(): Promise<WorkRequest> {
      try {
        // Simpler to read than a google.protobuf.Value.
        const { params } = JSON.parse(resourceJson);
        const result = await perform(params, cancelled.signal);
        return { succeed: { id, execId, resultJson: JSON.stringify(result) } };
      } catch (error) {
        return { fail: { id, execId, errorJson: JSON.stringify({ message: String(error) }) } };
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
