import type { TaskRunStatus } from "../gen/taskgate/v1/TaskRunStatus.ts";
import type { TaskStatusServiceClient } from "../gen/taskgate/v1/TaskStatusService.ts";
import type { TrackRunRequest } from "../gen/taskgate/v1/TrackRunRequest.ts";
import type { TrackRunResponse__Output } from "../gen/taskgate/v1/TrackRunResponse.ts";
import { openSessionStream } from "./session-stream.ts";

/** A run that the gateway reports as failed should this process die. */
export interface TrackedRun {
  /** Aborted when nobody waits for the run any more. */
  readonly signal: AbortSignal;
  /** Resolves when the gateway has the message on disk. */
  update(message: string): Promise<void>;
  /** Resolves when the gateway has the output on disk. */
  setOutput(name: string, value: unknown): Promise<void>;
  /** Resolves when the outcome is settled, and rejects when Orchestra has refused it. */
  finish(status: TaskRunStatus, message: string): Promise<void>;
}

/** Opens a run and reports it as RUNNING. */
export async function trackRun(client: TaskStatusServiceClient, taskRunId: string): Promise<TrackedRun> {
  const cancelled = new AbortController();
  const stream = openSessionStream<TrackRunRequest, TrackRunResponse__Output>({
    // The run takes as long as it takes: no deadline.
    call: () => client.trackRun(),
    open: (sessionId) => ({ open: { taskRunId, onLost: "ON_LOST_FAIL", sessionId } }),
    heartbeat: () => ({ heartbeat: {} }),
    endsWithLease: true,
    onAnswer({ directive }) {
      if (directive?.directive === "DIRECTIVE_CANCEL") {
        cancelled.abort();
      }
    },
  });
  stream.closed.catch((error) => cancelled.abort(error));
  await stream.ready;
  return {
    signal: cancelled.signal,
    async update(message) {
      await stream.send({ update: { message } });
    },
    async setOutput(name, value) {
      await stream.send({ output: { name, valueJson: JSON.stringify(value) } });
    },
    async finish(status, message) {
      const settled = stream.send({ finish: { status, message } }, "settled");
      stream.end();
      const receipt = await settled;
      if (receipt?.state === "DELIVERY_STATE_REJECTED") {
        throw new Error(receipt.failure?.message);
      }
      await stream.closed;
    },
  };
}
