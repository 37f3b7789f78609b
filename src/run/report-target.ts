import type { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import type { KeptOutput } from "./kept-output.ts";
import type { NamedOutput } from "./output-file.ts";

/** What a command reports on: an Orchestra task run, or a callback. */
export interface ReportTarget {
  /** Opens or renews the lease. */
  beat: (call: TargetCall) => Promise<Beat>;
  /** That the command runs; undefined where nobody wants to know. */
  begin: () => Report | undefined;
  /** A line for people, which the next one replaces. */
  message: (text: string) => Report;
  /** Undefined: there is no place for outputs. */
  output: (output: NamedOutput) => Report | undefined;
  /** What was printed; undefined where it is a part of the outcome. */
  log: (name: string, output: KeptOutput) => Report | undefined;
  /** The end. */
  outcome: (outcome: Outcome) => Report;
}

/** How a call is made. */
export interface TargetCall {
  /** Empty: none. */
  sessionId: string;
  timeoutMs: number;
  signal: AbortSignal;
}

/** What the gateway answers to a beat. */
export interface Beat extends Order {
  sessionId: string;
  /** 0: not told. */
  leaseDurationMs: number;
  nextHeartbeatMs: number;
}

/** What the gateway asks for. */
export interface Order {
  directive: Directive;
  cause: ErrorReason;
}

/** One report. Sending it again is the same report. */
export interface Report {
  /** For people. */
  what: string;
  kind: "message" | "outcome" | "other";
  /** Rejects with the error of the call. */
  send: (call: TargetCall) => Promise<ReportAnswer>;
}

export interface ReportAnswer {
  order?: Order;
  /** It is stored, and has not come as far as was asked for. */
  isPending?: boolean;
}

/** How a command ended, as it is told. */
export interface Outcome {
  isSuccess: boolean;
  exitCode: number;
  /** Why it failed. */
  message: string;
  /** The last line of its standard error. */
  lastLine: string;
  /** What it printed, where that is wanted. */
  output: KeptOutput | undefined;
}
