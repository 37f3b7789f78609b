import { type OwnedClock, runAt, sleep } from "./clock.ts";
import { callbackToken, type Random, uuid } from "./ids.ts";
import type { Json, JsonObject } from "./json.ts";
import {
  type CompletePlan,
  callbackRoute,
  type Process,
  type ProcessEvent,
  type ProcessPlan,
  type StepRow,
  tokenKey,
} from "./orchestrator-process.ts";

export interface EngineOptions {
  /** How often timed-out callbacks are looked for. Default 30,000: FACT, every 30 s. */
  readonly sweepIntervalMs?: number;
}

const defaultPlan: CompletePlan = { actionMs: 0, steps: 1, validateMs: 0, validate: "return-code" };

/** Runs processes: action, wait, validation, next step. Callbacks come from outside, see `createCallbacks`. */
export interface Engine {
  start(plan?: ProcessPlan): Process;
  get(id: string): Process | undefined;
  list(): Process[];
  /** Ends the current action step now. False when none is running. */
  returnAction(process: Process): boolean;
  /** As the operator's button: retries a failed group, or continues a process that waits. False when it cannot. */
  resume(process: Process): boolean;
  /** False when it is over already. */
  abort(process: Process): boolean;
  /** Goes on from a row that may hold a result, and resolves when the process has come to its next stop. */
  goOn(process: Process, row: StepRow): Promise<void>;
  /** The time between reading a row and writing it: undefined without the race. */
  raceWindow(): Promise<void> | undefined;
  note(process: Process, event: ProcessEvent["event"], detail?: Json): void;
  reset(): void;
}

const longestFailedReason = 10_000;
const longestHistory = 10_000;

export function createEngine(
  clock: OwnedClock,
  random: Random,
  switches: { readonly raceWindowMs: number },
  { sweepIntervalMs = 30_000 }: EngineOptions = {},
): Engine {
  const processes = new Map<string, Process>();
  const startedAtMs = clock.now();

  function note(process: Process, event: ProcessEvent["event"], detail?: Json): void {
    const { history } = process;
    if (history.length >= longestHistory) {
      history.shift();
    }
    history.push({ at_ms: clock.now(), event, ...(detail === undefined ? {} : { detail }) });
  }

  /** FACT: every run of a step group makes a new token, and starts with the action. */
  function beginStep(process: Process, step: number): void {
    const token = callbackToken(random);
    const state = {
      process_id: process.id,
      callback_route: callbackRoute(process.id, token),
      [tokenKey]: token,
    };
    process.cancelTimer();
    process.row = { step, state };
    process.status = "running";
    process.isActing = true;
    process.failedReason = null;
    process.counts.actionRuns++;
    note(process, "action-started");
    const { actionMs } = process.plan;
    if (actionMs <= 0) {
      awaitCallback(process);
    } else {
      process.cancelTimer = runAt(clock, clock.now() + actionMs, () => awaitCallback(process));
    }
  }

  function awaitCallback(process: Process): void {
    const { timeoutMs } = process.plan;
    process.cancelTimer();
    process.isActing = false;
    process.status = "awaiting_callback";
    note(process, "awaiting-callback");
    if (timeoutMs === undefined) {
      return;
    }
    // FACT: a callback after the deadline and before the sweep is accepted.
    const sinceStartMs = clock.now() + timeoutMs - startedAtMs;
    const sweepAtMs = startedAtMs + Math.ceil(sinceStartMs / sweepIntervalMs) * sweepIntervalMs;
    process.cancelTimer = runAt(clock, sweepAtMs, () => {
      if (process.status === "awaiting_callback") {
        fail(process, "Callback timed out");
      }
    });
  }

  function fail(process: Process, reason: string): void {
    process.cancelTimer();
    process.isActing = false;
    process.status = "failed";
    process.failedReason = reason.slice(0, longestFailedReason);
    note(process, "failed", reason);
  }

  async function goOn(process: Process, row: StepRow): Promise<void> {
    process.cancelTimer();
    const pickUp = raceWindow();
    if (pickUp !== undefined) {
      await pickUp;
    }
    if (process.status === "aborted") {
      return;
    }
    process.status = "running";
    // FACT: progress is dropped when the process continues.
    const { callback_progress: _, ...state } = row.state;
    row.state = state;
    await validate(process, row);
  }

  async function validate(process: Process, row: StepRow): Promise<void> {
    const result = row.state.callback_result;
    process.counts.validations++;
    note(process, "validation-started");
    if (result === undefined) {
      // FACT: with the quotation marks, and the name of the step's function.
      return fail(process, `"Could not find key 'callback_result' in state. for function sandbox.validate"`);
    }
    if (process.plan.validateMs > 0) {
      await sleep(clock, process.plan.validateMs);
    }
    if (process.status === "aborted") {
      return;
    }
    const problem = judge(process, result as JsonObject);
    if (problem !== undefined) {
      return fail(process, problem);
    }
    note(process, "validated", result);
    process.results.push(result);
    if (row.step + 1 < process.plan.steps) {
      return beginStep(process, row.step + 1);
    }
    process.status = "completed";
    note(process, "completed");
  }

  function judge({ plan }: Process, result: JsonObject): string | undefined {
    if (plan.validate === "none") {
      return undefined;
    }
    if (plan.validate === "return-code") {
      return result.return_code === 0 ? undefined : "Callback failure";
    }
    try {
      return plan.validate(result);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  function raceWindow(): Promise<void> | undefined {
    const { raceWindowMs } = switches;
    // From half to one and a half of it: with equal times the order of arrival would decide every race.
    return raceWindowMs > 0 ? sleep(clock, raceWindowMs * (0.5 + random())) : undefined;
  }

  return {
    start(plan = {}) {
      const process: Process = {
        id: uuid(random),
        plan: { ...defaultPlan, ...plan },
        status: "running",
        row: { step: 0, state: {} },
        isActing: false,
        failedReason: null,
        results: [],
        history: [],
        counts: { actionRuns: 0, validations: 0, acceptedCallbacks: 0, acceptedProgress: 0 },
        cancelTimer: () => {},
      };
      processes.set(process.id, process);
      beginStep(process, 0);
      return process;
    },
    get: (id) => processes.get(id),
    list: () => [...processes.values()],
    returnAction(process) {
      if (!process.isActing) {
        return false;
      }
      awaitCallback(process);
      return true;
    },
    resume(process) {
      const { status, row } = process;
      if (status !== "failed" && status !== "awaiting_callback" && status !== "resumed") {
        return false;
      }
      note(process, "resumed-by-operator");
      // FACT: a retry runs the whole group again; a resume while waiting validates without a result, and fails.
      if (status === "failed") {
        beginStep(process, row.step);
      } else {
        void goOn(process, row);
      }
      return true;
    },
    abort(process) {
      if (process.status === "aborted" || process.status === "completed") {
        return false;
      }
      process.cancelTimer();
      process.isActing = false;
      process.status = "aborted";
      note(process, "aborted");
      return true;
    },
    goOn,
    raceWindow,
    note,
    reset() {
      for (const process of processes.values()) {
        process.cancelTimer();
      }
      processes.clear();
      clock.cancelAll();
    },
  };
}
