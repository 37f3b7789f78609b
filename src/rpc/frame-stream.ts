import type { ConnectError } from "@connectrpc/connect";

/** The gateway's end of a stream of frames both ways. */
export interface FrameStream<Response> {
  /**
   * Sends a frame. `replaces`: where the client does not read, it takes the place of
   * the last frame that was sent so: only the latest of its kind counts.
   */
  send(frame: Response, replaces?: "replaces"): void;
  /** Something that a frame has begun: so many may be under way before no more frames are read. */
  begin(): void;
  /** It is done. */
  done(): void;
  /**
   * Memory that a frame takes until the returned function is called: beyond some
   * megabytes no more frames are read.
   */
  hold(bytes: number): () => void;
  /** Ends the stream behind what was sent. */
  end(): void;
  /** Ends the stream with an error behind what was sent. */
  fail(error: ConnectError): void;
}

/** What is done with a stream. */
export interface FrameHandler<Request> {
  /** Throws, or rejects with, the error that ends the stream. No more is read before it has resolved. */
  onFrame(request: Request): void | Promise<void>;
  /** The client sends no more. */
  onHalfClose(): void;
  /** The stream is over, whoever ended it. Is called once. */
  onClose(): void;
}

export interface FrameStreamOptions<Response> {
  /** A frame is sent when there was none for so long. */
  keepAliveMs: number;
  keepAlive: () => Response;
  setTimer: (run: () => void, delayMs: number) => () => void;
  /** Where the stream is found while it is open. */
  open: Set<Pick<FrameStream<unknown>, "fail">>;
  onUnexpectedError: (error: unknown) => void;
  /** Makes an error of what a handler throws. */
  errorOf: (error: unknown) => ConnectError;
}

// So many frames wait to be read by the client, and so many of its own are under
// way, before the gateway reads no more of them: HTTP/2 then slows the client down.
const maxWaiting = 64;
const maxUnderWay = 64;
// Or their memory, of which one more frame may come.
const maxHeldBytes = 4 * 1024 * 1024;

/**
 * Serves a stream of frames both ways. Nothing is buffered without bound: a client
 * that does not read, or writes faster than its frames are dealt with, is read no
 * further. Ends when the handler says so, or when the signal aborts.
 */
export function serveFrames<Request, Response>(
  requests: AsyncIterable<Request>,
  signal: AbortSignal,
  options: FrameStreamOptions<Response>,
  createHandler: (stream: FrameStream<Response>) => FrameHandler<Request>,
): AsyncIterable<Response> {
  const iterator = requests[Symbol.asyncIterator]();
  const waiting: Response[] = [];
  let isLastReplaceable = false;
  let underWay = 0;
  let heldBytes = 0;
  let isReading = false;
  let isHalfClosed = false;
  let isClosed = false;
  let error: ConnectError | undefined;
  let isEnding = false;
  let hasSent = false;
  let reader: PromiseWithResolvers<IteratorResult<Response>> | undefined;
  let cancelTimer: () => void = () => undefined;

  const stream: FrameStream<Response> = {
    send(frame, replaces) {
      if (isEnding || isClosed) {
        return;
      }
      hasSent = true;
      const isReplaceable = replaces !== undefined;
      if (isReplaceable && isLastReplaceable && waiting.length > maxWaiting / 2) {
        waiting[waiting.length - 1] = frame;
      } else {
        waiting.push(frame);
      }
      isLastReplaceable = isReplaceable;
      give();
    },
    begin() {
      underWay += 1;
    },
    done() {
      underWay -= 1;
      read();
    },
    hold(bytes) {
      heldBytes += bytes;
      let isHeld = true;
      return () => {
        heldBytes -= isHeld ? bytes : 0;
        isHeld = false;
        read();
      };
    },
    end() {
      isEnding = true;
      give();
    },
    fail(reason) {
      error ??= reason;
      stream.end();
    },
  };

  // Hands on what waits to whoever asks for it.
  function give(): void {
    if (reader === undefined) {
      return;
    }
    const asked = reader;
    if (waiting.length > 0) {
      reader = undefined;
      asked.resolve({ done: false, value: waiting.shift() as Response });
      read();
    } else if (isEnding || isClosed) {
      reader = undefined;
      close();
      if (error === undefined) {
        asked.resolve({ done: true, value: undefined });
      } else {
        asked.reject(error);
      }
    }
  }

  function read(): void {
    const isFull = waiting.length >= maxWaiting || underWay >= maxUnderWay || heldBytes >= maxHeldBytes;
    if (isReading || isHalfClosed || isClosed || isEnding || isFull) {
      return;
    }
    isReading = true;
    iterator.next().then(onRead, onError);
  }

  function onRead(result: IteratorResult<Request>): void {
    if (isClosed || isEnding) {
      return;
    }
    try {
      if (result.done === true) {
        isHalfClosed = true;
        handler.onHalfClose();
        return;
      }
      const handled = handler.onFrame(result.value);
      if (handled !== undefined) {
        handled.then(readOn, onError);
        return;
      }
    } catch (thrown) {
      onError(thrown);
      return;
    }
    readOn();
  }

  function readOn(): void {
    isReading = false;
    read();
  }

  function onError(thrown: unknown): void {
    if (!isClosed) {
      stream.fail(options.errorOf(thrown));
    }
  }

  function close(): void {
    if (isClosed) {
      return;
    }
    isClosed = true;
    waiting.length = 0;
    cancelTimer();
    options.open.delete(stream);
    signal.removeEventListener("abort", onAbort);
    try {
      handler.onClose();
    } catch (thrown) {
      options.onUnexpectedError(thrown);
    }
  }

  function onAbort(): void {
    close();
    give();
  }

  function keepAlive(): void {
    if (!hasSent && waiting.length === 0) {
      stream.send(options.keepAlive());
    }
    hasSent = false;
    cancelTimer = options.setTimer(keepAlive, options.keepAliveMs);
  }

  const handler = createHandler(stream);
  options.open.add(stream);
  signal.addEventListener("abort", onAbort, { once: true });
  cancelTimer = options.setTimer(keepAlive, options.keepAliveMs);
  read();

  return {
    [Symbol.asyncIterator]: () => ({
      next() {
        reader = Promise.withResolvers<IteratorResult<Response>>();
        const { promise } = reader;
        give();
        return promise;
      },
      return() {
        close();
        return Promise.resolve({ done: true, value: undefined });
      },
    }),
  };
}
