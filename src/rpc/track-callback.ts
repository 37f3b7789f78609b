import { create } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type TrackCallbackOpen,
  type TrackCallbackRequest,
  type TrackCallbackResponse,
  TrackCallbackResponseSchema,
} from "../../gen/taskgate/v1/callback_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import { OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import type { CallbackProgress } from "../model/callback-progress.ts";
import type { CallbackTarget } from "../model/callback-target.ts";
import type { UpstreamCapabilities } from "../model/capabilities.ts";
import { createFailure } from "../model/failure.ts";
import type { LeasedTask } from "../model/lease.ts";
import type { Submission, SubmitOptions } from "../model/submission.ts";
import { checkTarget, createCallbackPayloads, readTarget } from "./callback-payloads.ts";
import { callerKey } from "./caller.ts";
import { failureOfError } from "./errors.ts";
import { onLostOf } from "./heartbeat-answer.ts";
import { createLatestSender } from "./latest-sender.ts";
import type { StreamDeps } from "./stream-deps.ts";
import { type Opening, serveTracked, type TrackedTask } from "./tracked-stream.ts";

export interface TrackCallbackDeps extends StreamDeps {
  /** Base URLs of the configured Orchestrators, without a trailing slash. */
  bases: readonly string[];
  /** Takes a result, a JSON object as text, towards the Orchestrator. */
  complete: (target: CallbackTarget, body: string, options: SubmitOptions) => Promise<Submission>;
  /**
   * Sends a progress, a JSON object or string as text, when no other request of the
   * callback is under way. Rejects when the signal aborts before.
   */
  progress: (
    target: CallbackTarget,
    body: string,
    caller: string,
    sessionId: string,
    signal: AbortSignal,
  ) => Promise<CallbackProgress>;
  /** The callback as a task that is leased, and what is to be kept of what is sent when its worker is lost. */
  leaseOf: (target: CallbackTarget, lostBody: string) => { task: LeasedTask; lostPayload: string };
  capabilities: UpstreamCapabilities;
}

// A person reads them.
const progressIntervalMs = 1000;
// A result does not wait longer for the last progress before it.
const maxProgressWaitMs = 1000;

/** Serves `TrackCallback`: one stream for a whole callback. */
export function serveTrackCallback(
  requests: AsyncIterable<TrackCallbackRequest>,
  context: HandlerContext,
  deps: TrackCallbackDeps,
): AsyncIterable<TrackCallbackResponse> {
  const payloads = createCallbackPayloads(deps.limits);
  const caller = context.values.get(callerKey).name;
  let target: CallbackTarget | undefined;

  function readOpening(open: TrackCallbackOpen): Opening {
    const body = payloads.lost(open, (checker) => {
      checkTarget(open.target, checker);
      checker.member("on_lost", open.onLost, OnLost);
      checker.text("session_id", open.sessionId);
    });
    target = readTarget(open.target, deps.bases);
    const { task, lostPayload } = deps.leaseOf(target, body);
    const terms = { caller, onLost: onLostOf(open.onLost), lostPayload };
    return { task, terms, sessionId: open.sessionId };
  }

  function requireTarget(): CallbackTarget {
    if (target === undefined) {
      throw new Error("a frame came before the callback was opened");
    }
    return target;
  }

  const progress = createLatestSender({
    intervalMs: progressIntervalMs,
    setTimer: deps.setTimer,
    async send({ body, task }: { body: string; task: TrackedTask }): Promise<Failure | undefined> {
      const sent = await deps.progress(requireTarget(), body, caller, task.sessionId(), context.signal);
      switch (sent.kind) {
        case "accepted":
          return undefined;
        case "over":
          return createFailure(sent.cause, "nobody waits for the callback's result any more", {
            metadata: { upstream: "orchestrator" },
          });
        case "refused":
        case "failed":
          return sent.failure;
        default:
          return sent satisfies never;
      }
    },
  });
  context.signal.addEventListener("abort", progress.stop, { once: true });

  return serveTracked(requests, context, deps, {
    operation: "TrackCallback",
    capabilities: deps.capabilities,
    wrap: (requestId, frame) => create(TrackCallbackResponseSchema, { requestId, frame }),
    readOpen: ({ frame }) => (frame.case === "open" ? readOpening(frame.value) : undefined),
    onOpened: () => undefined,
    onFrame({ requestId, frame }, task) {
      switch (frame.case) {
        case "progress":
          task.answer(requestId, () => {
            try {
              const body = payloads.progress(frame.value.progress, () => undefined);
              return progress.offer({ body, task });
            } catch (error) {
              return Promise.resolve(failureOfError(error));
            }
          });
          break;
        case "complete":
          task.report(requestId, () => {
            const body = payloads.result(frame.value.payload, () => undefined);
            return {
              isOutcome: true,
              async submit(options) {
                await progress.flush(maxProgressWaitMs);
                return deps.complete(requireTarget(), body, options);
              },
            };
          });
          break;
        default:
      }
    },
  });
}
