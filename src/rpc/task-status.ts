import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import {
  type SendLogRequest,
  type SetOutputRequest,
  TaskRunStatus,
  TaskStatusService,
  type UpdateTaskRequest,
} from "../../gen/taskgate/v1/task_status_pb.ts";
import type { Limits } from "../model/limits.ts";
import { createRoute, type Route } from "../model/route.ts";
import { isRunOutcome, type RunKey, type RunReport, type RunStatus } from "../model/run-report.ts";
import type { Submission, SubmitOptions } from "../model/submission.ts";
import { parseUuid } from "../model/uuid.ts";
import { notImplemented, upstreamNotConfigured } from "./errors.ts";
import { jsonText } from "./json-choice.ts";
import { assertSize, createRequestChecker, type RequestChecker } from "./request-checker.ts";
import { assertAccepted, checkStoredRequest, submitOptions } from "./submit-options.ts";

export interface TaskStatusDeps {
  /** Takes a report towards Orchestra. Undefined: there is no Orchestra. */
  report: ((report: RunReport, options: SubmitOptions) => Promise<Submission>) | undefined;
  /** The run that Orchestra gave the gateway. */
  defaultRun: RunKey | undefined;
  limits: Limits;
}

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

/** Creates the service that reports Orchestra task runs. */
export function createTaskStatusRoute(deps: TaskStatusDeps): Route {
  return createRoute(TaskStatusService, createTaskStatusService(deps), Role.WORKER);
}

function createTaskStatusService(deps: TaskStatusDeps): ServiceImpl<typeof TaskStatusService> {
  const { defaultRun, limits } = deps;

  function report(
    request: UpdateTaskRequest | SetOutputRequest | SendLogRequest,
    run: RunReport,
    context: HandlerContext,
  ): Promise<Submission> {
    if (deps.report === undefined) {
      throw upstreamNotConfigured("orchestra", "ORCHESTRA_API_KEY");
    }
    const isOutcome = run.kind === "status" && run.status !== undefined && isRunOutcome(run.status);
    return deps.report(run, submitOptions(request, context, isOutcome));
  }

  return {
    async updateTask(request, context) {
      const checker = createRequestChecker();
      const run = checkRun(request, defaultRun, checker);
      checker.member("status", request.status, TaskRunStatus);
      checker.text("message", request.message);
      if (request.status === TaskRunStatus.UNSPECIFIED && request.message === "") {
        checker.add("status", "is required unless message is set");
      }
      checkStoredRequest(request, checker);
      checker.throwIfInvalid();
      assertSize("message", request.message, limits.maxPayloadBytes);
      const submission = await report(
        request,
        {
          kind: "status",
          run,
          status: statusWords[request.status],
          message: request.message === "" ? undefined : request.message,
        },
        context,
      );
      return { receipt: assertAccepted(submission, context).receipt };
    },

    async setOutput(request, context) {
      const checker = createRequestChecker();
      const run = checkRun(request, defaultRun, checker);
      checker.add("name", outputName.test(request.name) ? undefined : "must be letters, `_` and `-`");
      const valueJson = jsonText(request.output, "", { maxDepth: limits.maxPayloadDepth }, checker);
      if (valueJson === undefined) {
        checker.add("value", "is required unless value_json is set");
      }
      checkStoredRequest(request, checker);
      checker.throwIfInvalid();
      assertSize("value", valueJson ?? "", limits.maxPayloadBytes);
      const submission = await report(
        request,
        { kind: "output", run, name: request.name, valueJson: valueJson ?? "" },
        context,
      );
      return { receipt: assertAccepted(submission, context).receipt };
    },

    async sendLog(request, context) {
      const checker = createRequestChecker();
      const run = checkRun(request, defaultRun, checker);
      checker.requireText("name", request.name);
      checker.text("data", request.data);
      checkStoredRequest(request, checker);
      checker.throwIfInvalid();
      assertSize("data", request.data, limits.maxLogBytes);
      const submission = await report(
        request,
        { kind: "log", run, name: request.name, data: request.data },
        context,
      );
      return { receipt: assertAccepted(submission, context).receipt };
    },

    heartbeatRun() {
      throw notImplemented("HeartbeatRun");
    },

    // biome-ignore lint/correctness/useYield: it ends before its first frame.
    async *trackRun() {
      throw notImplemented("TrackRun");
    },
  };
}

function checkRun(
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
