import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import * as grpc from "@grpc/grpc-js";
import type { Duration__Output } from "../gen/google/protobuf/Duration.ts";
import type { Failure__Output } from "../gen/taskgate/v1/Failure.ts";
import type { Ready__Output } from "../gen/taskgate/v1/Ready.ts";
import type { Receipt__Output } from "../gen/taskgate/v1/Receipt.ts";

/** What all streams of the gateway have in common. */
interface Request {
  requestId?: string;
}
interface Answer {
  requestId: string;
  ready?: Ready__Output | null;
  failure?: Failure__Output | null;
  receipt?: Receipt__Output | null;
}

export interface SessionStreamOptions<Frame extends Request, A extends Answer> {
  call: () => grpc.ClientDuplexStream<Frame, A>;
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
  send(frame: Frame, until?: Until): Promise<Receipt__Output | undefined>;
  /** Says that nothing more will be sent. */
  end(): void;
}

type Until = "accepted" | "settled";

interface Waiting<Frame> extends PromiseWithResolvers<Receipt__Output | undefined> {
  frame: Frame;
  until: Until;
}

const retryDelayMs = 500;

/**
 * Opens a stream and beats on it. When the connection breaks, or the gateway goes away,
 * it opens it again with its session and sends what was not accepted. Where the gateway
 * knows the session no more, because its data is gone, it opens another.
 */
export function openSessionStream<Frame extends Request, A extends Answer>(
  options: SessionStreamOptions<Frame, A>,
): SessionStream<Frame> {
  const ready = Promise.withResolvers<void>();
  const waiting = new Map<string, Waiting<Frame>>();
  let current: grpc.ClientDuplexStream<Frame, A> | undefined;
  let sessionId = "";
  let leaseMs = 30_000;
  let heardMs = performance.now();
  let hasEnded = false;

  async function connect(): Promise<void> {
    const stream = options.call();
    let beating: NodeJS.Timeout | undefined;
    stream.write(options.open(sessionId));
    try {
      for await (const answer of stream as AsyncIterable<A>) {
        heardMs = performance.now();
        if (answer.ready) {
          beating = setInterval(() => beat(stream), msOf(answer.ready.heartbeatInterval, 10_000));
          resume(answer.ready, stream);
        } else if (answer.failure) {
          const { reason, message } = answer.failure;
          waiting.get(answer.requestId)?.reject(new Error(`${reason}: ${message}`));
          waiting.delete(answer.requestId);
        } else {
          accept(answer.requestId, answer.receipt ?? undefined);
        }
        options.onAnswer(answer);
      }
    } finally {
      clearInterval(beating);
      current = undefined;
    }
  }

  function beat(stream: grpc.ClientDuplexStream<Frame, A>): void {
    if (!stream.writableEnded) {
      stream.write(options.heartbeat());
    }
  }

  function resume(frame: Ready__Output, stream: grpc.ClientDuplexStream<Frame, A>): void {
    sessionId = frame.sessionId;
    leaseMs = msOf(frame.leaseDuration, leaseMs);
    for (const requestId of frame.acceptedRequestIds) {
      accept(requestId, undefined);
    }
    for (const { frame } of waiting.values()) {
      stream.write(frame);
    }
    current = stream;
    if (hasEnded) {
      stream.end();
    }
    ready.resolve();
  }

  // What waits for its end is sent again after a break, although it was accepted: that is safe,
  // and answered with the receipt.
  function accept(requestId: string, receipt: Receipt__Output | undefined): void {
    const one = waiting.get(requestId);
    const isSettled = receipt !== undefined && receipt.state !== "DELIVERY_STATE_STORED";
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
      const requestId = randomUUID();
      const resolvers = Promise.withResolvers<Receipt__Output | undefined>();
      const one = { frame: { ...frame, requestId }, until, ...resolvers };
      waiting.set(requestId, one);
      current?.write(one.frame);
      return one.promise;
    },
    end() {
      hasEnded = true;
      current?.end();
    },
  };
}

function msOf(duration: Duration__Output | null | undefined, otherwise: number): number {
  return duration ? Number(duration.seconds) * 1000 + duration.nanos / 1e6 : otherwise;
}

// What the gateway itself says carries a reason, and is final unless it is going away.
function isBroken(error: unknown): boolean {
  const { code, metadata } = error as Partial<grpc.ServiceError>;
  return code === grpc.status.UNAVAILABLE || metadata?.get("taskgate-reason").length === 0;
}

function isNotFound(error: unknown): boolean {
  return (error as Partial<grpc.ServiceError>).code === grpc.status.NOT_FOUND;
}
