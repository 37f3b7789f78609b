import type { Clock } from "./clock.ts";
import type { Json } from "./json.ts";
import type { OrchestraEvent, OrchestraRefusal } from "./orchestra-event.ts";

export interface TaskRunRecord {
  readonly id: string;
  /** False: the webhook says `TASK_NOT_FOUND`. */
  known: boolean;
  /** The last one set, by an event or by hand; null before the first. */
  status: string | null;
  /** The last message. */
  message: string | null;
  /** By name in lower case: FACT, output names are case-insensitive. */
  outputs: Record<string, Json>;
  logs: { name: string; data: string; atMs: number }[];
  /** In order of arrival, refused ones included. */
  events: TaskRunEvent[];
}

export interface TaskRunEvent {
  readonly atMs: number;
  readonly event: OrchestraEvent;
  /** The task run had an outcome already. */
  readonly afterOutcome: boolean;
  /** The code it was refused with. */
  readonly refused?: string;
}

/** How the receiver treats what no public source tells. Can be changed while it runs. */
export interface TaskRunRules {
  /** Only task runs that were registered exist. Else any id does. */
  requireRegistration: boolean;
  /** Refuse a status after the outcome. Else it is taken, and flagged `afterOutcome`. */
  refuseAfterOutcome: boolean;
}

export interface TaskRuns {
  /** Makes a task run known, with a status if given. */
  register(id: string, status?: string): TaskRunRecord;
  /** Makes the webhook answer `TASK_NOT_FOUND` for an id. */
  disown(id: string): void;
  get(id: string): TaskRunRecord | undefined;
  /** In order of first appearance. */
  list(): TaskRunRecord[];
  /** Takes an event, or says why not. */
  apply(event: OrchestraEvent): OrchestraRefusal | undefined;
  reset(): void;
}

// FACT: completed is succeeded, failed or cancelled. INFERENCE: WARNING ends a run too.
const outcomes: ReadonlySet<string | null> = new Set(["SUCCEEDED", "FAILED", "WARNING", "CANCELLED"]);

/** The task runs of a workspace, and what their events do to them. */
export function createTaskRuns(clock: Clock, rules: TaskRunRules): TaskRuns {
  const runs = new Map<string, TaskRunRecord>();

  function find(id: string): TaskRunRecord {
    const found = runs.get(id);
    if (found !== undefined) {
      return found;
    }
    const fresh: TaskRunRecord = {
      id,
      known: !rules.requireRegistration,
      status: null,
      message: null,
      outputs: Object.create(null),
      logs: [],
      events: [],
    };
    runs.set(id, fresh);
    return fresh;
  }

  function refusalOf(run: TaskRunRecord, event: OrchestraEvent): OrchestraRefusal | undefined {
    if (!run.known) {
      return { status: 404, error: "Invalid task_run_id", code: "TASK_NOT_FOUND" };
    }
    // FACT: a log arrives after the outcome, because the SDK sends it last.
    if (!outcomes.has(run.status) || event.type === "LOG") {
      return undefined;
    }
    // FACT: a task run can be "not in a state that accepts outputs". UNKNOWN: the status and the code.
    if (event.type === "SET_OUTPUT") {
      return { status: 409, error: "Task run does not accept outputs", code: "INVALID_STATE" };
    }
    if (!rules.refuseAfterOutcome) {
      return undefined;
    }
    return { status: 409, error: "Task run has already completed", code: "INVALID_STATE" };
  }

  function take(run: TaskRunRecord, event: OrchestraEvent): void {
    switch (event.type) {
      case "UPDATE_STATUS":
        run.status = event.status ?? run.status;
        run.message = event.message ?? run.message;
        break;
      case "SET_OUTPUT":
        run.outputs[event.name.toLowerCase()] = event.value;
        break;
      case "LOG":
        run.logs.push({ name: event.name, data: event.data, atMs: clock.now() });
    }
  }

  return {
    register(id, status) {
      return Object.assign(find(id), { known: true }, status === undefined ? {} : { status });
    },
    disown(id) {
      find(id).known = false;
    },
    get: (id) => runs.get(id),
    list: () => [...runs.values()],
    apply(event) {
      const run = find(event.taskRunId);
      const refusal = refusalOf(run, event);
      const afterOutcome = outcomes.has(run.status);
      run.events.push({ atMs: clock.now(), event, afterOutcome, ...(refusal && { refused: refusal.code }) });
      if (refusal === undefined) {
        take(run, event);
      }
      return refusal;
    },
    reset: () => runs.clear(),
  };
}
