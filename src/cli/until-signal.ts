import { type CliContext, exitCodes } from "./cli-context.ts";

/**
 * Resolves with the first request to stop. A second one ends the process at once. To be
 * called early: the first process of a container ignores a signal that it does not
 * listen for.
 */
export function untilSignal(context: Pick<CliContext, "onSignal" | "exit">): Promise<void> {
  return new Promise((resolve) => {
    let isAsked = false;
    context.onSignal(() => {
      if (isAsked) {
        context.exit(exitCodes.stoppedAtOnce);
      }
      isAsked = true;
      resolve();
    });
  });
}
