/** What the page asks for. */
export interface Job {
  command: string;
  /** `http://host:port`. */
  gateway: string;
  /** Empty where the gateway asks for none. */
  token: string;
  taskRunId: string;
  callbackRoute: string;
  definition: string;
  taskCount: number;
}

/** What it is told: lines, and at last how it ended. */
export type Told = { line: string } | { exitCode: 0 | 1 };
