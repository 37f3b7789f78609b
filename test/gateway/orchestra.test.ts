import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import type { FaultRule } from "../../src/sandbox/faults.ts";
import { grpcClient, testClients } from "../support/clients.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { updateTask, setOutput, sendLog } = TaskStatusService.method;

describe.each(testClients)("Orchestra's receiver, over $name", (client) => {
  test("O-12 O-20 a whole run arrives in order, the log behind the outcome", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    const taskRunId = randomUUID();
    await caller.call(updateTask, { taskRunId, status: TaskRunStatus.RUNNING, message: "begun" });
    await caller.call(setOutput, { taskRunId, name: "Rows", output: { case: "valueJson", value: "[1]" } });
    await caller.call(updateTask, { taskRunId, status: TaskRunStatus.WARNING });
    await caller.call(sendLog, { taskRunId, name: "a.log", data: "text" });
    expect(sandbox.orchestra.taskRuns.get(taskRunId)).toMatchObject({
      status: "WARNING",
      message: "begun",
      outputs: { rows: [1] },
      logs: [{ name: "a.log", data: "text" }],
    });
  });

  test("O-23 O-25 O-33 what the receiver refuses is a refusal here, with its words", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    const taskRunId = randomUUID();
    sandbox.orchestra.taskRuns.disown(taskRunId);
    expect(await caller.fail(updateTask, { taskRunId, status: TaskRunStatus.RUNNING })).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "UPSTREAM_REJECTED",
      metadata: { http_status: "404", upstream_type: "TASK_NOT_FOUND" },
    });
    sandbox.orchestra.settings.refuseWithStatus200 = true;
    expect(await caller.fail(updateTask, { taskRunId, status: TaskRunStatus.RUNNING })).toMatchObject({
      reason: "UPSTREAM_REJECTED",
      metadata: { http_status: "200", upstream_type: "TASK_NOT_FOUND" },
    });
    const ended = randomUUID();
    await caller.call(updateTask, { taskRunId: ended, status: TaskRunStatus.FAILED });
    expect(
      await caller.fail(setOutput, {
        taskRunId: ended,
        name: "late",
        output: { case: "valueJson", value: "1" },
      }),
    ).toMatchObject({ reason: "UPSTREAM_REJECTED" });
  });
});

describe("an Orchestra in trouble", () => {
  const request = { taskRunId: randomUUID(), status: TaskRunStatus.RUNNING };
  const taken = { when: "after" } as const;

  async function useCaller() {
    const used = await useGatewayWithSandbox({ TASKGATE_ORCHESTRA_TIMEOUT: "1s" });
    return { ...used, caller: grpcClient.connect(used.url) };
  }

  test.each<[name: string, fault: FaultRule, expected: string]>([
    ["O-27 429", { action: { kind: "answer", status: 429 } }, "Unavailable UPSTREAM_UNAVAILABLE"],
    ["O-28 503", { action: { kind: "answer", status: 503 } }, "Unavailable UPSTREAM_UNAVAILABLE"],
    ["O-29 500", { action: { kind: "answer", status: 500 } }, "Unknown UPSTREAM_UNCERTAIN"],
    ["O-29 504", { action: { kind: "answer", status: 504 } }, "Unknown UPSTREAM_UNCERTAIN"],
    ["O-30 no answer", { action: { kind: "hang" } }, "Unknown UPSTREAM_UNCERTAIN"],
    ["O-32 taken, and a reset", { ...taken, action: { kind: "reset" } }, "Unknown UPSTREAM_UNCERTAIN"],
    ["a body that drips", { action: { kind: "dribble", intervalMs: 50 } }, "Unknown UPSTREAM_UNCERTAIN"],
    ["a body without end", { action: { kind: "endless" } }, "Unknown UPSTREAM_UNCERTAIN"],
    ["a body that is cut off", { action: { kind: "truncate" } }, "Unknown UPSTREAM_UNCERTAIN"],
    ["a connection that just ends", { action: { kind: "noAnswerClose" } }, "Unknown UPSTREAM_UNCERTAIN"],
    [
      "O-26 a redirect",
      { action: { kind: "redirect", status: 301, location: "http://127.0.0.1:9/" } },
      "FailedPrecondition UPSTREAM_REJECTED",
    ],
  ])("%s has its code and reason", async (_, fault, expected) => {
    const { caller, sandbox } = await useCaller();
    const { faults } = sandbox.orchestra;
    const id = faults.add(fault);
    const error = await caller.fail(updateTask, request);
    expect(`${Code[error.code]} ${error.reason}`).toBe(expected);
    expect(faults.fired(id)).toBe(1);
    faults.clear();
    expect(await caller.call(updateTask, request)).toMatchObject({ receipt: { attempts: 1 } });
  });

  test("O-31 one that is down is unavailable, and back when it is", async () => {
    const { caller, sandbox } = await useCaller();
    await sandbox.orchestra.faults.setDown(true);
    expect(await caller.fail(updateTask, request)).toMatchObject({
      code: Code.Unavailable,
      reason: "UPSTREAM_UNAVAILABLE",
    });
    await sandbox.orchestra.faults.setDown(false);
    expect(await caller.call(updateTask, request)).toMatchObject({ receipt: { attempts: 1 } });
  });
});
