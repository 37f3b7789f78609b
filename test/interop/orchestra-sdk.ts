import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { compareRequests, parseEvent } from "./orchestra-sdk/compare.ts";
import { type Generation, type Scenario, scenarios } from "./orchestra-sdk/scenarios.ts";
import { installedVersion, makeVenv } from "./support/python.ts";
import { type RecordedRequest, startRecordingServer } from "./support/recording-server.ts";
import { runInterop, type Stage } from "./support/stage.ts";
import { startTaskgate } from "./support/taskgate.ts";

const apiKey = "orch_interop_key";

interface GenerationRecord {
  /** What every request has in common. */
  everyRequest: { sdk: unknown; taskgate: unknown; differences: readonly string[] };
  /** The bodies as they arrived, and what they differ in beyond `everyRequest`. */
  scenarios: { scenario: string; sdk: string[]; taskgate: string[]; differences: readonly string[] }[];
}

async function compareGeneration(
  stage: Stage,
  generation: Generation,
  requirements: string,
  webhookPath: string,
): Promise<GenerationRecord> {
  const venv = await makeVenv(stage, new URL(requirements, import.meta.url).pathname);
  const version = await installedVersion(stage, venv, "orchestra-sdk");
  stage.check("the installed orchestra-sdk", version, generation);
  const runs = scenarios
    .filter(({ generations }) => generations.includes(generation))
    .map((scenario, at) => ({ scenario, runId: randomUUID(), spelled: spellings[at % spellings.length] }))
    .map(({ spelled, ...run }) => ({ ...run, given: spelled?.(run.runId) ?? run.runId }));

  const sdkServer = await startRecordingServer(stage);
  const performed = await stage.run(
    venv.python,
    [new URL("orchestra-sdk/perform.py", import.meta.url).pathname],
    {
      cwd: stage.directory(),
      env: {
        PATH: process.env.PATH,
        ORCHESTRA_WEBHOOK_URL: `${sdkServer.origin}${webhookPath}`,
        TZ: "Asia/Tokyo",
      },
      stdin: JSON.stringify(
        runs.map(({ scenario, given }) => ({
          task_run_id: given,
          steps: scenario.sdk.map((step) => ({ ...step, api_key: apiKey })),
        })),
      ),
    },
  );
  if (performed.code !== 0) {
    throw new Error(`the SDK's run ended with ${performed.code}: ${performed.stderr}`);
  }
  stage.check(
    `${version}: what the SDK's calls came to`,
    JSON.parse(performed.stdout),
    runs.flatMap(({ scenario }) => expectedResults(scenario, generation)),
  );

  const taskgateServer = await startRecordingServer(stage);
  const taskgate = await startTaskgate(stage, {
    ORCHESTRA_API_KEY: apiKey,
    ORCHESTRA_WEBHOOK_URL: `${taskgateServer.origin}${webhookPath}`,
  });
  for (const { scenario, given } of runs) {
    const states: string[] = [];
    for (const [method, request] of scenario.taskgate) {
      const answer = await taskgate.call("TaskStatusService", method, {
        taskRunId: given,
        waitFor: "WAIT_FOR_DELIVERED",
        ...request,
      });
      states.push(answer.kind === "ok" ? (answer.response.receipt?.state ?? "") : answer.reason);
    }
    const expected = scenario.taskgate.map(() => scenario.refused ?? "DELIVERY_STATE_DELIVERED");
    stage.check(`${version}: ${scenario.name}: taskgate's answers`, states, expected);
  }
  stage.check(`${version}: taskgate stops`, await taskgate.stop(), 0);
  stage.check(`${version}: taskgate logs no error`, /"level":"error"/.test(taskgate.log()), false);

  const everyRequest = {
    sdk: headOf(stage, `${version}: the SDK`, sdkServer.requests),
    taskgate: headOf(stage, `${version}: taskgate`, taskgateServer.requests),
    differences: differencesOfAll[generation],
  };
  let arrived = 0;
  const records = runs.map(({ scenario, runId }) => {
    const sdk = requestsOf(sdkServer.requests, runId);
    const ours = requestsOf(taskgateServer.requests, runId);
    arrived += sdk.length + ours.length;
    const expectedOwn = scenario.refused === undefined ? scenario.taskgate.length : 0;
    stage.check(`${version}: ${scenario.name}: taskgate's requests`, ours.length, expectedOwn);
    const differences = scenario.differences?.[generation] ?? [];
    stage.check(
      `${version}: ${scenario.name}: the deliberate differences and no other`,
      differencesOf(sdk, ours),
      [...Array(Math.min(sdk.length, ours.length)).fill(differencesOfAll[generation]), differences].flat(),
    );
    return {
      scenario: scenario.name,
      sdk: sdk.map(({ body }) => shownBody(body, runId)),
      taskgate: ours.map(({ body }) => shownBody(body, runId)),
      differences,
    };
  });
  const all = sdkServer.requests.length + taskgateServer.requests.length;
  stage.check(`${version}: every request belongs to a scenario`, arrived, all);
  return { everyRequest, scenarios: records };
}

const differencesOfAll: Record<Generation, readonly string[]> = {
  "0.2.0": headerDifferences(),
  "0.0.16": [
    ...headerDifferences(),
    "body.timestamp: <local time without a zone> by the SDK, none by taskgate",
  ],
};

// What the SDK's HTTP library adds to every request.
function headerDifferences(): string[] {
  return [
    "header accept: */* by the SDK, none by taskgate",
    "header accept-encoding: gzip, deflate by the SDK, none by taskgate",
    "header user-agent: python-requests/2.34.2 by the SDK, none by taskgate",
  ];
}

// Python's uuid.UUID takes them all, and so must taskgate.
const spellings: readonly ((id: string) => string)[] = [
  (id) => id,
  (id) => id.toUpperCase(),
  (id) => id.replaceAll("-", ""),
  (id) => `{${id}}`,
  (id) => `urn:uuid:${id}`,
];

function expectedResults(scenario: Scenario, generation: Generation): readonly string[] {
  // The older SDK does send a message alone.
  const results =
    scenario.name === "a message alone" && generation === "0.0.16" ? undefined : scenario.sdkResults;
  return results ?? scenario.sdk.map(() => "returned True");
}

function requestsOf(requests: readonly RecordedRequest[], runId: string): RecordedRequest[] {
  return requests.filter(({ body }) => parseEvent(body).task_run_id === runId);
}

function differencesOf(sdk: readonly RecordedRequest[], ours: readonly RecordedRequest[]): string[] {
  const differences: string[] = [];
  for (let at = 0; at < Math.max(sdk.length, ours.length); at++) {
    const [theirs, own] = [sdk[at], ours[at]];
    if (theirs !== undefined && own !== undefined) {
      differences.push(...compareRequests(theirs, own));
    } else if (own !== undefined) {
      const { event_type: event, status } = parseEvent(own.body);
      differences.push(`only taskgate sends it: ${event} with ${status}`);
    } else if (theirs !== undefined) {
      differences.push(`only the SDK sends it: ${parseEvent(theirs.body).event_type}`);
    }
  }
  return differences.map((difference) => difference.replace(localTime, "<local time without a zone>"));
}

const localTime = /(?<=body\.timestamp: )"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?"/;

// All but the body is the same in every request; without what is another one in each run.
function headOf(stage: Stage, who: string, requests: readonly RecordedRequest[]): unknown {
  const heads = requests.map(({ method, path, headers }) => {
    const { host, "content-length": contentLength, ...others } = headers;
    return { method, path, headers: others };
  });
  const [first] = heads;
  stage.check(`${who} sends the same head with every request`, heads, Array(heads.length).fill(first));
  stage.check(
    `${who} sends a length`,
    requests.every(({ headers }) => Number(headers["content-length"]) > 0),
    true,
  );
  return first;
}

function shownBody(body: string, runId: string): string {
  return body.replace(runId, "<task run>").replace(/(?<="timestamp": )"[^"]*"/, '"<local time>"');
}

/**
 * Orchestra's SDK and taskgate do the same things, each against a server that
 * records, and what arrived is compared field by field. `--record` writes the
 * record anew; otherwise it must be the same as the one kept.
 */
await runInterop("orchestra-sdk", async (stage) => {
  const record = {
    "0.2.0": await compareGeneration(
      stage,
      "0.2.0",
      "requirements-orchestra-sdk.txt",
      "/hooks/orchestra?region=eu",
    ),
    "0.0.16": await compareGeneration(stage, "0.0.16", "requirements-orchestra-sdk-0.0.16.txt", ""),
  };
  const recordFile = new URL("orchestra-sdk.record.json", import.meta.url).pathname;
  if (process.argv.includes("--record")) {
    writeFileSync(recordFile, JSON.stringify(record, undefined, 2));
    stage.say(`        wrote ${recordFile}`);
  } else {
    stage.check("the record is as it is kept", record, JSON.parse(readFileSync(recordFile, "utf8")));
  }
});
