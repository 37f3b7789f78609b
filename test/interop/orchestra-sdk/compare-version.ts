import { randomUUID } from "node:crypto";
import { version as taskgateVersion } from "../../../src/version.ts";
import type { RecordedRequest, RecordingServer } from "../support/recording-server.ts";
import { startRecordingServer } from "../support/recording-server.ts";
import type { Stage } from "../support/stage.ts";
import type { Taskgate } from "../support/taskgate.ts";
import { compareRequests, parseEvent } from "./compare.ts";
import { type InstalledSdk, perform } from "./installed-sdk.ts";
import { type Scenario, scenarios } from "./scenarios.ts";
import type { Generation } from "./versions.ts";

/** A gateway, and the server that it takes for Orchestra. */
export interface Target {
  webhookPath: string;
  apiKey: string;
  taskgate: Taskgate;
  server: RecordingServer;
}

export interface VersionRecord {
  /** What every request has in common. */
  everyRequest: { sdk: unknown; taskgate: unknown; differences: readonly string[] };
  /** The bodies as they arrived, and what they differ in beyond `everyRequest`. */
  scenarios: { scenario: string; sdk: string[]; taskgate: string[]; differences: readonly string[] }[];
}

interface Run {
  scenario: Scenario;
  runId: string;
  /** The run's id as it is given to both. */
  given: string;
}

/** One version of the SDK and taskgate do the same, and what arrived is compared field by field. */
export async function compareVersion(
  stage: Stage,
  sdk: InstalledSdk,
  generation: Generation,
  target: Target,
): Promise<VersionRecord> {
  const { version } = sdk;
  const runs = scenarios
    .filter(({ needs }) => needs === undefined || generation.abilities.includes(needs))
    .map((scenario, at): Run => {
      const runId = randomUUID();
      return { scenario, runId, given: spellings[at % spellings.length]?.(runId) ?? runId };
    });
  const sdkServer = await startRecordingServer(stage);
  const { apiKey, webhookPath, server, taskgate } = target;
  const results = await perform(
    stage,
    sdk,
    { apiKey, webhookUrl: `${sdkServer.origin}${webhookPath}` },
    runs.map(({ scenario, given }) => ({ task_run_id: given, steps: scenario.sdk })),
  );
  stage.check(
    `${version}: what the SDK's calls came to`,
    results,
    runs.flatMap(
      ({ scenario }) => scenario.sdkResults?.(generation) ?? scenario.sdk.map(() => "returned True"),
    ),
  );
  const before = server.requests.length;
  stage.check(`${version}: taskgate's answers`, await performWithTaskgate(taskgate, runs), expected(runs));
  const ours = server.requests.slice(before);
  return recordOf(stage, version, generation, runs, sdkServer.requests, ours);
}

async function performWithTaskgate(taskgate: Taskgate, runs: readonly Run[]): Promise<string[]> {
  const results: string[] = [];
  for (const { scenario, given } of runs) {
    for (const [method, request] of scenario.taskgate) {
      const answer = await taskgate.call("TaskStatusService", method, {
        taskRunId: given,
        waitFor: "WAIT_FOR_DELIVERED",
        ...request,
      });
      const said = answer.kind === "ok" ? (answer.response.receipt?.state ?? "") : answer.reason;
      results.push(`${scenario.name}: ${said}`);
    }
  }
  return results;
}

function expected(runs: readonly Run[]): string[] {
  return runs.flatMap(({ scenario }) =>
    scenario.taskgate.map(() => `${scenario.name}: ${scenario.refused ?? "DELIVERY_STATE_DELIVERED"}`),
  );
}

function recordOf(
  stage: Stage,
  version: string,
  generation: Generation,
  runs: readonly Run[],
  allOfSdk: readonly RecordedRequest[],
  allOurs: readonly RecordedRequest[],
): VersionRecord {
  const ofAll = differencesOfAll(generation);
  let arrived = 0;
  const records = runs.map(({ scenario, runId }) => {
    const theirs = requestsOf(allOfSdk, runId);
    const ours = requestsOf(allOurs, runId);
    arrived += theirs.length + ours.length;
    const expectedOwn = scenario.refused === undefined ? scenario.taskgate.length : 0;
    stage.check(`${version}: ${scenario.name}: taskgate's requests`, ours.length, expectedOwn);
    const differences = scenario.differences?.(generation) ?? [];
    const both = Math.min(theirs.length, ours.length);
    stage.check(
      `${version}: ${scenario.name}: the deliberate differences and no other`,
      differencesOf(theirs, ours),
      [...Array(both).fill(ofAll), differences].flat(),
    );
    return {
      scenario: scenario.name,
      sdk: theirs.map(({ body }) => shownBody(body, runId)),
      taskgate: ours.map(({ body }) => shownBody(body, runId)),
      differences,
    };
  });
  stage.check(`${version}: every request belongs to a scenario`, arrived, allOfSdk.length + allOurs.length);
  const everyRequest = {
    sdk: headOf(stage, `${version}: the SDK`, allOfSdk),
    taskgate: headOf(stage, `${version}: taskgate`, allOurs),
    differences: ofAll,
  };
  return { everyRequest, scenarios: records };
}

function differencesOfAll({ hasTimestamp }: Generation): readonly string[] {
  return [
    "header accept-encoding: gzip, deflate by the SDK, none by taskgate",
    "header user-agent: python-requests/2.34.2 by the SDK, taskgate/<version> by taskgate",
    ...(hasTimestamp ? ["body.timestamp: <local time without a zone> by the SDK, none by taskgate"] : []),
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

function requestsOf(requests: readonly RecordedRequest[], runId: string): RecordedRequest[] {
  return requests.filter(({ body }) => parseEvent(body).task_run_id === runId);
}

function differencesOf(theirs: readonly RecordedRequest[], ours: readonly RecordedRequest[]): string[] {
  const differences: string[] = [];
  for (let at = 0; at < Math.max(theirs.length, ours.length); at++) {
    const [sdk, own] = [theirs[at], ours[at]];
    if (sdk !== undefined && own !== undefined) {
      differences.push(...compareRequests(sdk, own));
    } else if (own !== undefined) {
      const { event_type: event, status } = parseEvent(own.body);
      differences.push(`only taskgate sends it: ${event} with ${status}`);
    } else if (sdk !== undefined) {
      differences.push(`only the SDK sends it: ${parseEvent(sdk.body).event_type}`);
    }
  }
  return differences.map((difference) =>
    withoutVersion(difference).replace(localTime, "<local time without a zone>"),
  );
}

const localTime = /(?<=body\.timestamp: )"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?"/;

function withoutVersion(text: string): string {
  return text.replace(`taskgate/${taskgateVersion}`, "taskgate/<version>");
}

// All but the body is the same in every request; without what is another one in each run.
function headOf(stage: Stage, who: string, requests: readonly RecordedRequest[]): unknown {
  const heads = requests.map(({ method, headers }) => {
    const { host, "content-length": contentLength, ...others } = headers;
    return { method, headers: { ...others, "user-agent": withoutVersion(others["user-agent"] ?? "") } };
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
