import { constants } from "node:os";
import { cutText, maxLineLength } from "./last-line.ts";

/** How a command ended. */
export type ChildEnd =
  | { readonly kind: "exited"; readonly code: number }
  | { readonly kind: "killed"; readonly signal: NodeJS.Signals }
  /** It never ran; `errorCode` is the system's word, such as ENOENT. */
  | { readonly kind: "notStarted"; readonly errorCode: string };

/** The exit code, as a shell would say it: 128 and the signal's number, 127 not found, 126 not executable. */
export function exitCodeOf(end: ChildEnd): number {
  switch (end.kind) {
    case "exited":
      return end.code;
    case "killed":
      return 128 + constants.signals[end.signal];
    case "notStarted":
      return end.errorCode === "ENOENT" ? 127 : 126;
    default:
      return end satisfies never;
  }
}

/** Why a command failed, cut at `maxLineLength`; empty when it did not. */
export function failureText(end: ChildEnd, command: string, lastLine: string): string {
  const reason = reasonOf(end, command);
  return reason === "" ? "" : cutText(lastLine === "" ? reason : `${reason}: ${lastLine}`, maxLineLength);
}

function reasonOf(end: ChildEnd, command: string): string {
  switch (end.kind) {
    case "exited":
      return end.code === 0 ? "" : `exit code ${end.code}`;
    case "killed":
      return `killed by ${end.signal}`;
    case "notStarted":
      return end.errorCode === "ENOENT"
        ? `command not found: ${command}`
        : `the command cannot be run: ${command}: ${end.errorCode}`;
    default:
      return end satisfies never;
  }
}
