import { startLoadProcess } from "./load-process.ts";
import { makeRealCall } from "./real-call.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startGrpcJs, startUpstream, startWithOrchestra } from "./servers.ts";
import { measureThroughput } from "./throughput.ts";
import { formatThroughput, summarizeThroughput } from "./throughput-summary.ts";
import { updateOf, updatePath, updatesOf } from "./update-call.ts";

const reference = "grpc-js, bare, stores nothing";
const runs = 1000;
// Nobody listens there.
const downUrl = "http://127.0.0.1:9/";

/**
 * `UpdateTask` of a thousand runs, acknowledged when it is stored: while Orchestra is
 * down, and while it takes everything, beside a bare grpc-js server that gives the
 * same answer and stores nothing.
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
    { name: "taskgate, Orchestra down", server: down },
    { name: "taskgate, delivering", server: up },
    { name: reference, server: await startGrpcJs(children, path, answer) },
  ];
  const samples = await measureThroughput({
    contenders,
    call: { path, request },
    load: startLoadProcess(children),
    rounds,
    warmUpMs: 3000,
    roundMs: 3000,
    progress,
  });
  const summary = summarizeThroughput(samples, reference);
  return {
    text: `UpdateTask, durable, 64 in flight; ratios to ${reference}\n${formatThroughput(summary)}`,
    data: { reference, summary, samples },
  };
}
