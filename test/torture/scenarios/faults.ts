import type { FaultRule } from "../../../src/sandbox/faults.ts";
import type { Sandbox } from "../../../src/sandbox/sandbox.ts";
import { percentile } from "../figures.ts";
import type { GrpcClient, Message } from "../grpc-client.ts";
import { judge, type Verdict } from "../judge.ts";
import {
  arrivalsAt,
  callbackReport,
  drained,
  type Listed,
  listDeliveries,
  listedOf,
  outputReport,
  processesNotRunOnce,
  produce,
  type Report,
  statusReport,
  submit,
  taskReport,
} from "../ledger.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { setStage, sleep, startAidboxTask } from "../stage.ts";

/** What goes wrong for a while, and how the gateway must call it. */
export interface Phase {
  name: string;
  rules: readonly FaultRule[];
  /** The reason, and the HTTP status where there was one. */
  called: readonly string[];
  inDoubt: boolean;
  /** Whether a failure may ask to wait. */
  waits?: true;
}

const pastDate = "Wed, 21 Oct 2015 07:28:00 GMT";

function answering(status: number, probability: number, retryAfter?: string): FaultRule {
  const headers = retryAfter === undefined ? {} : { "retry-after": retryAfter };
  return { probability, action: { kind: "answer", status, headers } };
}

/** Everything that Orchestra does wrong here. */
export const phases: readonly Phase[] = [
  { name: "storm of 429", rules: [answering(429, 1)], called: ["UPSTREAM_UNAVAILABLE 429"], inDoubt: false },
  {
    name: "Retry-After -1",
    rules: [answering(429, 0.5, "-1")],
    called: ["UPSTREAM_UNAVAILABLE 429"],
    inDoubt: false,
  },
  {
    name: "Retry-After abc",
    rules: [answering(503, 0.5, "abc")],
    called: ["UPSTREAM_UNAVAILABLE 503"],
    inDoubt: false,
  },
  {
    name: "Retry-After in the past",
    rules: [answering(429, 0.5, pastDate)],
    called: ["UPSTREAM_UNAVAILABLE 429"],
    inDoubt: false,
  },
  {
    name: "Retry-After 1",
    rules: [answering(503, 0.1, "1")],
    called: ["UPSTREAM_UNAVAILABLE 503"],
    inDoubt: false,
    waits: true,
  },
  {
    name: "a byte a second",
    rules: [{ probability: 0.1, when: "after", action: { kind: "dribble", intervalMs: 1000 } }],
    called: ["UPSTREAM_UNCERTAIN"],
    inDoubt: true,
  },
  {
    name: "no answer",
    rules: [{ probability: 0.05, action: { kind: "hang" } }],
    called: ["UPSTREAM_UNCERTAIN"],
    inDoubt: true,
  },
  {
    name: "reset before the body",
    rules: [{ probability: 0.3, action: { kind: "reset", at: "head" } }],
    called: ["UPSTREAM_UNCERTAIN"],
    inDoubt: true,
  },
  {
    name: "reset behind the request",
    rules: [{ probability: 0.3, action: { kind: "reset" } }],
    called: ["UPSTREAM_UNCERTAIN"],
    inDoubt: true,
  },
  {
    name: "reset behind the effect",
    rules: [{ probability: 0.3, when: "after", action: { kind: "reset" } }],
    called: ["UPSTREAM_UNCERTAIN"],
    inDoubt: true,
  },
  {
    name: "reset in the answer",
    rules: [{ probability: 0.3, when: "after", action: { kind: "reset", at: "answer" } }],
    called: ["UPSTREAM_UNCERTAIN"],
    inDoubt: true,
  },
  {
    name: "truncated",
    rules: [{ probability: 0.3, when: "after", action: { kind: "truncate" } }],
    called: ["UPSTREAM_UNCERTAIN"],
    inDoubt: true,
  },
  {
    name: "closed without an answer",
    rules: [{ probability: 0.3, action: { kind: "noAnswerClose" } }],
    called: ["UPSTREAM_UNCERTAIN"],
    inDoubt: true,
  },
  {
    name: "30 % errors",
    rules: [
      { ...answering(500, 0.1), when: "after" },
      { ...answering(502, 0.1), when: "before" },
      { ...answering(504, 0.1), when: "after" },
    ],
    called: ["UPSTREAM_UNCERTAIN 500", "UPSTREAM_UNCERTAIN 502", "UPSTREAM_UNCERTAIN 504"],
    inDoubt: true,
  },
];

export interface FaultOptions {
  phases: readonly Phase[];
  /** How long each lasts, and the quiet before it. */
  phaseMs: number;
  /** Whether Aidbox asks to wait a day, which the gateway makes five minutes of. */
  withLongWait: boolean;
  /** How many times its undisturbed p99 the other upstream's may be. */
  maxRatio: number;
}

/** Orchestra misbehaves in every way it can, one after the other, while the Orchestrator is well. */
export const faults: Scenario = {
  timeoutMs: 560_000,
  run: (context) => runFaults(context, { phases, phaseMs: 3000, withLongWait: true, maxRatio: 2 }),
  control: runWithoutGateway,
};

export async function runFaults(context: Context, options: FaultOptions): Promise<Verdict> {
  const { random } = context;
  const { sandbox, client, gateway } = await setStage(context, {
    env: { TASKGATE_ORCHESTRA_TIMEOUT: "1500ms" },
  });
  const problems: string[] = [];
  const reports: Report[] = [];
  const phaseOf = new Map<string, Phase>();
  const seen = new Map<string, number>();
  const struck: string[] = [];

  const watch = client.stream("GatewayService", "WatchDeliveries", { upstream: "orchestra" }, (message) => {
    const delivery = message.delivery as Message | null;
    const failure = delivery && judgeFailure(delivery, phaseOf);
    if (failure?.name !== undefined) {
      seen.set(failure.name, (seen.get(failure.name) ?? 0) + 1);
    }
    if (failure?.problem !== undefined && problems.length < 20) {
      problems.push(failure.problem);
    }
  });
  context.defer(watch.cancel);

  const longWait = options.withLongWait
    ? startLongWait(context, sandbox, client, reports, problems)
    : undefined;
  longWait?.catch(() => undefined);

  const quietMs: number[] = [];
  const disturbedMs: number[] = [];
  for (const phase of options.phases) {
    for (const [rules, latencies] of [
      [[], quietMs],
      [phase.rules, disturbedMs],
    ] as const) {
      sandbox.orchestra.faults.set(rules.map((rule, index) => ({ ...rule, id: `fault-${index}` })));
      const plans = Array.from({ length: 40 }, () => planTask(uuidOf(random)));
      if (rules.length > 0) {
        for (const plan of plans) {
          phaseOf.set(plan[0]?.task ?? "", phase);
        }
      }
      reports.push(...plans.flat());
      const [others] = await Promise.all([
        useOther(sandbox, client, options.phaseMs),
        Promise.all(
          plans.map(async (plan) => {
            await sleep(random() * options.phaseMs * 0.7);
            await produce(client, plan);
          }),
        ),
      ]);
      reports.push(...others.reports);
      latencies.push(...others.latenciesMs);
      const fired = rules.reduce(
        (sum, _, index) => sum + sandbox.orchestra.faults.fired(`fault-${index}`),
        0,
      );
      if (rules.length > 0) {
        struck.push(`${phase.name} ${fired}`);
      }
      if (rules.length > 0 && fired === 0) {
        problems.push(`${phase.name}: it never struck, nothing is proved`);
      }
      sandbox.orchestra.faults.clear();
      const drainMs = await orchestraDrained(client);
      if (rules.length > 0) {
        context.note(`${phase.name}: struck ${fired} times, drained ${drainMs.toFixed(0)} ms later`);
      }
    }
    if (!seen.has(phase.name)) {
      problems.push(`${phase.name}: no receipt ever told of it`);
    }
  }
  const longWaitS = await longWait;
  await drained(client, 60_000);

  const deliveries = await listDeliveries(client);
  const poisoned = (delivery: Listed, { kind, task }: Report) =>
    delivery.state === "REJECTED" &&
    kind !== "outcome" &&
    delivery.attempts >= 5 &&
    phaseOf.get(task)?.name === "30 % errors";
  const extra = deliveries.reduce((sum, { attempts }) => sum + Math.max(0, attempts - 1), 0);
  const judged = judge(
    { reports, deliveries, arrivals: arrivalsAt(sandbox) },
    { maxDuplicates: extra, mayEnd: poisoned },
  );
  const notOnce = processesNotRunOnce(sandbox);
  if (notOnce.length > 0) {
    problems.push(`processes that did not run once: ${notOnce.length}`);
  }
  const [quiet, disturbed] = [percentile(quietMs, 0.99), percentile(disturbedMs, 0.99)];
  if (disturbed >= options.maxRatio * quiet) {
    problems.push(`the other upstream's p99 went from ${quiet.toFixed(1)} to ${disturbed.toFixed(1)} ms`);
  }
  if (gateway().log().includes('"level":"error"')) {
    problems.push(`the gateway logged ${gateway().log().slice(0, 500)}`);
  }
  return {
    problems: [...problems, ...judged.problems],
    figures: {
      phases: options.phases.length,
      reports: reports.length,
      struck: struck.join("; "),
      "attempts repeated": judged.extraAttempts,
      duplicates: judged.duplicates,
      "stepped aside": deliveries.filter(({ state }) => state === "REJECTED").length,
      "p99 ms elsewhere": `${quiet.toFixed(1)} → ${disturbed.toFixed(1)}, ratio ${(disturbed / quiet).toFixed(2)} of ${quietMs.length} + ${disturbedMs.length} calls`,
      ...(longWaitS === undefined ? {} : { "Retry-After 86400 s became s": longWaitS.toFixed(0) }),
    },
  };
}

function planTask(task: string): Report[] {
  return [
    statusReport({ task, group: 1 }, "RUNNING", "begun"),
    outputReport({ task, group: 2 }, "rows", { n: 1 }),
    statusReport({ task, group: 3 }, "RUNNING", "half"),
    statusReport({ task, group: 4 }, "SUCCEEDED", "done"),
  ];
}

// Whether a change tells of a failure as it should.
function judgeFailure(
  delivery: Message,
  phaseOf: ReadonlyMap<string, Phase>,
): { name?: string; problem?: string } | undefined {
  const listed = listedOf(delivery);
  const receipt = delivery.receipt as Message;
  const failure = receipt.failure as Message | null;
  if (listed.failure === undefined || failure === null || listed.state !== "STORED") {
    return undefined;
  }
  const phase = phaseOf.get(listed.task);
  if (phase === undefined) {
    return { problem: `a failure when nothing was wrong: ${JSON.stringify(failure)}` };
  }
  const called = [
    listed.failure.reason,
    ...(listed.failure.status === undefined ? [] : [listed.failure.status]),
  ].join(" ");
  const problem = `${phase.name}: called ${called}, in_doubt ${receipt.inDoubt === true}, retry_delay ${JSON.stringify(failure.retryDelay)}: ${failure.message}`;
  const isRight =
    phase.called.includes(called) &&
    (receipt.inDoubt === true) === phase.inDoubt &&
    ((failure.retryDelay ?? null) === null) === (phase.waits !== true);
  return isRight ? { name: phase.name } : { name: phase.name, problem };
}

// Somebody else's results, at a steady pace.
async function useOther(sandbox: Sandbox, client: GrpcClient, durationMs: number) {
  const reports: Report[] = [];
  const latenciesMs: number[] = [];
  const endMs = performance.now() + durationMs;
  await Promise.all(
    Array.from({ length: 2 }, async () => {
      while (performance.now() < endMs) {
        const { process_id, callback_route } = sandbox.orchestrator.processes.start();
        const report = callbackReport(
          { task: process_id, group: 1, waitFor: "WAIT_FOR_DELIVERED" },
          callback_route,
        );
        reports.push(report);
        const startMs = performance.now();
        await submit(client, report);
        latenciesMs.push(performance.now() - startMs);
        await sleep(20);
      }
    }),
  );
  return { reports, latenciesMs };
}

async function orchestraDrained(client: GrpcClient): Promise<number> {
  const startMs = performance.now();
  for (;;) {
    const waiting = await listDeliveries(client, {
      upstream: "orchestra",
      states: ["DELIVERY_STATE_STORED"],
    });
    if (waiting.length === 0) {
      return performance.now() - startMs;
    }
    if (performance.now() - startMs > 60_000) {
      throw new Error(`Orchestra is not drained within 60 s: ${JSON.stringify(waiting.slice(0, 3))}`);
    }
    await sleep(100);
  }
}

// Aidbox asks to wait a day. The gateway waits some minutes, or until an operator says now.
async function startLongWait(
  context: Context,
  sandbox: Sandbox,
  client: GrpcClient,
  reports: Report[],
  problems: string[],
): Promise<number> {
  sandbox.aidbox.faults.set([{ id: "day", ...answering(429, 1, "86400"), times: 1 }]);
  const waiting = Array.from({ length: 5 }, () => startAidboxTask(sandbox)).map(({ id, execId }) =>
    taskReport({ task: id, group: 1 }, execId),
  );
  reports.push(...waiting);
  const startMs = performance.now();
  for (const report of waiting) {
    await submit(client, report);
    await sleep(300);
  }
  const [first] = await listDeliveries(client, { upstream: "aidbox", states: ["DELIVERY_STATE_STORED"] });
  if (first?.failure?.reason !== "UPSTREAM_UNAVAILABLE" || first.failure.status !== "429") {
    problems.push(`Retry-After 86400: called ${JSON.stringify(first)}`);
  }
  await sleep(5000);
  // The gateway also beats for tasks whose outcome waits.
  const sent = () => sandbox.aidbox.requests.filter(({ body }) => body.includes("awf.task/success")).length;
  const before = sent();
  await client.call("GatewayService", "RetryDelivery", { deliveryId: first?.id ?? "" });
  await sleep(5000);
  if (sent() === before) {
    problems.push("Retry-After 86400: RetryDelivery was answered, and nothing was sent within 5 s");
  }
  while (
    (await listDeliveries(client, { upstream: "aidbox", states: ["DELIVERY_STATE_STORED"] })).length > 0
  ) {
    if (performance.now() - startMs > 400_000) {
      throw new Error("Retry-After 86400: still waiting after 400 s");
    }
    await sleep(1000);
  }
  const seconds = (performance.now() - startMs) / 1000;
  context.note(`Retry-After 86400 was ${seconds.toFixed(0)} s`);
  return seconds;
}

// What Orchestra's own client does: three attempts, and then nobody is told.
async function runWithoutGateway(context: Context): Promise<Verdict> {
  const { sandbox } = await setStage(context);
  const reports: Report[] = [];
  const deliveries: Listed[] = [];
  for (const phase of phases.filter(({ name }) => name === "storm of 429" || name === "30 % errors")) {
    sandbox.orchestra.faults.set(phase.rules);
    for (const report of Array.from({ length: 40 }, () => planTask(uuidOf(context.random))).flat()) {
      let attempts = 0;
      let isTaken = false;
      while (attempts < 3 && !isTaken) {
        attempts += 1;
        const response = await fetch(sandbox.orchestra.webhookUrl, {
          method: "POST",
          headers: {
            authorization: `Bearer ${sandbox.orchestra.apiKey}`,
            "content-type": "application/json",
          },
          body: eventOf(report),
        });
        isTaken = response.ok;
      }
      reports.push(report);
      report.told = { kind: "acknowledged", deliveryId: report.id, state: "", atMs: 0 };
      const { id, upstream, task } = report;
      deliveries.push({ id, upstream, task, state: "DELIVERED", attempts, failure: undefined });
    }
  }
  const extra = deliveries.reduce((sum, { attempts }) => sum + attempts - 1, 0);
  const { problems } = judge(
    { reports, deliveries, arrivals: arrivalsAt(sandbox) },
    { maxDuplicates: extra },
  );
  return { problems, figures: { reports: reports.length } };
}

function eventOf({ expected }: Report): string {
  const { taskRunId, type, name, value, ...rest } = JSON.parse(expected) as Record<string, unknown>;
  return JSON.stringify({
    event_type: type,
    task_run_id: taskRunId,
    ...(type === "SET_OUTPUT" ? { output_name: name, output_value: value } : rest),
  });
}
