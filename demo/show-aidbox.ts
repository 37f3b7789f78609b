import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { ExecutorService, type Task } from "../gen/taskgate/v1/executor_pb.ts";
import { ask, type Story } from "./story.ts";

interface Activity {
  id: string;
  status: string;
  outcome?: string;
  retryCount?: number;
  result?: unknown;
  outcomeReason?: { type: string };
}

interface LogEntry {
  action: string;
  "action-params": Record<string, unknown>;
}

type Executor = Client<typeof ExecutorService>;

/** Tasks of Aidbox are polled, worked on, failed and retried, and a workflow is decided. */
export async function showAidbox(transport: Transport, aidbox: string, story: Story): Promise<void> {
  const executor = createClient(ExecutorService, transport);
  await showSuccess(executor, aidbox, story);
  await showFailure(executor, aidbox, story);
  await showWorkflow(executor, aidbox, story);
}

async function showSuccess(executor: Executor, aidbox: string, story: Story): Promise<void> {
  story.title("Aidbox: a task is polled, started, beaten for and finished");
  const { task } = await executor.createTask({
    definition: "demo/import",
    input: { case: "paramsJson", value: '{"day":"2021-10-25","rows":12345678901234567890}' },
  });
  const polled = await story.step("long-poll for work", () => poll(executor, "demo/import"));
  await story.step("start", () => executor.startTask(polled));
  await story.step("heartbeat", () => executor.heartbeatTask({ ...polled, message: "still importing" }));
  await story.step("progress, 600 of 1200 rows", () =>
    executor.reportTaskProgress({ ...polled, current: 600n, total: 1200n, unit: "rows" }),
  );
  await story.step("success, with a result", () =>
    executor.succeedTask({ ...polled, outcome: { case: "resultJson", value: '{"imported":1200}' } }),
  );

  story.check("the worker got the parameters to the digit", polled.paramsText, [
    '"day":"2021-10-25"',
    '"rows":12345678901234567890',
  ]);
  const { resource: done, log } = await activity(aidbox, "tasks", task?.id);
  story.check(
    "Aidbox heard of it on the way",
    log.filter(({ action }) => action === "awf.task/notify").map((entry) => entry["action-params"]),
    [
      { notification: "awf.task/heartbeat", message: "still importing" },
      {
        notification: "awf.task/progress",
        "progress-current": 600,
        "progress-total": 1200,
        "progress-unit": "rows",
      },
    ],
  );
  story.check(
    "Aidbox shows the task as done, succeeded, with the result",
    [done.status, done.outcome, done.result],
    ["done", "succeeded", { imported: 1200 }],
  );
}

async function showFailure(executor: Executor, aidbox: string, story: Story): Promise<void> {
  story.title("Aidbox: a task fails, comes back, and fails for good");
  await ask(`${aidbox}/_sandbox/definitions/demo/flaky`, "PUT", {
    allowedRetryCount: 2,
    retryDelay: 100,
  });
  const { task } = await executor.createTask({ definition: "demo/flaky" });
  const attempts: string[] = [];
  for (const name of ["first", "second"]) {
    const polled = await story.step(`long-poll, the ${name} attempt`, () => poll(executor, "demo/flaky"));
    attempts.push(polled.execId);
    await executor.startTask(polled);
    await story.step("fail", () =>
      executor.failTask({ ...polled, reason: { case: "errorJson", value: '{"message":"no disk"}' } }),
    );
  }
  story.check("both attempts had an exec id of their own", new Set(attempts).size, 2);
  const { resource: done } = await activity(aidbox, "tasks", task?.id);
  story.check(
    "Aidbox shows the task as done, failed by its executor, after two attempts",
    [done.status, done.outcome, done.outcomeReason?.type, done.retryCount],
    ["done", "failed", "awf.task/failed-by-executor", 2],
  );
}

async function showWorkflow(executor: Executor, aidbox: string, story: Story): Promise<void> {
  story.title("Aidbox: a workflow is decided");
  const { workflow } = await executor.createWorkflow({ definition: "demo/order" });
  const events: (string | undefined)[] = [];

  const begin = await story.step("its first decision", () => decide(executor));
  events.push(begin.decision?.event);
  await executor.startTask(begin);
  await story.step("decided: schedule the task demo/ship", () =>
    executor.succeedTask({
      ...begin,
      outcome: {
        case: "actions",
        value: {
          actions: [
            {
              action: {
                case: "scheduleTask",
                value: { definition: "demo/ship", input: { case: "paramsJson", value: '{"box":1}' } },
              },
            },
          ],
        },
      },
    }),
  );
  const ship = await story.step("the task is polled", () => poll(executor, "demo/ship"));
  await executor.startTask(ship);
  await story.step("and done", () => executor.succeedTask(ship));

  const after = await story.step("the next decision", () => decide(executor));
  events.push(after.decision?.event);
  await executor.startTask(after);
  await story.step("decided: the workflow is complete", () =>
    executor.succeedTask({
      ...after,
      outcome: {
        case: "actions",
        value: {
          actions: [
            {
              action: {
                case: "completeWorkflow",
                value: { outcome: { case: "resultJson", value: '"shipped"' } },
              },
            },
          ],
        },
      },
    }),
  );

  story.check("the decisions were about what had happened", events, [
    "awf.workflow.event/workflow-init",
    "awf.workflow.event/task-completed",
  ]);
  const { resource: done } = await activity(aidbox, "workflows", workflow?.id);
  story.check(
    "Aidbox shows the workflow as done, succeeded, shipped",
    [done.status, done.outcome, done.result],
    ["done", "succeeded", "shipped"],
  );
}

async function poll(executor: Executor, definition: string) {
  const { tasks } = await executor.longPollTasks({
    taskDefinitions: [definition],
    timeout: { seconds: 5n },
  });
  return attemptOf(tasks);
}

async function decide(executor: Executor) {
  const { tasks } = await executor.longPollTasks({
    workflowDefinitions: ["demo/order"],
    timeout: { seconds: 5n },
  });
  return attemptOf(tasks);
}

function attemptOf([task]: Task[]) {
  if (task === undefined) {
    throw new Error("Aidbox gave no task within five seconds");
  }
  const { id, execId, decision, resourceJson } = task;
  const params = /"params":\{(.*?)\}/.exec(resourceJson)?.[1] ?? "";
  return { id, execId, decision, paramsText: params.split(",") };
}

async function activity(aidbox: string, kind: "tasks" | "workflows", id = "") {
  return (await ask(`${aidbox}/_sandbox/${kind}/${id}`)) as { resource: Activity; log: LogEntry[] };
}
