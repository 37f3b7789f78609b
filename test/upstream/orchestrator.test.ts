import { inspect } from "node:util";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { AttemptFailure, AttemptResult } from "../../src/model/attempt-result.ts";
import type { CallbackTarget } from "../../src/model/callback-target.ts";
import { constantCredential } from "../../src/model/credential.ts";
import type { NewDelivery, SentDelivery } from "../../src/model/delivery.ts";
import {
  callbackTask,
  createOrchestrator,
  type Orchestrator,
  prepareCallback,
} from "../../src/upstream/orchestrator.ts";
import { answering, type Script, unusedOrigin, useScriptedServer } from "../support/scripted-server.ts";
import { useHttpClient } from "../support/use-http-client.ts";
import { expectedFailure } from "./expected-failure.ts";

const processId = "1d876307-8c0a-42a1-8299-af0516223652";
const callbackToken = "T0k3n-Za-z0-9_abcdefghijklmnopqrstuvwxyz012";
const route = `/api/processes/${processId}/callback/${callbackToken}`;
const bearer = "b34r3r.s3cr3t";
const nowMs = Date.UTC(2026, 0, 1);
const json = { "content-type": "application/json" };

interface Used {
  orchestrator: Orchestrator;
  target: CallbackTarget;
  send: (body?: string, signal?: AbortSignal) => Promise<AttemptResult>;
  sendAgain: () => Promise<AttemptResult>;
}

function sent({ taskId, attempt, target, body }: NewDelivery, isInDoubt = false): SentDelivery {
  return { taskId, attempt, target, body, isInDoubt };
}

function useOrchestrator(
  origin: string,
  { basePath = "", token = bearer as string | undefined, timeoutMs = 10_000 } = {},
): Used {
  const base = origin + basePath;
  const orchestrator = createOrchestrator({
    bases: new Map([[base, { http: useHttpClient(origin), basePath, token: constantCredential(token) }]]),
    timeoutMs,
    now: () => nowMs,
  });
  const target = { base, route, processId, token: callbackToken };
  return {
    orchestrator,
    target,
    send: (body = "{}", signal) => orchestrator.send(sent(prepareCallback(target, body)), signal),
    sendAgain: () => orchestrator.send(sent(prepareCallback(target, "{}"), true)),
  };
}

/** What comes of a result and of a progress when the Orchestrator gives one answer. */
async function resultsOf(script: Script): Promise<AttemptResult[]> {
  const server = await useScriptedServer(script);
  const { orchestrator, target, send } = useOrchestrator(server.origin);
  return [await send(), await orchestrator.progress(target, "{}")];
}

function twice(result: AttemptResult): AttemptResult[] {
  return [result, result];
}

/** Of a result the Orchestrator waits for another one; of a progress nobody asks. */
function refusedForNow(status: number, said?: string): AttemptResult[] {
  const refusal = failed("rejected", status, said);
  return [{ ...refusal, isTaskOpen: true } as AttemptResult, refusal];
}

const accepted: AttemptResult = { kind: "accepted", answer: "" };

const meanings = {
  rejected: [Code.FailedPrecondition, ErrorReason.UPSTREAM_REJECTED],
  tooEarly: [Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE],
  unauthorized: [Code.FailedPrecondition, ErrorReason.UPSTREAM_AUTH],
  unavailable: [Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE],
  inDoubt: [Code.Unknown, ErrorReason.UPSTREAM_UNCERTAIN],
} as const;

function failed(
  kind: keyof typeof meanings,
  status: number,
  said?: string,
  retrySeconds?: number,
): AttemptResult {
  const [code, reason] = meanings[kind];
  const message = `orchestrator answered ${status}${said === undefined ? "" : `: ${said}`}`;
  const metadata = {
    upstream: "orchestrator",
    http_status: String(status),
    ...(said === undefined ? {} : { upstream_message: said }),
  };
  return { kind, failure: expectedFailure(code, reason, message, metadata, retrySeconds) };
}

function detail(status: number, said: string, title = "Error"): string {
  return JSON.stringify({ detail: said, status, title });
}

describe("a request", () => {
  test("W-01 W-02 W-03 W-06 with a result is a POST to the callback, with the body as it is", async () => {
    const server = await useScriptedServer(answering(200, "null"));
    const { send } = useOrchestrator(server.origin);
    const body = '{ "b" : 1.0, "a" : [ 9007199254740993 ], "é": "😀" }';
    expect(await send(body)).toEqual(accepted);
    expect(server.seen).toEqual([
      {
        method: "POST",
        url: route,
        headers: {
          host: new URL(server.origin).host,
          connection: "keep-alive",
          "content-type": "application/json",
          accept: "application/json",
          "user-agent": "taskgate/1.2.3",
          authorization: `Bearer ${bearer}`,
          "content-length": String(Buffer.byteLength(body)),
        },
        body,
      },
    ]);
  });

  test.each(["", "/orchestrator", "/a/b"])("W-01 goes below the base's path %j", async (basePath) => {
    const server = await useScriptedServer(answering(200, "null"));
    const { orchestrator, target, send } = useOrchestrator(server.origin, { basePath });
    await send();
    await orchestrator.progress(target, "{}");
    expect(server.seen.map(({ url }) => url)).toEqual([basePath + route, `${basePath}${route}/progress`]);
  });

  test("W-03 has no credential where none is configured, and no content coding", async () => {
    const server = await useScriptedServer(answering(200, "null"));
    const orchestrator = createOrchestrator({
      bases: new Map([
        [
          server.origin,
          { http: useHttpClient(server.origin), basePath: "", token: constantCredential(undefined) },
        ],
      ]),
      timeoutMs: 10_000,
      now: () => nowMs,
    });
    const target = { base: server.origin, route, processId, token: callbackToken };
    await orchestrator.send(sent(prepareCallback(target, "{}")));
    expect(Object.keys(server.seen[0]?.headers ?? {}).sort()).toEqual([
      "accept",
      "connection",
      "content-length",
      "content-type",
      "host",
      "user-agent",
    ]);
  });

  test("W-03 has the credential of its own base only, as it is when it is sent", async () => {
    const servers = [await useScriptedServer(answering(200)), await useScriptedServer(answering(200))];
    const origins = servers.map(({ origin }) => origin);
    let version = 1;
    const orchestrator = createOrchestrator({
      bases: new Map(
        origins.map((origin, index) => [
          origin,
          {
            http: useHttpClient(origin),
            basePath: "",
            token: { current: () => `token-${index}-${version}`, isReplaced: async () => false },
          },
        ]),
      ),
      timeoutMs: 10_000,
      now: () => nowMs,
    });
    for (const base of origins) {
      await orchestrator.send(sent(prepareCallback({ base, route, processId, token: callbackToken }, "{}")));
    }
    version = 2;
    for (const base of origins) {
      await orchestrator.progress({ base, route, processId, token: callbackToken }, "{}");
    }
    expect(servers.map(({ seen }) => seen.map(({ headers }) => headers.authorization))).toEqual([
      ["Bearer token-0-1", "Bearer token-0-2"],
      ["Bearer token-1-1", "Bearer token-1-2"],
    ]);
  });

  test("W-15 has the UUID as the caller wrote it", async () => {
    const server = await useScriptedServer(answering(200, "null"));
    const { orchestrator, target } = useOrchestrator(server.origin);
    const upper = { ...target, route: route.replace(processId, processId.toUpperCase()) };
    expect(await orchestrator.send(sent(prepareCallback(upper, "{}")))).toEqual(accepted);
    expect(server.seen[0]?.url).toBe(upper.route);
    expect(prepareCallback(upper, "{}").key).toBe(prepareCallback(target, "{}").key);
  });

  test.each([
    ["W-09", "object", '{"done": 1}'],
    ["W-10", "text", '"half way 😀"'],
  ])("%s with a progress, an %s, is a POST below the callback", async (_id, _kind, body) => {
    const server = await useScriptedServer(answering(200, "null"));
    const { orchestrator, target } = useOrchestrator(server.origin);
    expect(await orchestrator.progress(target, body)).toEqual(accepted);
    expect(server.seen).toMatchObject([
      {
        method: "POST",
        url: `${route}/progress`,
        headers: { ...json, authorization: `Bearer ${bearer}` },
        body,
      },
    ]);
  });

  test("W-37 may take long: the answer counts when it comes in time", async () => {
    const begun = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const server = await useScriptedServer(async (_, response) => {
      begun.resolve();
      await release.promise;
      response.writeHead(200, json).end("null");
    });
    const result = useOrchestrator(server.origin, { timeoutMs: 60_000 }).send();
    await begun.promise;
    release.resolve();
    expect(await result).toEqual(accepted);
  });
});

describe("a delivery", () => {
  test("is named by process and token, and knows where to", () => {
    const target = { base: "http://orchestrator.example/x", route, processId, token: callbackToken };
    expect(prepareCallback(target, '{"a":1}')).toEqual({
      upstream: "orchestrator",
      lane: "orchestrator http://orchestrator.example/x",
      key: `${processId}/${callbackToken}`,
      taskId: processId,
      attempt: "",
      kind: "outcome",
      outcomeTag: expect.any(String),
      target: `http://orchestrator.example/x${route}`,
      body: '{"a":1}',
    });
  });

  test("shows the callback's token nowhere but in its key and its target", () => {
    const target = { base: "http://orchestrator.example/x", route, processId, token: callbackToken };
    const { key: _, target: __, ...rest } = prepareCallback(target, "{}");
    expect(JSON.stringify(rest)).not.toContain(callbackToken);
  });

  test.each([
    ["to the letter", '{"a":1}', '{"a":1}', true],
    ["but for a space", '{"a":1}', '{"a": 1}', false],
    ["but for a value", '{"a":1}', '{"a":2}', false],
  ])("is the same outcome as another one that is equal %s: %s, %s: %s", (_, one, other, isSame) => {
    const target = { base: "http://orchestrator.example", route, processId, token: callbackToken };
    const tags = [one, other].map((body) => prepareCallback(target, body).outcomeTag);
    expect(tags[0] === tags[1]).toBe(isSame);
  });

  test("W-12 W-15 is of the same task as a progress, whatever the base and the spelling of the UUID", () => {
    const target = { base: "http://orchestrator.example/x", route, processId, token: callbackToken };
    const other = {
      ...target,
      base: "http://o.example",
      route: route.replace(processId, processId.toUpperCase()),
    };
    const task = { upstream: "orchestrator", key: `${processId}/${callbackToken}` };
    expect(callbackTask(target)).toMatchObject(task);
    expect(callbackTask(other)).toMatchObject(task);
    expect(prepareCallback(other, "{}")).toMatchObject(task);
  });

  test.each([
    ["a base that is not configured any more", `http://other.example${route}`],
    ["a base that begins like a configured one", `http://orchestrator.example.evil${route}`],
    ["no route", "http://orchestrator.example"],
    ["nothing", ""],
  ])("to %s is not sent", async (_, target) => {
    const orchestrator = createOrchestrator({
      bases: new Map([
        [
          "http://orchestrator.example",
          {
            http: useHttpClient("http://orchestrator.example"),
            basePath: "",
            token: constantCredential(undefined),
          },
        ],
      ]),
      timeoutMs: 10_000,
      now: () => nowMs,
    });
    const delivery = { taskId: processId, attempt: "", target, body: "{}", isInDoubt: false };
    expect(await orchestrator.send(delivery)).toEqual({
      kind: "unavailable",
      failure: expectedFailure(
        Code.FailedPrecondition,
        ErrorReason.UPSTREAM_NOT_CONFIGURED,
        "the gateway is no longer configured with the base URL of this callback",
        { upstream: "orchestrator" },
      ),
    });
  });

  test("of a progress for a base that was never configured is a mistake of the program", async () => {
    const { orchestrator, target } = useOrchestrator(await unusedOrigin());
    await expect(orchestrator.progress({ ...target, base: "http://other.example" }, "{}")).rejects.toThrow(
      "must be a configured one",
    );
  });
});

describe("an answer", () => {
  test.each([
    [200, "null", json],
    [200, "null", { "content-type": "application/json; charset=utf-8" }],
    [200, '{"detail":"Not Found"}', { "content-type": "Application/JSON" }],
    [201, "{}", json],
    [200, "", {}],
    [204, "", {}],
  ])("W-20 of %i with %j and %o is accepted", async (status, body, headers) => {
    expect(await resultsOf(answering(status, body, headers))).toEqual(twice(accepted));
  });

  test.each([
    ["text/html; charset=utf-8", "<html>Welcome</html>", "text/html; charset=utf-8"],
    ["text/plain", "OK", "text/plain"],
    ["application/jsonp", "null", "application/jsonp"],
    ["application/problem+json", "{}", "application/problem+json"],
    ["", "<html>", "no content-type"],
    [undefined, "<html>", "no content-type"],
  ])("W-32 of 200 with the content-type %s is no Orchestrator's", async (type, body, shown) => {
    const headers = type === undefined ? {} : { "content-type": type };
    const said = `${shown} instead of JSON, so it is no Orchestrator: the base URL is wrong`;
    expect(await resultsOf(answering(200, body, headers))).toEqual(twice(failed("rejected", 200, said)));
  });

  test.each([
    [401, "Not authenticated"],
    [403, "Not authenticated"],
    [403, "User is not allowed to access resource"],
  ])("W-21 of %i %s refuses the credentials", async (status, said) => {
    expect(await resultsOf(answering(status, JSON.stringify({ detail: said })))).toEqual(
      twice(failed("unauthorized", status, said)),
    );
  });

  test("W-22 of 503 because the engine is locked is unavailable", async () => {
    const said = "Engine is locked cannot accept changes on processes at this time";
    expect(await resultsOf(answering(503, detail(503, said)))).toEqual(
      twice(failed("unavailable", 503, said)),
    );
  });

  test("W-34 of 503 because of the policy agent is unavailable, for as long as it says", async () => {
    const said = "Policy agent is unavailable";
    const script = answering(503, detail(503, said), { ...json, "retry-after": "20" });
    expect(await resultsOf(script)).toEqual(twice(failed("unavailable", 503, said, 20)));
  });

  test("W-23 of 422 is a refusal with what is wrong, never with what was sent, and the process waits", async () => {
    const body = JSON.stringify({
      detail: [
        { type: "dict_type", loc: ["body"], msg: "Input should be a valid dictionary", input: ["payload"] },
        { type: "missing", loc: ["body"], msg: "Field required", input: null },
        { type: "odd" },
        "odd",
        null,
      ],
    });
    expect(await resultsOf(answering(422, body))).toEqual(
      refusedForNow(422, "Input should be a valid dictionary; Field required"),
    );
  });

  test.each([
    "There was an error parsing the body",
    "This workflow cannot be resumed because it has been removed",
    "Process has incorrect status to resume: running",
  ])("W-24 of 400 %s is a refusal, and the process waits for another result", async (said) => {
    expect(await resultsOf(answering(400, detail(400, said)))).toEqual(refusedForNow(400, said));
  });

  test.each([
    ["W-25", `Process with process_id ${processId} not found`],
    ["W-26", "Invalid token"],
    ["W-36", "Invalid token"],
  ])("%s of 404 %s is a refusal", async (_id, said) => {
    expect(await resultsOf(answering(404, detail(404, said, "Not Found")))).toEqual(
      twice(failed("rejected", 404, said)),
    );
  });

  test("W-27 W-35 W-36 W-38 of 409 is too early, be it early or late", async () => {
    const said = "This process is not in an awaiting state.";
    expect(await resultsOf(answering(409, detail(409, said)))).toEqual(twice(failed("tooEarly", 409, said)));
    expect(await resultsOf(answering(409))).toEqual(twice(failed("tooEarly", 409)));
  });

  test.each([
    [404, '{"detail":"Not Found"}', "Not Found: the base URL is wrong"],
    [405, '{"detail":"Method Not Allowed"}', "Method Not Allowed: the base URL is wrong"],
    [405, "", "no such path: the base URL is wrong"],
    [307, "", "a redirect, which is not followed: the base URL is wrong"],
    [300, "", "a redirect, which is not followed: the base URL is wrong"],
    [301, "<html>", "a redirect, which is not followed: the base URL is wrong"],
    [308, '{"detail":"Not Found"}', "a redirect, which is not followed: the base URL is wrong"],
  ])("W-28 of %i %s means that the base URL is wrong", async (status, body, said) => {
    const other = await useScriptedServer(answering(200, "null"));
    const results = await resultsOf(
      answering(status, body, { ...json, location: `${other.origin}${route}` }),
    );
    expect(results).toEqual(twice(failed("rejected", status, said)));
    expect(other.seen).toEqual([]);
  });

  test.each([
    [413, "Request Entity Too Large"],
    [400, ""],
    [400, "null"],
    [400, "[]"],
    [400, '"text"'],
    [400, '{"detail":{"a":1}}'],
    [400, '{"detail":null}'],
    [400, '{"detail":[]}'],
    [400, '{"detail":""}'],
    [422, '{"detail":[{"msg":1},{"msg":""}]}'],
  ])("of %i with %s is a refusal that says nothing, and the process waits", async (status, body) => {
    expect(await resultsOf(answering(status, body))).toEqual(refusedForNow(status));
  });

  test("of 404 without a word of the Orchestrator is a refusal for good", async () => {
    expect(await resultsOf(answering(404, "<html>Not Found</html>"))).toEqual(twice(failed("rejected", 404)));
  });

  test("W-29 of 500 as text leaves a doubt", async () => {
    const script = answering(500, "Internal Server Error", { "content-type": "text/plain; charset=utf-8" });
    expect(await resultsOf(script)).toEqual(twice(failed("inDoubt", 500)));
  });

  test.each([502, 504])("W-30 of %i leaves a doubt", async (status) => {
    expect(await resultsOf(answering(status, "<html>"))).toEqual(twice(failed("inDoubt", status)));
  });

  test("W-31 of 429 is unavailable, for as long as it says", async () => {
    expect(await resultsOf(answering(429, "", { "retry-after": "5" }))).toEqual(
      twice(failed("unavailable", 429, undefined, 5)),
    );
  });
});

describe("an answer to a result that may have been taken before", () => {
  async function answerAgain(script: Script): Promise<AttemptResult> {
    const server = await useScriptedServer(script);
    return useOrchestrator(server.origin).sendAgain();
  }

  const awaitsNothing = "This process is not in an awaiting state.";

  test.each<[id: string, status: number, said: string | undefined]>([
    ["W-36", 409, awaitsNothing],
    ["W-36", 409, undefined],
    ["W-36", 404, "Invalid token"],
  ])("%s of %i %s settles nothing: it is what follows when it was taken", async (_id, status, said) => {
    const body = said === undefined ? "" : detail(status, said);
    const { failure } = failed("inDoubt", status, said) as AttemptFailure;
    expect(await answerAgain(answering(status, body))).toEqual({ kind: "unconfirmed", failure });
  });

  test.each<[what: string, script: Script, expected: AttemptResult]>([
    ["W-20 of 200", answering(200, "null"), accepted],
    [
      "W-25 of an unknown process",
      answering(404, detail(404, "Process with process_id x not found")),
      failed("rejected", 404, "Process with process_id x not found"),
    ],
    [
      "W-28 of a wrong path",
      answering(404, '{"detail":"Not Found"}'),
      failed("rejected", 404, "Not Found: the base URL is wrong"),
    ],
    ["W-22 of a locked engine", answering(503), failed("unavailable", 503)],
    ["W-29 of a server's error", answering(500), failed("inDoubt", 500)],
    ["W-21 of refused credentials", answering(403), failed("unauthorized", 403)],
    [
      "W-24 of a body that is refused",
      answering(400),
      { ...failed("rejected", 400), isTaskOpen: true } as AttemptResult,
    ],
  ])("%s means what it means at first", async (_, script, expected) => {
    expect(await answerAgain(script)).toEqual(expected);
  });

  test("W-29 W-33 has the identical request before it", async () => {
    const server = await useScriptedServer(answering(500));
    const { send, sendAgain } = useOrchestrator(server.origin);
    await send();
    await sendAgain();
    expect(server.seen[1]).toEqual(server.seen[0]);
  });
});

describe("no answer", () => {
  const inDoubt = (cause: string): AttemptResult => ({
    kind: "inDoubt",
    failure: expectedFailure(
      Code.Unknown,
      ErrorReason.UPSTREAM_UNCERTAIN,
      `orchestrator may have taken the request: ${cause}`,
      { upstream: "orchestrator" },
    ),
  });

  test("W-33 in time leaves a doubt", async () => {
    const server = await useScriptedServer(() => undefined);
    expect(await useOrchestrator(server.origin, { timeoutMs: 300 }).send()).toEqual(
      inDoubt("no answer within 300 ms"),
    );
  });

  test("W-33 because the connection broke leaves a doubt", async () => {
    const results = await resultsOf((_, response) => {
      response.destroy();
    });
    expect(results).toEqual(twice(inDoubt("other side closed (UND_ERR_SOCKET)")));
  });

  test("because the caller left leaves a doubt", async () => {
    const caller = new AbortController();
    const server = await useScriptedServer(() => caller.abort());
    expect(await useOrchestrator(server.origin).send("{}", caller.signal)).toEqual(
      inDoubt("the call was ended by its caller"),
    );
  });

  test("because nobody listens is unavailable", async () => {
    const origin = await unusedOrigin();
    expect(await useOrchestrator(origin).send()).toEqual({
      kind: "unavailable",
      failure: expectedFailure(
        Code.Unavailable,
        ErrorReason.UPSTREAM_UNAVAILABLE,
        `orchestrator was not reached: connect ECONNREFUSED ${new URL(origin).host}`,
        { upstream: "orchestrator" },
      ),
    });
  });
});

describe("what the upstream echoes", () => {
  test.each<[what: string, script: Script]>([
    ["the callback token", answering(404, JSON.stringify({ detail: `Invalid token ${callbackToken}` }))],
    ["the whole route", answering(400, JSON.stringify({ detail: `no ${route}` }))],
    ["the bearer token", answering(403, JSON.stringify({ detail: `Bearer ${bearer}` }))],
    ["both", answering(500, JSON.stringify({ detail: `${bearer}${callbackToken}` }))],
    [
      "them in a validation error",
      answering(422, JSON.stringify({ detail: [{ msg: `${bearer} ${route}` }] })),
    ],
    ["them in escapes", answering(422, JSON.stringify({ detail: bearer }).replaceAll("3", "\\u0033"))],
    [
      "them in the content-type",
      answering(200, "x", { "content-type": `text/html; a=${bearer}; b=${callbackToken}` }),
    ],
    ["them at the cut", answering(400, JSON.stringify({ detail: `${"x".repeat(280)}${callbackToken}` }))],
  ])("never shows a secret: %s", async (_, script) => {
    const text = inspect(await resultsOf(script), { depth: null });
    expect(text).toContain("[redacted]");
    expect(text).not.toContain(callbackToken);
    expect(text).not.toContain(bearer);
    expect(text).not.toMatch(/T0k3n|b34r3r|s3cr3t/);
  });

  test("never shows a secret: a redirect to a place that names it", async () => {
    const results = await resultsOf(answering(307, "", { location: `http://x${route}?${bearer}` }));
    expect(inspect(results, { depth: null })).not.toMatch(/T0k3n|b34r3r/);
  });

  test("never shows a secret: no connection", async () => {
    const { send } = useOrchestrator(await unusedOrigin());
    expect(inspect(await send(`{"a":"${bearer}"}`), { depth: null })).not.toMatch(/T0k3n|b34r3r/);
  });
});
