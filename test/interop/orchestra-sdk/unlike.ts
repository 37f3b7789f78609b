import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type RecordingServer,
  type ScriptedAnswer,
  startRecordingServer,
} from "../support/recording-server.ts";
import type { Stage } from "../support/stage.ts";
import { startTaskgate } from "../support/taskgate.ts";
import { type InstalledSdk, perform } from "./installed-sdk.ts";

const apiKey = "orch_interop_key";

interface Story {
  name: string;
  answer: (path: string) => ScriptedAnswer;
  /** What came: method, path, and whether the body was there. */
  sdkRequests: readonly string[];
  sdkResult: string;
  taskgateRequests: readonly string[];
  taskgateSays: string;
}

const stories: readonly Story[] = [
  {
    name: "a 404 is retried by the SDK, and settles it for taskgate",
    answer: () => ({ status: 404, body: '{"success":false,"error":"Invalid task_run_id"}' }),
    sdkRequests: ["POST /hook with the event", "POST /hook with the event", "POST /hook with the event"],
    sdkResult: "returned False",
    taskgateRequests: ["POST /hook with the event"],
    taskgateSays: "UPSTREAM_REJECTED",
  },
  {
    name: "a 302 loses the event with the SDK, which takes it for a success; taskgate refuses it",
    answer: (path) => (path === "/hook" ? { status: 302, headers: { location: "/other" } } : { status: 200 }),
    sdkRequests: ["POST /hook with the event", "GET /other without a body"],
    sdkResult: "returned True",
    taskgateRequests: ["POST /hook with the event"],
    taskgateSays: "UPSTREAM_REJECTED",
  },
];

/** Where taskgate does otherwise than the SDK on purpose, both are shown to. */
export async function showDeliberateDifferences(stage: Stage, sdk: InstalledSdk): Promise<void> {
  for (const story of stories) {
    const [theirs, ours] = [await startHook(stage, story), await startHook(stage, story)];
    const [results, said] = await Promise.all([
      performWithSdk(stage, sdk, theirs),
      performWithTaskgate(stage, ours),
    ]);
    stage.check(`${story.name}: the SDK's result`, results, [story.sdkResult]);
    stage.check(`${story.name}: the SDK's requests`, shown(theirs), story.sdkRequests);
    stage.check(`${story.name}: taskgate's answer`, said, story.taskgateSays);
    stage.check(`${story.name}: taskgate's requests`, shown(ours), story.taskgateRequests);
  }
  await showSilence(stage, sdk);
}

/** Nobody answers: taskgate tries again, the SDK waits on. */
async function showSilence(stage: Stage, sdk: InstalledSdk): Promise<void> {
  const silence = { answer: (): ScriptedAnswer => "silence" };
  const theirs = await startHook(stage, silence);
  let isOver = false;
  const performing = performWithSdk(stage, sdk, theirs).then(() => {
    isOver = true;
  });
  // It ends with the server, at the end of all.
  performing.catch(() => undefined);
  const ours = await startHook(stage, silence);
  const taskgate = await startTaskgate(stage, {
    ORCHESTRA_API_KEY: apiKey,
    ORCHESTRA_WEBHOOK_URL: `${ours.origin}/hook`,
    TASKGATE_ORCHESTRA_TIMEOUT: "1s",
  });
  await taskgate.accept("TaskStatusService", "UpdateTask", update("WAIT_FOR_STORED"));
  const endMs = performance.now() + 30_000;
  while (performance.now() < endMs && (ours.requests.length < 3 || theirs.requests.length < 1)) {
    await sleep(100);
  }
  stage.check(
    "silence: taskgate has given up two requests and sends a third",
    ours.requests.length >= 3,
    true,
  );
  stage.check("silence: the SDK still waits for its first", [theirs.requests.length, isOver], [1, false]);
  await taskgate.stop();
}

async function startHook(
  stage: Stage,
  { answer }: { answer: (path: string) => ScriptedAnswer },
): Promise<RecordingServer> {
  return startRecordingServer(stage, ({ path }) => answer(path));
}

function performWithSdk(stage: Stage, sdk: InstalledSdk, { origin }: RecordingServer): Promise<string[]> {
  return perform(stage, sdk, { apiKey, webhookUrl: `${origin}/hook` }, [
    { task_run_id: randomUUID(), steps: [{ call: "update_task", status: "SUCCEEDED", message: "done" }] },
  ]);
}

async function performWithTaskgate(stage: Stage, { origin }: RecordingServer): Promise<string> {
  const taskgate = await startTaskgate(stage, {
    ORCHESTRA_API_KEY: apiKey,
    ORCHESTRA_WEBHOOK_URL: `${origin}/hook`,
  });
  const answer = await taskgate.call("TaskStatusService", "UpdateTask", update("WAIT_FOR_DELIVERED"));
  await taskgate.stop();
  return answer.kind === "ok" ? String(answer.response.receipt?.state) : answer.reason;
}

function update(waitFor: string): Record<string, unknown> {
  return { taskRunId: randomUUID(), status: "TASK_RUN_STATUS_SUCCEEDED", message: "done", waitFor };
}

function shown({ requests }: RecordingServer): string[] {
  return requests.map(
    ({ method, path, body }) => `${method} ${path} ${body === "" ? "without a body" : "with the event"}`,
  );
}
