import { create } from "@bufbuild/protobuf";
import { Code, type ConnectError, createContextValues, createHandlerContext } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { DeliveryState, ReceiptSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import type { LeaseBook } from "../../src/model/lease-book.ts";
import { defaultLimits } from "../../src/model/limits.ts";
import type { StreamDeps } from "../../src/rpc/stream-deps.ts";
import { serveTracked, type TrackedKind } from "../../src/rpc/tracked-stream.ts";

type Frame = { requestId: string; frame: { case: string } };

const task = { upstream: "orchestra", lane: "l", key: "k", taskId: "t", attempt: "0" };
const context = () =>
  createHandlerContext({
    service: TaskStatusService,
    method: TaskStatusService.method.trackRun,
    protocolName: "grpc",
    requestMethod: "POST",
    url: "http://localhost/",
    contextValues: createContextValues(),
  });

function useStream(
  frames: readonly string[],
  { acceptedRequests = async () => [], ...kind }: Partial<TrackedKind<Frame, unknown> & StreamDeps>,
) {
  const errors: unknown[] = [];
  const leases = {
    open: async () => ({ kind: "open", sessionId: "s", isResumed: true }),
    attach: () => undefined,
  } as unknown as LeaseBook;
  async function* requests() {
    for (const name of frames) {
      yield { requestId: "", frame: { case: name } };
    }
    await new Promise(() => undefined);
  }
  const responses = serveTracked<Frame, unknown>(
    requests(),
    context(),
    {
      leases,
      acceptedRequests,
      outcomeEnd: async () => undefined,
      leaseDurationMs: 1000,
      heartbeatIntervalMs: 300,
      limits: defaultLimits,
      keepAliveMs: 1000,
      now: () => 0,
      setTimer: () => () => undefined,
      openStreams: new Set(),
      onUnexpectedError: (error) => errors.push(error),
    },
    {
      operation: "TrackRun",
      capabilities: { pull: false, cancelDetection: false, handBack: false, progress: true },
      wrap: (_, frame) => frame,
      readOpen: ({ frame }) =>
        frame.case === "open"
          ? { task, terms: { caller: "c", onLost: "fail", lostPayload: "" }, sessionId: "s" }
          : undefined,
      onOpened: () => undefined,
      onFrame: () => undefined,
      ...kind,
    },
  )[Symbol.asyncIterator]();
  /** Reads until the error that ends the stream. */
  async function failure(): Promise<ConnectError> {
    try {
      for (;;) {
        if ((await responses.next()).done === true) {
          throw new Error("the stream ended well");
        }
      }
    } catch (error) {
      return error as ConnectError;
    }
  }
  return { failure, errors };
}

test("a defect ends the stream without its words, which are for the log", async () => {
  const defect = new Error("/var/lib/secret is malformed");
  const { failure, errors } = useStream(["open"], { acceptedRequests: () => Promise.reject(defect) });
  const { code, rawMessage, cause } = await failure();
  expect([code, rawMessage, cause]).toEqual([Code.Internal, "internal error", undefined]);
  expect(errors).toEqual([defect]);
});

test("nobody waits for an outcome's end on a stream that has ended by an error", async () => {
  const receipt = create(ReceiptSchema, { state: DeliveryState.STORED });
  let waits: AbortSignal | undefined;
  const { failure } = useStream(["open", "finish", "open"], {
    onFrame: ({ requestId }, tracked) =>
      tracked.report(requestId, () => ({
        isOutcome: true,
        submit: async () => ({
          kind: "accepted",
          receipt,
          answer: "",
          ended(signal) {
            waits = signal;
            return new Promise(() => undefined);
          },
        }),
      })),
  });
  expect((await failure()).code).toBe(Code.InvalidArgument);
  expect(waits?.aborted).toBe(true);
});
