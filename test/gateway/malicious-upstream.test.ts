import { randomUUID } from "node:crypto";
import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { type Caller, grpcClient } from "../support/clients.ts";
import { receiptLine, troubled } from "../support/deliveries.ts";
import { useGateway } from "../support/use-gateway.ts";
import { onRequest, useRawServer } from "../upstream/raw-server.ts";

/** Writes the same again and again until nobody reads it any more. */
function endlessly(socket: Socket, begin: string, piece: Buffer | string): void {
  socket.write(begin, "latin1");
  function more(): void {
    while (!socket.destroyed) {
      const isTaken = typeof piece === "string" ? socket.write(piece, "latin1") : socket.write(piece);
      if (!isTaken) {
        return;
      }
    }
  }
  socket.on("drain", more);
  more();
}

const ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
const big = Buffer.alloc(64 * 1024, "x");
const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));

/** What an upstream may do to harm who asks it. */
const malice: readonly [what: string, answer: (socket: Socket) => void][] = [
  ["a body without an end", (socket) => endlessly(socket, `${ok}\r\n`, big)],
  [
    "chunks without an end",
    (socket) =>
      endlessly(socket, `${ok}transfer-encoding: chunked\r\n\r\n`, `1000\r\n${"x".repeat(0x1000)}\r\n`),
  ],
  [
    "empty chunk extensions without an end",
    (socket) => endlessly(socket, `${ok}transfer-encoding: chunked\r\n\r\n1;`, "x".repeat(1000)),
  ],
  [
    "trailers without an end",
    (socket) => endlessly(socket, `${ok}transfer-encoding: chunked\r\n\r\n0\r\n`, "a: b\r\n".repeat(200)),
  ],
  ["headers without an end", (socket) => endlessly(socket, ok, "a: b\r\n".repeat(200))],
  ["one header without an end", (socket) => endlessly(socket, `${ok}x: `, "x".repeat(1000))],
  ["a reason without an end", (socket) => endlessly(socket, "HTTP/1.1 200 ", "x".repeat(1000))],
  [
    "hints without an end",
    (socket) => endlessly(socket, "", "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n".repeat(100)),
  ],
  [
    "100 Continue without an end",
    (socket) => endlessly(socket, "", "HTTP/1.1 100 Continue\r\n\r\n".repeat(100)),
  ],
  [
    "a switch of protocols",
    (socket) => socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
  ],
  [
    "gzip of 64 MiB in 64 KiB",
    (socket) => {
      socket.write(`${ok}content-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`);
      socket.write(bomb);
    },
  ],
  [
    "six content codings",
    (socket) =>
      socket.write(
        `${ok}content-encoding: gzip, gzip, gzip, gzip, gzip, gzip\r\ncontent-length: 2\r\n\r\n{}`,
      ),
  ],
  ["a huge length", (socket) => socket.write(`${ok}content-length: 99999999999999999999\r\n\r\n{}`)],
  ["a negative length", (socket) => socket.write(`${ok}content-length: -1\r\n\r\n{}`)],
  ["two lengths", (socket) => socket.write(`${ok}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`)],
  [
    "a length and chunks",
    (socket) =>
      socket.write(`${ok}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`),
  ],
  ["a huge chunk", (socket) => socket.write(`${ok}transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n{}`)],
  ["no HTTP", (socket) => socket.write("SSH-2.0-OpenSSH_9.2\r\n")],
  ["HTTP/2", (socket) => socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]))],
  ["NUL bytes", (socket) => socket.write(Buffer.alloc(1000))],
  ["half a head", (socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-ty")],
  ["silence", () => undefined],
];

async function callEach(caller: Caller): Promise<string[]> {
  const own = randomUUID();
  const token = "A-Za-z0-9_abcdefghijklmnopqrstuvwxyz0123456";
  const [run, result] = await Promise.all([
    caller.call(TaskStatusService.method.updateTask, {
      taskRunId: own,
      status: TaskRunStatus.RUNNING,
      waitFor: WaitFor.STORED,
    }),
    caller.call(CallbackService.method.completeCallback, {
      target: { case: "callbackRoute", value: `/api/processes/${own}/callback/${token}` },
      payload: { case: "json", value: "{}" },
      waitFor: WaitFor.STORED,
    }),
  ]);
  const [{ message }, ...receipts] = await Promise.all([
    caller.fail(ExecutorService.method.getTask, { id: "x" }),
    troubled(caller, run.receipt),
    troubled(caller, result.receipt),
  ]);
  return [message, ...receipts.map(receiptLine)];
}

describe("S11 an upstream that is malicious costs little, and what became of a report is said", () => {
  test.each(malice)("%s", async (_, answer) => {
    const server = await useRawServer(onRequest(answer));
    const { url } = await useGateway({
      ORCHESTRA_WEBHOOK_URL: `http://${server.host}`,
      ORCHESTRA_API_KEY: "key",
      TASKGATE_ORCHESTRA_TIMEOUT: "700ms",
      TASKGATE_ORCHESTRATOR_URL: `http://${server.host}`,
      TASKGATE_ORCHESTRATOR_TIMEOUT: "700ms",
      TASKGATE_AIDBOX_URL: `http://${server.host}`,
      TASKGATE_AIDBOX_CLIENT_ID: "id",
      TASKGATE_AIDBOX_CLIENT_SECRET: "secret",
      TASKGATE_AIDBOX_TIMEOUT: "700ms",
      TASKGATE_DRAIN_TIMEOUT: "100ms",
    });
    const before = process.memoryUsage.rss();
    const said = await callEach(grpcClient.connect(url));
    expect(said[0]).toMatch(/^aidbox /);
    expect(said[1]).toMatch(
      /^STORED in doubt Unknown UPSTREAM_UNCERTAIN orchestra may have taken the request: /,
    );
    expect(said[2]).toMatch(
      /^STORED in doubt Unknown UPSTREAM_UNCERTAIN orchestrator may have taken the request: /,
    );
    for (const line of said) {
      expect(line.length).toBeLessThan(600);
    }
    expect(process.memoryUsage.rss() - before).toBeLessThan(200 * 1024 * 1024);
    // All of them are closed, but those that are tried again.
    const open = server.sockets.filter((socket) => !socket.destroyed && socket.readyState === "open");
    expect(open.length).toBeLessThanOrEqual(2);
  });
});
