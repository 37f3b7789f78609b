import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import {
  TaskStatusService,
  type TrackRunRequest,
  TrackRunRequestSchema,
  type UpdateTaskRequest,
  UpdateTaskRequestSchema,
} from "../../gen/taskgate/v1/task_status_pb.ts";
import type { CallCode, CallObserver } from "../../src/model/call-observer.ts";
import { createRoute } from "../../src/model/route.ts";
import { testClients } from "../support/clients.ts";
import { grpcFrame } from "../support/grpc-frame.ts";
import { sendRaw, useHttp2Session, useListener } from "../support/use-listener.ts";

const { updateTask } = TaskStatusService.method;
const unaryPath = "/taskgate.v1.TaskStatusService/UpdateTask";
const streamPath = "/taskgate.v1.TaskStatusService/TrackRun";
// A machine may be slow.
const patience = { timeout: 10_000 };
const grpc = { "content-type": "application/grpc" };

async function behave({ message }: UpdateTaskRequest, context: HandlerContext) {
  switch (message) {
    case "refused":
      throw new ConnectError("no", Code.Aborted);
    case "bug":
      throw new Error("a bug");
    case "until the end":
      await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      throw ConnectError.from(context.signal.reason);
    default:
      return {};
  }
}

async function* track(requests: AsyncIterable<TrackRunRequest>) {
  for await (const { requestId } of requests) {
    if (requestId === "refused") {
      throw new ConnectError("no", Code.Aborted);
    }
    yield { requestId };
  }
}

interface Ended {
  path: string;
  code: CallCode;
}

// Serves calls, and keeps what an observer hears of them.
async function useObserved(fastLane: boolean) {
  const begun: string[] = [];
  const ended: Ended[] = [];
  let runs = 0;
  const observer: CallObserver = {
    begin(path) {
      begun.push(path);
      let isOver = false;
      return {
        run(handler) {
          runs += 1;
          return handler();
        },
        end(code) {
          if (!isOver) {
            isOver = true;
            ended.push({ path, code });
          }
        },
      };
    },
    unknown: () => ended.push({ path: "unknown", code: Code.Unimplemented }),
  };
  const used = await useListener({
    routes: [createRoute(TaskStatusService, { updateTask: behave, trackRun: track }, "known")],
    fastLane,
    observer,
    admit({ authorization }) {
      if (authorization === "wrong") {
        throw new ConnectError("who?", Code.Unauthenticated);
      }
    },
  });
  return { ...used, begun, ended, runs: () => runs };
}

function updateBody(message: string): Buffer {
  return grpcFrame(toBinary(UpdateTaskRequestSchema, create(UpdateTaskRequestSchema, { message })));
}

function trackBody(requestId: string): Buffer {
  return grpcFrame(toBinary(TrackRunRequestSchema, create(TrackRunRequestSchema, { requestId })));
}

describe.each([true, false])("with the fast lane %s an observer hears once", (fastLane) => {
  test.each<[name: string, path: string, headers: Record<string, string>, body: Buffer, code: CallCode]>([
    ["of a call", unaryPath, {}, updateBody(""), 0],
    ["of a refusal", unaryPath, {}, updateBody("refused"), Code.Aborted],
    ["of a bug", unaryPath, {}, updateBody("bug"), Code.Internal],
    [
      "of a deadline",
      unaryPath,
      { "grpc-timeout": "20m" },
      updateBody("until the end"),
      Code.DeadlineExceeded,
    ],
    ["of who may not call", unaryPath, { authorization: "wrong" }, updateBody(""), Code.Unauthenticated],
    ["of what does not decode", unaryPath, {}, grpcFrame(Buffer.from([0xff])), Code.InvalidArgument],
    ["of a body that is cut off", unaryPath, {}, updateBody("abc").subarray(0, 7), Code.InvalidArgument],
    ["of a stream", streamPath, {}, Buffer.concat([trackBody("a"), trackBody("b")]), 0],
    ["of a stream that is refused", streamPath, {}, trackBody("refused"), Code.Aborted],
    [
      "of a stream of who may not call",
      streamPath,
      { authorization: "wrong" },
      trackBody(""),
      Code.Unauthenticated,
    ],
  ])("%s", async (_, path, headers, body, code) => {
    const { url, begun, ended } = await useObserved(fastLane);
    const session = useHttp2Session(url);
    const response = await sendRaw(session, { ":path": path, ...grpc, ...headers }, body);
    const status = response.trailers["grpc-status"] ?? response.headers["grpc-status"];
    await expect.poll(() => ended, patience).toEqual([{ path, code }]);
    expect([status, begun]).toEqual([String(code), [path]]);
  });

  test.each([
    ["a call", unaryPath, updateBody("until the end")],
    ["a stream", streamPath, trackBody("a")],
  ])("that the caller of %s has left", async (_, path, body) => {
    const { url, begun, ended } = await useObserved(fastLane);
    const session = useHttp2Session(url);
    const stream = session.request({ ":method": "POST", ":path": path, te: "trailers", ...grpc });
    stream.on("error", () => undefined);
    stream.write(body);
    if (path === unaryPath) {
      stream.end();
    }
    await expect.poll(() => begun, patience).toEqual([path]);
    session.destroy();
    await expect.poll(() => ended, patience).toEqual([{ path, code: Code.Canceled }]);
  });

  test("what a handler does belongs to its call, and a call that is refused has no handler", async () => {
    const { url, runs } = await useObserved(fastLane);
    const session = useHttp2Session(url);
    await sendRaw(session, { ":path": unaryPath, ...grpc }, updateBody(""));
    expect(runs()).toBe(1);
  });
});

describe.each(testClients)("over $name", ({ fastLane, connect }) => {
  test("an observer hears how a call ended", async () => {
    const { url, ended } = await useObserved(fastLane);
    const caller = connect(url);
    await caller.call(updateTask, {});
    await caller.fail(updateTask, { message: "refused" });
    await caller.fail(updateTask, { message: "bug" });
    await expect
      .poll(() => ended.map(({ code }) => code), patience)
      .toEqual([0, Code.Aborted, Code.Internal]);
  });
});

test("what nobody serves is heard of without its name", async () => {
  const { url, ended, begun } = await useObserved(true);
  await sendRaw(useHttp2Session(url), { ":path": "/a.B/C", ...grpc }, Buffer.alloc(0));
  await fetch(`${url}/anything`);
  expect([ended, begun]).toEqual([
    [
      { path: "unknown", code: Code.Unimplemented },
      { path: "unknown", code: Code.Unimplemented },
    ],
    [],
  ]);
});

test("a request in no protocol ends, too", async () => {
  const { url, ended } = await useObserved(true);
  const response = await fetch(url + unaryPath, { method: "POST", body: new URLSearchParams({ a: "b" }) });
  expect(response.status).toBe(415);
  await expect.poll(() => ended, patience).toEqual([{ path: unaryPath, code: Code.Unknown }]);
});
