import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { type FrameHandler, type FrameStream, serveFrames } from "../../src/rpc/frame-stream.ts";
import { settle, useFakeClock } from "../outbox/fake-clock.ts";

const keepAliveMs = 20_000;

/** The client's frames, of which it is known how many were read. */
function createWire() {
  const sent: string[] = [];
  let read = 0;
  let end: { error?: Error } | undefined;
  let wake: () => void = () => undefined;
  return {
    send(...frames: string[]) {
      sent.push(...frames);
      wake();
    },
    halfClose() {
      end = {};
      wake();
    },
    break(error: Error) {
      end = { error };
      wake();
    },
    get read() {
      return read;
    },
    requests: {
      [Symbol.asyncIterator]: () => ({
        async next(): Promise<IteratorResult<string>> {
          for (;;) {
            const frame = sent[read];
            if (frame !== undefined) {
              read += 1;
              return { done: false, value: frame };
            }
            if (end?.error !== undefined) {
              throw end.error;
            }
            if (end !== undefined) {
              return { done: true, value: undefined };
            }
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        },
      }),
    },
  };
}

function useStream(handle: Partial<FrameHandler<string>> = {}) {
  const clock = useFakeClock();
  const wire = createWire();
  const leaving = new AbortController();
  const open = new Set<Pick<FrameStream<unknown>, "fail">>();
  const seen: string[] = [];
  const errors: unknown[] = [];
  let stream: FrameStream<string> | undefined;
  const responses = serveFrames<string, string>(
    wire.requests,
    leaving.signal,
    {
      keepAliveMs,
      keepAlive: () => "keep-alive",
      setTimer: clock.setTimer,
      open,
      onUnexpectedError: (error) => errors.push(error),
      errorOf: (thrown) => ConnectError.from(thrown, Code.Internal),
    },
    (created) => {
      stream = created;
      return {
        onFrame(frame) {
          seen.push(frame);
          return handle.onFrame?.(frame);
        },
        onHalfClose() {
          seen.push("half-closed");
          handle.onHalfClose?.();
        },
        onClose() {
          seen.push("closed");
          handle.onClose?.();
        },
      };
    },
  )[Symbol.asyncIterator]();
  if (stream === undefined) {
    throw new Error("the handler was not created");
  }
  const next = async () => {
    const { done, value } = await responses.next();
    return done === true ? "the end" : value;
  };
  return { clock, wire, leaving, open, seen, errors, stream, responses, next };
}

describe("what the gateway sends", () => {
  test("arrives in order, before and after it is asked for", async () => {
    const { stream, next } = useStream();
    stream.send("a");
    stream.send("b");
    expect([await next(), await next()]).toEqual(["a", "b"]);
    const asked = next();
    stream.send("c");
    expect(await asked).toBe("c");
  });

  test("comes before the end, and nothing comes behind it", async () => {
    const { stream, next, seen, open } = useStream();
    stream.send("a");
    stream.end();
    stream.send("too late");
    expect(seen).toEqual([]);
    expect([await next(), await next(), await next()]).toEqual(["a", "the end", "the end"]);
    expect(seen).toEqual(["closed"]);
    expect(open.size).toBe(0);
  });

  test("comes before the error, of which the first one counts", async () => {
    const { stream, next, seen } = useStream();
    stream.send("a");
    stream.fail(new ConnectError("first", Code.Aborted));
    stream.fail(new ConnectError("second", Code.Internal));
    expect(await next()).toBe("a");
    await expect(next()).rejects.toMatchObject({ code: Code.Aborted, rawMessage: "first" });
    expect(seen).toEqual(["closed"]);
  });

  test("is the latest of what replaces one another once much of it waits", async () => {
    const { stream, next } = useStream();
    for (let count = 1; count <= 10_000; count += 1) {
      stream.send(`beat ${count}`, "replaces");
    }
    stream.send("receipt");
    stream.send("beat", "replaces");
    stream.end();
    const got: string[] = [];
    for (let frame = await next(); frame !== "the end"; frame = await next()) {
      got.push(frame);
    }
    expect(got.length).toBeLessThan(64);
    expect(got.slice(-3)).toEqual(["beat 10000", "receipt", "beat"]);
  });

  test("takes the place of nothing that does not replace", async () => {
    const { stream, next } = useStream();
    for (let count = 1; count <= 40; count += 1) {
      stream.send(`receipt ${count}`);
      stream.send(`beat ${count}`, "replaces");
    }
    stream.end();
    const got: string[] = [];
    for (let frame = await next(); frame !== "the end"; frame = await next()) {
      got.push(frame);
    }
    expect(got.filter((frame) => frame.startsWith("receipt"))).toHaveLength(40);
    expect(got.at(-1)).toBe("beat 40");
  });
});

describe("what the client sends", () => {
  test("is dealt with in order, and then its half-close", async () => {
    const { wire, seen } = useStream();
    wire.send("a", "b");
    wire.halfClose();
    await settle();
    expect(seen).toEqual(["a", "b", "half-closed"]);
  });

  test("waits for a frame that takes its time", async () => {
    const opened = Promise.withResolvers<void>();
    const { wire, seen } = useStream({
      onFrame: (frame) => (frame === "open" ? opened.promise : undefined),
    });
    wire.send("open", "beat");
    await settle();
    expect([seen, wire.read]).toEqual([["open"], 1]);
    opened.resolve();
    await settle();
    expect(seen).toEqual(["open", "beat"]);
  });

  test.each(["throws", "rejects"])("ends the stream with what its handling %s", async (how) => {
    const wrong = new ConnectError("wrong", Code.InvalidArgument);
    const { wire, next, seen } = useStream({
      onFrame() {
        if (how === "throws") {
          throw wrong;
        }
        return Promise.reject(wrong);
      },
    });
    wire.send("a", "b");
    await expect(next()).rejects.toBe(wrong);
    await settle();
    expect(seen).toEqual(["a", "closed"]);
  });

  test("ends the stream where it cannot be read", async () => {
    const { wire, next, seen } = useStream();
    wire.break(new ConnectError("no message", Code.InvalidArgument));
    await expect(next()).rejects.toMatchObject({ code: Code.InvalidArgument });
    expect(seen).toEqual(["closed"]);
  });

  test("is read no further than 64 frames ahead of what is done", async () => {
    let stream: FrameStream<string> | undefined;
    const used = useStream({ onFrame: () => stream?.begin() });
    ({ stream } = used);
    used.wire.send(...Array.from({ length: 1000 }, () => "report"));
    await settle();
    expect(used.wire.read).toBe(64);
    stream.done();
    await settle();
    expect(used.wire.read).toBe(65);
    for (let count = 0; count < 64; count += 1) {
      stream.done();
    }
    await settle();
    expect(used.wire.read).toBe(129);
  });

  test("is read no further while it holds four megabytes", async () => {
    const releases: (() => void)[] = [];
    let stream: FrameStream<string> | undefined;
    const used = useStream({
      onFrame: () => stream && void releases.push(stream.hold(1024 * 1024)),
    });
    ({ stream } = used);
    used.wire.send(...Array.from({ length: 100 }, () => "log"));
    await settle();
    expect(used.wire.read).toBe(4);
    releases[0]?.();
    releases[0]?.();
    await settle();
    expect(used.wire.read).toBe(5);
  });

  test("is read no further while 64 answers are not read, and goes on when they are", async () => {
    let stream: FrameStream<string> | undefined;
    const used = useStream({ onFrame: (frame) => stream?.send(`answer to ${frame}`) });
    ({ stream } = used);
    used.wire.send(...Array.from({ length: 1000 }, (_, index) => String(index)));
    await settle();
    expect(used.wire.read).toBe(64);
    for (let count = 0; count < 1000; count += 1) {
      expect(await used.next()).toBe(`answer to ${count}`);
    }
    await settle();
    expect(used.wire.read).toBe(1000);
  });

  test("is read on, however much of it replaces its answers", async () => {
    let stream: FrameStream<string> | undefined;
    const used = useStream({ onFrame: (frame) => stream?.send(`answer to ${frame}`, "replaces") });
    ({ stream } = used);
    used.wire.send(...Array.from({ length: 10_000 }, (_, index) => String(index)));
    await settle();
    expect(used.wire.read).toBe(10_000);
  });

  test("is not read behind the end", async () => {
    const { wire, stream, seen } = useStream();
    stream.end();
    wire.send("late");
    await settle();
    expect(seen).toEqual([]);
  });
});

describe("a client that leaves", () => {
  test("ends the stream, whatever waits", async () => {
    const { stream, leaving, next, seen, open, clock } = useStream();
    stream.send("a");
    leaving.abort();
    expect(seen).toEqual(["closed"]);
    expect(await next()).toBe("the end");
    stream.send("b");
    expect(await next()).toBe("the end");
    expect([open.size, clock.pending]).toEqual([0, 0]);
    expect(seen).toEqual(["closed"]);
  });

  test("lets the one who waits for a frame go", async () => {
    const { leaving, next } = useStream();
    const asked = next();
    leaving.abort();
    expect(await asked).toBe("the end");
  });

  test("or a server that stops reading ends it once", async () => {
    const { responses, leaving, seen, clock } = useStream();
    await responses.return?.();
    leaving.abort();
    expect(seen).toEqual(["closed"]);
    expect(clock.pending).toBe(0);
  });

  test("with a handler that fails at that is heard of", async () => {
    const { leaving, errors, open } = useStream({
      onClose() {
        throw new Error("a bug");
      },
    });
    leaving.abort();
    expect(errors).toMatchObject([{ message: "a bug" }]);
    expect(open.size).toBe(0);
  });
});

describe("keep-alive", () => {
  test("is sent when nothing was for a whole interval, and only then", async () => {
    const { stream, next, clock } = useStream();
    const got: string[] = [];
    void (async () => {
      for (let frame = await next(); frame !== "the end"; frame = await next()) {
        got.push(`${clock.steadyNow()} ${frame}`);
      }
    })();
    await clock.advance(keepAliveMs);
    expect(got).toEqual(["20000 keep-alive"]);
    await clock.advance(keepAliveMs - 1);
    stream.send("a");
    await clock.advance(1);
    expect(got).toEqual(["20000 keep-alive", "39999 a"]);
    await clock.advance(keepAliveMs);
    expect(got.at(-1)).toBe("60000 keep-alive");
  });

  test("does not pile up before a client that does not read", async () => {
    const { stream, next, clock } = useStream();
    await clock.advance(100 * keepAliveMs);
    stream.end();
    expect([await next(), await next()]).toEqual(["keep-alive", "the end"]);
  });
});
