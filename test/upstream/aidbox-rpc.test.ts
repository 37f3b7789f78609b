import { inspect } from "node:util";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { constantCredential } from "../../src/model/credential.ts";
import {
  type AidboxResult,
  type AidboxRpc,
  type AidboxRpcOptions,
  aidboxBody,
  createAidboxRpc,
} from "../../src/upstream/aidbox-rpc.ts";
import { answering, unusedOrigin, useScriptedServer } from "../support/scripted-server.ts";
import { useHttpClient } from "../support/use-http-client.ts";
import { expectedFailure } from "./expected-failure.ts";

const clientId = "taskgate";
const clientSecret = "s3cr3t:pa55";
const basic = Buffer.from(`${clientId}:${clientSecret}`).toString("base64");
const nowMs = Date.UTC(2026, 0, 1);
const yaml = { "content-type": "text/yaml" };

function useRpc(origin: string, options: Partial<AidboxRpcOptions> = {}): AidboxRpc {
  return createAidboxRpc({
    http: useHttpClient(origin),
    basePath: "",
    clientId,
    clientSecret: constantCredential(clientSecret),
    now: () => nowMs,
    ...options,
  });
}

/** What comes of an RPC, when Aidbox gives one answer: the JSON text of its result, or a failure. */
async function resultOf(
  status: number,
  body: string,
  headers: Record<string, string> = yaml,
): Promise<string | AidboxResult> {
  const server = await useScriptedServer(answering(status, body, headers));
  const result = await useRpc(server.origin).send("{}", 10_000);
  return result.kind === "accepted" ? result.result.text : result;
}

const meanings = {
  rejected: [Code.FailedPrecondition, ErrorReason.UPSTREAM_REJECTED],
  invalid: [Code.InvalidArgument, ErrorReason.UPSTREAM_REJECTED],
  unauthorized: [Code.FailedPrecondition, ErrorReason.UPSTREAM_AUTH],
  unavailable: [Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE],
  inDoubt: [Code.Unknown, ErrorReason.UPSTREAM_UNCERTAIN],
} as const;

interface Words {
  said?: string;
  type?: string;
  retrySeconds?: number;
}

function failed(
  kind: keyof typeof meanings,
  status: number,
  { said, type, retrySeconds }: Words = {},
): AidboxResult {
  const [code, reason] = meanings[kind];
  const message = `aidbox answered ${status}${said === undefined ? "" : `: ${said}`}`;
  const metadata = {
    upstream: "aidbox",
    http_status: String(status),
    ...(type === undefined ? {} : { upstream_type: type }),
    ...(said === undefined ? {} : { upstream_message: said }),
  };
  return {
    kind: kind === "invalid" ? "rejected" : kind,
    failure: expectedFailure(code, reason, message, metadata, retrySeconds),
  };
}

const noResult = (type: string) => ({ said: `${type}, and neither a result nor an error in it` });

describe("a request", () => {
  test.each(["", "/aidbox", "/a/b"])(
    "A-01 is a POST to /rpc below the base's path %j, in YAML and with HTTP Basic",
    async (basePath) => {
      const server = await useScriptedServer(answering(200, "result: {}\n", yaml));
      const body = aidboxBody("awf.task/start", '{"id":"é"}');
      await useRpc(server.origin, { basePath }).send(body, 10_000);
      expect(server.seen).toEqual([
        {
          method: "POST",
          url: `${basePath}/rpc`,
          headers: {
            host: new URL(server.origin).host,
            connection: "keep-alive",
            authorization: `Basic ${basic}`,
            "content-type": "text/yaml",
            accept: "text/yaml",
            "user-agent": "taskgate/1.2.3",
            "content-length": String(body.length),
          },
          body,
        },
      ]);
    },
  );

  test.each([
    ["awf.task/start", '{"id":"t1"}', '{"method": "awf.task/start", "params": {"id": "t1"}}'],
    [
      "awf.task/status",
      '{"id":"t1","include-log?":true}',
      '{"method": "awf.task/status", "params": {"id": "t1", "include-log?": true}}',
    ],
    [
      "awf.task/success",
      '{"result":{"date":"2021-10-25","n":1e5,"é":[null]}}',
      '{"method": "awf.task/success", "params": {"result": {"date": "2021-10-25", "n": 1.0e+5, "\\xe9": [null]}}}',
    ],
    ["awf.task/list", "{}", '{"method": "awf.task/list", "params": {}}'],
  ])("A-02 A-03 A-04 for %s with %s has method and params, and nothing else", (method, params, body) => {
    expect(aidboxBody(method, params)).toBe(body);
  });

  test("has the credentials that are current when it is sent, in UTF-8", async () => {
    const server = await useScriptedServer(answering(200, "result: {}\n", yaml));
    const secrets = ["first", "zwölf:€"];
    const rpc = useRpc(server.origin, {
      clientId: "ö",
      clientSecret: { current: () => secrets.shift() ?? "", isReplaced: async () => false },
    });
    await rpc.send("{}", 10_000);
    await rpc.send("{}", 10_000);
    const sent = server.seen.map(({ headers }) => headers.authorization?.replace("Basic ", "") ?? "");
    expect(sent.map((text) => Buffer.from(text, "base64").toString())).toEqual(["ö:first", "ö:zwölf:€"]);
  });
});

describe("a result", () => {
  test.each([
    [
      "in YAML",
      "result:\n  resource:\n    id: >-\n      819c2499-1303-4c0e-bf1e-bcca761bfbde\n",
      '{"resource":{"id":"819c2499-1303-4c0e-bf1e-bcca761bfbde"}}',
    ],
    ["in JSON", '{"result":{"resource":{"id":"t1"}}}', '{"resource":{"id":"t1"}}'],
    ["that is a list", "result: [1, a]", '[1,"a"]'],
    ["that is a text", "result: Finished", '"Finished"'],
    ["that is null", "result: null", "null"],
    ["that is nothing", "result:", "null"],
    ["that is empty", "result: {}", "{}"],
    ["with more beside it", "id: 1\nresult: {a: 1}\nextra: [2]\n", '{"a":1}'],
    ["that has an error inside", "result: {error: {message: no}}", '{"error":{"message":"no"}}'],
  ])("A-40 A-41 %s is accepted", async (_, body, text) => {
    expect(await resultOf(200, body)).toBe(text);
  });

  test.each([
    ["text/yaml", 200],
    ["text/yaml; charset=utf-8", 200],
    ["application/json", 200],
    ["text/plain", 201],
    ["text/html", 202],
    ["", 299],
  ])("A-41 is accepted under the content-type %j and status %i", async (type, status) => {
    expect(await resultOf(status, '{"result":{"a":1}}', { "content-type": type })).toBe('{"a":1}');
  });

  test("A-40 A-52 A-53 A-54 keeps time stamps, numeric strings, digits, order and what is unknown", async () => {
    const body = [
      "result:",
      "  resources:",
      "    - execId: ea5c0022-c1e7-4f3c-b1ed-7e9b2428b7d2",
      "      status: hibernating",
      "      executeAt: '2023-05-04T15:30:43'",
      "      pool: awf.executor/aidbox-long-tasks-pool2",
      "      meta: {versionId: '17633', lastUpdated: 2023-05-04T16:33:14.682354Z}",
      "      params: {n: 12345678901234567890.10, mrn: 0189, z: 1, a: 2}",
      "",
    ].join("\n");
    expect(await resultOf(200, body)).toBe(
      '{"resources":[{"execId":"ea5c0022-c1e7-4f3c-b1ed-7e9b2428b7d2","status":"hibernating",' +
        '"executeAt":"2023-05-04T15:30:43","pool":"awf.executor/aidbox-long-tasks-pool2",' +
        '"meta":{"versionId":"17633","lastUpdated":"2023-05-04T16:33:14.682354Z"},' +
        '"params":{"n":12345678901234567890.10,"mrn":"0189","z":1,"a":2}}]}',
    );
  });
});

describe("an error that is null", () => {
  test.each([
    "result: {a: 1}\nerror: null\n",
    "error: null\nresult: {a: 1}\n",
    "result: {a: 1}\nerror:\n",
    "result: {a: 1}\nerror: ~\n",
    '{"jsonrpc":"2.0","result":{"a":1},"error":null}',
  ])("A-40 A-41 beside a result is none: %j", async (body) => {
    expect(await resultOf(200, body)).toBe('{"a":1}');
  });

  test("A-48 without a result leaves a doubt", async () => {
    expect(await resultOf(200, "error: null\n")).toEqual(failed("inDoubt", 200, noResult("text/yaml")));
  });

  test.each([
    [422, "rejected"],
    [401, "unauthorized"],
    [503, "unavailable"],
    [500, "inDoubt"],
  ] as const)("A-55 A-56 A-57 of %i is %s by its status alone", async (status, kind) => {
    expect(await resultOf(status, "result: {a: 1}\nerror: null\n")).toEqual(failed(kind, status));
  });

  test("A-46 does not hide the diagnostics", async () => {
    expect(await resultOf(403, "error: null\nissue: [{diagnostics: Forbidden}]\n")).toEqual(
      failed("unauthorized", 403, { said: "Forbidden" }),
    );
  });

  test("of 307 does not hide that it is a redirect", async () => {
    expect(await resultOf(307, "error: null\n")).toEqual(
      failed("rejected", 307, { said: "a redirect, which is not followed: the base URL is wrong" }),
    );
  });

  test.each([
    ["'null'", "null"],
    ["nil", "nil"],
    ["false", "false"],
    ["0", "0"],
    ["[null]", "[null]"],
    ["{}", "{}"],
  ])("A-42 is not %s, which is a failure beside a result", async (error, said) => {
    expect(await resultOf(200, `result: {a: 1}\nerror: ${error}\n`)).toEqual(
      failed("rejected", 200, { said }),
    );
  });
});

describe("an error", () => {
  const done =
    "type: workflow-has-been-done, message: \"Workflow id:'w1' has already been done. Couldn't cancel it.\"";
  const saidDone = {
    said: "Workflow id:'w1' has already been done. Couldn't cancel it.",
    type: "workflow-has-been-done",
  };

  test.each([
    [200, "rejected"],
    [201, "rejected"],
    [400, "rejected"],
    [404, "rejected"],
    [409, "rejected"],
    [413, "rejected"],
    [422, "rejected"],
    [301, "rejected"],
    [401, "unauthorized"],
    [403, "unauthorized"],
    [408, "unavailable"],
    [425, "unavailable"],
    [429, "unavailable"],
    [503, "unavailable"],
    [500, "inDoubt"],
    [501, "inDoubt"],
    [502, "inDoubt"],
    [504, "inDoubt"],
  ] as const)("A-42 A-43 with status %i is %s, and its words are kept", async (status, kind) => {
    expect(await resultOf(status, `error: {${done}}\n`)).toEqual(failed(kind, status, saidDone));
    expect(await resultOf(status, `{"error":{"type":"t","message":"m"}}`)).toEqual(
      failed(kind, status, { said: "m", type: "t" }),
    );
  });

  test("A-42 beside a result is a failure", async () => {
    expect(await resultOf(200, "result: {resource: {id: t1}}\nerror: {message: no}\n")).toEqual(
      failed("rejected", 200, { said: "no" }),
    );
  });

  test("A-44 of 422 Resource not found is a refusal in these words", async () => {
    expect(await resultOf(422, "error: {message: Resource not found}\n")).toEqual(
      failed("rejected", 422, { said: "Resource not found" }),
    );
  });

  test.each([200, 400, 422])(
    "A-45 of %i Invalid params is the caller's fault, and says what is wrong",
    async (status) => {
      const body = [
        "error:",
        "  message: Invalid params",
        "  method: awf.task/start",
        "  errors:",
        "    - {message: ':execId is required', type: require, path: [execId]}",
        "    - {message: 'Expected type of ''string, got ''long', type: type}",
        "    - {type: odd}",
        "",
      ].join("\n");
      expect(await resultOf(status, body)).toEqual(
        failed("invalid", status, {
          said: "Invalid params: :execId is required: Expected type of 'string, got 'long",
        }),
      );
    },
  );

  test.each([500, 503, 401])("A-45 of %i Invalid params is first of all that status", async (status) => {
    const kind = { 500: "inDoubt", 503: "unavailable", 401: "unauthorized" } as const;
    expect(await resultOf(status, "error: {message: Invalid params}")).toEqual(
      failed(kind[status as keyof typeof kind], status, { said: "Invalid params" }),
    );
  });

  test.each<[body: string, words: Words]>([
    ["error: Something went wrong", { said: "Something went wrong" }],
    ['{"error":"Something went wrong"}', { said: "Something went wrong" }],
    ["error: 42", { said: "42" }],
    ["error: [a, b]", { said: '["a","b"]' }],
    ["error: {}", { said: "{}" }],
    ["error: {code: 7}", { said: '{"code":7}' }],
    ["error: {message: 7, type: 8}", { said: '{"message":7,"type":8}' }],
    ["error: {message: '', type: ''}", {}],
    ["error: ''", {}],
    ["error: {message: m, errors: none}", { said: "m" }],
    ["error: {message: m, errors: [none, {message: n}]}", { said: "m: n" }],
    ["error: {type: ':sdc.error/validation', message: m}", { said: "m", type: ":sdc.error/validation" }],
  ])("A-47 of the form %s says what it can", async (body, words) => {
    expect(await resultOf(422, body)).toEqual(failed("rejected", 422, words));
  });
});

describe("an answer without a result and without an error", () => {
  const outcome = (diagnostics: string) =>
    [
      "resourceType: OperationOutcome",
      "id: forbidden",
      "text: {status: generated, div: Forbidden}",
      "issue:",
      `  - {severity: fatal, code: forbidden, diagnostics: ${diagnostics}}`,
      "",
    ].join("\n");

  test.each([
    [401, "Unauthorized"],
    [403, "Forbidden"],
  ])("A-46 of %i with an OperationOutcome refuses the credentials", async (status, said) => {
    expect(await resultOf(status, outcome(said))).toEqual(failed("unauthorized", status, { said }));
    const json = JSON.stringify({ resourceType: "OperationOutcome", issue: [{ diagnostics: said }] });
    expect(await resultOf(status, json)).toEqual(failed("unauthorized", status, { said }));
  });

  test.each([
    "",
    "Forbidden",
    "resourceType: OperationOutcome\n",
    "issue: []\n",
    "issue: {}\n",
    "issue: [{code: forbidden}]\n",
    "issue: [{diagnostics: 7}]\n",
    "<html>Forbidden</html>",
  ])("A-46 of 403 with %j refuses the credentials and says nothing", async (body) => {
    expect(await resultOf(403, body)).toEqual(failed("unauthorized", 403));
  });

  test.each<[what: string, body: string]>([
    ["nothing", ""],
    ["an empty object", "{}"],
    ["another object", "results: {}\n"],
    ["a list", "- result: {}\n"],
    ["a text", "OK"],
    ["null", "null"],
    ["HTML", "<!DOCTYPE html>\n<html><body>result: {}</body></html>"],
    ["an alias bomb", "a: &a [x]\nb: &b [*a, *a]\nresult: *b\n"],
    ["deep nesting", `result: ${"[".repeat(1000)}`],
    ["broken YAML", "result: {a: 1\n"],
    ["broken JSON", '{"result": {"a": 1}'],
    ["a duplicate key", "result: {}\nresult: {}\n"],
    ["two documents", "result: {}\n---\nresult: {}\n"],
    ["a number that is none", "result: {a: .nan}\n"],
    ["an object of JavaScript", "result: !!js/undefined ''\n"],
    ["a key that is a list", "result: {[a]: b}\n"],
    ["binary rubbish", "\u0000\u0001\u0002"],
  ])("A-48 of 200 with %s leaves a doubt", async (_, body) => {
    expect(await resultOf(200, body)).toEqual(failed("inDoubt", 200, noResult("text/yaml")));
  });

  test.each([
    [{ "content-type": "text/html; charset=utf-8" }, "text/html; charset=utf-8"],
    [{}, "no content-type"],
  ])("A-48 of 200 tells its content-type: %o", async (headers, shown) => {
    expect(await resultOf(200, "<html>", headers)).toEqual(failed("inDoubt", 200, noResult(shown)));
  });

  test.each([
    [400, "rejected"],
    [404, "rejected"],
    [413, "rejected"],
    [422, "rejected"],
    [401, "unauthorized"],
    [429, "unavailable"],
    [503, "unavailable"],
    [500, "inDoubt"],
    [502, "inDoubt"],
    [504, "inDoubt"],
  ] as const)("A-55 A-56 A-57 of %i is %s, with whatever body", async (status, kind) => {
    for (const body of ["", "<html>Bad Gateway</html>", "{}", "result: {resource: {id: t1}}\n", "- ["]) {
      expect(await resultOf(status, body)).toEqual(failed(kind, status));
    }
  });

  test.each([300, 301, 302, 307, 308, 399])("of %i is a redirect that is not followed", async (status) => {
    const other = await useScriptedServer(answering(200, "result: {}\n", yaml));
    expect(await resultOf(status, "", { location: `${other.origin}/rpc` })).toEqual(
      failed("rejected", status, { said: "a redirect, which is not followed: the base URL is wrong" }),
    );
    expect(other.seen).toEqual([]);
  });

  test.each([
    [429, "30", 30],
    [503, "86400", 600],
    [503, "Thu, 01 Jan 2026 00:00:45 GMT", 45],
    [429, "soon", undefined],
  ])("A-56 of %i with Retry-After %s is unavailable for %s seconds", async (status, header, retrySeconds) => {
    expect(await resultOf(status, "", { "retry-after": header })).toEqual(
      failed("unavailable", status, retrySeconds === undefined ? {} : { retrySeconds }),
    );
  });
});

describe("no answer", () => {
  const inDoubt = (cause: string): AidboxResult => ({
    kind: "inDoubt",
    failure: expectedFailure(
      Code.Unknown,
      ErrorReason.UPSTREAM_UNCERTAIN,
      `aidbox may have taken the request: ${cause}`,
      { upstream: "aidbox" },
    ),
  });

  test("A-57 in time leaves a doubt", async () => {
    const server = await useScriptedServer(() => undefined);
    expect(await useRpc(server.origin).send("{}", 300)).toEqual(inDoubt("no answer within 300 ms"));
  });

  test("A-57 because the connection broke leaves a doubt", async () => {
    const server = await useScriptedServer((_, response) => {
      response.destroy();
    });
    expect(await useRpc(server.origin).send("{}", 10_000)).toEqual(
      inDoubt("other side closed (UND_ERR_SOCKET)"),
    );
  });

  test("because the caller left leaves a doubt", async () => {
    const caller = new AbortController();
    const server = await useScriptedServer(() => caller.abort());
    expect(await useRpc(server.origin).send("{}", 10_000, caller.signal)).toEqual(
      inDoubt("the call was ended by its caller"),
    );
  });

  test("because nobody listens is unavailable", async () => {
    const origin = await unusedOrigin();
    expect(await useRpc(origin).send("{}", 10_000)).toEqual({
      kind: "unavailable",
      failure: expectedFailure(
        Code.Unavailable,
        ErrorReason.UPSTREAM_UNAVAILABLE,
        `aidbox was not reached: connect ECONNREFUSED ${new URL(origin).host}`,
        { upstream: "aidbox" },
      ),
    });
  });
});

describe("what the upstream echoes", () => {
  test.each<[what: string, status: number, body: string, headers?: Record<string, string>]>([
    ["the secret in an error's message", 422, `error: {message: 'no ${clientSecret}'}`],
    ["the secret in an error's type", 422, `error: {message: m, type: '${clientSecret}'}`],
    ["the secret in a bare error", 422, `error: '${clientId}:${clientSecret}'`],
    ["the secret in a list of errors", 422, `error: {message: m, errors: [{message: '${clientSecret}'}]}`],
    ["the secret in an error of unknown form", 422, `error: {auth: '${clientSecret}'}`],
    ["the header in an error", 422, `error: {message: 'Basic ${basic}'}`],
    ["the secret in diagnostics", 403, `issue: [{diagnostics: '${clientSecret}'}]`],
    ["the header in diagnostics", 401, `issue: [{diagnostics: '${basic}'}]`],
    ["the secret in an escape", 422, `{"error":"s3\\u00633t s3cr3t:p\\u006155"}`],
    [
      "the secret in the content-type",
      200,
      "x",
      { "content-type": `text/html; a=${clientSecret}; b=${basic}` },
    ],
  ])("never shows a secret: %s", async (_, status, body, headers = yaml) => {
    const text = inspect(await resultOf(status, body, headers), { depth: null });
    expect(text).toContain("[redacted]");
    expect(text).not.toContain(clientSecret);
    expect(text).not.toContain(basic);
    expect(text).not.toMatch(/pa55/);
  });

  test("is one line of limited length, also the type", async () => {
    const long = `a\\n\\u0000${"x".repeat(1000)}`;
    const shown = `a ${"x".repeat(295)}...`;
    expect(await resultOf(422, `{"error":{"message":"${long}","type":"${long}"}}`)).toEqual(
      failed("rejected", 422, { said: shown, type: shown }),
    );
  });
});
