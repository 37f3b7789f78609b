import { type AidboxOptions, createAidbox } from "../../src/sandbox/aidbox.ts";
import { ownClock } from "../../src/sandbox/clock.ts";
import { createFakeClock } from "./fake-clock.ts";
import { createScriptedRandom } from "./scripted-random.ts";

// A test knows what it asked for.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Loose = any;

/** An Aidbox without sockets, under a clock of its own. */
export function simulateAidbox(options: AidboxOptions = {}) {
  const clock = createFakeClock();
  const aidbox = createAidbox(ownClock(clock), createScriptedRandom().random, options);
  const authorization = `Basic ${Buffer.from("taskgate:sandbox-secret").toString("base64")}`;

  /** Calls a method in JSON. */
  async function call(method: string, params?: unknown): Promise<{ status: number; body: Loose }> {
    const body = Buffer.from(JSON.stringify({ method, params }));
    const headers = { authorization, "content-type": "application/json", accept: "application/json" };
    const request = { method: "POST", path: "/rpc", query: new URLSearchParams(), headers, body };
    const answer = await aidbox.receive(request).process();
    return { status: answer.status, body: JSON.parse(String(answer.body)) };
  }

  /** Calls a method that must work, and returns its result. */
  async function must(method: string, params?: unknown): Promise<Loose> {
    const { status, body } = await call(method, params);
    if (status !== 200) {
      throw new Error(`${method}: ${status} ${JSON.stringify(body)}`);
    }
    return body.result;
  }

  return {
    clock,
    aidbox,
    call,
    must,
    create: async (params: object = {}, definition = "ns/work") =>
      (await must("awf.task/create-and-execute", { definition, params: {}, ...params })).resource,
    poll: async (params: object = { taskDefinitions: ["ns/work"] }): Promise<Loose[]> =>
      (await must("awf.task/poll", params)).resources,
    status: async (id: string) => (await must("awf.task/status", { id })).resource,
    /** Creates, polls and starts a task. */
    async running(definition = "ns/work"): Promise<{ id: string; execId: string }> {
      await must("awf.task/create-and-execute", { definition, params: {} });
      const [{ id, execId }] = (await must("awf.task/poll", { taskDefinitions: [definition] })).resources;
      await must("awf.task/start", { id, execId });
      return { id, execId };
    },
  };
}
