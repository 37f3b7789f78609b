import type { Failure, Receipt } from "../../gen/taskgate/v1/receipt_pb.ts";

/** What goes with a report on its way into the outbox. */
export interface SubmitOptions {
  /** The RPC, for example `UpdateTask`. */
  operation: string;
  /** The caller's name. */
  caller: string;
  /** Answer when the report is `stored`, or when it is `delivered` or refused. */
  waitFor: "stored" | "delivered";
  /** Makes a repetition recognisable; empty: none. */
  requestId: string;
  /** The session that speaks; empty: none. */
  sessionId: string;
  /** Said in a lost worker's name. Default: the worker says it itself. */
  isByGateway?: boolean;
  /** What is left of the caller's deadline. */
  timeoutMs: () => number | undefined;
  /** Ends the wait, not the delivery. */
  signal: AbortSignal;
}

/** How a delivery ended, with the upstream's answer as JSON text where it gave one. */
export interface Ended {
  readonly receipt: Receipt;
  readonly answer: string;
}

/**
 * What became of a report: a receipt, with the upstream's answer as JSON text
 * where it gave one, or a failure that the caller must hear of as an error.
 */
export type Submission =
  | {
      readonly kind: "accepted";
      readonly receipt: Receipt;
      readonly answer: string;
      /**
       * Waits for the end of the delivery, however long that takes. Resolves with what
       * is known of it, which is not its end when the signal aborts or the gateway stops.
       */
      readonly ended: (signal: AbortSignal) => Promise<Ended>;
    }
  | { readonly kind: "failed"; readonly failure: Failure };
