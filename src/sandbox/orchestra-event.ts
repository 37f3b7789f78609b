import { isJsonObject, type Json, type JsonObject } from "./json.ts";

/** FACT: what Orchestra's SDK can set. A task run can have more statuses, but not by its own report. */
export const taskRunStatuses = ["RUNNING", "SUCCEEDED", "FAILED", "WARNING", "CANCELLED"] as const;
export type TaskRunStatus = (typeof taskRunStatuses)[number];

/** One event as the webhook takes it: FACT for the fields. `timestamp`, `metadata` and unknown fields are ignored. */
export type OrchestraEvent = { readonly taskRunId: string } & (
  | { readonly type: "UPDATE_STATUS"; readonly status?: TaskRunStatus; readonly message?: string }
  | { readonly type: "SET_OUTPUT"; readonly name: string; readonly value: Json }
  | { readonly type: "LOG"; readonly name: string; readonly data: string }
);

/** FACT: the three fields of a refusal, without the HTTP status, which is nowhere published. */
export interface OrchestraRefusal {
  readonly status: number;
  readonly error: string;
  /** FACT: `TASK_NOT_FOUND`. UNKNOWN: every other code. */
  readonly code: string;
}

export interface EventRules {
  /** Whether an output may have any name. Default: letters, `_` and `-` only, as the SDK's README says. */
  readonly anyOutputName?: boolean;
}

const canonicalUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Reads the body of a POST. UNKNOWN: that the real webhook checks each of these, and with these codes. */
export function readEvent(body: Json, rules: EventRules = {}): OrchestraEvent | OrchestraRefusal {
  if (!isJsonObject(body)) {
    return malformed("The body is not a JSON object");
  }
  const { task_run_id: taskRunId } = body;
  if (typeof taskRunId !== "string" || !canonicalUuid.test(taskRunId)) {
    return { status: 400, error: "Invalid task_run_id", code: "INVALID_TASK_RUN_ID" };
  }
  switch (body.event_type) {
    case "UPDATE_STATUS":
      return readStatusUpdate(taskRunId, body);
    case "SET_OUTPUT":
      return readOutput(taskRunId, body, rules);
    case "LOG":
      return readLog(taskRunId, body);
    default:
      return { status: 400, error: "Invalid event_type", code: "INVALID_EVENT_TYPE" };
  }
}

function readStatusUpdate(taskRunId: string, body: JsonObject): OrchestraEvent | OrchestraRefusal {
  const { status, message } = body;
  if (status !== undefined && !isTaskRunStatus(status)) {
    return { status: 400, error: "Invalid status", code: "INVALID_STATUS" };
  }
  if (message !== undefined && typeof message !== "string") {
    return malformed("message is not a string");
  }
  // FACT: SDK-B sends status-only and message-only updates, and nothing at all for neither.
  if (status === undefined && !message) {
    return malformed("Neither status nor message");
  }
  return {
    taskRunId,
    type: "UPDATE_STATUS",
    ...(status === undefined ? {} : { status }),
    ...(message === undefined ? {} : { message }),
  };
}

function readOutput(
  taskRunId: string,
  body: JsonObject,
  rules: EventRules,
): OrchestraEvent | OrchestraRefusal {
  const { output_name: name, output_value: value } = body;
  const allowed = rules.anyOutputName ? /./s : /^[A-Za-z_-]+$/;
  if (typeof name !== "string" || !allowed.test(name)) {
    return malformed("Invalid output_name");
  }
  if (value === undefined) {
    return malformed("Missing output_value");
  }
  return { taskRunId, type: "SET_OUTPUT", name, value };
}

function readLog(taskRunId: string, body: JsonObject): OrchestraEvent | OrchestraRefusal {
  const { log_name: name, data } = body;
  if (typeof name !== "string" || name === "") {
    return malformed("Invalid log_name");
  }
  if (typeof data !== "string") {
    return malformed("Invalid data");
  }
  return { taskRunId, type: "LOG", name, data };
}

export function malformed(error: string): OrchestraRefusal {
  return { status: 400, error, code: "MALFORMED_PAYLOAD" };
}

export function isTaskRunStatus(value: unknown): value is TaskRunStatus {
  return taskRunStatuses.some((status) => status === value);
}
