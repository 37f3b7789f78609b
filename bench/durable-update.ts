import { startLoadProcess } from "./load-process.ts";
import { makeRealCall } from "./real-call.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { readTaken, startGrpcJs, startUpstream, startWithOrchestra } from "./servers.ts";
import { formatSpread, spreadOf } from "./spread.ts";
import { measureThroughput, type ThroughputSample } from "./throughput.ts";
import { formatThroughput, summarizeThroughput } from "./throughput-summary.ts";
import { updateOf, updatePath, updatesOf } from "./update-call.ts";
import { verdictAtLeast } from "./verdict.ts";

const reference = "grpc-js, bare, stores nothing";
const whenDown = "taskgate, Orchestra down";
const whenUp = "taskgate, delivering";
const minRatioDown = 0.55;
const minRatioUp = 0.35;
const runs = 1000;
// Nobody listens there.
const downUrl = "http://127.0.0.1:9/";

/**
 * `UpdateTask` of a thousand runs, acknowledged when it is stored: while Orchestra is
 * down, and while it takes everything, beside a bare grpc-js server that gives the
 * same answer and stores nothing. While it takes everything, what counts is not how
 * many are answered but how many are delivered meanwhile: that can be sustained.
 */
export async function runDurableUpdate({
  children,
  rounds = 5,
  progress,
}: ScenarioContext): Promise<ScenarioResult> {
  const upstream = await startUpstream(children);
  const down = await startWithOrchestra(children, downUrl);
  const up = await startWithOrchestra(children, `http://${upstream.address}/`);
  const path = updatePath;
  const request = updatesOf(runs);
  const answer = await makeRealCall(down.address, { path, request: updateOf(runs) });
  const contenders = [
    { name: whenDown, server: down },
    {
      name: whenUp,
      server: up,
      countDelivered: async () => (await readTaken(upstream.address)).count,
    },
    { name: reference, server: await startGrpcJs(children, path, answer) },
  ];
  const samples = await measureThroughput({
    contenders,
    call: { path, request },
    load: startLoadProcess(children),
    rounds,
    warmUpMs: 2000,
    roundMs: 1500,
    progress,
  });
  const summary = summarizeThroughput(samples, reference);
  const ratioDown = summary.find(({ contender }) => contender === whenDown)?.callsRatio;
  const { text, ratio } = summarizeDelivery(samples);
  return {
    text: [
      `UpdateTask, durable, 64 in flight; ratios to ${reference}`,
      formatThroughput(summary),
      text,
      verdictAtLeast("target with Orchestra down: a ratio", ratioDown, minRatioDown),
      verdictAtLeast("target of what is delivered: a ratio", ratio, minRatioUp),
    ].join("\n"),
    data: { reference, summary, minRatioDown, minRatioUp, deliveredRatio: ratio, samples },
  };
}

function summarizeDelivery(samples: readonly ThroughputSample[]) {
  const rounds = samples.flatMap(({ round, delivery }) => {
    const other = samples.find((sample) => sample.round === round && sample.contender === reference);
    return delivery === undefined || other === undefined ? [] : [{ delivery, other }];
  });
  const ratio = spreadOf(
    rounds.map(({ delivery, other }) => delivery.deliveredPerSecond / other.callsPerSecond),
  );
  const [rate, backlog] = (["deliveredPerSecond", "backlog"] as const).map((name) =>
    formatSpread(spreadOf(rounds.map(({ delivery }) => delivery[name]))),
  );
  return {
    ratio,
    text: [
      `${whenUp}: ${rate} deliveries/s in the rounds, ratio ${formatSpread(ratio, 2)}`,
      `backlog when a round ends, which is delivered before the next ${backlog}`,
    ].join("\n"),
  };
}
