import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, type HandlerContext } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState, type Failure, type Receipt } from "../../gen/taskgate/v1/receipt_pb.ts";
import {
  Directive,
  type DirectiveNoticeSchema,
  type KeepAliveSchema,
  type ReadySchema,
} from "../../gen/taskgate/v1/session_pb.ts";
import type { UpstreamCapabilities } from "../model/capabilities.ts";
import { createFailure } from "../model/failure.ts";
import type { LeasedTask, LeaseTerms } from "../model/lease.ts";
import type { Attached, BeatAnswer, LeaseListener } from "../model/lease-book.ts";
import type { Submission, SubmitOptions } from "../model/submission.ts";
import { callerKey } from "./caller.ts";
import { errorFromFailure, failureOfError, invalidRequest } from "./errors.ts";
import { type FrameStream, serveFrames } from "./frame-stream.ts";
import { directiveOf } from "./heartbeat-answer.ts";
import { frameStreamOptions, frameSubmitOptions, readyMessage, type StreamDeps } from "./stream-deps.ts";
import { assertRequestId } from "./submit-options.ts";
import { weighMessage } from "./weigh-message.ts";

/** A frame to a worker that tracks one task. */
export type TrackFrame =
  | { case: "ready"; value: MessageInitShape<typeof ReadySchema> }
  | { case: "receipt"; value: Receipt }
  | { case: "failure"; value: Failure }
  | { case: "directive"; value: MessageInitShape<typeof DirectiveNoticeSchema> }
  | { case: "keepAlive"; value: MessageInitShape<typeof KeepAliveSchema> };

/** What the first frame asks for. */
export interface Opening {
  task: LeasedTask;
  terms: LeaseTerms;
  sessionId: string;
}

/** A report that has been read. */
export interface PreparedReport {
  isOutcome: boolean;
  submit: (options: SubmitOptions) => Promise<Submission>;
}

/** One task on its stream, once it is open. */
export interface TrackedTask {
  sessionId(): string;
  /**
   * Submits a report and answers the frame: with a receipt, or with the failure that
   * `prepare` throws or the report comes to. An outcome is answered again at its end.
   */
  report(requestId: string, prepare: () => PreparedReport): void;
  /** Does something for a frame, and answers it with the failure that this comes to. */
  answer(requestId: string, run: () => Promise<Failure | undefined> | undefined): void;
  /** The upstream has said that the task is over. */
  cancel(cause: ErrorReason): void;
}

/** What a kind of tracked task does with its own frames. */
export interface TrackedKind<Request extends { requestId: string }, Response> {
  /** The RPC. */
  operation: string;
  capabilities: UpstreamCapabilities;
  wrap: (requestId: string, frame: TrackFrame) => Response;
  /** What an `open` asks for; undefined: the frame is another one. Throws what is wrong with it. */
  readOpen: (request: Request, caller: string) => Opening | undefined;
  /** The task was opened, for the first time. */
  onOpened: (request: Request, task: TrackedTask) => void;
  /** Deals with a frame that is neither `open` nor heartbeat nor keep-alive. */
  onFrame: (request: Request, task: TrackedTask) => void;
}

/** Serves the stream of one task: its lease, its reports and its outcome. */
export function serveTracked<
  Request extends { requestId: string; frame: { case: string | undefined } },
  Response,
>(
  requests: AsyncIterable<Request>,
  context: HandlerContext,
  deps: StreamDeps,
  kind: TrackedKind<Request, Response>,
): AsyncIterable<Response> {
  const { leases } = deps;
  const caller = context.values.get(callerKey).name;

  return serveFrames(
    requests,
    context.signal,
    frameStreamOptions(deps, () => kind.wrap("", { case: "keepAlive", value: {} })),
    (stream: FrameStream<Response>) => {
      let opening: Opening | undefined;
      let sessionId = "";
      let attached: Attached | undefined;
      // In the lane the call's own signal does not abort when the call has been answered.
      const over = new AbortController();
      let isHalfClosed = false;
      let isClosed = false;
      let underWay = 0;
      let outcomesUnderWay = 0;
      let frameBytes = 0;

      const send = (requestId: string, frame: TrackFrame) => stream.send(kind.wrap(requestId, frame));

      const listener: LeaseListener = {
        onDirective(directive, cause) {
          // Of its own outcome it hears by a receipt.
          if (cause !== ErrorReason.TASK_FINISHED || outcomesUnderWay === 0) {
            send("", { case: "directive", value: { directive, cause } });
          }
        },
        onSuperseded() {
          stream.fail(errorFromFailure(superseded));
        },
      };

      function begin(): void {
        underWay += 1;
        stream.begin();
      }

      function done(): void {
        underWay -= 1;
        stream.done();
        endIfDone();
      }

      // What a client that leaves has asked for ends with the signal's reason.
      function unlessLeft(error: unknown): void {
        if (error !== context.signal.reason) {
          deps.onUnexpectedError(error);
        }
      }

      function endIfDone(): void {
        if (isHalfClosed && underWay === 0) {
          stream.end();
        }
      }

      function work(run: () => Promise<void>): void {
        begin();
        run().catch(unlessLeft).finally(done);
      }

      async function deliver(
        requestId: string,
        isOutcome: boolean,
        submit: PreparedReport["submit"],
      ): Promise<void> {
        // Once it is stored, it is needed no more.
        const release = stream.hold(frameBytes);
        const submission = await submit(
          frameSubmitOptions({ operation: kind.operation, caller, sessionId }, requestId, over.signal),
        ).finally(release);
        if (submission.kind === "failed") {
          send(requestId, { case: "failure", value: submission.failure });
          return;
        }
        const { receipt } = submission;
        send(requestId, { case: "receipt", value: receipt });
        if (isOutcome && receipt.state === DeliveryState.STORED) {
          const { receipt: last } = await submission.ended(over.signal);
          if (last.state !== DeliveryState.STORED) {
            send(requestId, { case: "receipt", value: last });
          }
        }
      }

      // The second answer to an outcome, which went to a stream that has broken meanwhile.
      function answerOutcome(task: LeasedTask): void {
        work(async () => {
          const session = { operation: kind.operation, caller, sessionId };
          const last = await deps.outcomeEnd(task, session, over.signal);
          if (last !== undefined && last.requestId !== "" && last.receipt.state !== DeliveryState.STORED) {
            send(last.requestId, { case: "receipt", value: last.receipt });
          }
        });
      }

      const task: TrackedTask = {
        sessionId: () => sessionId,
        report(requestId, prepare) {
          const prepared = orFailure(() => {
            assertRequestId(requestId);
            return prepare();
          });
          if ("failure" in prepared) {
            send(requestId, { case: "failure", value: prepared.failure });
            return;
          }
          const { isOutcome, submit } = prepared;
          outcomesUnderWay += isOutcome ? 1 : 0;
          work(async () => {
            try {
              await deliver(requestId, isOutcome, submit);
            } finally {
              outcomesUnderWay -= isOutcome ? 1 : 0;
            }
          });
        },
        answer(requestId, run) {
          const running = run();
          if (running === undefined) {
            return;
          }
          work(async () => {
            const failure = await running;
            if (failure !== undefined) {
              send(requestId, { case: "failure", value: failure });
            }
          });
        },
        cancel(cause) {
          send("", { case: "directive", value: { directive: Directive.CANCEL, cause } });
        },
      };

      async function open(request: Request, asked: Opening): Promise<void> {
        const opened = await leases.open(asked.task, asked.terms, asked.sessionId);
        if (opened.kind === "failed") {
          throw errorFromFailure(opened.failure);
        }
        opening = asked;
        ({ sessionId } = opened);
        const isResumed = opened.kind === "ended" || opened.isResumed;
        // A client that has left meanwhile carries nothing.
        attached = isClosed ? undefined : leases.attach(asked.task, sessionId, listener);
        const acceptedRequestIds = isResumed
          ? await deps.acceptedRequests(kind.operation, caller, sessionId)
          : [];
        const ready = readyMessage(deps, kind.capabilities, { sessionId, isResumed, acceptedRequestIds });
        send(request.requestId, { case: "ready", value: ready });
        const answer = attached?.beat();
        if (opened.kind === "ended") {
          task.cancel(opened.cause);
          if (opened.cause === ErrorReason.TASK_FINISHED) {
            answerOutcome(asked.task);
          }
        } else if (answer !== undefined && answer.directive !== Directive.CONTINUE) {
          send("", { case: "directive", value: directiveOf(answer) });
        }
        if (!isResumed) {
          kind.onOpened(request, task);
        }
      }

      function sendBeat(requestId: string, answer: BeatAnswer): void {
        const frame = kind.wrap(requestId, { case: "directive", value: directiveOf(answer) });
        stream.send(frame, "replaces");
      }

      function beat(requestId: string, { task, terms }: Opening): void {
        attached ??= leases.attach(task, sessionId, listener);
        const answer = attached?.beat();
        if (answer !== undefined) {
          sendBeat(requestId, answer);
          return;
        }
        // What has become of it is in the store, and it may go on.
        attached = undefined;
        work(async () => {
          const result = await leases.beat(task, terms, sessionId);
          if (result.kind === "answered") {
            sendBeat(requestId, result.answer);
          } else {
            send(requestId, { case: "failure", value: result.failure });
          }
        });
      }

      return {
        onFrame(request) {
          const { case: name } = request.frame;
          if (opening === undefined) {
            const asked = kind.readOpen(request, caller);
            if (asked !== undefined) {
              return open(request, asked);
            }
            if (name !== undefined && name !== "keepAlive") {
              throw invalidRequest([
                { field: "frame", description: `is ${name}; the first one must be open` },
              ]);
            }
            return undefined;
          }
          switch (name) {
            case "open":
              throw invalidRequest([{ field: "frame", description: "is a second open" }]);
            case "heartbeat":
              beat(request.requestId, opening);
              break;
            case "keepAlive":
            case undefined:
              break;
            default:
              // Now: what becomes of the frame may take longer than the lease.
              attached?.beat();
              frameBytes = weighMessage(request);
              kind.onFrame(request, task);
          }
          return undefined;
        },
        onHalfClose() {
          isHalfClosed = true;
          endIfDone();
        },
        onClose() {
          isClosed = true;
          over.abort();
          attached?.detach();
        },
      };
    },
  );
}

const superseded = createFailure(
  ErrorReason.LEASE_SUPERSEDED,
  "another stream has opened the session, or another session the task",
  { code: Code.Aborted },
);

function orFailure(prepare: () => PreparedReport): PreparedReport | { failure: Failure } {
  try {
    return prepare();
  } catch (error) {
    return { failure: failureOfError(error) };
  }
}
