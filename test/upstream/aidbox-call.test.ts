import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { CallResult } from "../../src/model/call-result.ts";
import { constantCredential } from "../../src/model/credential.ts";
import {
  type AidboxCall,
  createAidboxCall,
  resource,
  resources,
  type Subject,
} from "../../src/upstream/aidbox-call.ts";
import { aidboxBody, createAidboxRpc } from "../../src/upstream/aidbox-rpc.ts";
import type { HttpExchange, HttpPost } from "../../src/upstream/http-client.ts";
import { readYaml } from "../../src/upstream/yaml-reader.ts";
import { expectedFailure } from "./expected-failure.ts";

type Answer = readonly [status: number, body: string] | "broken" | "notSent";

interface UsedCall {
  call: AidboxCall;
  /** The requests so far. */
  posts: HttpPost[];
}

const timeoutMs = 1000;

/** Calls to an Aidbox that gives these answers, one after the other. */
function callTo(...answers: readonly Answer[]): UsedCall {
  const posts: HttpPost[] = [];
  const rpc = createAidboxRpc({
    http: {
      async post(request): Promise<HttpExchange> {
        const answer = answers[posts.push(request) - 1];
        if (answer === undefined) {
          throw new Error(`nobody expected the request ${request.body}`);
        }
        return typeof answer === "string"
          ? { kind: answer, cause: "why" }
          : { kind: "answered", status: answer[0], headers: {}, body: answer[1] };
      },
      close: async () => undefined,
    },
    basePath: "",
    clientId: "id",
    clientSecret: constantCredential("secret"),
    now: () => 0,
  });
  return { call: createAidboxCall(rpc, timeoutMs), posts };
}

function answered(code: Code, reason: ErrorReason, status: number, said?: string): CallResult<string> {
  return {
    kind: "failed",
    failure: expectedFailure(
      code,
      reason,
      `aidbox answered ${status}${said === undefined ? "" : `: ${said}`}`,
      {
        upstream: "aidbox",
        http_status: String(status),
        ...(said === undefined ? {} : { upstream_message: said }),
      },
    ),
  };
}

function failedWith(code: Code, reason: ErrorReason, message: string): CallResult<string> {
  return { kind: "failed", failure: expectedFailure(code, reason, message, { upstream: "aidbox" }) };
}

type Meaning = readonly [code: Code, reason: ErrorReason];

const unavailable: Meaning = [Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE];
const uncertain: Meaning = [Code.Unknown, ErrorReason.UPSTREAM_UNCERTAIN];
const rejected: Meaning = [Code.FailedPrecondition, ErrorReason.UPSTREAM_REJECTED];
const invalid: Meaning = [Code.InvalidArgument, ErrorReason.UPSTREAM_REJECTED];
const unauthorized: Meaning = [Code.FailedPrecondition, ErrorReason.UPSTREAM_AUTH];
const unknown: Meaning = [Code.NotFound, ErrorReason.TASK_UNKNOWN];

const found: Answer = [200, "result: {resource: {id: t1}}\n"];
const unknownForm = "aidbox answered with a result of an unknown form";

describe.each(["change", "read", "readKnown"] as const)("%s", (kind) => {
  test("is one RPC with its parameters, within the time of one call, and ends with its caller", async () => {
    const { call, posts } = callTo(found);
    const { signal } = new AbortController();
    expect(await call[kind]("awf.task/x", '{"id":"t1"}', resource, signal)).toEqual({
      kind: "ok",
      value: '{"id":"t1"}',
    });
    expect(posts.map(({ body }) => body)).toEqual([aidboxBody("awf.task/x", '{"id":"t1"}')]);
    expect(posts).toMatchObject([{ path: "/rpc", timeoutMs }]);
    expect(posts[0]?.signal).toBe(signal);
  });

  test.each<[answer: Answer, failure: CallResult<string>]>([
    [[422, "error: {message: no}"], answered(...rejected, 422, "no")],
    [[200, "error: {message: no}"], answered(...rejected, 200, "no")],
    [[422, "error: {message: Invalid params}"], answered(...invalid, 422, "Invalid params")],
    [[413, ""], answered(...rejected, 413)],
    [[401, "error: {message: no}"], answered(...unauthorized, 401, "no")],
    [[403, ""], answered(...unauthorized, 403)],
    [[429, ""], answered(...unavailable, 429)],
    [[503, "error: {message: later}"], answered(...unavailable, 503, "later")],
    ["notSent", failedWith(...unavailable, "aidbox was not reached: why")],
  ])("A-42 A-45 A-46 A-55 A-56 that is answered %j fails as it says", async (answer, failure) => {
    const { call, posts } = callTo(answer);
    expect(await call[kind]("awf.task/x", "{}", resource)).toEqual(failure);
    expect(posts.length).toBe(1);
  });
});

describe("a lost or unreadable answer", () => {
  const lost: [answer: Answer, message: string, status: number | undefined][] = [
    ["broken", "aidbox may have taken the request: why", undefined],
    [[500, ""], "aidbox answered 500", 500],
    [[502, "<html>"], "aidbox answered 502", 502],
    [[504, ""], "aidbox answered 504", 504],
    [[200, "result: {}"], unknownForm, undefined],
    [[200, "result: {resource: done}"], unknownForm, undefined],
  ];

  test.each(lost)(
    "A-48 A-57 after %j leaves a doubt where something may have changed",
    async (answer, message, status) => {
      const { call } = callTo(answer);
      expect(await call.change("awf.task/x", "{}", resource)).toEqual(
        status === undefined ? failedWith(...uncertain, message) : answered(...uncertain, status),
      );
    },
  );

  test.each(lost)(
    "A-48 A-57 after %j is just unavailable where nothing changes",
    async (answer, message, status) => {
      const failure =
        status === undefined ? failedWith(...unavailable, message) : answered(...unavailable, status);
      const { call } = callTo(answer, answer);
      expect(await call.read("awf.task/x", "{}", resource)).toEqual(failure);
      expect(await call.readKnown("awf.task/x", "{}", resource)).toEqual(failure);
    },
  );
});

test.each([
  [undefined, 1000],
  [0, 1000],
  [30_000, 31_000],
])("A-11 a read that waits %s ms at Aidbox takes at most %s ms", async (extraMs, wholeMs) => {
  const { call, posts } = callTo(found);
  await call.read("awf.task/long-poll", "{}", resource, undefined, extraMs);
  expect(posts[0]?.timeoutMs).toBe(wholeMs);
});

describe("what is unknown", () => {
  test.each([
    "Resource not found",
    "resource not found",
    "Resource AidboxTask/t1 not found",
    "Task not found",
    "Task with id 't1' was not found.",
    "task t1 Not Found: t1",
    "Workflow not found",
    "WORKFLOW NOT FOUND",
  ])("A-44 is known by the words %j, at any status that is a refusal", async (said) => {
    for (const status of [200, 400, 404, 410, 422]) {
      const { call } = callTo([status, JSON.stringify({ error: { message: said } })]);
      expect(await call.readKnown("awf.task/status", "{}", resource)).toEqual(
        answered(...unknown, status, said),
      );
    }
  });

  test("A-44 is known by the words of an OperationOutcome, too", async () => {
    const { call } = callTo([404, "issue: [{diagnostics: Resource AidboxTask/t1 not found}]"]);
    expect(await call.readKnown("awf.task/status", "{}", resource)).toEqual(
      answered(...unknown, 404, "Resource AidboxTask/t1 not found"),
    );
  });

  test.each([
    "not found",
    "no",
    "Not Found: Task",
    "Method awf.task/status not found",
    "The task was not found",
    "Taskmaster not found",
    "Resources not found",
    "Task notfound",
    "Task not foundling",
    "Task found",
    "404",
  ])("A-44 is not known by the words %j", async (said) => {
    const { call } = callTo([422, JSON.stringify({ error: { message: said } })]);
    expect(await call.readKnown("awf.task/status", "{}", resource)).toEqual(answered(...rejected, 422, said));
  });

  test.each<[what: string, answer: Answer]>([
    ["status", [404, ""]],
    ["status and form", [404, "<html>Resource not found</html>"]],
    ["redirect", [301, "Resource not found"]],
  ])("A-44 is not known by %s alone", async (_, answer) => {
    const { call } = callTo(answer);
    expect(await call.readKnown("awf.task/status", "{}", resource)).toMatchObject({
      failure: { code: Code.FailedPrecondition, reason: ErrorReason.UPSTREAM_REJECTED },
    });
  });

  test("A-44 is not known by the error's type", async () => {
    const { call } = callTo([422, "error: {type: Resource not found, message: no}"]);
    expect(await call.readKnown("awf.task/status", "{}", resource)).toMatchObject({
      failure: {
        code: Code.FailedPrecondition,
        reason: ErrorReason.UPSTREAM_REJECTED,
        metadata: { upstream_type: "Resource not found" },
      },
    });
  });

  test.each<[status: number, meaning: Meaning]>([
    [401, unauthorized],
    [403, unauthorized],
    [429, unavailable],
    [503, unavailable],
    [500, unavailable],
  ])("A-44 is not what %i means, whatever its words", async (status, meaning) => {
    const { call } = callTo([status, "error: {message: Resource not found}"]);
    expect(await call.readKnown("awf.task/status", "{}", resource)).toEqual(
      answered(...meaning, status, "Resource not found"),
    );
  });

  test("A-44 is not told of a call that is about nothing in particular", async () => {
    const { call } = callTo(
      [422, "error: {message: Resource not found}"],
      [422, "error: {message: Resource not found}"],
    );
    const failure = answered(...rejected, 422, "Resource not found");
    expect(await call.read("awf.task/list", "{}", resource)).toEqual(failure);
    expect(await call.change("awf.task/create-and-execute", "{}", resource)).toEqual(failure);
  });
});

describe("an explanation", () => {
  const attempt: Subject = { id: "t1", execId: "e1" };

  /** What a refused call is told, and what was asked for it. */
  async function explain(
    refusal: Answer,
    state: readonly Answer[],
    subject: Subject = attempt,
    signal?: AbortSignal,
  ): Promise<{ result: CallResult<string>; asked: HttpPost[] }> {
    const { call, posts } = callTo(refusal, ...state);
    const result = await call.change("awf.task/x", "{}", resource);
    return { result: await call.explained(result, subject, signal), asked: posts.slice(1) };
  }

  const refusal: Answer = [422, "error: {message: no}"];
  const stateOf = (yaml: string): Answer => [200, `result: {resource: ${yaml}}`];
  const done = stateOf("{status: done, outcome: succeeded}");

  test("of what succeeded is not asked for", async () => {
    const { result, asked } = await explain(found, []);
    expect(result).toEqual({ kind: "ok", value: '{"id":"t1"}' });
    expect(asked).toEqual([]);
  });

  test.each([200, 400, 409, 422])("A-43 A-58 A-64 of %i with words is asked for once", async (status) => {
    const { result, asked } = await explain([status, "error: {message: no}"], [done]);
    expect(result).toEqual(answered(Code.FailedPrecondition, ErrorReason.TASK_FINISHED, status, "no"));
    expect(asked.map(({ body }) => body)).toEqual([aidboxBody("awf.task/status", '{"id":"t1"}')]);
  });

  test.each([201, 402, 404, 405, 410, 413, 418, 451])(
    "A-55 of %i is not asked for: it says nothing of the task",
    async (status) => {
      const { result, asked } = await explain([status, "error: {message: no}"], []);
      expect(result).toEqual(answered(...rejected, status, "no"));
      expect(asked).toEqual([]);
    },
  );

  test.each([404, 422])("A-44 of %i that there is no such thing needs no question", async (status) => {
    const { result, asked } = await explain([status, "error: {message: Resource not found}"], []);
    expect(result).toEqual(answered(...unknown, status, "Resource not found"));
    expect(asked).toEqual([]);
  });

  test.each([400, 409, 422])("A-55 of %i without words is not asked for", async (status) => {
    for (const body of ["", "<html>no</html>", "error: ''", "error: {message: ''}", "error: null"]) {
      const { result, asked } = await explain([status, body], []);
      expect(result).toEqual(answered(...rejected, status));
      expect(asked).toEqual([]);
    }
  });

  test("of a redirect is not asked for", async () => {
    const { result, asked } = await explain([307, ""], []);
    expect(result).toMatchObject({ failure: { reason: ErrorReason.UPSTREAM_REJECTED } });
    expect(asked).toEqual([]);
  });

  test.each<[status: number, meaning: Meaning]>([
    [401, unauthorized],
    [403, unauthorized],
    [429, unavailable],
    [503, unavailable],
    [500, uncertain],
  ])("A-46 A-56 A-57 of %i is not asked for: it is no refusal", async (status, meaning) => {
    const { result, asked } = await explain([status, "error: {message: no}"], []);
    expect(result).toEqual(answered(...meaning, status, "no"));
    expect(asked).toEqual([]);
  });

  test.each<[answer: Answer, message: string, meaning: Meaning]>([
    ["notSent", "aidbox was not reached: why", unavailable],
    ["broken", "aidbox may have taken the request: why", uncertain],
    [[200, "result: {}"], unknownForm, uncertain],
  ])("A-48 A-57 after %j is not asked for: nobody refused", async (answer, message, meaning) => {
    const { result, asked } = await explain(answer, []);
    expect(result).toEqual(failedWith(...meaning, message));
    expect(asked).toEqual([]);
  });

  test("A-48 of a 200 that is no answer of Aidbox is not asked for", async () => {
    for (const body of ["<html>", "results: {}", "error: null"]) {
      const { result, asked } = await explain([200, body], []);
      expect(result).toEqual(
        answered(...uncertain, 200, "no content-type, and neither a result nor an error in it"),
      );
      expect(asked).toEqual([]);
    }
  });

  test("asks as its subject says, within the time of one call, and ends with its caller", async () => {
    const { signal } = new AbortController();
    const subject = { id: 'w"1', statusMethod: "awf.workflow/status" };
    const { asked } = await explain(refusal, [done], subject, signal);
    expect(asked.map(({ body }) => body)).toEqual([aidboxBody("awf.workflow/status", '{"id":"w\\"1"}')]);
    expect(asked[0]?.timeoutMs).toBe(timeoutMs);
    expect(asked[0]?.signal).toBe(signal);
  });

  const { TASK_FINISHED, TASK_CANCELLED, LEASE_SUPERSEDED, LEASE_EXPIRED, UPSTREAM_REJECTED } = ErrorReason;

  test.each<[state: string, ofAttempt: ErrorReason, ofTask: ErrorReason]>([
    ["{status: done, outcome: succeeded, execId: e1}", TASK_FINISHED, TASK_FINISHED],
    ["{status: done, outcome: failed, execId: e2}", TASK_FINISHED, TASK_FINISHED],
    ["{status: done}", TASK_FINISHED, TASK_FINISHED],
    ["{status: done, outcome: odd}", TASK_FINISHED, TASK_FINISHED],
    ["{status: done, outcome: [canceled]}", TASK_FINISHED, TASK_FINISHED],
    ["{status: done, outcome: canceled, execId: e1}", TASK_CANCELLED, TASK_CANCELLED],
    ["{status: in-progress, outcome: canceled, execId: e1}", UPSTREAM_REJECTED, UPSTREAM_REJECTED],
    ["{status: in-progress, execId: e1}", UPSTREAM_REJECTED, UPSTREAM_REJECTED],
    ["{status: requested, execId: e1}", UPSTREAM_REJECTED, UPSTREAM_REJECTED],
    ["{status: in-progress, execId: e2}", LEASE_SUPERSEDED, UPSTREAM_REJECTED],
    ["{status: requested, execId: e2}", LEASE_SUPERSEDED, UPSTREAM_REJECTED],
    ["{status: in-progress}", LEASE_SUPERSEDED, UPSTREAM_REJECTED],
    ["{status: in-progress, execId: [e1]}", LEASE_SUPERSEDED, UPSTREAM_REJECTED],
    ["{status: ready, execId: e1}", LEASE_EXPIRED, UPSTREAM_REJECTED],
    ["{status: waiting}", LEASE_EXPIRED, UPSTREAM_REJECTED],
    ["{status: hibernating}", LEASE_EXPIRED, UPSTREAM_REJECTED],
    ["{status: [done]}", LEASE_EXPIRED, UPSTREAM_REJECTED],
    ["{}", LEASE_EXPIRED, UPSTREAM_REJECTED],
  ])("A-43 A-58 A-64 is read from the state %s", async (state, ofAttempt, ofTask) => {
    expect((await explain(refusal, [stateOf(state)])).result).toEqual(
      answered(Code.FailedPrecondition, ofAttempt, 422, "no"),
    );
    expect((await explain(refusal, [stateOf(state)], { id: "t1" })).result).toEqual(
      answered(Code.FailedPrecondition, ofTask, 422, "no"),
    );
  });

  test("A-45 replaces the code of a refusal for its parameters, and keeps it where it explains nothing", async () => {
    const invalidParams: Answer = [422, "error: {message: Invalid params}"];
    expect((await explain(invalidParams, [done])).result).toEqual(
      answered(Code.FailedPrecondition, TASK_FINISHED, 422, "Invalid params"),
    );
    expect((await explain(invalidParams, [stateOf("{status: requested, execId: e1}")])).result).toEqual(
      answered(...invalid, 422, "Invalid params"),
    );
  });

  test.each([
    [422, "Resource not found"],
    [404, "Task t1 not found"],
    [200, "Workflow w1 not found"],
  ])("A-44 is that there is no such thing, in the refusal's own words: %i %s", async (status, said) => {
    const { result } = await explain(refusal, [[status, `error: {message: ${said}}`]]);
    expect(result).toEqual(answered(...unknown, 422, "no"));
  });

  test.each<[what: string, answer: Answer]>([
    ["is refused", refusal],
    ["is not found by its status alone", [404, ""]],
    ["is not found by its type alone", [404, "error: {type: not-found}"]],
    ["is refused for the credentials", [403, "error: {message: Resource not found}"]],
    ["is unavailable", [503, "error: {message: Resource not found}"]],
    ["fails", [500, "error: {message: Resource not found}"]],
    ["breaks", "broken"],
    ["is not reached", "notSent"],
    ["has no form", [200, "result: {resource: [done]}"]],
    ["is no YAML", [200, "<html>"]],
  ])("A-58 is none where the state %s: the refusal stays as it is", async (_, answer) => {
    const { result, asked } = await explain(refusal, [answer]);
    expect(result).toEqual(answered(...rejected, 422, "no"));
    expect(asked.length).toBe(1);
  });
});

describe("a pick", () => {
  test.each<[yaml: string, one: string | undefined, several: string[] | undefined]>([
    ["{resource: {z: 1.50, a: '01'}}", '{"z":1.50,"a":"01"}', undefined],
    ["{resource: {}}", "{}", undefined],
    ["{resources: [{a: 1.0}, {}]}", undefined, ['{"a":1.0}', "{}"]],
    ["{resources: []}", undefined, []],
    ["{resource: {a: 1}, resources: [{b: 2}]}", '{"a":1}', ['{"b":2}']],
    ["{resource: null, resources: null}", undefined, undefined],
    ["{resource: text, resources: text}", undefined, undefined],
    ["{resource: 1, resources: 1}", undefined, undefined],
    ["{resource: [], resources: {}}", undefined, undefined],
    ["{resources: [{}, null]}", undefined, undefined],
    ["{resources: [{}, []]}", undefined, undefined],
    ["{resources: [{}, text]}", undefined, undefined],
    ["{}", undefined, undefined],
    ["[{resource: {}}]", undefined, undefined],
    ["null", undefined, undefined],
    ["text", undefined, undefined],
  ])("A-48 A-49 A-53 of %s is what has the form of a resource, as it was received", (yaml, one, several) => {
    expect(resource(readYaml(yaml))).toBe(one);
    expect(resources(readYaml(yaml))).toEqual(several);
  });
});
