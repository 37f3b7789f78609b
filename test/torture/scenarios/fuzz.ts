import { runFuzz } from "../fuzz.ts";
import type { Verdict } from "../judge.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { setStage } from "../stage.ts";

/** A gateway that is sent what is almost right. */
export const fuzz: Scenario = {
  timeoutMs: 900_000,
  run: (context) => runFuzzScenario(context, 80_000, 20_000, false),
  // A gateway that ends meanwhile must be noticed.
  control: (context) => runFuzzScenario(context, 200, 50, true),
};

async function runFuzzScenario(
  context: Context,
  messages: number,
  connections: number,
  isKilled: boolean,
): Promise<Verdict> {
  const stage = await setStage(context);
  const port = Number(stage.address.split(":")[1]);
  const problems: string[] = [];
  const startMs = performance.now();
  const result = await runFuzz({ port, random: context.random, messages, connections, atOnce: 32 });
  if (isKilled) {
    await stage.gateway().kill();
  }
  problems.push(...result.problems);
  if (!stage.gateway().isRunning()) {
    problems.push(`the gateway is gone: ${stage.gateway().log().slice(-1000)}`);
  } else {
    const answer = await stage.client.call("TaskStatusService", "UpdateTask", {
      taskRunId: uuidOf(context.random),
      status: "TASK_RUN_STATUS_RUNNING",
      waitFor: "WAIT_FOR_DELIVERED",
    });
    if (answer.kind === "error") {
      problems.push(`a good call was answered ${answer.code} ${answer.message}`);
    }
  }
  const errors = stage
    .gateway()
    .log()
    .split("\n")
    .filter((line) => line.includes('"level":"error"'));
  problems.push(...errors.slice(0, 5));
  return {
    problems,
    figures: {
      messages,
      connections,
      "inputs/s": ((messages + connections) / ((performance.now() - startMs) / 1000)).toFixed(0),
      "ended with": Object.entries(result.statuses)
        .map(([status, count]) => `${status}: ${count}`)
        .join(" "),
      "RSS MiB": stage.gateway().isRunning() ? stage.gateway().rssMiB().toFixed(0) : "none",
    },
  };
}
