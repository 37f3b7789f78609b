import { type LoadOptions, runLoad } from "./load-client.ts";
import type { LoadReply } from "./load-process.ts";

// The process that makes the load: each message asks for some, and is answered with
// what came of it. Ends with the process that started it.
process.on("message", async (options: LoadOptions) => {
  try {
    reply({ result: await runLoad(options) });
  } catch (error) {
    reply({ error: error instanceof Error ? error.message : String(error) });
  }
});
process.once("disconnect", () => process.exit());

function reply(message: LoadReply): void {
  process.send?.(message);
}
