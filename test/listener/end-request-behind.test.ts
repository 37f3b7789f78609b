import { once } from "node:events";
import net from "node:net";
import { expect, onTestFinished, test, vi } from "vitest";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { maxDiscardMs } from "../../src/listener/end-request-behind.ts";
import { createRoute } from "../../src/model/route.ts";
import { useListener } from "../support/use-listener.ts";

const routes = [
  createRoute(
    TaskStatusService,
    { updateTask: ({ message }) => ({ receipt: { deliveryId: `hello ${message}` } }) },
    "known",
  ),
  createRoute(
    GatewayService,
    {
      async *watchDeliveries() {
        yield {};
      },
    },
    "known",
  ),
];

// One connection, to which is written as to a file, and what it answers.
async function useSocket() {
  const { url } = await useListener({ routes });
  const socket = net.connect(Number(new URL(url).port), "127.0.0.1");
  onTestFinished(() => {
    socket.destroy();
  });
  await once(socket, "connect");
  const chunks = socket.setEncoding("utf8").iterator();
  let received = "";
  return {
    socket,
    send: (text: string) => socket.write(text),
    /** Waits until this was answered, and forgets it. */
    async until(text: string): Promise<void> {
      while (!received.includes(text)) {
        const { done, value } = await chunks.next();
        if (done) {
          throw new Error(`the connection ended before ${text}: ${received}`);
        }
        received += value;
      }
      received = received.slice(received.indexOf(text) + text.length);
    },
  };
}

function head(method: string, type: string, ...more: string[]): string {
  const lines = [`POST /taskgate.v1.${method} HTTP/1.1`, "host: localhost"];
  return [...lines, `content-type: ${type}`, ...more, "", ""].join("\r\n");
}

function plainCall(message: string): string {
  const body = JSON.stringify({ message });
  return head("TaskStatusService/UpdateTask", "application/json", `content-length: ${body.length}`) + body;
}

// The limit is 64 KiB.
const tooLarge = "x".repeat(1024 * 1024);

test.each<[name: string, call: string]>([
  ["a body", plainCall(tooLarge)],
  [
    "a chunked body",
    `${head("TaskStatusService/UpdateTask", "application/json", "transfer-encoding: chunked")}100000\r\n${tooLarge}\r\n0\r\n\r\n`,
  ],
  [
    "a message of a stream",
    `${head("GatewayService/WatchDeliveries", "application/connect+json", "content-length: 1048581")}\0\0\x10\0\0${tooLarge}`,
  ],
])(
  "HTTP/1.1: the next call on the connection is served when %s was refused before its end",
  async (_, call) => {
    const { send, until } = await useSocket();
    send(call);
    await until("is larger than configured readMaxBytes");
    send(plainCall("again"));
    await until("hello again");
  },
);

const unary = "TaskStatusService/UpdateTask";
const json = "application/json";

test.each<[name: string, head: string, answer: string]>([
  ["nobody serves, asked for by gRPC-Web", head("Nothing/At", "application/grpc-web", length(9)), "200 OK"],
  ["nobody serves, asked for by Connect", head("Nothing/At", json, length(9)), "404 Not Found"],
  ["nobody serves, asked for by a person", head("Nothing/At", "text/plain", length(9)), "404 Not Found"],
  ["has a malformed Host", head(unary, json, length(9)).replace("localhost", "a b"), "400 Bad Request"],
  [
    "asks for a page's permission",
    head(unary, json, length(9), "origin: http://a", "access-control-request-method: POST").replace(
      "POST",
      "OPTIONS",
    ),
    "403 Forbidden",
  ],
])(
  "S7 HTTP/1.1: the body of a request that %s has half a minute, then its connection ends",
  async (_, head, answer) => {
    const { socket, send, until } = await useSocket();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    // It is reset, because a part was never read.
    socket.on("error", () => undefined);
    const ended = new Promise((resolve) => socket.once("close", resolve));
    send(`${head}{`);
    await until(answer);
    vi.advanceTimersByTime(maxDiscardMs - 1);
    send(" ");
    expect(socket.destroyed).toBe(false);
    vi.advanceTimersByTime(1);
    await ended;
  },
);

function length(bytes: number): string {
  return `content-length: ${bytes}`;
}
