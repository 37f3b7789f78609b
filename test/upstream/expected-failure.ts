import { create } from "@bufbuild/protobuf";
import type { Code } from "@connectrpc/connect";
import type { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { type Failure, FailureSchema } from "../../gen/taskgate/v1/receipt_pb.ts";

/** A failure as a test expects it, spelled out. */
export function expectedFailure(
  code: Code,
  reason: ErrorReason,
  message: string,
  metadata: Record<string, string>,
  retrySeconds?: number,
): Failure {
  const retryDelay =
    retrySeconds === undefined ? {} : { retryDelay: { seconds: BigInt(retrySeconds), nanos: 0 } };
  return create(FailureSchema, { code, reason, message, metadata, ...retryDelay });
}
