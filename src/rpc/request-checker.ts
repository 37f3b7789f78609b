import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { createFailure } from "../model/failure.ts";
import type { JsonTextResult } from "../model/json-text.ts";
import { findTextProblem } from "../model/text-problem.ts";
import { errorFromFailure, type FieldViolation, invalidRequest } from "./errors.ts";

/**
 * Collects what is wrong with a request, so that all of it is told at once. Each
 * check takes the field's name as it is in the proto.
 */
export interface RequestChecker {
  /** Adds a problem, written as the end of a sentence about the field. */
  add(field: string, problem: string | undefined): void;
  /** The text must not be empty, and must be one that an upstream can store. */
  requireText(field: string, text: string): void;
  /** The text, where there is one, must be one that an upstream can store. */
  text(field: string, text: string): void;
  /** The number must be a member of the enum. */
  member(field: string, value: number, members: Record<string, number | string>): void;
  /** Takes JSON text, or adds its problem and returns an empty text. */
  json(field: string, result: JsonTextResult): string;
  /** Throws INVALID_REQUEST with all problems, if there are any. */
  throwIfInvalid(): void;
}

/** Creates a checker for one request. */
export function createRequestChecker(): RequestChecker {
  const violations: FieldViolation[] = [];
  function add(field: string, problem: string | undefined): void {
    if (problem !== undefined) {
      violations.push({ field, description: problem });
    }
  }
  return {
    add,
    requireText(field, text) {
      add(field, text === "" ? "is required" : findTextProblem(text));
    },
    text(field, text) {
      add(field, findTextProblem(text));
    },
    member(field, value, members) {
      if (!Object.values(members).includes(value)) {
        add(field, `is ${value}, which is not a member of the enum`);
      }
    },
    json(field, result) {
      if ("problem" in result) {
        add(field, result.problem);
        return "";
      }
      return result.text;
    },
    throwIfInvalid() {
      if (violations.length > 0) {
        throw invalidRequest(violations);
      }
    },
  };
}

/** Throws PAYLOAD_TOO_LARGE for a text of more than `maxBytes` bytes of UTF-8. */
export function assertSize(field: string, text: string, maxBytes: number): void {
  // A UTF-16 unit is at most three bytes of UTF-8, so most texts need no count.
  if (text.length * 3 <= maxBytes) {
    return;
  }
  const bytes = Buffer.byteLength(text);
  if (bytes > maxBytes) {
    throw errorFromFailure(
      createFailure(
        ErrorReason.PAYLOAD_TOO_LARGE,
        `${field} has ${bytes} bytes, and the limit is ${maxBytes}`,
        { metadata: { field, limit_bytes: String(maxBytes) } },
      ),
      [{ field, description: `has ${bytes} bytes, and the limit is ${maxBytes}` }],
    );
  }
}
