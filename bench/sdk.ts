import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { WaitFor } from "../gen/taskgate/v1/receipt_pb.ts";
import type { ChildProcesses } from "./child-processes.ts";
import { startLoadProcess } from "./load-process.ts";
import { readUsage } from "./process-usage.ts";
import { type RateSample, rateSampleOf, type Work } from "./rate-sample.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startUpstream, startWithOrchestra } from "./servers.ts";
import { formatThroughput, summarizeThroughput } from "./throughput-summary.ts";
import { updatePath, updatesOf } from "./update-call.ts";
import { verdictAtLeast } from "./verdict.ts";

const cache = fileURLToPath(new URL("../node_modules/.cache/taskgate-interop/", import.meta.url));
const python = join(cache, "venv-orchestra-sdk/bin/python");
const script = fileURLToPath(new URL("./orchestra_sdk_load.py", import.meta.url));
const runs = 1000;
const roundMs = 2000;
const settings = [
  { inFlight: 1, minRatio: 2, sdkCalls: 500 },
  { inFlight: 64, minRatio: 10, sdkCalls: 2000 },
] as const;
const reference = "orchestra-sdk";
const delivered = "taskgate, DELIVERED";

/**
 * The same updates by Orchestra's own Python SDK, which is what tasks do without a
 * gateway: updates a second, to the same upstream, one and 64 in flight.
 */
export async function runSdk({ children, rounds = 3, progress }: ScenarioContext): Promise<ScenarioResult> {
  const sdk = newestSdk();
  if (!existsSync(python) || sdk === undefined) {
    const text = "SKIPPED: there is no Python with the SDK; `npm run interop -- orchestra-sdk` installs it";
    return { text, data: { skipped: text } };
  }
  const upstream = await startUpstream(children);
  const gateway = await startWithOrchestra(children, `http://${upstream.address}/`);
  const load = startLoadProcess(children);
  // The upstream is where the client is.
  async function withUpstream(work: () => Promise<Work>): Promise<Work> {
    const before = readUsage(upstream.pid);
    const done = await work();
    const upstreamCpuMs = readUsage(upstream.pid).cpuMs - before.cpuMs;
    return { ...done, clientCpuMs: done.clientCpuMs + upstreamCpuMs };
  }
  async function measure(inFlight: number, waitFor: WaitFor): Promise<Work> {
    const before = readUsage(gateway.pid);
    const result = await load.run({
      address: gateway.address,
      path: updatePath,
      request: updatesOf(runs, { waitFor }),
      durationMs: roundMs,
      streams: inFlight,
    });
    return { ...result, serverCpuMs: readUsage(gateway.pid).cpuMs - before.cpuMs };
  }
  progress("warm-up");
  await measure(64, WaitFor.DELIVERED);
  const samples: (RateSample & { inFlight: number })[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`);
    for (const { inFlight, sdkCalls } of settings) {
      const contenders = {
        [reference]: () => runPython(children, sdk.directory, upstream.address, sdkCalls, inFlight),
        "taskgate, STORED": () => measure(inFlight, WaitFor.STORED),
        [delivered]: () => measure(inFlight, WaitFor.DELIVERED),
      };
      for (const [name, work] of Object.entries(contenders)) {
        samples.push({ inFlight, ...rateSampleOf(round, name, await withUpstream(work)) });
      }
    }
  }
  const results = settings.map(({ inFlight, minRatio }) => {
    const own = samples.filter((sample) => sample.inFlight === inFlight);
    const summary = summarizeThroughput(own, reference);
    const ratio = summary.find(({ contender }) => contender === delivered)?.callsRatio;
    return { inFlight, minRatio, ratio, summary };
  });
  const { stdout } = spawnSync(python, ["-c", "import platform; print(platform.python_version())"], {
    encoding: "utf8",
  });
  const [sdkVersion, pythonVersion] = [sdk.version, stdout.trim()];
  return {
    text: [
      `updates; orchestra-sdk ${sdkVersion}, Python ${pythonVersion}; ratios to it`,
      "the client core has the upstream, and of taskgate its client too",
      ...results.flatMap(({ inFlight, minRatio, ratio, summary }) => [
        `${inFlight} in flight`,
        formatThroughput(summary),
        verdictAtLeast(`target with ${inFlight} in flight: a ratio`, ratio, minRatio),
      ]),
    ].join("\n"),
    data: { sdkVersion, pythonVersion, results, samples },
  };
}

// Each version has a folder of its own; early ones of a coming version do not count.
function newestSdk(): { version: string; directory: string } | undefined {
  const names = existsSync(cache) ? readdirSync(cache) : [];
  const [version] = names
    .flatMap((name) => /^orchestra-sdk-([\d.]+)$/.exec(name)?.[1] ?? [])
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
  return version === undefined ? undefined : { version, directory: join(cache, `orchestra-sdk-${version}`) };
}

// It does what the gateway would, and where the gateway would.
async function runPython(
  children: ChildProcesses,
  sdkDirectory: string,
  address: string,
  count: number,
  threads: number,
): Promise<Work> {
  const child = children.startCommand(
    "server",
    [
      "env",
      `PYTHONPATH=${sdkDirectory}`,
      python,
      script,
      `http://${address}/`,
      String(count),
      String(threads),
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const [code] = await once(child, "close");
  if (code !== 0) {
    throw new Error(`the SDK ended with ${code}`);
  }
  const [elapsedMs = 0, serverCpuMs = 0] = output.split(" ").map((seconds) => Number(seconds) * 1000);
  return { calls: count, elapsedMs, serverCpuMs, clientCpuMs: 0 };
}
