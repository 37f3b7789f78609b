import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { type ChildProcesses, failOnExit } from "./child-processes.ts";

/** Where the sandbox's Aidbox is. */
export interface AidboxReady {
  url: string;
  clientId: string;
  clientSecret: string;
}

export interface AidboxQuestion {
  /** How many tasks become ready, of which definition, and how many a second. */
  create: number;
  definition: string;
  perSecond: number;
}

export interface AidboxAnswer {
  /** From the first task that was ready to the last that was done. */
  elapsedMs: number;
  /** Requests meanwhile: polls for the definition, and all that were no polls. */
  polls: number;
  others: number;
}

/** The sandbox's Aidbox in a process of its own. */
export interface AidboxProcess extends AidboxReady {
  pid: number;
  /** Makes tasks ready. Resolves when all of them are done. */
  ask(question: AidboxQuestion): Promise<AidboxAnswer>;
}

/** Starts it, where the clients are. */
export async function startAidbox(children: ChildProcesses): Promise<AidboxProcess> {
  const file = fileURLToPath(new URL("./aidbox-server.ts", import.meta.url));
  const child = children.start("client", [file], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const ended = failOnExit(child);
  ended.catch(() => undefined);
  const next = async () => (await Promise.race([once(child, "message"), ended]))[0];
  const ready = (await next()) as AidboxReady;
  return {
    ...ready,
    pid: child.pid ?? 0,
    ask(question) {
      const answer = next() as Promise<AidboxAnswer>;
      child.send(question);
      return answer;
    },
  };
}
