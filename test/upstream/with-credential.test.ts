import { describe, expect, test } from "vitest";
import type { Credential } from "../../src/model/credential.ts";
import { createAidboxRpc } from "../../src/upstream/aidbox-rpc.ts";
import type { HttpClient } from "../../src/upstream/http-client.ts";
import { createOrchestra } from "../../src/upstream/orchestra.ts";
import { createOrchestrator } from "../../src/upstream/orchestrator.ts";
import { answering, useScriptedServer } from "../support/scripted-server.ts";
import { useHttpClient } from "../support/use-http-client.ts";

const base = "http://orchestrator.example";
const route = `/api/processes/${"a".repeat(8)}-aaaa-4aaa-8aaa-aaaaaaaaaaaa/callback/token`;
const target = { base, route, processId: "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", token: "token" };
const delivery = { taskId: "t", attempt: "", target: base + route, body: "{}", isInDoubt: false };
const now = () => 0;

/** One attempt at an upstream with a credential; says how it ended. */
type Attempt = (http: HttpClient, credential: Credential) => Promise<string>;

const attempts: [string, Attempt][] = [
  [
    "Orchestra",
    async (http, apiKey) => {
      const orchestra = createOrchestra({ http, webhookPath: "/", apiKey, timeoutMs: 5000, now });
      return (await orchestra.send(delivery)).kind;
    },
  ],
  [
    "a Workflow Orchestrator",
    async (http, token) => {
      const bases = new Map([[base, { http, basePath: "", token }]]);
      const orchestrator = createOrchestrator({ bases, timeoutMs: 5000, now });
      return (await orchestrator.progress(target, "{}")).kind;
    },
  ],
  [
    "Aidbox",
    async (http, clientSecret) => {
      const rpc = createAidboxRpc({ http, basePath: "", clientId: "me", clientSecret, now });
      return (await rpc.send("{}", 5000)).kind;
    },
  ],
];

/** A credential that is replaced when somebody looks, if there is another. */
function replaceable(first: string, second: string): Credential & { looks: number } {
  let value = first;
  return {
    looks: 0,
    current: () => value,
    async isReplaced(refused) {
      this.looks += 1;
      value = second;
      return value !== refused;
    },
  };
}

describe.each(attempts)("%s", (_, attempt) => {
  test.each([401, 403])("that answers %i gets the new credential at once", async (status) => {
    const server = await useScriptedServer((request, response, index) => {
      void answering(index === 0 ? status : 200, '{"result": {}}')(request, response, index);
    });
    const credential = replaceable("old", "new");
    expect(await attempt(useHttpClient(server.origin), credential)).toBe("accepted");
    const [first, second] = server.seen.map(({ headers }) => headers.authorization);
    expect(server.seen).toHaveLength(2);
    expect(first).not.toBe(second);
  });

  test("is not asked again where there is no other credential, or where another is refused, too", async () => {
    const server = await useScriptedServer(answering(401));
    const http = useHttpClient(server.origin);
    expect(await attempt(http, replaceable("old", "old"))).toBe("unauthorized");
    expect(server.seen).toHaveLength(1);
    const credential = replaceable("old", "new");
    expect(await attempt(http, credential)).toBe("unauthorized");
    expect(server.seen).toHaveLength(3);
    expect(credential.looks).toBe(1);
  });

  test("is asked once whatever else it answers", async () => {
    const server = await useScriptedServer(answering(500));
    const credential = replaceable("old", "new");
    expect(await attempt(useHttpClient(server.origin), credential)).toBe("inDoubt");
    expect([server.seen.length, credential.looks]).toEqual([1, 0]);
  });
});
