import { create } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import {
  TaskRunStatus,
  type TrackRunOpen,
  type TrackRunRequest,
  type TrackRunResponse,
  TrackRunResponseSchema,
} from "../../gen/taskgate/v1/task_status_pb.ts";
import type { UpstreamCapabilities } from "../model/capabilities.ts";
import type { LeasedTask } from "../model/lease.ts";
import { isRunOutcome, type RunKey, type RunReport } from "../model/run-report.ts";
import type { Submission, SubmitOptions } from "../model/submission.ts";
import { onLostOf } from "./heartbeat-answer.ts";
import { createRequestChecker } from "./request-checker.ts";
import { checkRun, createRunReports } from "./run-reports.ts";
import type { StreamDeps } from "./stream-deps.ts";
import { serveTracked, type TrackedTask } from "./tracked-stream.ts";

export interface TrackRunDeps extends StreamDeps {
  /** Takes a report towards Orchestra. */
  report: (report: RunReport, options: SubmitOptions) => Promise<Submission>;
  /** The run that Orchestra gave the gateway. */
  defaultRun: RunKey | undefined;
  taskOf: (run: RunKey) => LeasedTask;
  capabilities: UpstreamCapabilities;
}

/** Serves `TrackRun`: one stream for a whole run. */
export function serveTrackRun(
  requests: AsyncIterable<TrackRunRequest>,
  context: HandlerContext,
  deps: TrackRunDeps,
): AsyncIterable<TrackRunResponse> {
  const reports = createRunReports(deps.limits);
  let run: RunKey = { taskRunId: "", attempt: 0 };

  function checkOpen(open: TrackRunOpen): void {
    const checker = createRequestChecker();
    run = checkRun(open, deps.defaultRun, checker);
    checker.text("message", open.message);
    checker.member("on_lost", open.onLost, OnLost);
    checker.text("session_id", open.sessionId);
    checker.throwIfInvalid();
  }

  function report(requestId: string, task: TrackedTask, read: () => RunReport): void {
    task.report(requestId, () => {
      const said = read();
      return {
        isOutcome: said.kind === "status" && said.status !== undefined && isRunOutcome(said.status),
        submit: (options) => deps.report(said, options),
      };
    });
  }

  return serveTracked(requests, context, deps, {
    operation: "TrackRun",
    capabilities: deps.capabilities,
    wrap: (requestId, frame) => create(TrackRunResponseSchema, { requestId, frame }),
    readOpen({ frame }, caller) {
      if (frame.case !== "open") {
        return undefined;
      }
      checkOpen(frame.value);
      return {
        task: deps.taskOf(run),
        terms: { caller, onLost: onLostOf(frame.value.onLost), lostPayload: "" },
        sessionId: frame.value.sessionId,
      };
    },
    onOpened({ requestId, frame }, task) {
      const message = frame.case === "open" ? frame.value.message : "";
      report(requestId, task, () => reports.status({ status: TaskRunStatus.RUNNING, message }, () => run));
    },
    onFrame({ requestId, frame }, task) {
      switch (frame.case) {
        case "update":
          report(requestId, task, () => reports.status(frame.value, () => run));
          break;
        case "output":
          report(requestId, task, () => reports.output(frame.value, () => run));
          break;
        case "log":
          report(requestId, task, () => reports.log(frame.value, () => run));
          break;
        case "finish":
          report(requestId, task, () =>
            reports.status(frame.value, (checker) => {
              const { status } = frame.value;
              if (status === TaskRunStatus.UNSPECIFIED || status === TaskRunStatus.RUNNING) {
                checker.add("status", "must be an outcome");
              }
              return run;
            }),
          );
          break;
        default:
      }
    },
  });
}
