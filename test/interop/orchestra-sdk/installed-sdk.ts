import { randomUUID } from "node:crypto";
import type { Venv } from "../support/python.ts";
import type { Stage } from "../support/stage.ts";
import type { SdkStep } from "./scenarios.ts";

/** One version of the SDK, in a folder of its own. */
export interface InstalledSdk {
  version: string;
  venv: Venv;
  directory: string;
}

/** Calls the SDK, and resolves with what each call came to: `returned True`, `raised TypeError`. */
export async function perform(
  stage: Stage,
  sdk: InstalledSdk,
  { apiKey, webhookUrl }: { apiKey: string; webhookUrl: string },
  runs: readonly { task_run_id: string; steps: readonly SdkStep[] }[],
): Promise<string[]> {
  const script = new URL("perform.py", import.meta.url).pathname;
  const performed = await stage.run(sdk.venv.python, [script], {
    cwd: stage.directory(),
    env: {
      PATH: process.env.PATH,
      PYTHONPATH: sdk.directory,
      ORCHESTRA_API_KEY: apiKey,
      ORCHESTRA_PIPELINE_RUN_ID: randomUUID(),
      ORCHESTRA_WEBHOOK_URL: webhookUrl,
      TZ: "Asia/Tokyo",
    },
    stdin: JSON.stringify(runs),
    timeoutMs: 120_000,
  });
  if (performed.code !== 0) {
    throw new Error(`the run of SDK ${sdk.version} ended with ${performed.code}: ${performed.stderr}`);
  }
  return JSON.parse(performed.stdout) as string[];
}
