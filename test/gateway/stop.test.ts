import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { grpcClient } from "../support/clients.ts";
import { useScriptedServer } from "../support/scripted-server.ts";
import { type LogLine, useGateway } from "../support/use-gateway.ts";

const { updateTask } = TaskStatusService.method;

/** A gateway before an Orchestra that does what the script says. */
async function use(script: Parameters<typeof useScriptedServer>[0], env: Record<string, string> = {}) {
  const webhook = await useScriptedServer(script);
  const used = await useGateway({
    ORCHESTRA_API_KEY: "key",
    ORCHESTRA_WEBHOOK_URL: webhook.origin,
    ...env,
  });
  const caller = grpcClient.connect(used.url);
  const report = (
    waitFor: WaitFor,
    status: TaskRunStatus = TaskRunStatus.SUCCEEDED,
    taskRunId: string = randomUUID(),
  ) => caller.call(updateTask, { taskRunId, status, waitFor });
  return { ...used, webhook, caller, report };
}

function lastLine(log: readonly LogLine[]): string {
  const { level, message } = log.at(-1) ?? {};
  return `${level}: ${message}`;
}

describe("a gateway that stops", () => {
  test("answers what is under way with what became of it, and has nothing left", async () => {
    const script: Parameters<typeof use>[0] = async (_, response) => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      response.end();
    };
    const { gateway, webhook, report, log } = await use(script, { TASKGATE_DRAIN_TIMEOUT: "20s" });
    const answers = Array.from({ length: 100 }, () => report(WaitFor.DELIVERED));
    await expect.poll(() => webhook.seen.length).toBeGreaterThan(0);
    const result = await gateway.stop();
    const states = (await Promise.all(answers)).map(({ receipt }) => receipt?.state);
    expect(new Set(states)).toEqual(new Set([DeliveryState.DELIVERED]));
    expect(result).toEqual({ undelivered: [] });
    expect(lastLine(log)).toBe("info: stopped");
  });

  test("tries at once what waits for its next attempt, outcomes first", async () => {
    let isDown = true;
    const script: Parameters<typeof use>[0] = (_, response) => {
      response.writeHead(isDown ? 503 : 200, isDown ? { "retry-after": "200" } : {}).end();
    };
    const { gateway, webhook, report } = await use(script, { TASKGATE_DRAIN_TIMEOUT: "20s" });
    const running = randomUUID();
    await report(WaitFor.STORED, TaskRunStatus.RUNNING, running);
    await expect.poll(() => webhook.seen.length).toBe(1);
    const ended = randomUUID();
    await report(WaitFor.STORED, TaskRunStatus.SUCCEEDED, ended);
    isDown = false;
    expect(await gateway.stop()).toEqual({ undelivered: [] });
    const ids = webhook.seen.slice(1).map(({ body }) => JSON.parse(body).task_run_id);
    expect(ids).toEqual([ended, running]);
  });

  test("ends when its time is over, and says what stays stored", async () => {
    const { gateway, report, log } = await use((_, response) => {
      response.writeHead(503).end();
    });
    const run = randomUUID();
    await report(WaitFor.STORED, TaskRunStatus.RUNNING, run);
    await report(WaitFor.STORED, TaskRunStatus.FAILED, run);
    await report(WaitFor.STORED, TaskRunStatus.RUNNING);
    const startMs = performance.now();
    const { undelivered } = await gateway.stop();
    expect(performance.now() - startMs).toBeGreaterThan(1900);
    // Of the first run only the outcome, if its status was not tried yet.
    expect(undelivered).toMatchObject([{ upstream: "orchestra", outcomes: 1 }]);
    const reports = undelivered?.[0]?.reports ?? 0;
    expect([2, 3]).toContain(reports);
    expect(lastLine(log)).toBe(
      `warn: stopped; not delivered, and stored: orchestra ${reports} reports (1 outcome)`,
    );
  });

  test("takes calls until its minimum accept time is over, and none behind it", async () => {
    const { gateway, url, report, opsUrl } = await use((_, response) => void response.end(), {
      TASKGATE_MIN_ACCEPT: "3s",
      TASKGATE_DRAIN_TIMEOUT: "20s",
    });
    const startMs = performance.now();
    const stopped = gateway.stop();
    await expect.poll(async () => (await fetch(`${opsUrl}/readyz`)).status).toBe(503);
    // On the connection that there is, and on a new one.
    expect((await report(WaitFor.DELIVERED)).receipt?.state).toBe(DeliveryState.DELIVERED);
    const other = grpcClient.connect(url);
    expect(await other.call(GatewayService.method.getInfo, {})).toMatchObject({ draining: true });
    await stopped;
    expect(performance.now() - startMs).toBeGreaterThan(2900);
    await expect(fetch(url)).rejects.toThrow();
  });
});
