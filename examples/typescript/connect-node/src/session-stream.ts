import { randomUUID } from "node:crypto";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { TrackCallbackResponse } from "../gen/taskgate/v1/callback_pb.ts";
import { ErrorReasonSchema } from "../gen/taskgate/v1/error_reason_pb.ts";
import type { WorkResponse } from "../gen/taskgate/v1/executor_pb.ts";
import { DeliveryState, type Receipt } from "../gen/taskgate/v1/receipt_pb.ts";
import type { Ready } from "../gen/taskgate/v1/session_pb.ts";
import type { TrackRunResponse } from "../gen/taskgate/v1/task_status_pb.ts";

type Answer = TrackRunResponse | TrackCallbackResponse | WorkResponse;

export interface SessionStreamOptions<Frame, A extends Answer> {
  call: (requests: AsyncIterable<{ requestId: string; frame: Frame }>) => AsyncIterable<A>;
  /** The first frame; the session to resume is empty the first time. */
  open: (sessionId: string) => Frame;
  heartbeat: () => Frame;
  /** Gives up when the gateway was not reached for a whole lease, or knows the session no more; otherwise tries for ever. */
  endsWithLease: boolean;
  /** The gateway knows the session no more, nor what it held; a new one will be opened. */
  onSessionUnknown?: () => void;
  /** Hears every frame of the gateway. */
  onAnswer: (answer: A) => void;
}

export interface SessionStream<Frame> {
  /** Resolves when the gateway knows the session. */
  readonly ready: Promise<void>;
  /** Resolves when the gateway has closed the stream, everything settled. */
  readonly closed: Promise<void>;
  /**
   * Resolves when the gateway has accepted the frame, or when the upstream has settled it, with the receipt where there
   * is one. Rejects when the gateway has refused it.
   */
  send(frame: Frame, until?: Until): Promise<Receipt | undefined>;
  /** Says that nothing more will be sent. */
  end(): void;
}

type Until = "accepted" | "settled";

interface Waiting<Frame> extends PromiseWithResolvers<Receipt | undefined> {
  request: { requestId: string; frame: Frame };
  until: Until;
}

const retryDelayMs = 500;

/**
 * Opens a stream and beats on it. When the connection breaks, or the gateway goes away,
 * it opens it again with its session and sends what was not accepted. Where the gateway
 * knows the session no more, because its data is gone, it opens another.
 */
export function openSessionStream<Frame, A extends Answer>(
  options: SessionStreamOptions<Frame, A>,
): SessionStream<Frame> {
  const ready = Promise.withResolvers<void>();
  const waiting = new Map<string, Waiting<Frame>>();
  let requests: PassThrough | undefined;
  let sessionId = "";
  let leaseMs = 30_000;
  let heardMs = performance.now();
  let hasEnded = false;

  async function connect(): Promise<void> {
    const frames = new PassThrough({ objectMode: true });
    let beating: NodeJS.Timeout | undefined;
    frames.write({ requestId: "", frame: options.open(sessionId) });
    try {
      for await (const answer of options.call(frames)) {
        heardMs = performance.now();
        const { requestId }: Answer = answer;
        const frame: Answer["frame"] = answer.frame;
        if (frame.case === "ready") {
          beating = setInterval(() => beat(frames), msOf(frame.value.heartbeatInterval, 10_000));
          resume(frame.value, frames);
        } else if (frame.case === "failure") {
          const { reason, message } = frame.value;
          waiting
            .get(requestId)
            ?.reject(new Error(`${ErrorReasonSchema.value[reason]?.localName}: ${message}`));
          waiting.delete(requestId);
        } else {
          accept(requestId, frame.case === "receipt" ? frame.value : undefined);
        }
        options.onAnswer(answer);
      }
    } finally {
      clearInterval(beating);
      requests = undefined;
      frames.end();
    }
  }

  function beat(frames: PassThrough): void {
    if (!frames.writableEnded) {
      frames.write({ requestId: "", frame: options.heartbeat() });
    }
  }

  function resume(frame: Ready, frames: PassThrough): void {
    sessionId = frame.sessionId;
    leaseMs = msOf(frame.leaseDuration, leaseMs);
    for (const requestId of frame.acceptedRequestIds) {
      accept(requestId, undefined);
    }
    for (const { request } of waiting.values()) {
      frames.write(request);
    }
    requests = frames;
    if (hasEnded) {
      frames.end();
    }
    ready.resolve();
  }

  // What waits for its end is sent again after a break, although it was accepted: that is safe,
  // and answered with the receipt.
  function accept(requestId: string, receipt: Receipt | undefined): void {
    const one = waiting.get(requestId);
    const isSettled = receipt !== undefined && receipt.state !== DeliveryState.STORED;
    if (one?.until === "accepted" || isSettled) {
      one?.resolve(receipt);
      waiting.delete(requestId);
    }
  }

  function forget(error: unknown): void {
    sessionId = "";
    for (const { reject } of waiting.values()) {
      reject(error);
    }
    waiting.clear();
    options.onSessionUnknown?.();
  }

  async function stayConnected(): Promise<void> {
    for (;;) {
      try {
        await connect();
        if (hasEnded) {
          return;
        }
        // The gateway goes away.
      } catch (error) {
        const isLate = performance.now() - heardMs > leaseMs;
        if (!options.endsWithLease && isNotFound(error) && sessionId !== "") {
          forget(error);
        } else if (!isBroken(error) || (options.endsWithLease && isLate)) {
          throw error;
        }
      }
      await sleep(retryDelayMs);
    }
  }

  const closed = stayConnected();
  closed
    .then(
      () => new Error("the gateway has closed the stream"),
      (error) => error,
    )
    .then((error) => {
      ready.reject(error);
      for (const { reject } of waiting.values()) {
        reject(error);
      }
    });
  // Who waits hears of it; nobody has to.
  ready.promise.catch(() => {});

  return {
    ready: ready.promise,
    closed,
    send(frame, until = "accepted") {
      const request = { requestId: randomUUID(), frame };
      const one = { request, until, ...Promise.withResolvers<Receipt | undefined>() };
      waiting.set(request.requestId, one);
      requests?.write(request);
      return one.promise;
    },
    end() {
      hasEnded = true;
      requests?.end();
    },
  };
}

function msOf(duration: Duration | undefined, otherwise: number): number {
  return duration === undefined ? otherwise : durationMs(duration);
}

// What the gateway itself says carries a reason, and is final unless it is going away.
function isBroken(error: unknown): boolean {
  return (
    error instanceof ConnectError &&
    (error.code === Code.Unavailable || !error.metadata.has("taskgate-reason"))
  );
}

function isNotFound(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.NotFound;
}
