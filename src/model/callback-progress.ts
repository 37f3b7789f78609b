import type { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";

/** What came of telling the Orchestrator how far a job is. */
export type CallbackProgress =
  | { readonly kind: "accepted" }
  /** Nobody waits for the job's result any more, or it is stored. Nothing more needs to be sent. */
  | { readonly kind: "over"; readonly cause: ErrorReason }
  /** The gateway takes no progress from this caller or session. Nothing was sent. */
  | { readonly kind: "refused"; readonly failure: Failure }
  | { readonly kind: "failed"; readonly failure: Failure; readonly isInDoubt: boolean };
