import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError, createClient } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.ts";
import { CallbackService } from "../gen/taskgate/v1/callback_pb.ts";
import { ExecutorService } from "../gen/taskgate/v1/executor_pb.ts";
import { DeliveryStateSchema, type Receipt } from "../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../gen/taskgate/v1/task_status_pb.ts";
import { connectGateway } from "./gateway.ts";
import { startWorker } from "./start-worker.ts";
import { trackRun } from "./track-run.ts";

const {
  TASKGATE_ADDRESS = "127.0.0.1:7450",
  TASKGATE_TOKEN = "",
  ORCHESTRA_TASK_RUN_ID: taskRunId = "",
  CALLBACK_ROUTE: callbackRoute = "",
  AIDBOX_DEFINITION: definition = "",
  AIDBOX_TASKS = "100",
} = process.env;

const transport = connectGateway(TASKGATE_ADDRESS, TASKGATE_TOKEN);
const taskStatus = createClient(TaskStatusService, transport);
const callbacks = createClient(CallbackService, transport);
const executor = createClient(ExecutorService, transport);

const commands: Record<string, () => Promise<void>> = { report, errors, track, die, callback, work };
const command = commands[process.argv[2] ?? ""];
if (command === undefined) {
  console.error(`usage: node src/main.ts ${Object.keys(commands).join("|")}`);
  process.exit(2);
}
await command();

/** Reports a run by single calls. */
async function report(): Promise<void> {
  const running = await taskStatus.updateTask({
    taskRunId,
    status: TaskRunStatus.RUNNING,
    message: "extract started",
    // With an id of its own a call may be repeated.
    requestId: randomUUID(),
  });
  print(running.receipt);
  const output = await taskStatus.setOutput({
    taskRunId,
    name: "row_count",
    output: { case: "valueJson", value: "1200" },
    requestId: randomUUID(),
  });
  print(output.receipt);
  // An outcome waits until Orchestra has it.
  const succeeded = await taskStatus.updateTask({ taskRunId, status: TaskRunStatus.SUCCEEDED });
  print(succeeded.receipt);
}

function print(receipt: Receipt | undefined): void {
  console.log(receipt && DeliveryStateSchema.value[receipt.state]?.localName);
}

/** Reads why a call was refused. */
async function errors(): Promise<void> {
  try {
    await taskStatus.updateTask({ taskRunId: "not-a-uuid", status: TaskRunStatus.RUNNING });
  } catch (error) {
    const refused = ConnectError.from(error);
    const [info] = refused.findDetails(ErrorInfoSchema);
    switch (info?.reason) {
      case "INVALID_REQUEST": {
        const [request] = refused.findDetails(BadRequestSchema);
        console.log(`reason=${info.reason} field=${request?.fieldViolations[0]?.field}`);
        return;
      }
      default:
        throw error;
    }
  }
  throw new Error("the call was not refused");
}

/** Tracks a run: should this process die, the gateway reports it as failed. */
async function track(): Promise<void> {
  const run = await trackRun(taskStatus, taskRunId);
  for (const part of [1, 2, 3]) {
    await sleep(300, undefined, { signal: run.signal });
    await run.update(`${part} of 3 parts`);
  }
  await run.finish(TaskRunStatus.SUCCEEDED, "3 parts");
  console.log("finished");
}

/** Tracks a run that does not end. */
async function die(): Promise<void> {
  const run = await trackRun(taskStatus, taskRunId);
  console.log("tracking");
  await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
}

/** Gives a process of the Workflow Orchestrator the result that it waits for. */
async function callback(): Promise<void> {
  const target = { case: "callbackRoute", value: callbackRoute } as const;
  await callbacks.reportCallbackProgress({ target, progress: { case: "text", value: "3 of 10 hosts" } });
  const { receipt } = await callbacks.completeCallback({
    target,
    payload: {
      case: "result",
      value: { jobId: "playbook-7", output: ["10 hosts changed"], returnCode: 0, status: "successful" },
    },
  });
  print(receipt);
}

/** Performs tasks of Aidbox until there were so many, or until it is asked to end. */
async function work(): Promise<void> {
  let begun = 0;
  const worker = startWorker(executor, {
    definition,
    maxInFlight: 4,
    perform(params) {
      begun += 1;
      if (begun === Number(AIDBOX_TASKS)) {
        worker.drain();
      }
      const { number } = params as { number: number };
      return { square: number * number };
    },
  });
  process.once("SIGTERM", worker.drain);
  console.log(`done ${await worker.drained}`);
}
