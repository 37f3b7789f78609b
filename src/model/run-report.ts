/** What may be reported of an Orchestra task run, in Orchestra's words. */
export type RunStatus = "RUNNING" | "SUCCEEDED" | "FAILED" | "WARNING" | "CANCELLED";

/** One task run: Orchestra knows the id, the gateway tells attempts apart. */
export interface RunKey {
  /** A UUID in canonical form. */
  taskRunId: string;
  /** 0 or more. */
  attempt: number;
}

/** The run as one text. */
export function runKeyText(run: RunKey): string {
  return `${run.taskRunId}/${run.attempt}`;
}

/** What a task says of an Orchestra task run. Valid: it was checked on arrival. */
export type RunReport = { readonly run: RunKey } & (
  | {
      readonly kind: "status";
      /** Absent: the last one reported. */
      readonly status: RunStatus | undefined;
      readonly message: string | undefined;
    }
  | { readonly kind: "output"; readonly name: string; readonly valueJson: string }
  | { readonly kind: "log"; readonly name: string; readonly data: string }
);

/** Says whether a status ends the run. */
export function isRunOutcome(status: RunStatus): boolean {
  return status !== "RUNNING";
}
