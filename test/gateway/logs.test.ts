import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { grpcClient } from "../support/clients.ts";
import { useCollector } from "../support/use-collector.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { updateTask } = TaskStatusService.method;
const { completeCallback } = CallbackService.method;
const running = TaskRunStatus.RUNNING;
const waitFor = WaitFor.DELIVERED;
const traceId = "0af7651916cd43dd8448eb211c80319c";
const traceparent = `00-${traceId}-b7ad6b7169203331-01`;

test("at debug every step of a report is a line, with its delivery and its trace", async () => {
  const collector = await useCollector();
  const { url, log } = await useGatewayWithSandbox({
    TASKGATE_LOG_LEVEL: "debug",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  });
  const taskRunId = randomUUID();
  const { receipt } = await grpcClient
    .connect(url, { traceparent })
    .call(updateTask, { taskRunId, status: running, waitFor });
  const lines = () => log.filter(({ level }) => level === "debug");
  await expect.poll(() => lines().length, { timeout: 10_000 }).toBe(4);
  const ofDelivery = { traceId, deliveryId: receipt?.deliveryId, upstream: "orchestra", task: taskRunId };
  expect(Object.fromEntries(lines().map(({ message, fields }) => [message, fields]))).toMatchObject({
    "a report was stored": { ...ofDelivery, kind: "status" },
    "an attempt has ended": { ...ofDelivery, result: "accepted", attempts: 1 },
    "a delivery has ended": { ...ofDelivery, attempts: 1 },
    "a call has ended": { traceId, rpc: "/taskgate.v1.TaskStatusService/UpdateTask", code: "OK" },
  });
});

test("at info a report that goes well is no line, and one that is refused for good is one", async () => {
  const { url, log, sandbox } = await useGatewayWithSandbox();
  const caller = grpcClient.connect(url);
  await caller.call(updateTask, { taskRunId: randomUUID(), status: running, waitFor });
  const taskRunId = randomUUID();
  sandbox.orchestra.taskRuns.disown(taskRunId);
  await caller.fail(updateTask, { taskRunId, status: running, waitFor });
  expect(log.map(({ level, message }) => [level, message])).toEqual([
    ["info", "listening"],
    ["warn", "the upstream refused a report for good"],
  ]);
  expect(log[1]?.fields).toMatchObject({
    upstream: "orchestra",
    task: taskRunId,
    kind: "status",
    attempts: 1,
    why: "orchestra answered 404: Invalid task_run_id",
  });
});

test("the token of a callback is in no line, whatever becomes of it", async () => {
  const { url, log } = await useGatewayWithSandbox({ TASKGATE_LOG_LEVEL: "debug" });
  const token = "s3cr3t".padEnd(43, "x");
  const callbackRoute = `/api/processes/${randomUUID()}/callback/${token}`;
  await grpcClient.connect(url).fail(completeCallback, {
    target: { case: "callbackRoute", value: callbackRoute },
    payload: { case: "json", value: '{"password":"payl0ad"}' },
    waitFor,
  });
  await expect.poll(() => log.length, { timeout: 10_000 }).toBeGreaterThan(3);
  expect(JSON.stringify(log)).not.toMatch(/s3cr3t|payl0ad/);
});
