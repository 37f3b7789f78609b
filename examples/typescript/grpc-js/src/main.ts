import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServiceError } from "@grpc/grpc-js";
import type { Receipt__Output } from "../gen/taskgate/v1/Receipt.ts";
import { connectGateway, unary } from "./gateway.ts";
import { readErrorDetails } from "./read-error-details.ts";
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

const { taskStatus, callbacks, executor, close } = connectGateway(TASKGATE_ADDRESS, TASKGATE_TOKEN);

const commands: Record<string, () => Promise<void>> = { report, errors, track, die, callback, work };
const command = commands[process.argv[2] ?? ""];
if (command === undefined) {
  console.error(`usage: node src/main.ts ${Object.keys(commands).join("|")}`);
  process.exit(2);
}
try {
  await command();
} finally {
  close();
}

/** Reports a run by single calls. */
async function report(): Promise<void> {
  const running = await unary(taskStatus, taskStatus.updateTask, {
    taskRunId,
    status: "TASK_RUN_STATUS_RUNNING",
    message: "extract started",
    // With an id of its own a call may be repeated.
    requestId: randomUUID(),
  });
  print(running.receipt);
  const output = await unary(taskStatus, taskStatus.setOutput, {
    taskRunId,
    name: "row_count",
    valueJson: "1200",
    requestId: randomUUID(),
  });
  print(output.receipt);
  // An outcome waits until Orchestra has it.
  const succeeded = await unary(taskStatus, taskStatus.updateTask, {
    taskRunId,
    status: "TASK_RUN_STATUS_SUCCEEDED",
  });
  print(succeeded.receipt);
}

function print(receipt: Receipt__Output | null): void {
  console.log(receipt?.state.replace("DELIVERY_STATE_", ""));
}

/** Reads why a call was refused. */
async function errors(): Promise<void> {
  try {
    await unary(taskStatus, taskStatus.updateTask, {
      taskRunId: "not-a-uuid",
      status: "TASK_RUN_STATUS_RUNNING",
    });
  } catch (error) {
    const { info, badRequest } = readErrorDetails(error as ServiceError);
    switch (info?.reason) {
      case "INVALID_REQUEST":
        console.log(`reason=${info.reason} field=${badRequest?.fieldViolations[0]?.field}`);
        return;
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
  await run.finish("TASK_RUN_STATUS_SUCCEEDED", "3 parts");
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
  await unary(callbacks, callbacks.reportCallbackProgress, { callbackRoute, text: "3 of 10 hosts" });
  const { receipt } = await unary(callbacks, callbacks.completeCallback, {
    callbackRoute,
    result: { jobId: "playbook-7", output: ["10 hosts changed"], returnCode: 0, status: "successful" },
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
