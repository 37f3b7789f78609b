import { once } from "node:events";
import net, { type LookupFunction } from "node:net";
import { Code } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { grpcClient } from "../support/clients.ts";
import { receiptLine, settled, troubled } from "../support/deliveries.ts";
import { findFreePort } from "../support/free-port.ts";
import { answering, useScriptedServer } from "../support/scripted-server.ts";
import { useGateway } from "../support/use-gateway.ts";
import { misleadingRoutes, misleadingUrls } from "./misleading-urls.ts";

const { completeCallback, heartbeatCallback, reportCallbackProgress } = CallbackService.method;
const { updateTask } = TaskStatusService.method;

const processId = "1d876307-8c0a-42a1-8299-af0516223652";
const token = "A-Za-z0-9_abcdefghijklmnopqrstuvwxyz0123456";
const route = `/api/processes/${processId}/callback/${token}`;
const payload = { case: "json", value: "{}" } as const;

type Target = { case: "callbackRoute" | "callbackUrl"; value: string };

/** Counts connections to an address. */
async function useCounter(host: string, port: number): Promise<() => number> {
  let connections = 0;
  const server = net.createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  server.listen(port, host);
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return () => connections;
}

describe("S1 a callback's name that resolves to a refused address by the time of the call", () => {
  test("gets no connection, waits, and leaves once the name is right again", async () => {
    const upstream = net.createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () =>
        socket.end(
          "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnull",
        ),
      );
    });
    const port = await findFreePort();
    upstream.listen(port, "127.0.0.2");
    await once(upstream, "listening");
    onTestFinished(() => void upstream.close());
    const denied = await useCounter("127.0.0.1", port);
    const answers = ["127.0.0.2", "127.0.0.1"];
    let asked = 0;
    const lookup: LookupFunction = (_, __, callback) => {
      // Right, then wrong, then right for ever.
      const address = answers[asked] ?? "127.0.0.2";
      asked += 1;
      callback(null, [{ address, family: net.isIP(address) }]);
    };
    const { url } = await useGateway(
      {
        TASKGATE_ORCHESTRATOR_URL: `http://orchestrator.example:${port}`,
        TASKGATE_UPSTREAM_NETWORKS: "private,127.0.0.2",
      },
      {},
      "",
      { lookup },
    );
    const caller = grpcClient.connect(url);
    const first = await caller.call(reportCallbackProgress, {
      target: { case: "callbackRoute", value: route },
      progress: { case: "text", value: "half" },
    });
    expect(first).toBeDefined();
    const { receipt } = await caller.call(completeCallback, {
      target: { case: "callbackRoute", value: route },
      payload,
      waitFor: WaitFor.STORED,
    });
    const line = receiptLine(await troubled(caller, receipt));
    expect(line).toContain(
      "STORED Unavailable UPSTREAM_UNAVAILABLE orchestrator was not reached: orchestrator.example resolves to 127.0.0.1, which is a loopback address",
    );
    expect(line).not.toContain(token);
    expect(receiptLine(await settled(caller, receipt))).toBe("DELIVERED");
    expect(asked).toBe(3);
    expect(denied()).toBe(0);
  });
});

describe("S2 what reads as another place than it is", () => {
  const base = "http://orchestrator.example:8080";
  const routes = misleadingRoutes(route);
  const urls = misleadingUrls(base, route);

  test("are more than 200 texts", () => {
    expect(new Set([...routes, ...urls]).size).toBeGreaterThan(200);
  });

  test("is refused before a name is asked for or a socket opens", async () => {
    const asked: string[] = [];
    const lookup: LookupFunction = (hostname, _, callback) => {
      asked.push(hostname);
      callback(new Error("nothing is there"), "");
    };
    const { url } = await useGateway({ TASKGATE_ORCHESTRATOR_URL: base }, {}, "", { lookup });
    const caller = grpcClient.connect(url);
    const taken: string[] = [];
    const targets = [
      ...routes.map((value) => ({ case: "callbackRoute", value }) as const),
      ...urls.map((value) => ({ case: "callbackUrl", value }) as const),
    ];
    const calls = [
      (target: Target) => caller.fail(completeCallback, { target, payload }),
      (target: Target) =>
        caller.fail(reportCallbackProgress, { target, progress: { case: "text", value: "x" } }),
      (target: Target) => caller.fail(heartbeatCallback, { target }),
    ];
    for (const [index, target] of targets.entries()) {
      const { code } = (await calls[index % calls.length]?.(target)) ?? {};
      if (code !== Code.InvalidArgument && code !== Code.PermissionDenied) {
        taken.push(`${code} ${JSON.stringify(target.value)}`);
      }
    }
    expect(taken).toEqual([]);
    expect(asked).toEqual([]);
  });

  test("and what is right arrives with its path unchanged", async () => {
    const server = await useScriptedServer(answering(200, "null"));
    const { url } = await useGateway({ TASKGATE_ORCHESTRATOR_URL: `${server.origin}/deep/base/` });
    await grpcClient.connect(url).call(completeCallback, {
      target: { case: "callbackUrl", value: `${server.origin}/deep/base${route}` },
      payload,
    });
    expect(server.seen.map((request) => request.url)).toEqual([`/deep/base${route}`]);
  });
});

describe("S3 a redirect", () => {
  const statuses = [300, 301, 302, 303, 307, 308];

  test.each([
    "elsewhere",
    "http://169.254.169.254/latest/meta-data/",
    "file:///etc/passwd",
    "//evil.example/",
  ])("to %s is followed for no upstream, and no credential goes there", async (place) => {
    const elsewhere = await useScriptedServer(answering(200, "{}"));
    const location = place === "elsewhere" ? `${elsewhere.origin}/` : place;
    let status = 0;
    const upstream = await useScriptedServer((_, response) => {
      response.writeHead(status, { location, "content-type": "application/json" }).end("{}");
    });
    const asked: string[] = [];
    const { url } = await useGateway(
      {
        ORCHESTRA_WEBHOOK_URL: upstream.origin,
        ORCHESTRA_API_KEY: "orchestra-key",
        TASKGATE_ORCHESTRATOR_URL: upstream.origin,
        TASKGATE_ORCHESTRATOR_TOKEN: "orchestrator-token",
        TASKGATE_AIDBOX_URL: upstream.origin,
        TASKGATE_AIDBOX_CLIENT_ID: "id",
        TASKGATE_AIDBOX_CLIENT_SECRET: "secret",
        TASKGATE_DRAIN_TIMEOUT: "100ms",
      },
      {},
      "",
      {
        lookup(hostname, _, callback) {
          asked.push(hostname);
          callback(new Error("nothing is there"), "");
        },
      },
    );
    const caller = grpcClient.connect(url);
    for (status of statuses) {
      const process = processId.replace(/^1d8/, String(status));
      const failures = [
        await caller.fail(updateTask, {
          taskRunId: process,
          status: TaskRunStatus.SUCCEEDED,
          waitFor: WaitFor.DELIVERED,
        }),
        await caller.fail(completeCallback, {
          target: { case: "callbackRoute", value: route.replace(processId, process) },
          payload,
          waitFor: WaitFor.DELIVERED,
        }),
        await caller.fail(ExecutorService.method.createTask, { definition: "a/b" }),
      ];
      for (const { code, message, metadata } of failures) {
        expect([Code[code], metadata.http_status, message]).toEqual([
          "FailedPrecondition",
          String(status),
          expect.stringContaining("a redirect, which is not followed"),
        ]);
      }
    }
    expect(upstream.seen.length).toBe(3 * statuses.length);
    expect(elsewhere.seen).toEqual([]);
    expect(asked).toEqual([]);
  });
});
