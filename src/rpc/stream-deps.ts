import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Receipt } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { ReadySchema } from "../../gen/taskgate/v1/session_pb.ts";
import type { UpstreamCapabilities } from "../model/capabilities.ts";
import type { LeasedTask } from "../model/lease.ts";
import type { LeaseBook } from "../model/lease-book.ts";
import type { Limits } from "../model/limits.ts";
import type { SubmitOptions } from "../model/submission.ts";
import { streamError } from "./errors.ts";
import type { FrameStream, FrameStreamOptions } from "./frame-stream.ts";
import type { LeaseTimes } from "./heartbeat-answer.ts";
import { limitsMessage } from "./limits-message.ts";

/** What streams need of the gateway. */
export interface StreamDeps extends LeaseTimes {
  leases: LeaseBook;
  /** The request ids that a session's frames had and that were accepted, oldest first. */
  acceptedRequests: (operation: string, caller: string, sessionId: string) => Promise<string[]>;
  /**
   * Waits for the end of a task's outcome, however long that takes, and tells under which request id a frame of the
   * session has said it. Undefined: it has ended long ago.
   */
  outcomeEnd: (
    task: LeasedTask,
    session: Pick<SubmitOptions, "operation" | "caller" | "sessionId">,
    signal: AbortSignal,
  ) => Promise<{ requestId: string; receipt: Receipt } | undefined>;
  limits: Limits;
  keepAliveMs: number;
  /** The wall clock. */
  now: () => number;
  setTimer: (run: () => void, delayMs: number) => () => void;
  /** The streams that are open. */
  openStreams: Set<Pick<FrameStream<unknown>, "fail">>;
  onUnexpectedError: (error: unknown) => void;
}

/** How a stream of frames is served. */
export function frameStreamOptions<Response>(
  deps: StreamDeps,
  keepAlive: () => Response,
): FrameStreamOptions<Response> {
  return {
    keepAliveMs: deps.keepAliveMs,
    keepAlive,
    setTimer: deps.setTimer,
    open: deps.openStreams,
    onUnexpectedError: deps.onUnexpectedError,
    errorOf: (thrown) => streamError(thrown, deps.onUnexpectedError),
  };
}

/** The session that a stream belongs to. */
interface StreamSession {
  sessionId: string;
  isResumed: boolean;
  acceptedRequestIds: string[];
}

/** The first frame to a client: its session, and what the gateway keeps to. */
export function readyMessage(
  deps: StreamDeps,
  capabilities: UpstreamCapabilities,
  { sessionId, isResumed, acceptedRequestIds }: StreamSession,
): MessageInitShape<typeof ReadySchema> {
  return {
    sessionId,
    heartbeatInterval: durationFromMs(deps.heartbeatIntervalMs),
    leaseDuration: durationFromMs(deps.leaseDurationMs),
    keepAliveInterval: durationFromMs(deps.keepAliveMs),
    serverTime: timestampFromMs(deps.now()),
    limits: limitsMessage(deps.limits),
    capabilities,
    resumed: isResumed,
    acceptedRequestIds,
  };
}

/**
 * How a report that came as a frame is treated: stored, its request id counting within
 * its session, and without a deadline.
 */
export function frameSubmitOptions(
  { operation, caller, sessionId }: Pick<SubmitOptions, "operation" | "caller" | "sessionId">,
  requestId: string,
  signal: AbortSignal,
): SubmitOptions {
  return {
    operation,
    caller,
    waitFor: "stored",
    requestId: requestId === "" ? "" : `${sessionId}/${requestId}`,
    sessionId,
    timeoutMs: () => undefined,
    signal,
  };
}
