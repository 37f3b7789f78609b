import type { Json, JsonObject } from "./json.ts";

/** What a workflow does. FACT: only the author of a workflow decides on any of this; the caller is not told. */
export interface ProcessPlan {
  /** How long each action step runs before it returns. Callbacks before that are refused. Default 0. */
  actionMs?: number;
  /** Callback steps, one after the other. Default 1. */
  steps?: number;
  /** Ends the wait for a callback, at the first sweep after it. FACT: the default is to wait for ever. */
  timeoutMs?: number;
  /** How long each validation runs. Default 0. */
  validateMs?: number;
  /**
   * Judges a callback result: undefined is good, a text is why not (throwing is the same). "none" takes any; the
   * default, "return-code", fails with `Callback failure` unless `return_code` is 0, as the documented example does.
   */
  validate?: "return-code" | "none" | ((result: JsonObject) => string | undefined);
}

export type ProcessStatus = "running" | "awaiting_callback" | "resumed" | "failed" | "aborted" | "completed";

/** The database row of a step. Its state is replaced whole, never changed in place: the races come from that. */
export interface StepRow {
  /** From 0. */
  readonly step: number;
  state: JsonObject;
}

/** A plan with its defaults filled in. */
export type CompletePlan = Required<Omit<ProcessPlan, "timeoutMs">> & Pick<ProcessPlan, "timeoutMs">;

/** A process inside the engine. */
export interface Process {
  readonly id: string;
  readonly plan: CompletePlan;
  status: ProcessStatus;
  row: StepRow;
  /** The action step has not returned. */
  isActing: boolean;
  failedReason: string | null;
  readonly results: Json[];
  readonly history: ProcessEvent[];
  readonly counts: {
    actionRuns: number;
    validations: number;
    acceptedCallbacks: number;
    acceptedProgress: number;
  };
  /** Stops the timer of the action or of the timeout. */
  cancelTimer: () => void;
}

export interface ProcessEvent {
  readonly at_ms: number;
  readonly event:
    | "action-started"
    | "awaiting-callback"
    | "callback"
    | "progress"
    | "resumed-by-operator"
    | "validation-started"
    | "validated"
    | "failed"
    | "aborted"
    | "completed";
  readonly detail?: Json;
}

/** A process as it is told. Where the Orchestrator has a name for a field, it is spelled as there. */
export interface ProcessView {
  readonly process_id: string;
  readonly status: ProcessStatus;
  /** Of the current callback step, from 1. */
  readonly step: number;
  readonly steps: number;
  readonly callback_route: string;
  readonly token: string;
  /** As stored by the current step; null before that, or when a race erased it. */
  readonly callback_result: Json;
  readonly callback_progress: Json;
  readonly failed_reason: string | null;
  /** The results that passed validation, in order. */
  readonly results: readonly Json[];
  /** More than one per step and operator retry: the remote system got its job twice. */
  readonly action_runs: number;
  /** More than one per accepted callback and operator resume: a race. */
  readonly validations: number;
  /** Final callbacks that were answered 200. */
  readonly accepted_callbacks: number;
  readonly accepted_progress: number;
  readonly history: readonly ProcessEvent[];
}

/** FACT: the state key under which the Orchestrator keeps the token. */
export const tokenKey = "__callback_token";

export function callbackRoute(processId: string, token: string): string {
  return `/api/processes/${processId}/callback/${token}`;
}

export function viewProcess(process: Process): ProcessView {
  const { row, plan, counts } = process;
  return {
    process_id: process.id,
    status: process.status,
    step: row.step + 1,
    steps: plan.steps,
    callback_route: String(row.state.callback_route),
    token: String(row.state[tokenKey]),
    callback_result: row.state.callback_result ?? null,
    callback_progress: row.state.callback_progress ?? null,
    failed_reason: process.failedReason,
    results: [...process.results],
    action_runs: counts.actionRuns,
    validations: counts.validations,
    accepted_callbacks: counts.acceptedCallbacks,
    accepted_progress: counts.acceptedProgress,
    history: [...process.history],
  };
}
