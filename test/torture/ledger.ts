import { status as Code } from "@grpc/grpc-js";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import type { GrpcClient, Message, ServiceName } from "./grpc-client.ts";

export type Upstream = "orchestra" | "orchestrator" | "aidbox";
export type Kind = "status" | "output" | "log" | "outcome";

/** A report that a producer makes, and what came of it: the oracle's side. */
export interface Report {
  /** The request id, which is also somewhere in the payload. */
  readonly id: string;
  readonly upstream: Upstream;
  /** The task, as the gateway lists it. */
  readonly task: string;
  readonly kind: Kind;
  /** Reports of one task in one group are sent at once; the next group when all are acknowledged. */
  readonly group: number;
  readonly service: ServiceName;
  readonly method: string;
  readonly request: Message;
  /** What the upstream must get, as `canonical` text. */
  readonly expected: string;
  /** How often the producer called. */
  calls: number;
  /** What the producer was told; undefined: nothing. */
  told?:
    | { kind: "acknowledged"; deliveryId: string; state: string; atMs: number }
    | { kind: "refused"; code: Code; reason: string | undefined; message: string };
}

/** Something that an upstream took. */
export interface Arrival {
  /** The report that it carries; undefined: none that was ever made. */
  readonly reportId: string | undefined;
  readonly upstream: Upstream;
  readonly task: string;
  readonly payload: string;
  readonly atMs: number;
  /** The upstream did not take it: the code. */
  readonly refused: string | undefined;
}

/** A delivery as the operator sees it. */
export interface Listed {
  readonly id: string;
  readonly upstream: string;
  readonly task: string;
  readonly state: string;
  readonly attempts: number;
  readonly failure: { reason: string; status: string | undefined } | undefined;
}

/** Writes a JSON value in one way only. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => {
    if (typeof each === "bigint") {
      return Number(each);
    }
    if (typeof each !== "object" || each === null || Array.isArray(each)) {
      return each;
    }
    return Object.fromEntries(Object.entries(each).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/** A request that waits until it is stored, or as long as the gateway likes. */
const waitForStored = "WAIT_FOR_STORED";

let made = 0;

function newId(): string {
  made += 1;
  return `r${made}r`;
}

const idPattern = /r\d+r/;

interface Placed {
  task: string;
  group: number;
  /** Default: until it is stored. */
  waitFor?: string;
}

/** A status of a run, with a message. Any status but RUNNING is an outcome. */
export function statusReport({ task, group, waitFor }: Placed, status: string, text = ""): Report {
  const id = newId();
  const message = `${id} ${text}`;
  return {
    id,
    upstream: "orchestra",
    task,
    kind: status === "RUNNING" ? "status" : "outcome",
    group,
    service: "TaskStatusService",
    method: "UpdateTask",
    request: {
      taskRunId: task,
      status: `TASK_RUN_STATUS_${status}`,
      message,
      requestId: id,
      waitFor: waitFor ?? waitForStored,
    },
    expected: canonical({ taskRunId: task, type: "UPDATE_STATUS", status, message }),
    calls: 0,
  };
}

export function outputReport({ task, group, waitFor }: Placed, name: string, value: unknown): Report {
  const id = newId();
  return {
    id,
    upstream: "orchestra",
    task,
    kind: "output",
    group,
    service: "TaskStatusService",
    method: "SetOutput",
    request: {
      taskRunId: task,
      name,
      valueJson: JSON.stringify([id, value]),
      requestId: id,
      waitFor: waitFor ?? waitForStored,
    },
    expected: canonical({ taskRunId: task, type: "SET_OUTPUT", name, value: [id, value] }),
    calls: 0,
  };
}

export function logReport({ task, group, waitFor }: Placed, text: string): Report {
  const id = newId();
  const data = `${id}\n${text}`;
  return {
    id,
    upstream: "orchestra",
    task,
    kind: "log",
    group,
    service: "TaskStatusService",
    method: "SendLog",
    request: { taskRunId: task, name: "out.log", data, requestId: id, waitFor: waitFor ?? waitForStored },
    expected: canonical({ taskRunId: task, type: "LOG", name: "out.log", data }),
    calls: 0,
  };
}

/** The result of a process; `url`: where several Orchestrators are configured. */
export function callbackReport({ task, group, waitFor }: Placed, route: string, url?: string): Report {
  const id = newId();
  const result = { job_id: id, output: ["one", "two"], return_code: 0, status: "successful" };
  return {
    id,
    upstream: "orchestrator",
    task,
    kind: "outcome",
    group,
    service: "CallbackService",
    method: "CompleteCallback",
    request: {
      ...(url === undefined ? { callbackRoute: route } : { callbackUrl: url + route }),
      json: JSON.stringify(result),
      requestId: id,
      waitFor: waitFor ?? waitForStored,
    },
    expected: canonical(result),
    calls: 0,
  };
}

export function taskReport({ task, group, waitFor }: Placed, execId: string): Report {
  const id = newId();
  return {
    id,
    upstream: "aidbox",
    task,
    kind: "outcome",
    group,
    service: "ExecutorService",
    method: "SucceedTask",
    request: {
      id: task,
      execId,
      resultJson: JSON.stringify({ id, rows: 7 }),
      requestId: id,
      waitFor: waitFor ?? waitForStored,
    },
    expected: canonical({ id, rows: 7 }),
    calls: 0,
  };
}

const noAnswer: ReadonlySet<Code> = new Set([
  Code.UNAVAILABLE,
  Code.CANCELLED,
  Code.DEADLINE_EXCEEDED,
  Code.UNKNOWN,
  Code.INTERNAL,
]);

/**
 * Calls until there is an answer, always with the same request id: what a producer
 * that cares does. A `RESOURCE_EXHAUSTED` with a delay is repeated when `patient`.
 */
export async function submit(
  client: GrpcClient,
  report: Report,
  options: { timeoutMs?: number; patient?: boolean; signal?: AbortSignal } = {},
): Promise<void> {
  while (report.told === undefined && options.signal?.aborted !== true) {
    report.calls += 1;
    const answer = await client.call(report.service, report.method, report.request, {
      timeoutMs: options.timeoutMs ?? 20_000,
      // While there is no connection, the call has not begun.
      waitForReady: true,
    });
    if (answer.kind === "ok") {
      const receipt = answer.response.receipt as Message;
      report.told = {
        kind: "acknowledged",
        deliveryId: String(receipt.deliveryId),
        state: String(receipt.state),
        atMs: Date.now(),
      };
    } else if (noAnswer.has(answer.code) && answer.reason === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    } else if (answer.code === Code.RESOURCE_EXHAUSTED && options.patient === true) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(answer.retryAfterMs ?? 100, 500)));
    } else {
      const { code, reason, message } = answer;
      report.told = { kind: "refused", code, reason, message };
    }
  }
}

/** Sends a task's reports: one group after the other, each group at once, and each when it may go. */
export async function produce(
  client: GrpcClient,
  reports: readonly Report[],
  options: NonNullable<Parameters<typeof submit>[2]> & { mayGo?: () => boolean } = {},
): Promise<void> {
  for (const group of Map.groupBy(reports, (report) => report.group).values()) {
    while (options.mayGo?.() === false) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await Promise.all(group.map((report) => submit(client, report, options)));
  }
}

/** What the systems of a sandbox have taken, in the order in which they did. */
export function arrivalsAt(sandbox: Pick<Sandbox, "orchestra" | "orchestrator" | "aidbox">): Arrival[] {
  const arrivals: Arrival[] = [];
  const add = (upstream: Upstream, task: string, value: unknown, atMs: number, refused?: string) => {
    const payload = canonical(value);
    const [reportId] = idPattern.exec(payload) ?? [];
    arrivals.push({ reportId, upstream, task, payload, atMs, refused });
  };
  for (const { id, events } of sandbox.orchestra.taskRuns.list()) {
    for (const { event, atMs, refused } of events) {
      add("orchestra", id, event, atMs, refused);
    }
  }
  for (const { process_id, history } of sandbox.orchestrator.processes.list()) {
    for (const { event, detail, at_ms } of history) {
      if (event === "callback") {
        add("orchestrator", process_id, detail, at_ms);
      }
    }
  }
  for (const { resource, executions } of sandbox.aidbox.tasks.list()) {
    for (const calls of Object.values(executions)) {
      for (let count = calls.success?.accepted ?? 0; count > 0; count -= 1) {
        add("aidbox", resource.id, resource.result, 0);
      }
    }
  }
  return arrivals;
}

/** Processes whose result ran their workflow more or less than once. */
export function processesNotRunOnce(sandbox: Pick<Sandbox, "orchestrator">): string[] {
  return sandbox.orchestrator.processes
    .list()
    .filter(
      ({ accepted_callbacks, validations, status }) =>
        accepted_callbacks !== 1 || validations !== 1 || status !== "completed",
    )
    .map(
      ({ process_id, accepted_callbacks, validations, status }) =>
        `${process_id}: ${accepted_callbacks} accepted, ${validations} validated, ${status}`,
    );
}

/** All deliveries, in the order of their acceptance. */
export async function listDeliveries(client: GrpcClient, request: Message = {}): Promise<Listed[]> {
  const all: Listed[] = [];
  let pageToken = "";
  do {
    const answer = await client.call(
      "GatewayService",
      "ListDeliveries",
      { pageSize: 1000, ...request, pageToken },
      { waitForReady: true, timeoutMs: 60_000 },
    );
    if (answer.kind === "error") {
      throw new Error(`ListDeliveries was answered ${answer.code} ${answer.message}`);
    }
    for (const delivery of (answer.response.deliveries ?? []) as Message[]) {
      all.push(listedOf(delivery));
    }
    pageToken = String(answer.response.nextPageToken ?? "");
  } while (pageToken !== "");
  return all;
}

/** Reads a delivery as grpc-js gives it. */
export function listedOf(delivery: Message): Listed {
  const receipt = delivery.receipt as Message;
  const failure = (receipt.failure ?? undefined) as Message | undefined;
  const metadata = (failure?.metadata ?? {}) as Record<string, string>;
  return {
    id: String(receipt.deliveryId),
    upstream: String(delivery.upstream),
    task: String(delivery.taskId),
    state: String(receipt.state).replace("DELIVERY_STATE_", ""),
    attempts: Number(receipt.attempts ?? 0),
    failure: failure && {
      reason: String(failure.reason).replace("ERROR_REASON_", ""),
      status: metadata.http_status,
    },
  };
}

/** Waits until nothing is stored any more. Resolves with how long that took. */
export async function drained(client: GrpcClient, timeoutMs: number): Promise<number> {
  const startMs = performance.now();
  // A page that is empty may have others behind it.
  let pageToken = "";
  for (;;) {
    const answer = await client.call(
      "GatewayService",
      "ListDeliveries",
      { pageSize: 3, states: ["DELIVERY_STATE_STORED"], pageToken },
      { waitForReady: true },
    );
    const waiting =
      answer.kind === "ok" ? ((answer.response.deliveries ?? []) as Message[]).map(listedOf) : undefined;
    const next = answer.kind === "ok" ? String(answer.response.nextPageToken ?? "") : "";
    pageToken = waiting?.length === 0 ? next : "";
    if (pageToken !== "") {
      continue;
    }
    if (waiting?.length === 0) {
      return performance.now() - startMs;
    }
    if (performance.now() - startMs > timeoutMs) {
      throw new Error(`not drained within ${timeoutMs / 1000} s: ${JSON.stringify(waiting ?? answer)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Calls until the gateway answers. Resolves with how long ago it was started. */
export async function firstAnswer(
  client: GrpcClient,
  gateway: { startMs: number; isRunning(): boolean; log(): string },
): Promise<number> {
  for (;;) {
    const answer = await client.call(
      "GatewayService",
      "GetInfo",
      {},
      { waitForReady: true, timeoutMs: 30_000 },
    );
    if (answer.kind === "ok") {
      return performance.now() - gateway.startMs;
    }
    // The connection to the one before may not know yet that it is gone.
    if (answer.code !== Code.UNAVAILABLE || !gateway.isRunning()) {
      throw new Error(`the gateway does not serve: ${answer.message}\n${gateway.log()}`);
    }
  }
}
