import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { create, toBinary } from "@bufbuild/protobuf";
import { WaitFor } from "../gen/taskgate/v1/receipt_pb.ts";
import { TaskStatusService } from "../gen/taskgate/v1/task_status_pb.ts";
import { type ChildProcesses, failOnExit } from "./child-processes.ts";
import { getInfoCall } from "./get-info-call.ts";
import type { LatencyOptions } from "./latency-client-process.ts";
import { percentile } from "./measure-latencies.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startUpstream, startWithOrchestra } from "./servers.ts";
import { formatSpread, type Spread, spreadOf } from "./spread.ts";
import { formatTable } from "./table.ts";
import { taskRunIdOf, updatePath, updatesOf } from "./update-call.ts";
import { verdictAtMost } from "./verdict.ts";

const runs = 1000;
const warmUpCalls = 2000;
const oneByOne = { perSecond: undefined, calls: 2000 };
const atRate = { perSecond: 500, calls: 2000 };
const direct = "POST, undici alone";
const delivered = "UpdateTask, DELIVERED";
const maxAddedMs = 0.6;
const parts = { p50: 0.5, p99: 0.99, "p99.9": 0.999 } as const;

type Asked = Omit<LatencyOptions, "perSecond" | "calls">;

interface LatencySample {
  round: number;
  name: string;
  mode: "one" | "rate";
  p50: number;
  p99: number;
  "p99.9": number;
}

/**
 * How long a call takes: one in flight, and five hundred a second whether they are
 * answered or not. With grpc-js as the client, beside undici that POSTs straight to
 * the upstream.
 */
export async function runLatency({
  children,
  rounds = 3,
  progress,
}: ScenarioContext): Promise<ScenarioResult> {
  const upstream = await startUpstream(children);
  const { address } = await startWithOrchestra(children, `http://${upstream.address}/`);
  const heartbeat = TaskStatusService.method.heartbeatRun;
  const contenders: Record<string, Asked> = {
    GetInfo: { kind: "grpc", address, path: getInfoCall.path, requests: [getInfoCall.request] },
    HeartbeatRun: {
      kind: "grpc",
      address,
      path: `/${TaskStatusService.typeName}/${heartbeat.name}`,
      requests: Array.from({ length: runs }, (_, index) =>
        toBinary(heartbeat.input, create(heartbeat.input, { taskRunId: taskRunIdOf(index) })),
      ),
    },
    "UpdateTask, STORED": { kind: "grpc", address, path: updatePath, requests: updatesOf(runs) },
    [delivered]: {
      kind: "grpc",
      address,
      path: updatePath,
      requests: updatesOf(runs, { waitFor: WaitFor.DELIVERED }),
    },
    [direct]: { kind: "post", address: upstream.address, path: "", requests: [] },
  };
  const measure = startLatencyClient(children);
  for (const [name, asked] of Object.entries(contenders)) {
    progress(`warm-up: ${name}`);
    await measure({ ...asked, perSecond: undefined, calls: warmUpCalls });
  }
  const samples: LatencySample[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`);
    for (const [mode, how] of Object.entries({ one: oneByOne, rate: atRate })) {
      for (const [name, asked] of Object.entries(contenders)) {
        const latenciesMs = await measure({ ...asked, ...how });
        const [p50, p99, last] = Object.values(parts).map((part) => percentile(latenciesMs, part));
        samples.push({ round, name, mode, p50, p99, "p99.9": last } as LatencySample);
      }
    }
  }
  const addedMs = spreadOf(
    Array.from({ length: rounds }, (_, at) => {
      const p50 = (wanted: string) =>
        samples.find(({ round, name, mode }) => round === at + 1 && name === wanted && mode === "one")?.p50 ??
        Number.NaN;
      return p50(delivered) - p50(direct);
    }),
  );
  return {
    text: [
      "milliseconds, one call in flight",
      formatLatencies(samples, "one"),
      `milliseconds, ${atRate.perSecond} calls a second, from when each should have begun`,
      formatLatencies(samples, "rate"),
      `${delivered} takes ${formatSpread(addedMs, 2)} ms longer than the POST (p50, one in flight)`,
      verdictAtMost("target: added milliseconds", addedMs, maxAddedMs),
    ].join("\n"),
    data: { maxAddedMs, addedMs, samples },
  };
}

function formatLatencies(samples: readonly LatencySample[], mode: LatencySample["mode"]): string {
  const byName = Map.groupBy(
    samples.filter((sample) => sample.mode === mode),
    ({ name }) => name,
  );
  const names = Object.keys(parts) as (keyof typeof parts)[];
  return formatTable([
    ["", ...names],
    ...Array.from(byName, ([name, own]) => [
      name,
      ...names.map((part) => formatSpread(spreadOf(own.map((sample) => sample[part])) satisfies Spread, 2)),
    ]),
  ]);
}

function startLatencyClient(children: ChildProcesses): (options: LatencyOptions) => Promise<number[]> {
  const file = fileURLToPath(new URL("./latency-client-process.ts", import.meta.url));
  const child = children.start("client", [file], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    serialization: "advanced",
  });
  const ended = failOnExit(child);
  ended.catch(() => undefined);
  return async (options) => {
    const answered = once(child, "message");
    child.send(options);
    const [reply] = (await Promise.race([answered, ended])) as [{ latenciesMs?: number[]; error?: string }];
    if (reply.latenciesMs === undefined) {
      throw new Error(`${options.kind} ${options.path}: ${reply.error}`);
    }
    return reply.latenciesMs;
  };
}
