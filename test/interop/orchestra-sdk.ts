import { readFileSync, writeFileSync } from "node:fs";
import { compareVersion, type Target, type VersionRecord } from "./orchestra-sdk/compare-version.ts";
import type { InstalledSdk } from "./orchestra-sdk/installed-sdk.ts";
import { showDeliberateDifferences } from "./orchestra-sdk/unlike.ts";
import { generations, incomparable } from "./orchestra-sdk/versions.ts";
import { lastLine } from "./support/last-line.ts";
import { installPackage, makeVenv, publishedVersions, type Venv } from "./support/python.ts";
import { startRecordingServer } from "./support/recording-server.ts";
import { runInterop, type Stage } from "./support/stage.ts";
import { startTaskgate } from "./support/taskgate.ts";

const sdkName = "orchestra-sdk";
const apiKey = "orch_interop_key";
// The URL is taken as it is, whatever is in it.
const webhookPaths = ["/hooks/orchestra?region=eu", "", "/a%20b/"];

async function startTarget(stage: Stage, webhookPath: string): Promise<Target> {
  const server = await startRecordingServer(stage);
  const taskgate = await startTaskgate(stage, {
    ORCHESTRA_API_KEY: apiKey,
    ORCHESTRA_WEBHOOK_URL: `${server.origin}${webhookPath}`,
  });
  return { webhookPath, apiKey, server, taskgate };
}

async function install(stage: Stage, venv: Venv, version: string): Promise<InstalledSdk> {
  return { version, venv, directory: await installPackage(stage, venv, sdkName, version) };
}

async function refuseIncomparable(stage: Stage, venv: Venv): Promise<void> {
  for (const [version, expected] of Object.entries(incomparable)) {
    const { directory } = await install(stage, venv, version);
    const { stderr } = await stage.run(venv.python, ["-c", "import orchestra_sdk.decorators"], {
      cwd: stage.directory(),
      env: { PATH: process.env.PATH, PYTHONPATH: directory },
    });
    stage.check(`${version} has nothing to compare`, lastLine(stderr), expected);
  }
}

async function tellUnknownVersions(stage: Stage, venv: Venv): Promise<void> {
  const known = new Set([...generations.flatMap(({ versions }) => versions), ...Object.keys(incomparable)]);
  for (const version of await publishedVersions(stage, venv, sdkName)) {
    if (!known.has(version)) {
      stage.skip(`${sdkName} ${version}`, "it is published, and not in orchestra-sdk/versions.ts");
    }
  }
}

/**
 * Orchestra's SDK and taskgate do the same things, each against a server that
 * records, and what arrived is compared field by field, for every version that is
 * published. What the newest ones sent must be what is on record; `--record` writes
 * it anew.
 */
await runInterop("orchestra-sdk", async (stage) => {
  const venv = await makeVenv(stage, new URL("requirements-orchestra-sdk.txt", import.meta.url).pathname);
  await tellUnknownVersions(stage, venv);
  const targets: Target[] = [];
  for (const path of webhookPaths) {
    targets.push(await startTarget(stage, path));
  }
  let newest: VersionRecord | undefined;
  let compared = 0;
  for (const generation of generations) {
    const ofGeneration: VersionRecord[] = [];
    for (const version of generation.versions) {
      const target = targets[compared % targets.length] as Target;
      compared += 1;
      ofGeneration.push(await compareVersion(stage, await install(stage, venv, version), generation, target));
    }
    const [first] = ofGeneration as [VersionRecord];
    newest ??= first;
    stage.check(
      `all of ${generation.versions.join(", ")} send the same`,
      ofGeneration,
      Array(ofGeneration.length).fill(first),
    );
  }
  stage.say(`        ${compared} versions compared, Python ${venv.pythonVersion}`);
  for (const { taskgate, server, webhookPath } of targets) {
    stage.check(
      `taskgate posts to "${webhookPath}" and nowhere else`,
      [...new Set(server.requests.map(({ path }) => path))],
      [webhookPath === "" ? "/" : webhookPath],
    );
    stage.check("taskgate stops", await taskgate.stop(), 0);
    stage.check("taskgate logs no error", /"level":"error"/.test(taskgate.log()), false);
  }
  await refuseIncomparable(stage, venv);
  await showDeliberateDifferences(stage, await install(stage, venv, generations[0]?.versions[0] ?? ""));
  const recordFile = new URL("orchestra-sdk.record.json", import.meta.url).pathname;
  if (process.argv.includes("--record")) {
    writeFileSync(recordFile, `${JSON.stringify(newest, undefined, 2)}\n`);
    stage.say(`        wrote ${recordFile}; npm run format`);
  } else {
    stage.check("the record is as it is kept", newest, JSON.parse(readFileSync(recordFile, "utf8")));
  }
});
