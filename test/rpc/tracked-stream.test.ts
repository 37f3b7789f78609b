import { Code, ConnectError, createContextValues, createHandlerContext } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import type { LeaseBook } from "../../src/model/lease-book.ts";
import { defaultLimits } from "../../src/model/limits.ts";
import { serveTracked } from "../../src/rpc/tracked-stream.ts";

test("a defect ends the stream without its words, which are for the log", async () => {
  const errors: unknown[] = [];
  const defect = new Error("/var/lib/secret is malformed");
  const leases = {
    open: async () => ({ kind: "open", sessionId: "s", isResumed: true }),
    attach: () => undefined,
  } as unknown as LeaseBook;
  const task = { upstream: "orchestra", lane: "l", key: "k", taskId: "t", attempt: "0" };
  async function* requests() {
    yield { requestId: "", frame: { case: "open" } };
    await new Promise(() => undefined);
  }
  const responses = serveTracked(
    requests(),
    createHandlerContext({
      service: TaskStatusService,
      method: TaskStatusService.method.trackRun,
      protocolName: "grpc",
      requestMethod: "POST",
      url: "http://localhost/",
      contextValues: createContextValues(),
    }),
    {
      leases,
      acceptedRequests: () => Promise.reject(defect),
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
      readOpen: () => ({ task, terms: { caller: "c", onLost: "fail", lostPayload: "" }, sessionId: "s" }),
      onOpened: () => undefined,
      onFrame: () => undefined,
    },
  );
  const error = await responses[Symbol.asyncIterator]()
    .next()
    .then(
      () => undefined,
      (reason: unknown) => reason as ConnectError,
    );
  expect(error).toBeInstanceOf(ConnectError);
  expect([error?.code, error?.rawMessage, error?.cause]).toEqual([
    Code.Internal,
    "internal error",
    undefined,
  ]);
  expect(errors).toEqual([defect]);
});
