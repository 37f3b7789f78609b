import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type LoadOptions, runLoad } from "./load-client.ts";

const retryMs = 1;
const timeLimitMs = 20_000;

/**
 * Waits until something listens, makes one call, and resolves with its answer. It
 * tries once in a millisecond, which is how exact a time taken around it is.
 */
export async function untilFirstAnswer(
  call: Pick<LoadOptions, "address" | "path" | "request">,
): Promise<void> {
  const deadlineMs = performance.now() + timeLimitMs;
  while (!(await isListening(call.address))) {
    if (performance.now() > deadlineMs) {
      throw new Error(`nothing listens at ${call.address} after ${timeLimitMs} ms`);
    }
    await delay(retryMs);
  }
  await runLoad({ ...call, durationMs: timeLimitMs, maxCalls: 1 });
}

function isListening(address: string): Promise<boolean> {
  const { hostname: host, port } = new URL(`http://${address}`);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = net.connect({ host, port: Number(port) }, () => {
    resolve(true);
    socket.destroy();
  });
  socket.once("error", () => resolve(false));
  return promise;
}
