import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import { OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { createRoute, type Route } from "../model/route.ts";
import { isRunOutcome, type RunReport } from "../model/run-report.ts";
import type { Submission } from "../model/submission.ts";
import { callerKey } from "./caller.ts";
import { upstreamNotConfigured } from "./errors.ts";
import { heartbeatAnswer, onLostOf } from "./heartbeat-answer.ts";
import { createRequestChecker, type RequestChecker } from "./request-checker.ts";
import { checkRun, createRunReports } from "./run-reports.ts";
import { assertAccepted, checkStoredRequest, type StoredRequest, submitOptions } from "./submit-options.ts";
import { serveTrackRun, type TrackRunDeps } from "./track-run.ts";

export interface TaskStatusDeps extends Omit<TrackRunDeps, "report"> {
  /** Takes a report towards Orchestra. Undefined: there is no Orchestra. */
  report: TrackRunDeps["report"] | undefined;
}

/** Creates the service that reports Orchestra task runs. */
export function createTaskStatusRoute(deps: TaskStatusDeps): Route {
  return createRoute(TaskStatusService, createTaskStatusService(deps), Role.WORKER);
}

function createTaskStatusService(deps: TaskStatusDeps): ServiceImpl<typeof TaskStatusService> {
  const { defaultRun } = deps;
  const reports = createRunReports(deps.limits);

  function requireOrchestra(): TrackRunDeps["report"] {
    if (deps.report === undefined) {
      throw upstreamNotConfigured("orchestra", "ORCHESTRA_API_KEY");
    }
    return deps.report;
  }

  const checkOf =
    (request: StoredRequest & { taskRunId: string; attempt?: number | undefined }) =>
    (checker: RequestChecker) => {
      checkStoredRequest(request, checker);
      return checkRun(request, defaultRun, checker);
    };

  async function submit(request: StoredRequest, report: RunReport, context: HandlerContext) {
    const isOutcome = report.kind === "status" && report.status !== undefined && isRunOutcome(report.status);
    const submission: Submission = await requireOrchestra()(
      report,
      submitOptions(request, context, isOutcome),
    );
    return { receipt: assertAccepted(submission, context).receipt };
  }

  return {
    updateTask: (request, context) => submit(request, reports.status(request, checkOf(request)), context),

    setOutput: (request, context) => submit(request, reports.output(request, checkOf(request)), context),

    sendLog: (request, context) => submit(request, reports.log(request, checkOf(request)), context),

    async heartbeatRun(request, context) {
      requireOrchestra();
      const checker = createRequestChecker();
      const run = checkRun(request, defaultRun, checker);
      checker.member("on_lost", request.onLost, OnLost);
      checker.text("session_id", request.sessionId);
      checker.throwIfInvalid();
      const { name: caller } = context.values.get(callerKey);
      const terms = { caller, onLost: onLostOf(request.onLost), lostPayload: "" };
      const result = await deps.leases.beat(deps.taskOf(run), terms, request.sessionId);
      return heartbeatAnswer(result, deps);
    },

    trackRun: (requests, context) =>
      serveTrackRun(requests, context, { ...deps, report: requireOrchestra() }),
  };
}
