import { type Core, type Executor, startCore } from "./orchestrator/core.ts";
import { type CoreHome, makeCoreHome } from "./orchestrator/core-home.ts";
import { raceProgressWithTheResult, raceTwoResults } from "./orchestrator/races.ts";
import { compareSandbox } from "./orchestrator/sandbox-parity.ts";
import type { Setting } from "./orchestrator/setting.ts";
import {
  killTheGateway,
  loseTheAnswer,
  loseTheAnswerBeforeAnotherCallback,
  loseTheRequest,
} from "./orchestrator/stories-of-losses.ts";
import {
  abortTheProcess,
  completeAnUnknownProcess,
  completeASecondTime,
  completeWithTheWrongToken,
} from "./orchestrator/stories-of-refusals.ts";
import {
  completeACallback,
  completeTooEarly,
  failTheValidation,
  lockTheEngine,
} from "./orchestrator/stories-of-results.ts";
import { type JobService, startJobService } from "./support/job-service.ts";
import { startLossyProxy } from "./support/lossy-proxy.ts";
import { startRedis } from "./support/redis.ts";
import { runInterop, Skip, type Stage } from "./support/stage.ts";
import { startTaskgate } from "./support/taskgate.ts";

/** A story may leave something to judge once the others are told. */
type Story = (setting: Setting) => Promise<(() => Promise<void>) | undefined | void>;

const stories: readonly Story[] = [
  // These take a minute to settle.
  completeASecondTime,
  abortTheProcess,
  completeACallback,
  completeTooEarly,
  completeWithTheWrongToken,
  completeAnUnknownProcess,
  failTheValidation,
  loseTheAnswer,
  loseTheRequest,
  loseTheAnswerBeforeAnotherCallback,
  killTheGateway,
  lockTheEngine,
];

async function tellStories(stage: Stage, core: Core, jobs: JobService): Promise<void> {
  const proxy = await startLossyProxy(stage, core.url);
  const taskgate = await startTaskgate(stage, { TASKGATE_ORCHESTRATOR_URL: proxy.url });
  const setting = { stage, core, jobs, proxy, taskgate };
  const judgements: (() => Promise<void>)[] = [];
  for (const story of stories) {
    stage.say(`        ${story.name}`);
    const judge = await story(setting);
    if (judge !== undefined) {
      judgements.push(judge);
    }
  }
  await raceTwoResults(setting);
  await raceProgressWithTheResult(setting);
  for (const judge of judgements) {
    await judge();
  }
  stage.check("no two requests of a callback overlapped", proxy.overlaps, []);
  stage.check("taskgate stops", await taskgate.stop(), 0);
  stage.check("taskgate logs no error", /"level":"error"/.test(taskgate.log()), false);
}

async function workersOf(stage: Stage): Promise<Executor | undefined> {
  try {
    return { kind: "celery", redis: await startRedis(stage), workers: 2 };
  } catch (error) {
    if (!(error instanceof Skip)) {
      throw error;
    }
    stage.skip("worker mode", error.message);
    return undefined;
  }
}

/**
 * taskgate completes callbacks of workflows that a real orchestrator-core runs, in
 * threads and in workers; and the sandbox is compared with it. Options:
 * `--executor=threadpool` or `--executor=celery`: only there; `--sandbox-only`.
 */
await runInterop("orchestrator", useBoth);

async function useBoth(stage: Stage): Promise<void> {
  const only = process.argv.find((arg) => arg.startsWith("--executor="))?.slice("--executor=".length);
  const jobs = await startJobService(stage);
  const home = await makeCoreHome(stage, jobs.url);
  stage.say(`        ${home.versions}`);
  if (only !== "celery") {
    await useExecutor(stage, home, jobs, { kind: "threadpool" });
  }
  const workers = only === "threadpool" ? undefined : await workersOf(stage);
  if (workers !== undefined) {
    await useExecutor(stage, home, jobs, workers);
  }
}

async function useExecutor(
  stage: Stage,
  home: CoreHome,
  jobs: JobService,
  executor: Executor,
): Promise<void> {
  const redis = executor.kind === "celery" ? `, Redis ${executor.redis.version}` : "";
  stage.say(`        EXECUTOR=${executor.kind}${redis}`);
  const core = await startCore(stage, home, executor);
  try {
    if (!process.argv.includes("--sandbox-only")) {
      await tellStories(stage, core, jobs);
    }
    if (executor.kind === "threadpool") {
      await compareSandbox(stage, core, jobs);
    }
  } catch (error) {
    stage.say(core.log());
    throw error;
  }
  await core.stop();
}
