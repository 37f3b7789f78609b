import type { Engine } from "./orchestrator-engine.ts";
import { type Process, type ProcessPlan, type ProcessView, viewProcess } from "./orchestrator-process.ts";

/** Processes as a test or an operator handles them. */
export interface Processes {
  /** Starts a process. Its route is usable once the action step has returned, at once by default. */
  start(plan?: ProcessPlan): ProcessView;
  get(id: string): ProcessView | undefined;
  list(): ProcessView[];
  /** Ends the running action step now. False when none runs. */
  actionReturned(id: string): boolean;
  /** The operator's button: retries what failed (a new token), or goes on without a result. False when neither. */
  resume(id: string): boolean;
  /** False when it is over already. */
  abort(id: string): boolean;
}

export function createProcesses(engine: Engine): Processes {
  const act = (id: string, action: (process: Process) => boolean): boolean => {
    const process = engine.get(id);
    return process !== undefined && action(process);
  };
  return {
    start: (plan) => viewProcess(engine.start(plan)),
    get(id) {
      const process = engine.get(id);
      return process && viewProcess(process);
    },
    list: () => engine.list().map(viewProcess),
    actionReturned: (id) => act(id, engine.returnAction),
    resume: (id) => act(id, engine.resume),
    abort: (id) => act(id, engine.abort),
  };
}
