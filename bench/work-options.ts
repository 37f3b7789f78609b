/** What a process of workers is started with, as JSON in its one argument. */
export interface WorkOptions {
  definition: string;
  workers: number;
  /** How many tasks each has at once. */
  limit: number;
  /** The gateway's `host:port`, or Aidbox's URL. */
  address: string;
  /** For Aidbox alone. */
  clientId: string;
  clientSecret: string;
}

/** What it is told by each message: how many tasks come next. */
export interface WorkRound {
  tasks: number;
}

/** What it says when it is ready for a round, and when all of them are done. */
export type WorkReply = "ready" | WorkResult;

export interface WorkResult {
  /** From ready to a worker, of each task. */
  waitsMs: number[];
}
