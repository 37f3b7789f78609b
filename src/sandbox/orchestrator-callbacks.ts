import { hasStorableText, type Json, type JsonObject, scalarsOf } from "./json.ts";
import type { Engine } from "./orchestrator-engine.ts";
import { type Process, type StepRow, tokenKey } from "./orchestrator-process.ts";

/** Can be changed while it runs. */
export interface OrchestratorSwitches {
  /** The operator has paused the engine. FACT: this can last for hours. */
  locked: boolean;
  /**
   * Above 0: the read-modify-write race of the real one. Handlers read the row, wait about that long, and write the
   * whole row back; a worker picks a continued process up about that long after. 0: every handler is atomic.
   */
  raceWindowMs: number;
  /** FACT: the result is stored, the answer is 500, and only the operator can continue the process. */
  brokerDown: boolean;
  /** FACT: with TESTING the final POST is answered when the process has come to its next stop. */
  testing: boolean;
  /** FACT: the workflow is gone from the code, and final callbacks are refused with 400. */
  workflowRemoved: boolean;
}

/** What became of a callback, in the order in which the Orchestrator checks. */
export type CallbackOutcome =
  | "unknown-process"
  | "not-awaiting"
  | "invalid-token"
  | "workflow-removed"
  /** The database or its driver cannot hold the value. Nothing is consumed. */
  | "unstorable"
  | "broker-down"
  | "accepted";

export interface Callbacks {
  /** The final callback. */
  complete(id: string, token: string, result: JsonObject): Promise<CallbackOutcome>;
  progress(id: string, token: string, progress: Json): Promise<CallbackOutcome>;
}

/**
 * FACT: how the two handlers check, read and write. INFERENCE: why they race (no lock between reading and writing,
 * and a worker that reads the row again), which is emulated here rather than its symptoms.
 */
export function createCallbacks(engine: Engine, switches: OrchestratorSwitches): Callbacks {
  function open(id: string, token: string): CallbackOutcome | { process: Process; row: StepRow } {
    const process = engine.get(id);
    if (process === undefined) {
      return "unknown-process";
    }
    if (process.status !== "awaiting_callback") {
      return "not-awaiting";
    }
    if (process.row.state[tokenKey] !== token) {
      return "invalid-token";
    }
    return { process, row: process.row };
  }

  return {
    async complete(id, token, result) {
      const opened = open(id, token);
      if (typeof opened === "string") {
        return opened;
      }
      if (switches.workflowRemoved) {
        return "workflow-removed";
      }
      if (!isStorable(result)) {
        return "unstorable";
      }
      const { process, row } = opened;
      const read = row.state;
      const window = engine.raceWindow();
      if (window !== undefined) {
        await window;
      }
      row.state = { ...read, callback_result: result };
      process.cancelTimer();
      process.status = "resumed";
      engine.note(process, "callback", result);
      if (switches.brokerDown) {
        return "broker-down";
      }
      process.counts.acceptedCallbacks++;
      const stop = engine.goOn(process, row);
      if (switches.testing) {
        await stop;
      }
      return "accepted";
    },
    async progress(id, token, progress) {
      const opened = open(id, token);
      if (typeof opened === "string") {
        return opened;
      }
      if (!isStorable(progress)) {
        return "unstorable";
      }
      const { process, row } = opened;
      const read = row.state;
      const window = engine.raceWindow();
      if (window !== undefined) {
        await window;
      }
      row.state = { ...read, callback_progress: progress };
      process.counts.acceptedProgress++;
      engine.note(process, "progress", progress);
      return "accepted";
    },
  };
}

/** FACT: U+0000, lone surrogates and integers beyond 64 bits cannot be stored. INFERENCE: unsigned 64 bits can. */
function isStorable(value: Json): boolean {
  for (const scalar of scalarsOf(value)) {
    if (typeof scalar === "bigint" && (scalar >= 2n ** 64n || scalar < -(2n ** 63n))) {
      return false;
    }
  }
  return hasStorableText(value);
}
