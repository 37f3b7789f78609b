import type { Sandbox } from "../../../src/sandbox/sandbox.ts";
import type { Running, Stage } from "./stage.ts";

/**
 * What every example can do, as a command of its own. Each reads `TASKGATE_ADDRESS` (`host:port`, plain HTTP/2) and
 * `TASKGATE_TOKEN` (the bearer token), ends by itself with exit code 0, and is judged by what the upstreams got.
 * Names of enum values are printed with or without their prefix.
 *
 * - `report`, for the run `ORCHESTRA_TASK_RUN_ID`: RUNNING with a message, an output, SUCCEEDED, each by a unary call.
 *   Prints a line with each receipt's state, `STORED` or `DELIVERED`.
 * - `errors`: a call with the task run id `not-a-uuid`. Prints `reason=INVALID_REQUEST field=task_run_id` as the
 *   details of the status say; fails when they do not.
 * - `track`, for `ORCHESTRA_TASK_RUN_ID`: `TrackRun` with beats, three updates with a message, and SUCCEEDED. Prints
 *   `finished` when the outcome is settled.
 * - `die`, for `ORCHESTRA_TASK_RUN_ID`: `TrackRun` that fails when lost. Prints `tracking` once it is ready, and beats
 *   until it is killed.
 * - `callback`, for `CALLBACK_ROUTE`: progress, then a job result with the return code 0. Prints the receipt's state.
 * - `work`: on `Work` takes tasks of `AIDBOX_DEFINITION` whose params are `{"number": n}`, and ends each with the
 *   result `{"square": n * n}`. After `AIDBOX_TASKS` of them it drains, and prints `done 100`.
 */
export const storyCommands = ["report", "errors", "track", "die", "callback", "work"] as const;

export type StoryCommand = (typeof storyCommands)[number];

/**
 * The same once more, with the connection reset in the middle, or with a gateway that is told to stop and started again:
 * the client goes on with its session, or with a new one where the gateway comes back with an empty data directory.
 */
export type Resuming =
  | "track across a break"
  | "work across a break"
  | "track across a restart"
  | "work across a restart"
  | "work across lost data";

/** A client in another language, as `examples/` shows it. */
export interface Client {
  /** As on the command line. */
  name: string;
  /** The section of docs/clients.md with its recipe, which is followed to the letter. */
  recipe?: string;
  /** What it has no way to do, and why. */
  lacks?: Partial<Record<StoryCommand | Resuming, string>>;
  /**
   * Generates its code from `proto/` and builds it, in directories that git ignores or the stage removes. Throws `Skip`
   * with what is missing, where its toolchain is not there.
   */
  build(stage: Stage): Promise<BuiltClient>;
}

export interface BuiltClient {
  /** Of the language, the generators and the libraries that it was built with: `{"Go": "1.26.8", "grpc-go": "1.85.0"}`. */
  versions: Record<string, string>;
  launch(command: string): Launch;
  /** Settings that its gateway needs besides. */
  settings?: Record<string, string>;
  /** What only this client can show. */
  more?(setting: Setting): Promise<void>;
  /** A directory with tools that its recipe calls, beside those of `PATH`. */
  tools?: string;
}

/** How a command is started. */
export interface Launch {
  command: string;
  args: readonly string[];
  cwd?: string;
  /** Beside `PATH`, `HOME` and the variables of the story. */
  env?: Record<string, string>;
}

/** One client beside a gateway and a sandbox of its own. */
export interface Setting {
  stage: Stage;
  name: string;
  sandbox: Sandbox;
  address: string;
  leaseMs: number;
  /** Starts a command; `address`: by way of this one. */
  start(command: string, env: Record<string, string>, address?: string): Running;
  /** Tells the gateway to stop, and starts it again at the same address with what it has stored, or with nothing. */
  restart(options?: { empty: boolean }): Promise<void>;
}
