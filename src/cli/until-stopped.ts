import type { Gateway } from "../gateway.ts";
import type { GatewayStore } from "../gateway-store.ts";
import { type CliContext, exitCodes } from "./cli-context.ts";
import { untilSignal } from "./until-signal.ts";

/**
 * Lets a gateway serve until it is asked to stop, or its store fails, and stops it.
 * Resolves with the exit code that says which.
 */
export async function untilStopped(
  context: Pick<CliContext, "onSignal" | "exit">,
  gateway: Pick<Gateway, "stop">,
  { failed }: Pick<GatewayStore, "failed">,
): Promise<number> {
  const code = await Promise.race([
    failed.then(() => exitCodes.failed),
    untilSignal(context).then(() => exitCodes.ok),
  ]);
  await gateway.stop();
  return code;
}
