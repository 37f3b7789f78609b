import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { grpcClient, testClients } from "../support/clients.ts";
import { readMetrics } from "../support/read-metrics.ts";
import { useGateway } from "../support/use-gateway.ts";
import { sendRaw, useHttp2Session } from "../support/use-listener.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { updateTask, heartbeatRun } = TaskStatusService.method;
const { getInfo } = GatewayService.method;
const running = TaskRunStatus.RUNNING;

// What a series is once it is so; a metric is there a moment after what it counts.
async function becomes(opsUrl: string, series: string, value: number): Promise<void> {
  await expect.poll(async () => (await readMetrics(opsUrl)).value(series), { timeout: 10_000 }).toBe(value);
}

const updates = (code: string) =>
  `taskgate_rpc_calls_total{grpc_service="taskgate.v1.TaskStatusService",grpc_method="UpdateTask",grpc_code="${code}"}`;

describe("calls are counted", () => {
  test.each(testClients)("over $name", async ({ connect, fastLane }) => {
    const { url, opsUrl } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(fastLane) });
    const caller = connect(url);
    await caller.call(updateTask, { taskRunId: randomUUID(), status: running });
    await caller.fail(updateTask, { taskRunId: "odd", status: running });
    await becomes(opsUrl, updates("OK"), 1);
    await becomes(opsUrl, updates("INVALID_ARGUMENT"), 1);
    const scrape = await readMetrics(opsUrl);
    const labels = 'grpc_service="taskgate.v1.TaskStatusService",grpc_method="UpdateTask"';
    expect(scrape.value(`taskgate_rpc_duration_seconds_count{${labels}}`)).toBe(2);
    expect(scrape.value(`taskgate_rpc_in_flight{${labels}}`)).toBe(0);
  });

  test("under one name, whatever is called that nobody serves", async () => {
    const { url, opsUrl } = await useGateway();
    const session = useHttp2Session(url);
    for (let each = 0; each < 20; each += 1) {
      const path = `/taskgate.v1.TaskStatusService/Unknown${each}`;
      await sendRaw(session, { ":path": path, "content-type": "application/grpc" }, Buffer.alloc(0));
    }
    await becomes(
      opsUrl,
      'taskgate_rpc_calls_total{grpc_service="unknown",grpc_method="unknown",grpc_code="UNIMPLEMENTED"}',
      20,
    );
    expect((await readMetrics(opsUrl)).text).not.toContain("Unknown1");
  });
});

describe("deliveries are counted", () => {
  test("from the report to what became of it", async () => {
    const { url, opsUrl, sandbox } = await useGatewayWithSandbox();
    const caller = grpcClient.connect(url);
    const waitFor = WaitFor.DELIVERED;
    await caller.call(updateTask, { taskRunId: randomUUID(), status: running, waitFor });
    const disowned = randomUUID();
    sandbox.orchestra.taskRuns.disown(disowned);
    await caller.fail(updateTask, { taskRunId: disowned, status: running, waitFor });
    const scrape = await readMetrics(opsUrl);
    const of = (name: string, labels: string) => scrape.value(`${name}{upstream="orchestra"${labels}}`);
    expect(of("taskgate_deliveries_stored_total", ',kind="status"')).toBe(2);
    expect(of("taskgate_delivery_attempts_total", ',result="accepted"')).toBe(1);
    expect(of("taskgate_delivery_attempts_total", ',result="rejected"')).toBe(1);
    expect(of("taskgate_deliveries_ended_total", ',state="delivered"')).toBe(1);
    expect(of("taskgate_deliveries_ended_total", ',state="rejected"')).toBe(1);
    expect(of("taskgate_delivery_duration_seconds_count", "")).toBe(1);
    expect(of("taskgate_delivery_retries_total", "")).toBe(0);
    expect(of("taskgate_upstream_requests_total", ',kind="call",status="200"')).toBe(1);
    expect(of("taskgate_upstream_requests_total", ',kind="call",status="404"')).toBe(1);
    expect(of("taskgate_upstream_request_duration_seconds_count", ',kind="call"')).toBe(2);
    expect(of("taskgate_outbox_deliveries", "")).toBe(0);
  });

  test("while the upstream is down, with what waits and how long, and again when it is back", async () => {
    const { url, opsUrl, sandbox, log } = await useGatewayWithSandbox();
    const fault = sandbox.orchestra.faults.add({ action: { kind: "answer", status: 503 }, times: 1000 });
    const caller = grpcClient.connect(url);
    for (let each = 0; each < 6; each += 1) {
      await caller.call(updateTask, { taskRunId: randomUUID(), status: running, message: "12345" });
    }
    const lane = '{upstream="orchestra",lane="orchestra"}';
    await becomes(opsUrl, `taskgate_upstream_breaker_open${lane}`, 1);
    await delay(20);
    const scrape = await readMetrics(opsUrl);
    expect(scrape.value('taskgate_outbox_deliveries{upstream="orchestra"}')).toBe(6);
    expect(scrape.value('taskgate_outbox_bytes{upstream="orchestra"}')).toBeGreaterThan(6 * 5);
    expect(scrape.value('taskgate_outbox_oldest_age_seconds{upstream="orchestra"}')).toBeGreaterThan(0.01);
    expect(scrape.value("taskgate_outbox_up")).toBe(1);
    sandbox.orchestra.faults.remove(fault);
    await becomes(opsUrl, 'taskgate_outbox_deliveries{upstream="orchestra"}', 0);
    await becomes(opsUrl, `taskgate_upstream_breaker_open${lane}`, 0);
    const after = await readMetrics(opsUrl);
    expect(after.value('taskgate_outbox_oldest_age_seconds{upstream="orchestra"}')).toBe(0);
    expect(after.value('taskgate_delivery_retries_total{upstream="orchestra"}')).toBeGreaterThan(0);
    expect(log.map(({ message }) => message)).toEqual([
      "listening",
      "the upstream is in trouble: reports wait",
      "the upstream takes reports again",
    ]);
  });

  test("a refusal of the credentials shows until they are taken", async () => {
    const { url, opsUrl, sandbox } = await useGatewayWithSandbox();
    const fault = sandbox.orchestra.faults.add({ action: { kind: "answer", status: 401 }, times: 1000 });
    const caller = grpcClient.connect(url);
    await caller.call(updateTask, { taskRunId: randomUUID(), status: running });
    const series = 'taskgate_upstream_unauthorized{upstream="orchestra",lane="orchestra"}';
    await becomes(opsUrl, series, 1);
    sandbox.orchestra.faults.remove(fault);
    await becomes(opsUrl, series, 0);
  });
});

test("sessions and leases are counted, and the one that is lost", async () => {
  const { url, opsUrl } = await useGatewayWithSandbox({
    TASKGATE_LEASE_DURATION: "1s",
    TASKGATE_HEARTBEAT_INTERVAL: "200ms",
  });
  const caller = grpcClient.connect(url);
  await caller.call(heartbeatRun, { taskRunId: randomUUID() });
  const scrape = await readMetrics(opsUrl);
  expect(scrape.value('taskgate_sessions{upstream="orchestra"}')).toBe(1);
  expect(scrape.value('taskgate_leases{upstream="orchestra"}')).toBe(1);
  await becomes(opsUrl, 'taskgate_leases_lost_total{upstream="orchestra",on_lost="fail"}', 1);
  await becomes(opsUrl, 'taskgate_leases{upstream="orchestra"}', 0);
  expect((await readMetrics(opsUrl)).value('taskgate_sessions{upstream="orchestra"}')).toBe(0);
});

test("a gateway tells what it is, and how its event loop and its process are", async () => {
  const { opsUrl } = await useGateway();
  const scrape = await readMetrics(opsUrl);
  const version = `{version="0.0.0-test",node_version="${process.version}"}`;
  expect(scrape.value(`taskgate_build_info${version}`)).toBe(1);
  expect(scrape.value("taskgate_ready")).toBe(1);
  expect(scrape.value("taskgate_draining")).toBe(0);
  expect(scrape.value("process_resident_memory_bytes")).toBeGreaterThan(1e6);
  expect(scrape.names).toContain("nodejs_eventloop_lag_p99_seconds");
});

test("the formats do not disturb each other", async () => {
  const { opsUrl } = await useGateway();
  const before = await readMetrics(opsUrl);
  const open = await fetch(`${opsUrl}/metrics`, { headers: { accept: "application/openmetrics-text" } });
  expect(open.headers.get("content-type")).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
  expect(await open.text()).toMatch(/\n# TYPE taskgate_rpc_calls counter\n[\s\S]*\n# EOF\n$/);
  expect((await readMetrics(opsUrl)).names).toEqual(before.names);
});

test("no secret is in the metrics", async () => {
  const { url, opsUrl, config } = await useGatewayWithSandbox({ TASKGATE_AUTH_TOKEN: "token-of-a-worker" });
  const caller = grpcClient.connect(url, { authorization: "Bearer token-of-a-worker" });
  await caller.call(getInfo, {});
  await caller.call(updateTask, { taskRunId: randomUUID(), status: running, waitFor: WaitFor.DELIVERED });
  const { text } = await readMetrics(opsUrl);
  const secrets = ["token-of-a-worker", config.orchestra?.apiKey, config.aidbox?.clientSecret];
  for (const secret of secrets.filter((each) => each !== undefined && each !== "")) {
    expect(text).not.toContain(secret);
  }
});
