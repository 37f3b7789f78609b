import { ErrorReason } from "../gen/taskgate/v1/error_reason_pb.ts";
import type { CallbackProgress } from "./model/callback-progress.ts";
import { type CallbackTarget, callbackKey } from "./model/callback-target.ts";
import { createFailure } from "./model/failure.ts";
import type { LeaseBook } from "./model/lease-book.ts";
import { createRecentMap } from "./model/recent-map.ts";
import type { Outbox } from "./outbox/outbox.ts";
import { callbackTask, isOver, type Orchestrator } from "./upstream/orchestrator.ts";

// Of so many callbacks it is known that a progress was accepted.
const maxRemembered = 10_000;

/**
 * Joins what a progress concerns: it is a beat of the callback's session, it keeps to
 * the order of its deliveries, and the way in which it is refused may tell that nobody
 * waits for the result any more.
 */
export function joinCallbackProgress(orchestrator: Orchestrator, outbox: () => Outbox, leases: LeaseBook) {
  const accepted = createRecentMap<string, true>(maxRemembered);

  return async (
    target: CallbackTarget,
    body: string,
    caller: string,
    sessionId: string,
    signal: AbortSignal,
  ): Promise<CallbackProgress> => {
    const task = callbackTask(target);
    const key = callbackKey(target);
    const refusal = leases.admit(task, caller, sessionId);
    if (refusal !== undefined) {
      return { kind: "refused", failure: refusal };
    }
    const sent = await outbox().inOrder(task, caller, signal, () =>
      orchestrator.progress(target, body, signal),
    );
    if (sent.kind === "unknown") {
      const message = `there is no callback of process ${target.processId}`;
      const metadata = { upstream: "orchestrator" };
      return { kind: "refused", failure: createFailure(ErrorReason.TASK_UNKNOWN, message, { metadata }) };
    }
    if (sent.kind === "finished") {
      return { kind: "over", cause: ErrorReason.TASK_FINISHED };
    }
    const { result } = sent;
    if (result.kind === "accepted") {
      accepted.set(key, true);
      return { kind: "accepted" };
    }
    if (accepted.has(key) && isOver(result)) {
      leases.ended(task, ErrorReason.TASK_CANCELLED, caller);
      return { kind: "over", cause: ErrorReason.TASK_CANCELLED };
    }
    return { kind: "failed", failure: result.failure, isInDoubt: result.kind === "inDoubt" };
  };
}
