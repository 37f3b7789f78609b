import type { SettingTable } from "./setting.ts";
import { settings } from "./settings.ts";

/** What `taskgate run` knows beside the gateway's settings, in the order in which it is documented. */
export const runOptions = {
  gateway: {
    kind: "text",
    doc: "the gateway: http://HOST:PORT, https://HOST or unix:PATH; default what TASKGATE_LISTEN says",
  },
  taskRunId: {
    kind: "text",
    doc: "Orchestra's task run; default the one that the gateway was given",
    env: "ORCHESTRA_TASK_RUN_ID",
  },
  attempt: {
    kind: "text",
    doc: "which attempt of that run this is",
    env: "ORCHESTRA_TASK_ATTEMPT_NUMBER",
  },
  callbackRoute: {
    kind: "text",
    doc: "completes this callback of a Workflow Orchestrator instead of a task run",
  },
  callbackUrl: { kind: "text", doc: "the same, with the Orchestrator's base URL in front" },
  jobId: { kind: "text", doc: "the job's id in the callback's result" },
  onLost: {
    kind: "text",
    doc: "what the gateway says when the beats stop: fail or ignore",
    default: "fail",
  },
  onCancel: {
    kind: "text",
    doc: "what is done when the gateway says to stop: terminate or ignore",
    default: "terminate",
  },
  messages: {
    kind: "duration",
    doc: "sends the last line of the output as a message, at most one in this time",
  },
  log: { kind: "text", doc: "sends the output as a log of this name, or in the callback's result" },
  waitFor: { kind: "text", doc: "what the end waits for: stored or delivered", default: "stored" },
  reportTimeout: {
    kind: "duration",
    doc: "how long reporting may go on after the command's end",
    default: "60s",
  },
} as const satisfies SettingTable;

/** All settings that `taskgate run` reads. */
export const runSettings = {
  ...runOptions,
  listen: settings.listen,
  tlsCert: settings.tlsCert,
  authToken: settings.authToken,
  adminToken: settings.adminToken,
} as const satisfies SettingTable;

export type RunSettingName = keyof typeof runSettings;
