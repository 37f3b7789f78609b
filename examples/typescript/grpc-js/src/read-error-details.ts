import type { ServiceError } from "@grpc/grpc-js";
import type { BadRequest__Output } from "../gen/google/rpc/BadRequest.ts";
import type { ErrorInfo__Output } from "../gen/google/rpc/ErrorInfo.ts";
import { BadRequest, ErrorInfo, Status } from "./gateway.ts";

export interface ErrorDetails {
  /** Why, for a program. */
  info?: ErrorInfo__Output;
  /** Which fields are wrong. */
  badRequest?: BadRequest__Output;
}

/** Reads Google's error details from the trailer in which gRPC carries them. */
export function readErrorDetails({ metadata }: ServiceError): ErrorDetails {
  const details: ErrorDetails = {};
  for (const bytes of metadata.get("grpc-status-details-bin")) {
    for (const { type_url: type, value } of Status.deserialize(bytes as Buffer).details) {
      if (type.endsWith("/google.rpc.ErrorInfo")) {
        details.info = ErrorInfo.deserialize(value);
      } else if (type.endsWith("/google.rpc.BadRequest")) {
        details.badRequest = BadRequest.deserialize(value);
      }
    }
  }
  return details;
}
