import type { ChildProcesses } from "./child-processes.ts";

export interface ScenarioContext {
  children: ChildProcesses;
  /** How many rounds were asked for. Undefined: as many as the scenario needs. */
  rounds: number | undefined;
  /** Tells the user how far it has come. */
  progress: (text: string) => void;
}

export interface ScenarioResult {
  /** For people. */
  text: string;
  /** For machines, as JSON: the summary and the raw figures of every round. */
  data: object;
}

/** One question that the benchmark answers. */
export type Scenario = (context: ScenarioContext) => Promise<ScenarioResult>;
