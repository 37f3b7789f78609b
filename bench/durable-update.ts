import { create, toBinary } from "@bufbuild/protobuf";
import { TaskRunStatus, TaskStatusService } from "../gen/taskgate/v1/task_status_pb.ts";
import { startLoadProcess } from "./load-process.ts";
import { makeRealCall } from "./real-call.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startGrpcJs, startUpstream, startWithOrchestra } from "./servers.ts";
import { measureThroughput } from "./throughput.ts";
import { formatThroughput, summarizeThroughput } from "./throughput-summary.ts";

const reference = "grpc-js, bare, stores nothing";
const method = TaskStatusService.method.updateTask;
const path = `/${TaskStatusService.typeName}/${method.name}`;
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
  const request = Array.from({ length: runs }, (_, index) => updateOf(index));
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

function updateOf(index: number): Uint8Array {
  const taskRunId = `1d876307-8c0a-42a1-8299-${index.toString(16).padStart(12, "0")}`;
  return toBinary(
    method.input,
    create(method.input, { taskRunId, status: TaskRunStatus.RUNNING, message: "half of the rows" }),
  );
}
