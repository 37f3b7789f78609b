import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, type HandlerContext } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import {
  type Task,
  type WorkFail,
  type WorkRequest,
  type WorkResponse,
  WorkResponseSchema,
  type WorkSubscribe,
  type WorkSucceed,
} from "../../gen/taskgate/v1/executor_pb.ts";
import { DeliveryState, type Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive, OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import type { Attempt, TaskOutcome } from "../model/call-result.ts";
import type { UpstreamCapabilities } from "../model/capabilities.ts";
import { createFailure } from "../model/failure.ts";
import type { Ended, Submission, SubmitOptions } from "../model/submission.ts";
import type { PooledWorker, WorkerListener, WorkPool, WorkTerms } from "../model/work-pool.ts";
import {
  checkAttempt,
  checkDefinitions,
  checkProgress,
  failOutcome,
  successOutcome,
} from "./attempt-requests.ts";
import { callerKey } from "./caller.ts";
import { assertDefinitions } from "./definition-access.ts";
import { errorFromFailure, failureOfError, invalidRequest } from "./errors.ts";
import { serveFrames } from "./frame-stream.ts";
import { directiveOf, onLostOf } from "./heartbeat-answer.ts";
import { createRequestChecker } from "./request-checker.ts";
import { frameStreamOptions, frameSubmitOptions, readyMessage, type StreamDeps } from "./stream-deps.ts";
import { assertRequestId } from "./submit-options.ts";

export interface WorkDeps extends StreamDeps {
  pool: WorkPool;
  /** Takes an outcome towards Aidbox. */
  report: (outcome: TaskOutcome, options: SubmitOptions) => Promise<Submission>;
  /** Reads the task out of a submission's answer. */
  readAnswer: (answer: string) => Task | undefined;
  capabilities: UpstreamCapabilities;
}

type Frame = NonNullable<MessageInitShape<typeof WorkResponseSchema>["frame"]>;

// More than a worker can hold.
const maxUnderWay = 2000;
const maxBeats = 10_000;

/** Serves `Work`: one stream for all that a worker does. */
export function serveWork(
  requests: AsyncIterable<WorkRequest>,
  context: HandlerContext,
  deps: WorkDeps,
): AsyncIterable<WorkResponse> {
  const { pool, limits } = deps;
  const known = context.values.get(callerKey);
  const { name: caller } = known;

  return serveFrames<WorkRequest, WorkResponse>(
    requests,
    context.signal,
    frameStreamOptions(deps, () => create(WorkResponseSchema, { frame: { case: "keepAlive", value: {} } })),
    (stream) => {
      let worker: PooledWorker | undefined;
      let subscribeId = "";
      // In the lane the call's own signal does not abort when the call has been answered.
      const over = new AbortController();
      let mayEnd = false;
      let underWay = 0;

      const send = (requestId: string, frame: Frame) =>
        stream.send(create(WorkResponseSchema, { requestId, frame }));
      const refuse = (requestId: string, failure: Failure) =>
        send(requestId, { case: "failure", value: failure });

      const listener: WorkerListener = {
        onTask: (task) => send("", { case: "task", value: task }),
        onDirective(directive, cause, attempt) {
          if (attempt === undefined) {
            send("", { case: "directive", value: { directive, cause } });
          } else {
            stop("", cause, attempt);
          }
        },
        onRefused: (failure) => refuse(subscribeId, failure),
        onSuperseded: () => stream.fail(errorFromFailure(superseded)),
        onDrained() {
          mayEnd = true;
          endIfDone();
        },
      };

      function stop(requestId: string, cause: ErrorReason, { id, execId }: Attempt): void {
        const value = { directive: Directive.CANCEL, cause, taskId: id, execId };
        send(requestId, { case: "directive", value });
      }

      function endIfDone(): void {
        if (mayEnd && underWay === 0) {
          stream.end();
        }
      }

      // What waits for Aidbox must not keep beats from being read: it counts as a frame
      // under way only beyond what a worker can hold.
      function work(run: () => Promise<void>): void {
        const counts = underWay >= maxUnderWay;
        underWay += 1;
        if (counts) {
          stream.begin();
        }
        run()
          .catch(deps.onUnexpectedError)
          .finally(() => {
            underWay -= 1;
            if (counts) {
              stream.done();
            }
            endIfDone();
          });
      }

      // Answers a frame that is wrong in itself.
      function checked(requestId: string, run: () => void): void {
        try {
          assertRequestId(requestId);
          run();
        } catch (error) {
          refuse(requestId, failureOfError(error));
        }
      }

      async function subscribe(requestId: string, frame: WorkSubscribe): Promise<void> {
        const checker = createRequestChecker();
        checkDefinitions(frame, checker);
        const terms = readTerms(frame, checker);
        checker.text("session_id", frame.sessionId);
        checker.throwIfInvalid();
        assertDefinitions(known, frame);
        const { taskDefinitions, workflowDefinitions, sessionId } = frame;
        const definitions = { taskDefinitions, workflowDefinitions };
        const joined = pool.join({ ...terms, caller, definitions, sessionId }, listener);
        if (joined.kind === "failed") {
          throw errorFromFailure(joined.failure);
        }
        worker = joined.worker;
        subscribeId = requestId;
        await worker.quiet();
        const accepted = worker.isResumed
          ? await deps.acceptedRequests("Work", caller, worker.sessionId)
          : [];
        const { isResumed } = worker;
        const ready = readyMessage(deps, deps.capabilities, {
          sessionId: worker.sessionId,
          isResumed,
          acceptedRequestIds: [...accepted, ...worker.startRequestIds],
        });
        const startTimeout = durationFromMs(pool.startTimeoutMs);
        send(requestId, { case: "ready", value: { ...ready, startTimeout } });
        worker.open();
      }

      function change(requestId: string, frame: WorkSubscribe, worker: PooledWorker): void {
        const checker = createRequestChecker();
        const terms = readTerms(frame, checker);
        checker.throwIfInvalid();
        send(requestId, { case: "ack", value: {} });
        worker.change(terms);
      }

      function start(requestId: string, attempt: Attempt, worker: PooledWorker): void {
        check(attempt);
        work(async () => {
          const result = await worker.start(attempt, requestId);
          if (result.kind === "failed") {
            refuse(requestId, result.failure);
          } else {
            ack(requestId, attempt, result.value === undefined ? {} : { task: result.value });
          }
        });
      }

      function beat(requestId: string, attempts: readonly Attempt[], worker: PooledWorker): void {
        if (attempts.length > maxBeats) {
          throw invalidRequest([{ field: "tasks", description: `are more than ${maxBeats}` }]);
        }
        const { stopped, ...answer } = worker.beat(attempts);
        const value = directiveOf(answer);
        stream.send(
          create(WorkResponseSchema, { requestId, frame: { case: "directive", value } }),
          "replaces",
        );
        if (stopped === undefined) {
          return;
        }
        stream.begin();
        work(async () => {
          try {
            for (const { attempt, cause } of await stopped) {
              stop(requestId, cause, attempt);
            }
          } finally {
            stream.done();
          }
        });
      }

      function ack(requestId: string, { id, execId }: Attempt, more: { task?: Task }): void {
        send(requestId, { case: "ack", value: { id, execId, ...more } });
      }

      function outcome(requestId: string, said: TaskOutcome, worker: PooledWorker): void {
        const failure = worker.notBegun(said);
        if (failure !== undefined) {
          refuse(requestId, failure);
          return;
        }
        const { answered } = worker.ending(said);
        const { id, execId, json = "" } = said;
        const release = stream.hold(json.length);
        stream.begin();
        work(async () => {
          const submission = await submit(requestId, said, worker.sessionId)
            .then((submitted) => {
              answerOutcome(requestId, said, submitted);
              return submitted;
            })
            .finally(() => {
              release();
              answered();
              stream.done();
            });
          if (submission.kind === "accepted" && submission.receipt.state === DeliveryState.STORED) {
            awaitEnd(requestId, { id, execId }, submission);
          }
        });
      }

      // Apart, so that what was said is not kept until its end, which may be hours away.
      function awaitEnd(
        requestId: string,
        attempt: Attempt,
        submission: Extract<Submission, { kind: "accepted" }>,
      ): void {
        work(async () => {
          const last = await submission.ended(over.signal);
          if (last.receipt.state !== DeliveryState.STORED) {
            answerOutcome(requestId, attempt, { kind: "accepted", ...last });
          }
        });
      }

      function answerOutcome(
        requestId: string,
        { id, execId }: Attempt,
        answer: { kind: "failed"; failure: Failure } | ({ kind: "accepted" } & Ended),
      ): void {
        if (answer.kind === "failed") {
          refuse(requestId, answer.failure);
          return;
        }
        const task = deps.readAnswer(answer.answer);
        const value = { id, execId, receipt: answer.receipt, ...(task && { task }) };
        send(requestId, { case: "ack", value });
      }

      function submit(requestId: string, said: TaskOutcome, sessionId: string): Promise<Submission> {
        const session = { operation: "Work", caller, sessionId };
        return deps.report(said, frameSubmitOptions(session, requestId, over.signal));
      }

      function onSubscribed({ requestId, frame }: WorkRequest, worker: PooledWorker): void {
        if (frame.case !== "keepAlive" && frame.case !== undefined) {
          worker.touch();
        }
        switch (frame.case) {
          case "subscribe":
            change(requestId, frame.value, worker);
            break;
          case "start":
            start(requestId, frame.value, worker);
            break;
          case "heartbeat":
            beat(requestId, frame.value.tasks, worker);
            break;
          case "progress": {
            const { value } = frame;
            const progress = checkProgress(value);
            work(async () => {
              const result = await worker.progress(value, progress);
              if (result.kind === "failed") {
                refuse(requestId, result.failure);
              } else {
                ack(requestId, value, {});
              }
            });
            break;
          }
          case "succeed":
            outcome(requestId, successOutcome(frame.value satisfies WorkSucceed, limits), worker);
            break;
          case "fail":
            outcome(requestId, failOutcome(frame.value satisfies WorkFail, limits), worker);
            break;
          case "release": {
            check(frame.value);
            const failure = worker.release(frame.value);
            if (failure === undefined) {
              ack(requestId, frame.value, {});
            } else {
              refuse(requestId, failure);
            }
            break;
          }
          default:
        }
      }

      return {
        onFrame(request) {
          const { requestId, frame } = request;
          const subscribed = worker;
          if (subscribed !== undefined) {
            checked(requestId, () => onSubscribed(request, subscribed));
            return undefined;
          }
          if (frame.case === "subscribe") {
            return subscribe(requestId, frame.value);
          }
          if (frame.case !== undefined && frame.case !== "keepAlive") {
            throw invalidRequest([
              { field: "frame", description: `is ${frame.case}; the first one must be subscribe` },
            ]);
          }
          return undefined;
        },
        onHalfClose() {
          worker?.leave();
          mayEnd = true;
          endIfDone();
        },
        onClose() {
          over.abort();
          worker?.leave();
        },
      };
    },
  );
}

function readTerms(frame: WorkSubscribe, checker: ReturnType<typeof createRequestChecker>): WorkTerms {
  const { maxInFlight = 1, worker, onLost } = frame;
  checker.add("max_in_flight", maxInFlight < 0 ? "must not be negative" : undefined);
  checker.text("worker", worker);
  checker.member("on_lost", onLost, OnLost);
  return { maxInFlight, worker, onLost: onLostOf(onLost) };
}

function check(attempt: Attempt): void {
  const checker = createRequestChecker();
  checkAttempt(attempt, checker);
  checker.throwIfInvalid();
}

const superseded = createFailure(ErrorReason.LEASE_SUPERSEDED, "another stream has resumed the session", {
  code: Code.Aborted,
});
