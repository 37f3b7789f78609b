import type { Client } from "@connectrpc/connect";
import type { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import type { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import { answerOf, type GatewayLimits, readBeat } from "./read-answer.ts";
import type { Outcome, ReportTarget, TargetCall } from "./report-target.ts";

export interface CallbackTargetDeps {
  client: Pick<
    Client<typeof CallbackService>,
    "completeCallback" | "reportCallbackProgress" | "heartbeatCallback"
  >;
  headers: Record<string, string>;
  target: { case: "callbackRoute"; value: string } | { case: "callbackUrl"; value: string };
  /** Empty: none. */
  jobId: string;
  onLost: OnLost;
  waitFor: WaitFor;
  /** The gateway's limits. */
  limits: (call: TargetCall) => Promise<GatewayLimits>;
  /** A new one each time. */
  makeRequestId: () => string;
}

/** Reports on a callback of a Workflow Orchestrator. */
export function createCallbackTarget(deps: CallbackTargetDeps): ReportTarget {
  const { client, headers, target, jobId, onLost, waitFor } = deps;
  const options = ({ timeoutMs, signal }: TargetCall) => ({ headers, timeoutMs, signal });
  return {
    async beat(call) {
      return readBeat(
        await client.heartbeatCallback({ target, onLost, jobId, sessionId: call.sessionId }, options(call)),
      );
    },
    begin: () => undefined,
    message: (text) => ({
      what: "a progress",
      kind: "message",
      async send(call) {
        const progress = { case: "text", value: text } as const;
        const { directive, cause } = await client.reportCallbackProgress(
          { target, progress, sessionId: call.sessionId },
          options(call),
        );
        return { order: { directive, cause } };
      },
    }),
    output: () => undefined,
    log: () => undefined,
    outcome(outcome) {
      const requestId = deps.makeRequestId();
      let lines: string[] | undefined;
      return {
        what: outcome.isSuccess ? "the result `successful`" : "the result `failed`",
        kind: "outcome",
        async send(call) {
          lines ??= linesOf(outcome, (await deps.limits(call)).maxPayloadBytes - spareBytes);
          const value = {
            jobId,
            output: lines,
            returnCode: outcome.exitCode,
            status: outcome.isSuccess ? "successful" : "failed",
          };
          const payload = { case: "result", value } as const;
          const request = { target, payload, waitFor, requestId, sessionId: call.sessionId };
          return answerOf((await client.completeCallback(request, options(call))).receipt, waitFor);
        },
      };
    },
  };
}

// For what is beside the lines.
const spareBytes = 4096;

function linesOf({ output, lastLine }: Outcome, maxBytes: number): string[] {
  const text =
    output?.text(maxBytes, (part) => Buffer.byteLength(JSON.stringify(part.split("\n")))) ?? lastLine;
  return text === "" ? [] : text.replace(/\n$/, "").split("\n");
}
