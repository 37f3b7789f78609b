import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import type { FaultRule } from "../../src/sandbox/faults.ts";
import { grpcClient } from "../support/clients.ts";
import { settled, troubled } from "../support/deliveries.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { heartbeatRun, updateTask } = TaskStatusService.method;
const { heartbeatCallback, completeCallback } = CallbackService.method;
const { discardDelivery, retryDelivery, listSessions } = GatewayService.method;

const down: FaultRule = { action: { kind: "answer", status: 503 } };
const waitFor = WaitFor.STORED;

test("an operator who discards an outcome gives the task its lease again, and who is silent then is lost", async () => {
  const { url, sandbox } = await useGatewayWithSandbox({
    TASKGATE_LEASE_DURATION: "1s",
    TASKGATE_HEARTBEAT_INTERVAL: "300ms",
    TASKGATE_DRAIN_TIMEOUT: "100ms",
  });
  const caller = grpcClient.connect(url);
  const taskRunId = randomUUID();
  sandbox.orchestra.faults.add(down);
  const { sessionId } = await caller.call(heartbeatRun, { taskRunId });
  const status = TaskRunStatus.SUCCEEDED;
  const { receipt } = await caller.call(updateTask, { taskRunId, status, waitFor });
  await troubled(caller, receipt);
  expect((await caller.call(listSessions, {})).sessions).toEqual([]);
  await expect
    .poll(() =>
      caller.call(discardDelivery, { deliveryId: receipt?.deliveryId ?? "" }).then(
        ({ delivery }) => delivery?.receipt?.state,
        () => undefined,
      ),
    )
    .toBe(DeliveryState.DISCARDED);
  await expect
    .poll(async () => (await caller.call(listSessions, {})).sessions)
    .toMatchObject([{ sessionId }]);
  sandbox.orchestra.faults.clear();
  await expect
    .poll(() => sandbox.orchestra.taskRuns.get(taskRunId)?.status, { timeout: 10_000 })
    .toBe("FAILED");
});

test("an operator who sends a refused outcome again ends the lease that it had left", async () => {
  const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_DRAIN_TIMEOUT: "100ms" });
  const caller = grpcClient.connect(url);
  const target = {
    case: "callbackRoute",
    value: sandbox.orchestrator.processes.start().callback_route,
  } as const;
  const { sessionId } = await caller.call(heartbeatCallback, { target });
  sandbox.orchestrator.faults.add({ action: { kind: "answer", status: 422 } });
  const payload = { case: "json", value: "{}" } as const;
  const { receipt } = await caller.call(completeCallback, { target, payload, waitFor });
  expect(await settled(caller, receipt)).toMatchObject({ state: DeliveryState.REJECTED });
  await expect
    .poll(async () => (await caller.call(listSessions, {})).sessions)
    .toMatchObject([{ sessionId }]);
  sandbox.orchestrator.faults.clear();
  sandbox.orchestrator.faults.add(down);
  await caller.call(retryDelivery, { deliveryId: receipt?.deliveryId ?? "" });
  expect((await caller.call(listSessions, {})).sessions).toEqual([]);
});
