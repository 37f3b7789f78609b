import type { Client } from "@connectrpc/connect";
import { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import { TaskRunStatus, type TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import type { Limits } from "../model/limits.ts";
import { answerOf, readBeat } from "./read-answer.ts";
import type { ReportAnswer, ReportTarget, TargetCall } from "./report-target.ts";

export interface RunTargetDeps {
  client: Pick<Client<typeof TaskStatusService>, "updateTask" | "setOutput" | "sendLog" | "heartbeatRun">;
  headers: Record<string, string>;
  /** Empty: the run that Orchestra gave the gateway. */
  taskRunId: string;
  attempt: number | undefined;
  onLost: OnLost;
  waitFor: WaitFor;
  /** The gateway's limits. */
  limits: (call: TargetCall) => Promise<Pick<Limits, "maxLogBytes">>;
  /** A new one each time. */
  makeRequestId: () => string;
}

/** Reports on an Orchestra task run. */
export function createRunTarget(deps: RunTargetDeps): ReportTarget {
  const { client, headers, taskRunId, attempt, onLost, waitFor } = deps;
  const run = { taskRunId, ...(attempt === undefined ? {} : { attempt }) };
  const options = ({ timeoutMs, signal }: TargetCall) => ({ headers, timeoutMs, signal });

  function status(status: TaskRunStatus, message: string, wanted: WaitFor) {
    const request = { ...run, status, message, waitFor: wanted, requestId: deps.makeRequestId() };
    return async (call: TargetCall): Promise<ReportAnswer> => {
      const { receipt } = await client.updateTask({ ...request, sessionId: call.sessionId }, options(call));
      return answerOf(receipt, wanted);
    };
  }

  return {
    async beat(call) {
      const beat = await client.heartbeatRun({ ...run, onLost, sessionId: call.sessionId }, options(call));
      return readBeat(beat);
    },
    begin: () => ({
      what: "RUNNING",
      kind: "other",
      send: status(TaskRunStatus.RUNNING, "", WaitFor.STORED),
    }),
    message: (text) => ({
      what: "a message",
      kind: "message",
      send: status(TaskRunStatus.UNSPECIFIED, text, WaitFor.STORED),
    }),
    output({ name, valueJson }) {
      const output = { case: "valueJson", value: valueJson } as const;
      const request = { ...run, name, output, waitFor: WaitFor.STORED, requestId: deps.makeRequestId() };
      return {
        what: `the output ${name}`,
        kind: "other",
        async send(call) {
          const { receipt } = await client.setOutput(
            { ...request, sessionId: call.sessionId },
            options(call),
          );
          return answerOf(receipt, WaitFor.STORED);
        },
      };
    },
    log(name, output) {
      const request = { ...run, name, waitFor: WaitFor.STORED, requestId: deps.makeRequestId() };
      let data: string | undefined;
      return {
        what: `the log ${name}`,
        kind: "other",
        async send(call) {
          data ??= output.text((await deps.limits(call)).maxLogBytes);
          const { receipt } = await client.sendLog(
            { ...request, data, sessionId: call.sessionId },
            options(call),
          );
          return answerOf(receipt, WaitFor.STORED);
        },
      };
    },
    outcome: ({ isSuccess, message }) => ({
      what: isSuccess ? "SUCCEEDED" : "FAILED",
      kind: "outcome",
      send: status(isSuccess ? TaskRunStatus.SUCCEEDED : TaskRunStatus.FAILED, message, waitFor),
    }),
  };
}
