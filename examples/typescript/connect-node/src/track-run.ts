import type { JsonValue, MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { DeliveryState } from "../gen/taskgate/v1/receipt_pb.ts";
import { Directive, OnLost } from "../gen/taskgate/v1/session_pb.ts";
import type {
  TaskRunStatus,
  TaskStatusService,
  TrackRunRequestSchema,
  TrackRunResponse,
} from "../gen/taskgate/v1/task_status_pb.ts";
import { openSessionStream } from "./session-stream.ts";

type Frame = NonNullable<MessageInitShape<typeof TrackRunRequestSchema>["frame"]>;

/** A run that the gateway reports as failed should this process die. */
export interface TrackedRun {
  /** Aborted when nobody waits for the run any more. */
  readonly signal: AbortSignal;
  /** Resolves when the gateway has the message on disk. */
  update(message: string): Promise<void>;
  /** Resolves when the gateway has the output on disk. */
  setOutput(name: string, value: JsonValue): Promise<void>;
  /** Resolves when the outcome is settled, and rejects when Orchestra has refused it. */
  finish(status: TaskRunStatus, message: string): Promise<void>;
}

/** Opens a run and reports it as RUNNING. */
export async function trackRun(
  client: Client<typeof TaskStatusService>,
  taskRunId: string,
): Promise<TrackedRun> {
  const cancelled = new AbortController();
  const stream = openSessionStream<Frame, TrackRunResponse>({
    // The run takes as long as it takes: no deadline.
    call: (requests) => client.trackRun(requests, { timeoutMs: 0 }),
    open: (sessionId) => ({ case: "open", value: { taskRunId, onLost: OnLost.FAIL, sessionId } }),
    heartbeat: () => ({ case: "heartbeat", value: {} }),
    endsWithLease: true,
    onAnswer({ frame }) {
      if (frame.case === "directive" && frame.value.directive === Directive.CANCEL) {
        cancelled.abort();
      }
    },
  });
  stream.closed.catch((error) => cancelled.abort(error));
  await stream.ready;
  return {
    signal: cancelled.signal,
    async update(message) {
      await stream.send({ case: "update", value: { message } });
    },
    async setOutput(name, value) {
      const output = { case: "valueJson", value: JSON.stringify(value) } as const;
      await stream.send({ case: "output", value: { name, output } });
    },
    async finish(status, message) {
      const settled = stream.send({ case: "finish", value: { status, message } }, "settled");
      stream.end();
      const receipt = await settled;
      if (receipt?.state === DeliveryState.REJECTED) {
        throw new Error(receipt.failure?.message);
      }
      await stream.closed;
    },
  };
}
