import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { type Sandbox, startSandbox } from "../../../src/sandbox/sandbox.ts";
import { findFreePort } from "../../support/free-port.ts";
import type { BuiltClient, Client, Resuming, Setting, StoryCommand } from "./client.ts";
import { startCuttingProxy } from "./cutting-proxy.ts";
import { type Running, type Stage, until } from "./stage.ts";
import { startTaskgate } from "./taskgate.ts";

const heartbeatIntervalMs = 1000;
const leaseMs = 5000;
const commandTimeoutMs = 120_000;
const taskCount = 100;
const definition = "examples/square";
const token = randomUUID();

const scenes: Record<StoryCommand | Resuming, (setting: Setting) => Promise<void>> = {
  report,
  errors,
  track,
  die,
  callback,
  work,
  "track across a break": trackAcrossABreak,
  "work across a break": workAcrossABreak,
  "track across a restart": trackAcrossARestart,
  "work across a restart": workAcrossARestart,
  "work across lost data": workAcrossLostData,
};

/** Runs the whole story with one client, and judges it by what the sandbox got. */
export async function tellStory(stage: Stage, client: Client, built: BuiltClient): Promise<void> {
  const sandbox = await startSandbox();
  stage.onEnd(() => sandbox.close());
  const settings = {
    TASKGATE_LISTEN: `127.0.0.1:${await findFreePort()}`,
    TASKGATE_DATA_DIR: stage.directory(),
    TASKGATE_DRAIN_TIMEOUT: "2s",
    TASKGATE_AUTH_TOKEN: token,
    TASKGATE_HEARTBEAT_INTERVAL: `${heartbeatIntervalMs}ms`,
    TASKGATE_LEASE_DURATION: `${leaseMs}ms`,
    TASKGATE_LOG_LEVEL: "info",
    ORCHESTRA_WEBHOOK_URL: sandbox.orchestra.webhookUrl,
    ORCHESTRA_API_KEY: sandbox.orchestra.apiKey,
    TASKGATE_ORCHESTRATOR_URL: sandbox.orchestrator.url,
    TASKGATE_AIDBOX_URL: sandbox.aidbox.url,
    TASKGATE_AIDBOX_CLIENT_ID: sandbox.aidbox.clientId,
    TASKGATE_AIDBOX_CLIENT_SECRET: sandbox.aidbox.clientSecret,
    ...built.settings,
  };
  let taskgate = await startTaskgate(stage, settings);
  const { address } = taskgate;

  async function stopTaskgate(): Promise<void> {
    stage.check(`${client.name}: taskgate stops`, await taskgate.stop(), 0);
    stage.check(`${client.name}: taskgate logs no error`, /"level":"error"/.test(taskgate.log()), false);
  }

  const setting: Setting = {
    stage,
    name: client.name,
    sandbox,
    address,
    leaseMs,
    async restart(options = { empty: false }) {
      await stopTaskgate();
      if (options.empty) {
        settings.TASKGATE_DATA_DIR = stage.directory();
      }
      taskgate = await startTaskgate(stage, settings);
    },
    start(command, env, by = address) {
      const launch = built.launch(command);
      return stage.start(launch.command, launch.args, {
        ownGroup: true,
        ...(launch.cwd === undefined ? {} : { cwd: launch.cwd }),
        env: {
          PATH: process.env.PATH,
          HOME: process.env.HOME,
          TASKGATE_ADDRESS: by,
          TASKGATE_TOKEN: token,
          ...launch.env,
          ...env,
        },
      });
    },
  };
  for (const [name, perform] of Object.entries(scenes)) {
    const missing = client.lacks?.[name as keyof typeof scenes];
    if (missing === undefined) {
      await perform(setting);
    } else {
      stage.skip(`${client.name} ${name}`, missing);
    }
  }
  await built.more?.(setting);
  const outcomes = sandbox.orchestra.taskRuns
    .list()
    .map(({ events }) => events.filter(({ event }) => isOutcome(event)).length);
  stage.check(
    `${client.name}: every run has one outcome`,
    outcomes,
    outcomes.map(() => 1),
  );
  await stopTaskgate();
}

async function report(setting: Setting): Promise<void> {
  const runId = randomUUID();
  const output = await finish(setting, "report", { ORCHESTRA_TASK_RUN_ID: runId });
  checkEvents(setting, "report", runId, ["RUNNING with a message", "output", "SUCCEEDED"]);
  setting.stage.check(
    `${setting.name} report: prints each receipt's state`,
    output.match(stateWord)?.length,
    3,
  );
}

async function errors(setting: Setting): Promise<void> {
  const { stage, name, sandbox } = setting;
  const before = sandbox.orchestra.requests.length;
  const output = await finish(setting, "errors", {});
  const line = output.match(/^reason=.*$/m)?.[0];
  stage.check(`${name} errors: reads the details`, line, "reason=INVALID_REQUEST field=task_run_id");
  stage.check(`${name} errors: nothing was sent`, sandbox.orchestra.requests.length, before);
}

// Some languages name a value with its prefix, some without.
const stateWord = /\b(DELIVERY_STATE_)?(STORED|DELIVERED)\b/g;

const trackedEvents = [
  "RUNNING",
  "RUNNING with a message",
  "RUNNING with a message",
  "RUNNING with a message",
  "SUCCEEDED",
];

async function track(setting: Setting): Promise<void> {
  const runId = randomUUID();
  const output = await finish(setting, "track", { ORCHESTRA_TASK_RUN_ID: runId });
  checkEvents(setting, "track", runId, trackedEvents);
  setting.stage.check(`${setting.name} track: prints finished`, /^finished$/m.test(output), true);
}

async function trackAcrossABreak(setting: Setting): Promise<void> {
  const { stage, name, sandbox, address } = setting;
  const runId = randomUUID();
  const proxy = await startCuttingProxy(stage, address);
  const running = setting.start("track", { ORCHESTRA_TASK_RUN_ID: runId }, proxy.address);
  await until(`${name} track: the first update`, () =>
    messagesOf(sandbox, runId) > 0 ? true : gone(running, "track"),
  );
  proxy.cut();
  await ended(setting, "track across a break", running);
  checkEvents(setting, "track across a break", runId, trackedEvents);
  stage.check(`${name} track across a break: came again`, proxy.connections() > 1, true);
}

async function trackAcrossARestart(setting: Setting): Promise<void> {
  const { name, sandbox, restart } = setting;
  const runId = randomUUID();
  const running = setting.start("track", { ORCHESTRA_TASK_RUN_ID: runId });
  await until(`${name} track: the first update`, () =>
    messagesOf(sandbox, runId) > 0 ? true : gone(running, "track"),
  );
  await restart();
  await ended(setting, "track across a restart", running);
  checkEvents(setting, "track across a restart", runId, trackedEvents);
}

async function die(setting: Setting): Promise<void> {
  const { stage, name, sandbox } = setting;
  const runId = randomUUID();
  const running = setting.start("die", { ORCHESTRA_TASK_RUN_ID: runId });
  await until(`${name} die: tracking`, () =>
    /^tracking$/m.test(running.output()) ? true : gone(running, "die"),
  );
  // Longer than a lease without beats could last.
  await sleep(1.5 * leaseMs);
  stage.check(`${name} die: it lives by its beats`, sandbox.orchestra.taskRuns.get(runId)?.status, "RUNNING");
  stage.check(`${name} die: it is killed`, await running.stop("SIGKILL"), "SIGKILL");
  const killedMs = performance.now();
  await until(`${name} die: FAILED`, () =>
    sandbox.orchestra.taskRuns.get(runId)?.status === "FAILED" ? true : undefined,
  );
  const isInTime = performance.now() - killedMs < leaseMs + 2000;
  stage.check(`${name} die: FAILED within a lease and two seconds`, isInTime, true);
}

async function callback(setting: Setting): Promise<void> {
  const { stage, name, sandbox } = setting;
  const { process_id: id, callback_route: route } = sandbox.orchestrator.processes.start();
  const output = await finish(setting, "callback", { CALLBACK_ROUTE: route });
  stage.check(
    `${name} callback: prints the receipt's state`,
    output.match(stateWord)?.map((word) => word.replace("DELIVERY_STATE_", "")),
    ["DELIVERED"],
  );
  const view = await until(`${name} callback: the process goes on`, () => {
    const { processes } = sandbox.orchestrator;
    const now = processes.get(id);
    return now?.status === "completed" || now?.status === "failed" ? now : undefined;
  });
  stage.check(
    `${name} callback: progress, then the result, once`,
    {
      status: view.status,
      hasProgress: view.accepted_progress > 0,
      results: view.accepted_callbacks,
      validations: view.validations,
    },
    { status: "completed", hasProgress: true, results: 1, validations: 1 },
  );
}

async function work(setting: Setting): Promise<void> {
  const ids = createTasks(setting, 0, taskCount);
  const output = await finish(setting, "work", workVariables);
  checkWork(setting, "work", ids, output);
}

async function workAcrossABreak(setting: Setting): Promise<void> {
  const { stage, name, address } = setting;
  // The other half comes behind the break, however fast the client is.
  const ids = createTasks(setting, 0, taskCount / 2);
  const proxy = await startCuttingProxy(stage, address);
  const running = setting.start("work", workVariables, proxy.address);
  await until(`${name} work: a third is done`, () =>
    countDone(setting, ids) > taskCount / 3 ? true : gone(running, "work"),
  );
  proxy.cut();
  ids.push(...createTasks(setting, taskCount / 2, taskCount));
  const output = await ended(setting, "work across a break", running);
  checkWork(setting, "work across a break", ids, output);
  stage.check(`${name} work across a break: came again`, proxy.connections() > 1, true);
}

async function workAcrossARestart(setting: Setting): Promise<void> {
  const { name, restart } = setting;
  const ids = createTasks(setting, 0, taskCount / 2);
  const running = setting.start("work", workVariables);
  await until(`${name} work: a third is done`, () =>
    countDone(setting, ids) > taskCount / 3 ? true : gone(running, "work"),
  );
  await restart();
  ids.push(...createTasks(setting, taskCount / 2, taskCount));
  const output = await ended(setting, "work across a restart", running);
  checkWork(setting, "work across a restart", ids, output);
}

async function workAcrossLostData(setting: Setting): Promise<void> {
  const { name, restart } = setting;
  const ids = createTasks(setting, 0, taskCount / 2);
  const running = setting.start("work", workVariables);
  // What is at work when the data is lost, nobody would ever finish.
  await until(`${name} work: a half is done`, () =>
    countDone(setting, ids) === taskCount / 2 ? true : gone(running, "work"),
  );
  await restart({ empty: true });
  ids.push(...createTasks(setting, taskCount / 2, taskCount));
  const output = await ended(setting, "work across lost data", running);
  checkWork(setting, "work across lost data", ids, output);
}

/** For the clients whose worker drains when it is told to stop: SIGTERM ends `work` when what has begun is done. */
export async function workUntilStopped(setting: Setting): Promise<void> {
  const { stage, name } = setting;
  const count = 10;
  const ids = createTasks(setting, 0, count);
  const running = setting.start("work", workVariables);
  await until(`${name} work until stopped: all is done`, () =>
    countDone(setting, ids) === count ? true : gone(running, "work"),
  );
  stage.check(`${name} work until stopped: exits with 0`, await running.stop("SIGTERM"), 0);
  const isTold = running.output().split("\n").includes(`done ${count}`);
  stage.check(`${name} work until stopped: prints done ${count}`, isTold, true);
}

function countDone({ sandbox }: Setting, ids: readonly string[]): number {
  return ids.filter((id) => sandbox.aidbox.tasks.get(id)?.resource.status === "done").length;
}

const workVariables = { AIDBOX_TASKS: String(taskCount), AIDBOX_DEFINITION: definition };

function createTasks({ sandbox }: Setting, from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, at) => {
    const id = randomUUID();
    const number = from + at;
    const reply = sandbox.aidbox.tasks.create({ id, definition, params: { number } });
    if (reply.error !== undefined) {
      throw new Error(`the sandbox made no task: ${JSON.stringify(reply.error)}`);
    }
    return id;
  });
}

function checkWork({ stage, name, sandbox }: Setting, scene: string, ids: string[], output: string): void {
  const wrong = ids.flatMap((id, number) => {
    const { resource, executions = {} } = sandbox.aidbox.tasks.get(id) ?? {};
    const successes = Object.values(executions).map(({ success }) => success?.accepted ?? 0);
    const seen = {
      outcome: resource?.outcome,
      result: resource?.result,
      successes: successes.reduce((sum, count) => sum + count, 0),
    };
    const wanted = { outcome: "succeeded", result: { square: number * number }, successes: 1 };
    return isDeepStrictEqual(seen, wanted) ? [] : [{ number, ...seen }];
  });
  stage.check(
    `${name} ${scene}: every task has its result, once`,
    { count: wrong.length, first: wrong.slice(0, 3) },
    { count: 0, first: [] },
  );
  const line = output.match(/^done.*$/m)?.[0];
  stage.check(`${name} ${scene}: counts them`, line, `done ${taskCount}`);
  if (line !== `done ${taskCount}`) {
    stage.say(indent(output));
  }
}

async function finish(setting: Setting, command: StoryCommand, env: Record<string, string>): Promise<string> {
  return ended(setting, command, setting.start(command, env));
}

/** What a command has printed, once it has ended. */
async function ended({ stage, name }: Setting, scene: string, running: Running): Promise<string> {
  const timer = setTimeout(() => void running.stop("SIGKILL"), commandTimeoutMs);
  const code = await running.ended;
  clearTimeout(timer);
  stage.check(`${name} ${scene}: exits with 0`, code, 0);
  if (code !== 0) {
    stage.say(indent(running.output()));
  }
  return running.output();
}

function indent(text: string): string {
  return text.replace(/^/gm, "        ");
}

function gone(running: Running, command: StoryCommand): undefined {
  if (!running.isRunning()) {
    throw new Error(`${command} has ended: ${running.output()}`);
  }
  return undefined;
}

type Event = ReturnType<Sandbox["orchestra"]["taskRuns"]["list"]>[number]["events"][number]["event"];

function isOutcome(event: Event): boolean {
  return event.type === "UPDATE_STATUS" && event.status !== undefined && event.status !== "RUNNING";
}

function messagesOf(sandbox: Sandbox, runId: string): number {
  const events = sandbox.orchestra.taskRuns.get(runId)?.events.slice(1) ?? [];
  return events.filter(({ event }) => event.type === "UPDATE_STATUS" && event.message !== undefined).length;
}

function checkEvents(
  { stage, name, sandbox }: Setting,
  scene: string,
  runId: string,
  expected: readonly string[],
): void {
  const events = sandbox.orchestra.taskRuns.get(runId)?.events ?? [];
  const shown = events.map(({ event, refused, afterOutcome }, at) => {
    const suffix = refused === undefined && !afterOutcome ? "" : ` ${refused ?? "behind the outcome"}`;
    return `${showEvent(event, expected[at])}${suffix}`;
  });
  stage.check(`${name} ${scene}: what Orchestra got`, shown, expected);
}

// Whether a message comes with a status matters only where one is expected.
function showEvent(event: Event, expected = ""): string {
  if (event.type !== "UPDATE_STATUS") {
    return event.type === "SET_OUTPUT" ? "output" : "log";
  }
  const hasMessage = event.message !== undefined && expected.endsWith("message");
  return `${event.status}${hasMessage ? " with a message" : ""}`;
}
