import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import tls from "node:tls";
import { Code } from "@connectrpc/connect";
import { expect, onTestFinished, test } from "vitest";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { grpcClient } from "../support/clients.ts";
import { settled, troubled } from "../support/deliveries.ts";
import { useScriptedServer } from "../support/scripted-server.ts";
import { type LogLine, tlsPath, useGateway } from "../support/use-gateway.ts";
import { useSecretVolume } from "../support/use-secret-volume.ts";

const { updateTask } = TaskStatusService.method;
const { getInfo } = GatewayService.method;
const pem = (name: string) => readFileSync(tlsPath(name), "utf8");
const used = "a file has changed, and what it says is used from now on";
const unused = "a file has changed, and what it says cannot be used: what it said before is kept";

/** Orchestra, which knows one key at a time. */
async function useOrchestra(firstKey: string) {
  const state = { key: firstKey, refused: 0 };
  const server = await useScriptedServer(({ headers }, response) => {
    const isKnown = headers.authorization === `Bearer ${state.key}`;
    state.refused += isKnown ? 0 : 1;
    response.writeHead(isKnown ? 200 : 401).end();
  });
  return { ...server, state };
}

async function logged(log: readonly LogLine[], message: string, count = 1): Promise<void> {
  const times = () => log.filter((line) => line.message === message).length;
  await expect.poll(times, { timeout: 10_000, interval: 10 }).toBe(count);
}

test("R21 after a 401 the next attempt has the new key at once, and nothing is lost", async () => {
  const volume = useSecretVolume({ key: "key-of-monday\n" });
  const { origin, state, seen } = await useOrchestra("key-of-monday");
  const { url, log } = await useGateway({
    ORCHESTRA_WEBHOOK_URL: origin,
    ORCHESTRA_API_KEY_FILE: volume.pathOf("key"),
  });
  const caller = grpcClient.connect(url);
  const report = () =>
    caller.call(updateTask, {
      taskRunId: randomUUID(),
      status: TaskRunStatus.SUCCEEDED,
      waitFor: WaitFor.DELIVERED,
    });
  await report();
  expect(state.refused).toBe(0);
  for (const key of ["key-of-tuesday", "key-of-wednesday"]) {
    volume.swap({ key });
    state.key = key;
    const answers = await Promise.all(Array.from({ length: 50 }, report));
    expect(answers.map(({ receipt }) => [receipt?.state, receipt?.attempts])).toEqual(
      answers.map(() => [DeliveryState.DELIVERED, 1]),
    );
  }
  const accepted = seen.filter(({ headers }) => headers.authorization === "Bearer key-of-wednesday");
  expect(new Set(accepted.map(({ body }) => body)).size).toBe(50);
  await logged(log, used, 2);
  expect(JSON.stringify(log)).not.toContain("key-of-");
});

test("R21 a key that is taken away before there is another: reports wait, and none is lost", async () => {
  const volume = useSecretVolume({ key: "key-of-monday" });
  const { origin, state } = await useOrchestra("key-of-monday");
  const { url, log } = await useGateway({
    ORCHESTRA_WEBHOOK_URL: origin,
    ORCHESTRA_API_KEY_FILE: volume.pathOf("key"),
  });
  const caller = grpcClient.connect(url);
  state.key = "key-of-tuesday";
  const stored = await Promise.all(
    Array.from({ length: 20 }, () =>
      caller.call(updateTask, {
        taskRunId: randomUUID(),
        status: TaskRunStatus.FAILED,
        waitFor: WaitFor.STORED,
      }),
    ),
  );
  await troubled(caller, stored[0]?.receipt);
  volume.swap({ key: "" });
  await logged(log, unused);
  volume.swap({ key: "key-of-tuesday" });
  for (const { receipt } of stored) {
    expect((await settled(caller, receipt))?.state).toBe(DeliveryState.DELIVERED);
  }
  expect(JSON.stringify(log)).not.toContain("key-of-");
});

test("a new key is used before the old one is refused", async () => {
  const volume = useSecretVolume({ key: "key-of-monday" });
  const { origin, state } = await useOrchestra("key-of-monday");
  const { url, log } = await useGateway({
    ORCHESTRA_WEBHOOK_URL: origin,
    ORCHESTRA_API_KEY_FILE: volume.pathOf("key"),
  });
  volume.swap({ key: "key-of-tuesday" });
  await logged(log, used);
  state.key = "key-of-tuesday";
  await grpcClient.connect(url).call(updateTask, {
    taskRunId: randomUUID(),
    status: TaskRunStatus.SUCCEEDED,
    waitFor: WaitFor.DELIVERED,
  });
  expect(state.refused).toBe(0);
});

test("S13 the old and the new token of a caller are both taken for a while, and then the new one only", async () => {
  const volume = useSecretVolume({ token: "token-of-monday\n" });
  const { url, log } = await useGateway({ TASKGATE_AUTH_TOKEN_FILE: volume.pathOf("token") });
  const show = async (token: string) => {
    const caller = grpcClient.connect(url, { authorization: `Bearer ${token}` });
    return caller.call(getInfo, {}).then(
      ({ version }) => version,
      ({ code }) => code,
    );
  };
  const shown = () => Promise.all(["token-of-monday", "token-of-tuesday", ""].map(show));
  expect(await shown()).toEqual(["0.0.0-test", Code.Unauthenticated, Code.Unauthenticated]);
  volume.swap({ token: "token-of-tuesday\r\ntoken-of-monday\n" });
  await logged(log, used);
  expect(await shown()).toEqual(["0.0.0-test", "0.0.0-test", Code.Unauthenticated]);
  volume.swap({ token: "token-of-tuesday" });
  await logged(log, used, 2);
  expect(await shown()).toEqual([Code.Unauthenticated, "0.0.0-test", Code.Unauthenticated]);
  volume.swap({ token: "a token that no header can carry" });
  await logged(log, unused);
  expect(await shown()).toEqual([Code.Unauthenticated, "0.0.0-test", Code.Unauthenticated]);
  expect(JSON.stringify(log)).not.toMatch(/-of-|no header/);
});

test("certificates are replaced without a restart, and not by wrong ones", async () => {
  const volume = useSecretVolume({ cert: pem("server.pem"), key: pem("server.key") });
  const { url, log } = await useGateway({
    TASKGATE_TLS_CERT: volume.pathOf("cert"),
    TASKGATE_TLS_KEY: volume.pathOf("key"),
  });
  const subject = () => certificateAt(Number(new URL(url).port));
  const first = await subject();
  volume.swap({ cert: pem("self-signed.pem"), key: pem("server.key") });
  await logged(log, unused);
  expect(await subject()).toBe(first);
  volume.swap({ cert: pem("self-signed.pem"), key: pem("self-signed.key") });
  await logged(log, used);
  expect(await subject()).not.toBe(first);
  expect(JSON.stringify(log)).not.toContain("PRIVATE");
});

test("an upstream's CA certificates are replaced without a restart", async () => {
  const server = https.createServer(
    { cert: pem("server.pem"), key: pem("server.key") },
    (request, response) => {
      request.resume().on("end", () => response.end());
    },
  );
  server.on("tlsClientError", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const volume = useSecretVolume({ ca: pem("self-signed.pem") });
  const { url, log } = await useGateway({
    ORCHESTRA_API_KEY: "k",
    ORCHESTRA_WEBHOOK_URL: `https://localhost:${(server.address() as AddressInfo).port}`,
    TASKGATE_ORCHESTRA_CA: volume.pathOf("ca"),
  });
  const caller = grpcClient.connect(url);
  const report = { taskRunId: randomUUID(), status: TaskRunStatus.SUCCEEDED, waitFor: WaitFor.STORED };
  const { receipt } = await caller.call(updateTask, report);
  expect((await troubled(caller, receipt))?.failure?.message).toContain("orchestra was not reached");
  volume.swap({ ca: "no certificate" });
  await logged(log, unused);
  volume.swap({ ca: pem("ca.pem") });
  expect((await settled(caller, receipt))?.state).toBe(DeliveryState.DELIVERED);
});

function certificateAt(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}
