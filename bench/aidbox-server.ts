import { setTimeout as delay } from "node:timers/promises";
import { startSandbox } from "../src/sandbox/sandbox.ts";
import type { AidboxAnswer, AidboxQuestion, AidboxReady } from "./aidbox-process.ts";

// The sandbox's Aidbox. It says where it is; each message then makes tasks ready, and is
// answered when all of them are done.
const { aidbox } = await startSandbox();
const { url, clientId, clientSecret } = aidbox;
const tickMs = 5;
const timeLimitMs = 60_000;

process.on("message", async (question: AidboxQuestion) => {
  process.send?.(await answer(question));
});
process.once("disconnect", () => process.exit());
process.send?.({ url, clientId, clientSecret } satisfies AidboxReady);

async function answer({ create, definition, perSecond }: AidboxQuestion): Promise<AidboxAnswer> {
  const firstSeq = (aidbox.requests.at(-1)?.seq ?? 0) + 1;
  const ids: string[] = [];
  const startMs = performance.now();
  while (ids.length < create) {
    while (ids.length >= ((performance.now() - startMs) / 1000) * perSecond) {
      await delay(tickMs);
    }
    const { value } = aidbox.tasks.create({ definition, params: { readyMs: Date.now() } });
    ids.push(value?.id ?? "");
  }
  for (const id of ids) {
    while (aidbox.tasks.get(id)?.resource.status !== "done") {
      if (performance.now() - startMs > timeLimitMs) {
        throw new Error(`a task of ${definition} is not done after ${timeLimitMs} ms`);
      }
      await delay(1);
    }
  }
  const elapsedMs = performance.now() - startMs;
  const requests = aidbox.requests.filter(({ seq }) => seq >= firstSeq).map(({ body }) => body);
  // The other contender polls as well, for a definition of its own.
  const polls = requests.filter((body) => body.includes("poll") && body.includes(definition)).length;
  const others = requests.filter((body) => !body.includes("poll")).length;
  if (polls === 0 || others === 0) {
    throw new Error(`nobody polled for ${definition}, or nobody did anything else`);
  }
  return { elapsedMs, polls, others };
}
