import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { grpcClient } from "../support/clients.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { heartbeatRun, updateTask } = TaskStatusService.method;
const { listSessions } = GatewayService.method;
const shortLease = { TASKGATE_LEASE_DURATION: "1s", TASKGATE_HEARTBEAT_INTERVAL: "300ms" };

test("another caller's heartbeats neither hold a run nor have it reported as lost", async () => {
  const { url, sandbox } = await useGatewayWithSandbox({
    ...shortLease,
    TASKGATE_AUTH_TOKEN: "worker-token-of-ann",
    TASKGATE_ADMIN_TOKEN: "token-of-bob-the-admin",
  });
  const ann = grpcClient.connect(url, { authorization: "Bearer worker-token-of-ann" });
  const bob = grpcClient.connect(url, { authorization: "Bearer token-of-bob-the-admin" });
  const taskRunId = randomUUID();
  await ann.call(updateTask, { taskRunId, status: TaskRunStatus.RUNNING });
  const refused = await Promise.all([1, 2, 3].map(() => bob.fail(heartbeatRun, { taskRunId })));
  expect(refused.map(({ code }) => code)).toEqual([Code.NotFound, Code.NotFound, Code.NotFound]);
  await new Promise((resolve) => setTimeout(resolve, 2500));
  expect(sandbox.orchestra.taskRuns.get(taskRunId)?.status).toBe("RUNNING");
  expect(await ann.call(heartbeatRun, { taskRunId })).toMatchObject({ directive: Directive.CONTINUE });
});

test("a heartbeat and an outcome at once leave no lease, whichever comes first", async () => {
  const { url } = await useGatewayWithSandbox();
  const caller = grpcClient.connect(url);
  for (let round = 0; round < 10; round += 1) {
    const taskRunId = randomUUID();
    const beat = () => caller.call(heartbeatRun, { taskRunId });
    const end = () => caller.call(updateTask, { taskRunId, status: TaskRunStatus.SUCCEEDED });
    await Promise.all(round % 2 === 0 ? [beat(), end(), beat()] : [end(), beat(), beat()]);
  }
  expect((await caller.call(listSessions, {})).sessions).toEqual([]);
});
