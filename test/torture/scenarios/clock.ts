import { parseConfig } from "../../../src/config/parse-config.ts";
import { startGateway } from "../../../src/gateway.ts";
import { formatListenAddress } from "../../../src/model/listen-address.ts";
import { startSandbox } from "../../../src/sandbox/sandbox.ts";
import { sandboxSettings } from "../../../src/sandbox-settings.ts";
import { findSandboxPorts } from "../../support/free-port.ts";
import { createGrpcClient } from "../grpc-client.ts";
import { judge, type Verdict } from "../judge.ts";
import {
  arrivalsAt,
  drained,
  listDeliveries,
  logReport,
  outputReport,
  produce,
  type Report,
  statusReport,
  taskReport,
} from "../ledger.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { sleep, startAidboxTask } from "../stage.ts";

const yearMs = 365 * 24 * 3_600_000;

/** The machine's clock jumps a year ahead and ten years back while reports wait. */
export const clock: Scenario = {
  timeoutMs: 180_000,
  run: (context) => runClock(context, true),
  // What a store that sorts by time would do: it has what came before the jump back last.
  control: (context) => runClock(context, false),
};

async function runClock(context: Context, isHonest: boolean): Promise<Verdict> {
  const { random } = context;
  const sandbox = await startSandbox({ random, ports: await findSandboxPorts() });
  context.defer(() => sandbox.close());
  sandbox.aidbox.definitions.define("torture/job", {
    inProgressTimeout: 3_600_000,
    requestedToStartTimeout: 3_600_000,
  });
  const parsed = parseConfig({
    fixed: sandboxSettings(sandbox),
    env: {
      TASKGATE_LISTEN: "127.0.0.1:0",
      TASKGATE_OPS_LISTEN: "off",
      TASKGATE_DATA_DIR: context.directory(),
      TASKGATE_DRAIN_TIMEOUT: "1s",
    },
    flags: {},
    readFile: () => "",
  });
  if ("problems" in parsed) {
    throw new Error(parsed.problems.join("\n"));
  }
  const problems: string[] = [];
  let offsetMs = 0;
  const gateway = await startGateway({
    config: parsed.config,
    version: "torture",
    now: () => Date.now() + offsetMs,
    log: {
      debug: () => undefined,
      info: () => undefined,
      warn: () => undefined,
      error: (message, error) => problems.push(`the gateway logged ${message} ${error ?? ""}`),
    },
  });
  context.defer(() => gateway.stop());
  const client = createGrpcClient(formatListenAddress(gateway.address));
  context.defer(() => client.close());

  const runs = Array.from({ length: 100 }, () => uuidOf(random));
  const reports: Report[] = [];
  let group = 0;
  async function report(make: (task: string) => Report): Promise<void> {
    const made = runs.map(make);
    reports.push(...made);
    await produce(client, made);
  }

  await sandbox.orchestra.faults.setDown(true);
  sandbox.aidbox.faults.set([{ id: "busy", action: { kind: "answer", status: 503 } }]);
  const outcomes = Array.from({ length: 50 }, () => startAidboxTask(sandbox)).map(({ id, execId }) =>
    taskReport({ task: id, group: 1 }, execId),
  );
  reports.push(...outcomes);
  await produce(client, outcomes);
  const jumps = [0, yearMs, -10 * yearMs, 0, -3_600_000, 3_600_000];
  for (const jumpMs of jumps) {
    offsetMs = jumpMs;
    group += 1;
    await report((task) => statusReport({ task, group }, "RUNNING", `at ${jumpMs}`));
    group += 1;
    await report((task) => outputReport({ task, group }, "offset", jumpMs));
    await sleep(1500);
  }
  // It comes back in one time and goes on in another.
  offsetMs = yearMs;
  await sandbox.orchestra.faults.setDown(false);
  sandbox.aidbox.faults.clear();
  await sleep(500);
  offsetMs = -10 * yearMs;
  group += 1;
  await report((task) => statusReport({ task, group }, "SUCCEEDED"));
  group += 1;
  await report((task) => logReport({ task, group }, "the end"));
  const drainMs = await drained(client, 90_000);

  const deliveries = await listDeliveries(client);
  const arrivals = arrivalsAt(sandbox);
  const judged = judge({
    reports,
    deliveries,
    arrivals: isHonest ? arrivals : arrivals.toReversed(),
  });
  const waited = deliveries.filter(({ attempts }) => attempts > 1).length;
  if (waited === 0) {
    problems.push("nothing was tried twice: nothing is proved");
  }
  return {
    problems: [...problems, ...judged.problems],
    figures: {
      jumps: jumps.length + 2,
      reports: reports.length,
      "tried more than once": waited,
      "drain ms": drainMs.toFixed(0),
    },
  };
}
