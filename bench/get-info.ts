import { equals, fromBinary } from "@bufbuild/protobuf";
import { type GetInfoResponse, GetInfoResponseSchema } from "../gen/taskgate/v1/gateway_pb.ts";
import { getInfoCall } from "./get-info-call.ts";
import { startLoadProcess } from "./load-process.ts";
import { makeRealCall } from "./real-call.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startConnect, startGrpcJs, startTaskgate } from "./servers.ts";
import { measureThroughput } from "./throughput.ts";
import { formatThroughput, summarizeThroughput } from "./throughput-summary.ts";

const reference = "grpc-js, bare";

/**
 * `GetInfo`, which asks no upstream: what a call costs by itself, in the fast lane
 * and in Connect's adapter, beside a bare grpc-js server that gives the same answer.
 */
export async function runGetInfo({
  children,
  rounds = 5,
  progress,
}: ScenarioContext): Promise<ScenarioResult> {
  const lane = await startTaskgate(children, "--fast-lane=true");
  const adapter = await startTaskgate(children, "--fast-lane=false");
  const answer = await makeRealCall(lane.address, getInfoCall);
  const contenders = [
    { name: "taskgate, fast lane", server: lane },
    { name: "taskgate, adapter", server: adapter },
    { name: "Connect's adapter, bare", server: await startConnect(children, getInfoCall.path, answer) },
    { name: reference, server: await startGrpcJs(children, getInfoCall.path, answer) },
  ];
  for (const { name, server } of contenders) {
    const other = await makeRealCall(server.address, getInfoCall);
    if (!equals(GetInfoResponseSchema, withoutTime(other), withoutTime(answer))) {
      throw new Error(`${name} answers something else`);
    }
  }

  const samples = await measureThroughput({
    contenders,
    call: getInfoCall,
    load: startLoadProcess(children),
    rounds,
    warmUpMs: 2000,
    roundMs: 1500,
    progress,
  });
  const summary = summarizeThroughput(samples, reference);
  return {
    text: `GetInfo, an answer of ${answer.length} bytes; ratios to ${reference}\n${formatThroughput(summary)}`,
    data: { answerBytes: answer.length, reference, summary, samples },
  };
}

function withoutTime(answer: Uint8Array): GetInfoResponse {
  return { ...fromBinary(GetInfoResponseSchema, answer), serverTime: undefined };
}
