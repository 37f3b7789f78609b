import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { grpcClient, testClients } from "../support/clients.ts";
import { readMetrics } from "../support/read-metrics.ts";
import { answering, useScriptedServer } from "../support/scripted-server.ts";
import { streamClients } from "../support/streams.ts";
import { type Collector, useCollector } from "../support/use-collector.ts";
import { useDirectory } from "../support/use-directory.ts";
import { type UsedGateway, useGateway } from "../support/use-gateway.ts";

const { updateTask, trackRun } = TaskStatusService.method;
const { getInfo } = GatewayService.method;
const { pollTasks } = ExecutorService.method;
const running = TaskRunStatus.RUNNING;
const waitFor = WaitFor.DELIVERED;

const traceId = "0af7651916cd43dd8448eb211c80319c";
const callerSpanId = "b7ad6b7169203331";
const traceparent = `00-${traceId}-${callerSpanId}-01`;
const updateName = "taskgate.v1.TaskStatusService/UpdateTask";
const attemptName = "deliver to orchestra";
const patience = { timeout: 10_000 };

async function useTraced(env: Record<string, string> = {}) {
  const collector = await useCollector();
  const webhook = await useScriptedServer(answering(200, "{}"));
  const used = await useGateway({
    ORCHESTRA_API_KEY: "key",
    ORCHESTRA_WEBHOOK_URL: webhook.origin,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    ...env,
  });
  return { ...used, collector, webhook };
}

// The first span of a name. A gateway that stops exports at once.
async function spanOf(used: Pick<UsedGateway, "gateway">, collector: Collector, name: string) {
  await used.gateway.stop();
  const span = collector.spans.find((each) => each.name === name);
  if (span === undefined) {
    throw new Error(`there is no span ${name} but ${collector.spans.map((each) => each.name)}`);
  }
  return span;
}

describe.each(testClients)("over $name", ({ connect, fastLane }) => {
  test("a call goes on with its caller's trace, and so do the attempt and the request to the upstream", async () => {
    const { url, gateway, collector, webhook } = await useTraced({ TASKGATE_FAST_LANE: String(fastLane) });
    const caller = connect(url, { traceparent, tracestate: "vendor=1,other=2" });
    await caller.call(updateTask, { taskRunId: randomUUID(), status: running, waitFor });
    const call = await spanOf({ gateway }, collector, updateName);
    const attempt = await spanOf({ gateway }, collector, attemptName);
    expect(call).toMatchObject({
      traceId,
      parentSpanId: callerSpanId,
      traceState: "vendor=1,other=2",
      kind: 2,
      isError: false,
      attributes: { "rpc.system": "grpc", "rpc.method": "UpdateTask", "rpc.grpc.status_code": 0 },
      resource: { "service.name": "taskgate", "service.version": "0.0.0-test" },
    });
    expect(attempt).toMatchObject({
      traceId,
      parentSpanId: call.spanId,
      kind: 3,
      isError: false,
      attributes: { "taskgate.upstream": "orchestra", "taskgate.attempt": 1, "taskgate.result": "accepted" },
    });
    expect(webhook.seen[0]?.headers).toMatchObject({
      traceparent: `00-${traceId}-${attempt.spanId}-01`,
      tracestate: "vendor=1,other=2",
    });
  });
});

test.each([
  ["none", undefined],
  ["a malformed one", "00-xyz-1-01"],
  ["one of zeros", `00-${"0".repeat(32)}-${callerSpanId}-01`],
])("a call whose caller names no trace begins one: %s", async (_, header) => {
  const { url, gateway, collector } = await useTraced();
  const caller = grpcClient.connect(url, header === undefined ? {} : { traceparent: header });
  await caller.call(getInfo, {});
  const span = await spanOf({ gateway }, collector, "taskgate.v1.GatewayService/GetInfo");
  expect(span.parentSpanId).toBe("");
  expect(span.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(span.traceId).not.toBe(traceId);
});

test("what the caller does not record is not recorded, and is passed on as such", async () => {
  const { url, gateway, collector, webhook } = await useTraced();
  const caller = grpcClient.connect(url, { traceparent: `00-${traceId}-${callerSpanId}-00` });
  await caller.call(updateTask, { taskRunId: randomUUID(), status: running, waitFor });
  expect(webhook.seen[0]?.headers.traceparent).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
  await grpcClient.connect(url).call(getInfo, {});
  await spanOf({ gateway }, collector, "taskgate.v1.GatewayService/GetInfo");
  expect(collector.spans.map(({ name }) => name)).not.toContain(updateName);
});

test("of the traces that begin here only the part that is asked for is recorded", async () => {
  const { url, collector, gateway } = await useTraced({ TASKGATE_TRACE_SAMPLE_RATIO: "0" });
  await grpcClient.connect(url).call(getInfo, {});
  await grpcClient.connect(url, { traceparent }).call(getInfo, {});
  await gateway.stop();
  expect(collector.spans.map((span) => span.traceId)).toEqual([traceId]);
});

test("a refusal is no error of the server, and a failed attempt says why", async () => {
  const collector = await useCollector();
  const webhook = await useScriptedServer(answering(404, '{"error":"no such run"}'));
  const { url, gateway } = await useGateway({
    ORCHESTRA_API_KEY: "key",
    ORCHESTRA_WEBHOOK_URL: webhook.origin,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  });
  await grpcClient.connect(url).fail(updateTask, { taskRunId: randomUUID(), status: running, waitFor });
  const call = await spanOf({ gateway }, collector, updateName);
  expect([call.isError, call.attributes["rpc.grpc.status_code"]]).toEqual([false, 9]);
  const attempt = await spanOf({ gateway }, collector, attemptName);
  expect(attempt).toMatchObject({
    isError: true,
    attributes: { "taskgate.result": "rejected", "http.response.status_code": 404 },
  });
});

test("a retry after a restart belongs to the trace of the call that made the report", async () => {
  const collector = await useCollector();
  let isDown = true;
  const webhook = await useScriptedServer((_, response) => {
    response.writeHead(isDown ? 503 : 200).end("{}");
  });
  const env = {
    ORCHESTRA_API_KEY: "key",
    ORCHESTRA_WEBHOOK_URL: webhook.origin,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    TASKGATE_DATA_DIR: useDirectory(),
    TASKGATE_DRAIN_TIMEOUT: "100ms",
  };
  const first = await useGateway(env);
  const caller = grpcClient.connect(first.url, { traceparent, tracestate: "vendor=1" });
  await caller.call(updateTask, { taskRunId: randomUUID(), status: running });
  await expect.poll(() => webhook.seen.length, patience).toBeGreaterThan(0);
  const call = await spanOf(first, collector, updateName);
  const before = collector.spans.filter(({ name }) => name === attemptName).length;
  const sentBefore = webhook.seen.length;
  isDown = false;
  const second = await useGateway(env);
  await expect.poll(() => webhook.seen.length, patience).toBe(sentBefore + 1);
  await second.gateway.stop();
  const [attempt, ...others] = collector.spans.filter(({ name }) => name === attemptName).slice(before);
  expect(others).toEqual([]);
  expect(attempt).toMatchObject({
    traceId,
    parentSpanId: call.spanId,
    traceState: "vendor=1",
    attributes: { "taskgate.result": "accepted" },
  });
  expect(Number(attempt?.attributes["taskgate.attempt"])).toBeGreaterThan(1);
  expect(webhook.seen[sentBefore]?.headers.traceparent).toBe(`00-${traceId}-${attempt?.spanId}-01`);
});

test.each(streamClients)("a stream is one span, and what it reports belongs to it: $name", async (client) => {
  const { url, gateway, collector } = await useTraced({ TASKGATE_FAST_LANE: String(client.fastLane) });
  const stream = client.open(url, trackRun, { traceparent });
  stream.send({ requestId: "1", frame: { case: "open", value: { taskRunId: randomUUID() } } });
  await stream.nextOf("ready");
  stream.send({ requestId: "2", frame: { case: "finish", value: { status: TaskRunStatus.SUCCEEDED } } });
  await stream.nextOf("receipt");
  stream.halfClose();
  const call = await spanOf({ gateway }, collector, "taskgate.v1.TaskStatusService/TrackRun");
  expect([call.traceId, call.parentSpanId]).toEqual([traceId, callerSpanId]);
  const attempts = collector.spans.filter(({ name }) => name === attemptName);
  expect(attempts.map(({ parentSpanId }) => parentSpanId)).toEqual([call.spanId, call.spanId]);
});

test("a call that asks the upstream straight passes its trace on", async () => {
  const aidbox = await useScriptedServer(
    answering(200, "result: {resources: []}", { "content-type": "text/yaml" }),
  );
  const { url, gateway, collector } = await useTraced({
    TASKGATE_AIDBOX_URL: aidbox.origin,
    TASKGATE_AIDBOX_CLIENT_ID: "me",
    TASKGATE_AIDBOX_CLIENT_SECRET: "secret",
  });
  const caller = grpcClient.connect(url, { traceparent });
  await caller.call(pollTasks, { taskDefinitions: ["a/b"] });
  const span = await spanOf({ gateway }, collector, "taskgate.v1.ExecutorService/PollTasks");
  expect(aidbox.seen[0]?.headers.traceparent).toBe(`00-${traceId}-${span.spanId}-01`);
});

test("what probes ask is nobody's trace", async () => {
  const { url, collector, gateway } = await useTraced();
  const health = await fetch(`${url}/grpc.health.v1.Health/Check`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  expect(health.status).toBe(200);
  await gateway.stop();
  expect(collector.spans).toEqual([]);
});

test("the collector is told by which headers it asks, and what the spans come from", async () => {
  const { url, gateway, collector } = await useTraced({
    OTEL_EXPORTER_OTLP_HEADERS: "x-key=of%20the%20collector",
    OTEL_RESOURCE_ATTRIBUTES: "service.name=mine,k8s.pod.name=pod-1",
  });
  await grpcClient.connect(url).call(getInfo, {});
  const span = await spanOf({ gateway }, collector, "taskgate.v1.GatewayService/GetInfo");
  expect(collector.headers[0]?.["x-key"]).toBe("of the collector");
  expect(span.resource).toMatchObject({ "service.name": "mine", "k8s.pod.name": "pod-1" });
});

test("a collector that takes nothing disturbs nobody, and is told of once", async () => {
  const { url, opsUrl, collector, log } = await useTraced();
  collector.status = 400;
  const caller = grpcClient.connect(url);
  await caller.call(getInfo, {});
  const dropped = async () =>
    (await readMetrics(opsUrl)).value('taskgate_trace_spans_total{result="dropped"}');
  await expect.poll(dropped, patience).toBe(1);
  await caller.call(getInfo, {});
  await expect.poll(dropped, patience).toBe(2);
  collector.status = 200;
  await caller.call(getInfo, {});
  await expect.poll(() => collector.spans.length, patience).toBe(1);
  expect(log.map(({ message }) => message)).toEqual([
    "listening",
    "the collector does not take spans",
    "the collector takes spans again",
  ]);
});

test("without a collector nothing of the caller's trace is sent on", async () => {
  const webhook = await useScriptedServer(answering(200, "{}"));
  const { url } = await useGateway({ ORCHESTRA_API_KEY: "key", ORCHESTRA_WEBHOOK_URL: webhook.origin });
  const caller = grpcClient.connect(url, { traceparent });
  await caller.call(updateTask, { taskRunId: randomUUID(), status: running, waitFor });
  expect(webhook.seen[0]?.headers.traceparent).toBeUndefined();
});
