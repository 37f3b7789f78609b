import type { Gateway } from "../gateway.ts";
import { undeliveredWords } from "../gateway-stop.ts";
import type { GatewayStore } from "../gateway-store.ts";
import { exitCodes } from "./cli-context.ts";

/** How a gateway that was started has ended. */
export interface Ending {
  exitCode: number;
  /** For people, a line. */
  words: string;
}

/**
 * Lets a gateway serve until it is asked to stop, or its store fails, and stops it.
 *
 * @param asked resolves when it shall stop
 */
export async function untilStopped(
  asked: Promise<void>,
  gateway: Pick<Gateway, "stop">,
  { failed }: Pick<GatewayStore, "failed">,
): Promise<Ending> {
  const failure = await Promise.race([failed, asked]);
  const result = await gateway.stop();
  const words = undeliveredWords(result);
  if (failure !== undefined) {
    return { exitCode: exitCodes.failed, words: `the store has failed: ${failure.message}; ${words}` };
  }
  const isEmpty = result.undelivered?.length === 0;
  return { exitCode: isEmpty ? exitCodes.ok : exitCodes.undelivered, words };
}
