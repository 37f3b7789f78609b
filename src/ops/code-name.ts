import { Code } from "@connectrpc/connect";
import type { CallCode } from "../model/call-observer.ts";

/** The name of a code as gRPC spells it, for example `INVALID_ARGUMENT`. */
export function codeName(code: CallCode): string {
  if (code === 0) {
    return "OK";
  }
  // Connect writes this one with one L.
  return code === Code.Canceled
    ? "CANCELLED"
    : (Code[code] ?? "UNKNOWN").replace(/(?<=[a-z])[A-Z]/g, "_$&").toUpperCase();
}
