import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { type Client, ConnectError, createClient } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.ts";
import { CallbackService } from "../gen/taskgate/v1/callback_pb.ts";
import { ExecutorService, type Task } from "../gen/taskgate/v1/executor_pb.ts";
import { GatewayService } from "../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState, DeliveryStateSchema } from "../gen/taskgate/v1/receipt_pb.ts";
import { OnLost } from "../gen/taskgate/v1/session_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../gen/taskgate/v1/task_status_pb.ts";
import { connectGateway, isUnreachable } from "./gateway.ts";
import { keepLease } from "./keep-lease.ts";
import type { Job, Told } from "./messages.ts";

const commands: Record<string, (job: Job) => Promise<void>> = {
  report,
  errors,
  track,
  die,
  callback,
  work,
  watch,
};

addEventListener("message", async ({ data: job }: MessageEvent<Job>) => {
  try {
    await commands[job.command]?.(job);
    tell({ exitCode: 0 });
  } catch (error) {
    const { message, metadata } = ConnectError.from(error);
    print(`${metadata.get("taskgate-reason") ?? "no answer"}: ${message}`);
    tell({ exitCode: 1 });
  }
});

function tell(told: Told): void {
  postMessage(told);
}

function print(line: string | undefined): void {
  tell({ line: line ?? "" });
}

function nameOf(state: DeliveryState | undefined): string | undefined {
  return state === undefined ? undefined : DeliveryStateSchema.value[state]?.localName;
}

function clientOf(job: Job): Client<typeof TaskStatusService> {
  return createClient(TaskStatusService, connectGateway(job.gateway, job.token));
}

const newId = (): string => crypto.randomUUID();

/** Reports a run by single calls. */
async function report(job: Job): Promise<void> {
  const taskStatus = clientOf(job);
  const { taskRunId } = job;
  const running = await taskStatus.updateTask({
    taskRunId,
    status: TaskRunStatus.RUNNING,
    message: "extract started",
    // With an id of its own a call may be repeated.
    requestId: newId(),
  });
  print(nameOf(running.receipt?.state));
  const output = await taskStatus.setOutput({
    taskRunId,
    name: "row_count",
    output: { case: "valueJson", value: "1200" },
    requestId: newId(),
  });
  print(nameOf(output.receipt?.state));
  // An outcome waits until Orchestra has it.
  const succeeded = await taskStatus.updateTask({
    taskRunId,
    status: TaskRunStatus.SUCCEEDED,
    requestId: newId(),
  });
  print(nameOf(succeeded.receipt?.state));
}

/** Reads why a call was refused. */
async function errors(job: Job): Promise<void> {
  try {
    await clientOf(job).updateTask({ taskRunId: "not-a-uuid", status: TaskRunStatus.RUNNING });
  } catch (error) {
    const refused = ConnectError.from(error);
    const [info] = refused.findDetails(ErrorInfoSchema);
    switch (info?.reason) {
      case "INVALID_REQUEST": {
        const [request] = refused.findDetails(BadRequestSchema);
        print(`reason=${info.reason} field=${request?.fieldViolations[0]?.field}`);
        return;
      }
      default:
        throw error;
    }
  }
  throw new Error("the call was not refused");
}

async function openRun(job: Job) {
  const taskStatus = clientOf(job);
  const { taskRunId } = job;
  const lease = await keepLease((sessionId) =>
    taskStatus.heartbeatRun({ taskRunId, sessionId, onLost: OnLost.FAIL }, { timeoutMs: 5_000 }),
  );
  const update = (status: TaskRunStatus, message: string) =>
    taskStatus.updateTask({
      taskRunId,
      status,
      message,
      sessionId: lease.sessionId,
      requestId: newId(),
    });
  await update(TaskRunStatus.RUNNING, "opened in a browser");
  return { lease, update };
}

/** Tracks a run: should the page be closed, the gateway reports it as failed. */
async function track(job: Job): Promise<void> {
  const { lease, update } = await openRun(job);
  for (const part of [1, 2, 3]) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    lease.signal.throwIfAborted();
    await update(TaskRunStatus.UNSPECIFIED, `${part} of 3 parts`);
  }
  await update(TaskRunStatus.SUCCEEDED, "3 parts");
  lease.stop();
  print("finished");
}

/** Tracks a run that does not end. */
async function die(job: Job): Promise<void> {
  const { lease } = await openRun(job);
  print("tracking");
  await new Promise((resolve) => lease.signal.addEventListener("abort", resolve));
}

/** Gives a process of the Workflow Orchestrator the result that it waits for. */
async function callback(job: Job): Promise<void> {
  const callbacks = createClient(CallbackService, connectGateway(job.gateway, job.token));
  const target = { case: "callbackRoute", value: job.callbackRoute } as const;
  await callbacks.reportCallbackProgress({ target, progress: { case: "text", value: "3 of 10 hosts" } });
  const { receipt } = await callbacks.completeCallback({
    target,
    payload: {
      case: "result",
      value: { jobId: "playbook-7", output: ["10 hosts changed"], returnCode: 0, status: "successful" },
    },
    requestId: newId(),
  });
  print(nameOf(receipt?.state));
}

/** Performs tasks of Aidbox until there were so many. */
async function work(job: Job): Promise<void> {
  const executor = createClient(ExecutorService, connectGateway(job.gateway, job.token));
  let done = 0;
  while (done < job.taskCount) {
    const performed = await Promise.allSettled(
      (await poll(executor, job.definition, Math.min(4, job.taskCount - done))).map((task) =>
        perform(executor, task, square),
      ),
    );
    for (const each of performed) {
      if (each.status === "fulfilled") {
        done += 1;
      } else {
        // Aidbox hands a task out again of which it hears nothing.
        print(String(each.reason));
      }
    }
  }
  print(`done ${done}`);
}

/** Waits for tasks; while the gateway is away there are none. */
async function poll(
  executor: Client<typeof ExecutorService>,
  definition: string,
  maxBatchSize: number,
): Promise<Task[]> {
  try {
    const timeout = { seconds: 20n };
    const { tasks } = await executor.longPollTasks({ taskDefinitions: [definition], maxBatchSize, timeout });
    return tasks;
  } catch (error) {
    if (!isUnreachable(error)) {
      throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    return [];
  }
}

async function perform(
  executor: Client<typeof ExecutorService>,
  { id, execId, params }: Task,
  handle: (params: JsonValue, signal: AbortSignal) => JsonValue | Promise<JsonValue>,
): Promise<void> {
  await executor.startTask({ id, execId });
  const lease = await keepLease((sessionId) =>
    executor.heartbeatTask({ id, execId, sessionId }, { timeoutMs: 5_000 }),
  );
  const attempt = { id, execId, sessionId: lease.sessionId, requestId: newId() };
  try {
    const result = await handle(params === undefined ? null : toJson(ValueSchema, params), lease.signal);
    const value = JSON.stringify(result);
    await executor.succeedTask({ ...attempt, outcome: { case: "resultJson", value } });
  } catch (error) {
    if (error instanceof ConnectError) {
      throw error;
    }
    const value = JSON.stringify({ message: String(error) });
    await executor.failTask({ ...attempt, reason: { case: "errorJson", value } });
  } finally {
    lease.stop();
  }
}

function square(params: JsonValue): JsonValue {
  const { number } = params as { number: number };
  return { square: number * number };
}

/** Watches, as an operator, what becomes of the reports of a run. */
async function watch(job: Job): Promise<void> {
  const gateway = createClient(GatewayService, connectGateway(job.gateway, job.token));
  const changes = gateway.watchDeliveries({ taskId: job.taskRunId }, { timeoutMs: 0 });
  for await (const { delivery } of changes) {
    if (delivery?.receipt === undefined) {
      // The first frame: from now on nothing is missed.
      print("watching");
      continue;
    }
    const { operation, endsTask, receipt } = delivery;
    print(`${operation} ${nameOf(receipt.state)} ${receipt.deliveryId}`);
    if (endsTask && receipt.state === DeliveryState.DELIVERED) {
      return;
    }
  }
}
