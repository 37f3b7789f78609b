import { create, toBinary } from "@bufbuild/protobuf";
import { TaskStatusService } from "../gen/taskgate/v1/task_status_pb.ts";
import { startLoadProcess } from "./load-process.ts";
import { makeRealCall } from "./real-call.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startConnect, startGrpcJs, startUpstream, startWithOrchestra } from "./servers.ts";
import { measureThroughput } from "./throughput.ts";
import { formatThroughput, summarizeThroughput } from "./throughput-summary.ts";
import { taskRunIdOf } from "./update-call.ts";
import { verdictAtLeast } from "./verdict.ts";

const method = TaskStatusService.method.heartbeatRun;
const path = `/${TaskStatusService.typeName}/${method.name}`;
const reference = "grpc-js, bare";
const taskgate = "taskgate";
const minRatio = 0.85;
const runs = 1000;

/**
 * `HeartbeatRun` of a thousand runs, each with a lease: the call that a worker makes
 * most often, beside a bare grpc-js server and Connect's adapter that give the same
 * answer and know of no lease.
 */
export async function runHeartbeat({
  children,
  rounds = 5,
  progress,
}: ScenarioContext): Promise<ScenarioResult> {
  const upstream = await startUpstream(children);
  const gateway = await startWithOrchestra(children, `http://${upstream.address}/`);
  const request = Array.from({ length: runs }, (_, index) =>
    toBinary(method.input, create(method.input, { taskRunId: taskRunIdOf(index) })),
  );
  const answer = await makeRealCall(gateway.address, { path, request: request[0] ?? new Uint8Array() });
  const samples = await measureThroughput({
    contenders: [
      { name: taskgate, server: gateway },
      { name: "Connect's adapter, bare", server: await startConnect(children, path, answer) },
      { name: reference, server: await startGrpcJs(children, path, answer) },
    ],
    call: { path, request },
    load: startLoadProcess(children),
    rounds,
    warmUpMs: 2000,
    roundMs: 1500,
    progress,
  });
  const summary = summarizeThroughput(samples, reference);
  const ratio = summary.find(({ contender }) => contender === taskgate)?.callsRatio;
  return {
    text: [
      `HeartbeatRun of ${runs} runs, 64 in flight; ratios to ${reference}`,
      formatThroughput(summary),
      verdictAtLeast("target: a ratio", ratio, minRatio),
    ].join("\n"),
    data: { reference, minRatio, summary, samples },
  };
}
