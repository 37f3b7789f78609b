import { fileURLToPath } from "node:url";
import type { ChildProcesses } from "./child-processes.ts";
import type { LoadOptions, LoadResult } from "./load-client.ts";

/** What the process of the load client answers. */
export type LoadReply = { result: LoadResult } | { error: string };

/** The load client in a process of its own. */
export interface LoadProcess {
  /** As `runLoad`. One at a time. */
  run(options: LoadOptions): Promise<LoadResult>;
}

/** Starts a process that makes load. */
export function startLoadProcess(children: ChildProcesses): LoadProcess {
  const file = fileURLToPath(new URL("./load-client-process.ts", import.meta.url));
  const child = children.start("client", [file], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    serialization: "advanced",
  });
  let waiting = Promise.withResolvers<LoadResult>();
  child.on("message", (reply: LoadReply) => {
    if ("error" in reply) {
      waiting.reject(new Error(reply.error));
    } else {
      waiting.resolve(reply.result);
    }
  });
  child.once("exit", () => waiting.reject(new Error("the load client ended")));
  return {
    run(options) {
      waiting = Promise.withResolvers();
      child.send(options);
      return waiting.promise;
    },
  };
}
