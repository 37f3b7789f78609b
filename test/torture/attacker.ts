import { parentPort, workerData } from "node:worker_threads";
import { createAttacks, type RunningAttack, startAttack } from "./attacks.ts";

// Attacks on another thread: its own loop must not slow down the honest client's.
const { port } = workerData as { port: number };
const attacks = createAttacks();
let running: RunningAttack | undefined;

parentPort?.on("message", (name: string | undefined) => {
  if (running !== undefined) {
    parentPort?.postMessage(running.figures());
    running.stop();
    running = undefined;
    return;
  }
  const attack = name === undefined ? undefined : attacks.get(name);
  if (attack === undefined) {
    throw new Error(`there is no attack ${name}`);
  }
  running = startAttack(attack, port);
});
