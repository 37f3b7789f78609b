import { setTimeout as sleep } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { Directive, OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import { sandboxSettings } from "../../src/sandbox-settings.ts";
import { grpcClient } from "../support/clients.ts";
import { useDirectory } from "../support/use-directory.ts";
import { useGateway } from "../support/use-gateway.ts";
import { useSandbox } from "../support/use-sandbox.ts";

const rpc = ExecutorService.method;
const quick = { TASKGATE_LEASE_DURATION: "1s", TASKGATE_HEARTBEAT_INTERVAL: "300ms" };

async function useAidbox(env: Record<string, string> = {}) {
  const sandbox = await useSandbox({ aidbox: { definitions: { "a/b": { allowedRetryCount: 1 } } } });
  const settings = { ...quick, TASKGATE_DATA_DIR: useDirectory(), TASKGATE_DRAIN_TIMEOUT: "200ms", ...env };
  const used = await useGateway(settings, sandboxSettings(sandbox));
  const { aidbox } = sandbox;
  return {
    ...used,
    caller: grpcClient.connect(used.url),
    restart: async () => {
      await used.gateway.stop();
      return grpcClient.connect((await useGateway(settings, sandboxSettings(sandbox))).url);
    },
    /** A task that was polled. */
    poll() {
      const { value } = aidbox.tasks.create({ definition: "a/b", params: {} });
      aidbox.tasks.poll(["task a/b"], 1);
      return { id: value?.id ?? "", execId: aidbox.tasks.get(value?.id ?? "")?.resource.execId ?? "" };
    },
    task: (id: string) => aidbox.tasks.get(id)?.resource,
    told: () => aidbox.requests.filter(({ body }) => body.includes('"awf.task/notify"')).length,
    aidbox,
  };
}

describe("a lease over unary calls", () => {
  test("begins with a heartbeat, and when the beats stop the task is reported as failed", async () => {
    const { caller, poll, task, log } = await useAidbox();
    const attempt = poll();
    await caller.call(rpc.startTask, attempt);
    const { sessionId, ...beat } = await caller.call(rpc.heartbeatTask, attempt);
    expect(beat).toMatchObject({
      directive: Directive.CONTINUE,
      leaseDuration: { seconds: 1n },
      nextHeartbeat: { nanos: 300_000_000 },
    });
    expect(sessionId).toMatch(/^[\w-]{32}$/);
    for (let beats = 0; beats < 4; beats += 1) {
      await sleep(400);
      expect(await caller.call(rpc.heartbeatTask, { ...attempt, sessionId })).toMatchObject({ sessionId });
    }
    await expect
      .poll(() => task(attempt.id)?.outcomeReason?.type, { timeout: 3000 })
      .toBe("awf.task/failed-by-executor");
    expect(log.map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/^the worker is lost: no heartbeat for 1 s/),
    );
    expect(await caller.call(rpc.heartbeatTask, { ...attempt, sessionId })).toMatchObject({
      directive: Directive.CANCEL,
      cause: ErrorReason.LEASE_EXPIRED,
    });
  });

  test("begins with the start where that says what to do, and else Aidbox's own timer counts", async () => {
    const { caller, poll, task } = await useAidbox();
    const [watched, unwatched, ignored] = [poll(), poll(), poll()];
    await caller.call(rpc.startTask, { ...watched, onLost: OnLost.FAIL });
    await caller.call(rpc.startTask, { ...ignored, onLost: OnLost.IGNORE });
    await caller.call(rpc.startTask, unwatched);
    await expect.poll(() => task(watched.id)?.outcome, { timeout: 3000 }).toBe("failed");
    await sleep(300);
    expect([task(unwatched.id)?.status, task(ignored.id)?.status]).toEqual(["in-progress", "in-progress"]);
  });

  test("is kept by progress, and ends with the outcome", async () => {
    const { caller, poll, task } = await useAidbox();
    const attempt = poll();
    await caller.call(rpc.startTask, { ...attempt, onLost: OnLost.FAIL });
    for (let current = 1n; current < 5n; current += 1n) {
      await sleep(400);
      const answer = await caller.call(rpc.reportTaskProgress, { ...attempt, current });
      expect(answer.directive).toBe(Directive.CONTINUE);
      expect(Number(answer.leaseExpireTime?.seconds) * 1000).toBeLessThan(Date.now() + 1500);
    }
    await caller.call(rpc.succeedTask, attempt);
    await sleep(1500);
    expect(task(attempt.id)).toMatchObject({ outcome: "succeeded" });
    expect(await caller.call(rpc.reportTaskProgress, { ...attempt, current: 9n })).toMatchObject({
      directive: Directive.CANCEL,
      cause: ErrorReason.TASK_FINISHED,
    });
  });

  test("of another caller cannot be kept alive, nor be spoken for by an invented session", async () => {
    const [one, two] = ["a".repeat(32), "b".repeat(32)];
    const { url, poll } = await useAidbox({ TASKGATE_AUTH_TOKEN: one, TASKGATE_ADMIN_TOKEN: two });
    const caller = grpcClient.connect(url, { authorization: `Bearer ${one}` });
    const other = grpcClient.connect(url, { authorization: `Bearer ${two}` });
    const attempt = poll();
    await caller.call(rpc.startTask, attempt);
    await caller.call(rpc.heartbeatTask, attempt);
    const unknown = { code: Code.NotFound, reason: "TASK_UNKNOWN" };
    expect(await other.fail(rpc.heartbeatTask, attempt)).toMatchObject(unknown);
    expect(await other.fail(rpc.reportTaskProgress, { ...attempt, current: 1n })).toMatchObject(unknown);
    const invented = { ...attempt, sessionId: "x".repeat(32) };
    expect(await caller.call(rpc.heartbeatTask, invented)).toMatchObject({ directive: Directive.RECONNECT });
    expect(await caller.fail(rpc.startTask, { ...poll(), sessionId: "x".repeat(32) })).toMatchObject({
      code: Code.NotFound,
      reason: "SESSION_UNKNOWN",
    });
  });

  test("survives a restart of the gateway, with its full time", async () => {
    const { caller, poll, task, restart } = await useAidbox();
    const attempt = poll();
    await caller.call(rpc.startTask, attempt);
    const { sessionId } = await caller.call(rpc.heartbeatTask, attempt);
    const again = await restart();
    await sleep(500);
    expect(await again.call(rpc.heartbeatTask, { ...attempt, sessionId })).toMatchObject({
      directive: Directive.CONTINUE,
      sessionId,
    });
    expect(task(attempt.id)?.status).toBe("in-progress");
    await expect.poll(() => task(attempt.id)?.outcome, { timeout: 3000 }).toBe("failed");
  });
});

describe("what Aidbox hears of unary heartbeats", () => {
  test("is no more than it needs, and every message", async () => {
    const { caller, poll, told } = await useAidbox({
      TASKGATE_LEASE_DURATION: "9s",
      TASKGATE_HEARTBEAT_INTERVAL: "3s",
    });
    const attempt = poll();
    await caller.call(rpc.startTask, attempt);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => caller.call(rpc.heartbeatTask, attempt)),
    );
    expect(new Set(answers.map(({ directive }) => directive))).toEqual(new Set([Directive.CONTINUE]));
    expect(told()).toBe(1);
    await caller.call(rpc.heartbeatTask, { ...attempt, message: "one" });
    await caller.call(rpc.heartbeatTask, { ...attempt, message: "two" });
    expect(told()).toBe(3);
  });

  test("never hides that a task was cancelled through the gateway", async () => {
    const { caller, poll } = await useAidbox({
      TASKGATE_LEASE_DURATION: "60s",
      TASKGATE_HEARTBEAT_INTERVAL: "20s",
    });
    const attempt = poll();
    await caller.call(rpc.startTask, attempt);
    await caller.call(rpc.heartbeatTask, attempt);
    await caller.call(rpc.cancelTask, { id: attempt.id });
    expect(await caller.call(rpc.heartbeatTask, attempt)).toMatchObject({
      directive: Directive.CANCEL,
      cause: ErrorReason.TASK_CANCELLED,
    });
  });
});
