import type { CliContext } from "./cli-context.ts";

/** Resolves with the first request to stop. A second one ends the process at once. */
export function untilSignal(context: Pick<CliContext, "onSignal" | "exit">): Promise<void> {
  return new Promise((resolve) => {
    let isAsked = false;
    context.onSignal(() => {
      if (isAsked) {
        context.exit(1);
      }
      isAsked = true;
      resolve();
    });
  });
}
