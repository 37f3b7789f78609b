import {
  type SendLogRequest,
  type SetOutputRequest,
  TaskRunStatus,
  type UpdateTaskRequest,
} from "../../gen/taskgate/v1/task_status_pb.ts";
import type { Limits } from "../model/limits.ts";
import type { RunKey, RunReport, RunStatus } from "../model/run-report.ts";
import { parseUuid } from "../model/uuid.ts";
import { jsonText } from "./json-choice.ts";
import { assertSize, createRequestChecker, type RequestChecker } from "./request-checker.ts";

/** Orchestra's words for the statuses of the contract. */
const statusWords: Record<TaskRunStatus, RunStatus | undefined> = {
  [TaskRunStatus.UNSPECIFIED]: undefined,
  [TaskRunStatus.RUNNING]: "RUNNING",
  [TaskRunStatus.SUCCEEDED]: "SUCCEEDED",
  [TaskRunStatus.FAILED]: "FAILED",
  [TaskRunStatus.WARNING]: "WARNING",
  [TaskRunStatus.CANCELLED]: "CANCELLED",
};

// FACT: Orchestra's SDK documents letters, `_` and `-`.
const outputName = /^[A-Za-z_-]+$/;

/**
 * Reads reports of a run, the same from a call and from a frame. Each throws what is
 * wrong with all of the request; `check` is asked what is wrong with the rest of it.
 */
export function createRunReports({ maxPayloadBytes, maxLogBytes, maxPayloadDepth }: Limits) {
  type Check = (checker: RequestChecker) => RunKey;

  return {
    /** A status, a message, or both. */
    status(request: Pick<UpdateTaskRequest, "status" | "message">, check: Check): RunReport {
      const checker = createRequestChecker();
      const run = check(checker);
      checker.member("status", request.status, TaskRunStatus);
      checker.text("message", request.message);
      if (request.status === TaskRunStatus.UNSPECIFIED && request.message === "") {
        checker.add("status", "is required unless message is set");
      }
      checker.throwIfInvalid();
      assertSize("message", request.message, maxPayloadBytes);
      const message = request.message === "" ? undefined : request.message;
      return { kind: "status", run, status: statusWords[request.status], message };
    },

    /** One output. */
    output(request: Pick<SetOutputRequest, "name" | "output">, check: Check): RunReport {
      const checker = createRequestChecker();
      const run = check(checker);
      checker.add("name", outputName.test(request.name) ? undefined : "must be letters, `_` and `-`");
      const valueJson = jsonText(request.output, "", { maxDepth: maxPayloadDepth }, checker);
      if (valueJson === undefined) {
        checker.add("value", "is required unless value_json is set");
      }
      checker.throwIfInvalid();
      assertSize("value", valueJson ?? "", maxPayloadBytes);
      return { kind: "output", run, name: request.name, valueJson: valueJson ?? "" };
    },

    /** One log. */
    log(request: Pick<SendLogRequest, "name" | "data">, check: Check): RunReport {
      const checker = createRequestChecker();
      const run = check(checker);
      checker.requireText("name", request.name);
      checker.text("data", request.data);
      checker.throwIfInvalid();
      assertSize("data", request.data, maxLogBytes);
      return { kind: "log", run, name: request.name, data: request.data };
    },
  };
}

/** Reads which run is meant. */
export function checkRun(
  request: { taskRunId: string; attempt?: number | undefined },
  defaultRun: RunKey | undefined,
  checker: RequestChecker,
): RunKey {
  const taskRunId = request.taskRunId === "" ? defaultRun?.taskRunId : parseUuid(request.taskRunId);
  if (taskRunId === undefined) {
    checker.add(
      "task_run_id",
      request.taskRunId === "" ? "is required: ORCHESTRA_TASK_RUN_ID is not set" : "is not a UUID",
    );
  }
  const isDefault = taskRunId === defaultRun?.taskRunId;
  const attempt = request.attempt ?? (isDefault ? defaultRun?.attempt : undefined) ?? 0;
  checker.add("attempt", attempt < 0 ? "must not be negative" : undefined);
  return { taskRunId: taskRunId ?? "", attempt };
}
