import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import {
  contentTypeWords,
  excerpt,
  failedAnswer,
  failedExchange,
  type HttpAnswer,
  meaningOfStatus,
} from "../../src/upstream/http-failure.ts";
import { expectedFailure } from "./expected-failure.ts";

const nowMs = Date.UTC(2026, 0, 1);

function answer(status: number, headers: Record<string, string> = {}): HttpAnswer {
  return { kind: "answered", status, headers, body: "" };
}

test("every status has a meaning, and only some are surely not taken", () => {
  const meanings = Map.groupBy(
    Array.from({ length: 800 }, (_, index) => 200 + index),
    meaningOfStatus,
  );
  expect(Object.fromEntries(Array.from(meanings, ([key, statuses]) => [key, statuses.length]))).toEqual({
    accepted: 100,
    rejected: 195,
    unauthorized: 2,
    unavailable: 4,
    inDoubt: 499,
  });
  expect(meanings.get("unauthorized")).toEqual([401, 403]);
  expect(meanings.get("unavailable")).toEqual([408, 425, 429, 503]);
});

test.each([
  [200, "accepted"],
  [204, "accepted"],
  [299, "accepted"],
  [300, "rejected"],
  [301, "rejected"],
  [304, "rejected"],
  [308, "rejected"],
  [400, "rejected"],
  [404, "rejected"],
  [409, "rejected"],
  [413, "rejected"],
  [422, "rejected"],
  [499, "rejected"],
  [500, "inDoubt"],
  [501, "inDoubt"],
  [502, "inDoubt"],
  [504, "inDoubt"],
  [599, "inDoubt"],
])("%i means %s", (status, meaning) => {
  expect(meaningOfStatus(status)).toBe(meaning);
});

describe("a failed answer", () => {
  test.each([
    ["rejected", Code.FailedPrecondition, ErrorReason.UPSTREAM_REJECTED],
    ["tooEarly", Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE],
    ["unauthorized", Code.FailedPrecondition, ErrorReason.UPSTREAM_AUTH],
    ["unavailable", Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE],
    ["inDoubt", Code.Unknown, ErrorReason.UPSTREAM_UNCERTAIN],
  ] as const)("that is %s has its code and its reason", (kind, code, reason) => {
    expect(failedAnswer(kind, answer(418), { upstream: "orchestra" }, nowMs)).toEqual({
      kind,
      failure: expectedFailure(code, reason, "orchestra answered 418", {
        upstream: "orchestra",
        http_status: "418",
      }),
    });
  });

  test("tells what the upstream said, its word for it and how long to wait", () => {
    const words = { upstream: "aidbox", said: "no such thing", type: "not-found" };
    const failed = failedAnswer("unavailable", answer(429, { "retry-after": "7" }), words, nowMs);
    expect(failed.failure).toEqual(
      expectedFailure(
        Code.Unavailable,
        ErrorReason.UPSTREAM_UNAVAILABLE,
        "aidbox answered 429: no such thing",
        {
          upstream: "aidbox",
          http_status: "429",
          upstream_type: "not-found",
          upstream_message: "no such thing",
        },
        7,
      ),
    );
  });

  test.each([
    ["rejected", undefined],
    ["unauthorized", undefined],
    ["tooEarly", 7n],
    ["unavailable", 7n],
    ["inDoubt", 7n],
  ] as const)("that is %s tells how long to wait only where waiting helps", (kind, seconds) => {
    const failed = failedAnswer(kind, answer(418, { "retry-after": "7" }), { upstream: "aidbox" }, nowMs);
    expect(failed.failure.retryDelay?.seconds).toBe(seconds);
  });

  test("does not tell what is empty", () => {
    const failed = failedAnswer("rejected", answer(422), { upstream: "aidbox", said: "", type: "" }, nowMs);
    expect(failed.failure).toEqual(
      expectedFailure(Code.FailedPrecondition, ErrorReason.UPSTREAM_REJECTED, "aidbox answered 422", {
        upstream: "aidbox",
        http_status: "422",
      }),
    );
  });

  test("tells how long to wait from a date, too", () => {
    const headers = { "retry-after": "Thu, 01 Jan 2026 00:01:00 GMT" };
    const failed = failedAnswer("unavailable", answer(503, headers), { upstream: "aidbox" }, nowMs);
    expect(failed.failure.retryDelay).toMatchObject({ seconds: 60n, nanos: 0 });
  });
});

test.each([
  [
    "notSent",
    "unavailable",
    expectedFailure(Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE, "aidbox was not reached: why", {
      upstream: "aidbox",
    }),
  ],
  [
    "broken",
    "inDoubt",
    expectedFailure(Code.Unknown, ErrorReason.UPSTREAM_UNCERTAIN, "aidbox may have taken the request: why", {
      upstream: "aidbox",
    }),
  ],
] as const)("an exchange that is %s is %s, and says why", (kind, result, failure) => {
  expect(failedExchange({ kind, cause: "why" }, "aidbox")).toEqual({ kind: result, failure });
});

test.each<[headers: Record<string, string>, words: string]>([
  [{}, "no content-type"],
  [{ "content-type": "" }, "no content-type"],
  [{ "content-type": "text/html; charset=utf-8" }, "text/html; charset=utf-8"],
  [{ "content-type": "text/s3cr3t" }, "text/[redacted]"],
])("the content type of %o is named as %s", (headers, words) => {
  expect(contentTypeWords(answer(200, headers), ["s3cr3t"])).toBe(words);
});

describe("an excerpt", () => {
  test.each([
    ["", ""],
    ["as it is", "as it is"],
    ["  around  ", "around"],
    ["a\r\n\tb\u0000c\u001b[31md\u0085e\u2028f\u200bg\ufeffh", "a b c [31md e f g h"],
    ["half \ud83d a pair", "half a pair"],
    ["é 日本 😀", "é 日本 😀"],
    ["x".repeat(300), "x".repeat(300)],
    ["x".repeat(301), `${"x".repeat(297)}...`],
    [`${"x".repeat(300)} \n`, "x".repeat(300)],
  ])("of %j is one line, without what cannot be seen", (text, line) => {
    expect(excerpt(text, [])).toBe(line);
  });

  test("is never cut within a character", () => {
    for (let length = 290; length <= 300; length += 1) {
      const line = excerpt("x".repeat(length) + "😀".repeat(20), []);
      expect(line.isWellFormed()).toBe(true);
      expect(line.length).toBeLessThanOrEqual(300);
      expect(line.endsWith("...")).toBe(true);
    }
  });

  test.each<[text: string, secrets: string[], line: string]>([
    ["key k3y is wrong", ["k3y"], "key [redacted] is wrong"],
    ["k3yk3y K3Y", ["k3y"], "[redacted][redacted] K3Y"],
    ["a.c abc", ["a.c"], "[redacted] abc"],
    ["$& $1 \\", ["$&", "\\"], "[redacted] $1 [redacted]"],
    ["one two", ["two", "one"], "[redacted] [redacted]"],
    ["nothing to hide", [""], "nothing to hide"],
    ["line\nbreak", ["line\nbreak"], "[redacted]"],
    [`${"x".repeat(290)}s3cr3ts3cr3t`, ["s3cr3ts3cr3t"], `${"x".repeat(290)}[redacted]`],
    [`${"x".repeat(295)}s3cr3ts3cr3t`, ["s3cr3ts3cr3t"], `${"x".repeat(295)}[r...`],
    ["abcd ab", ["ab", "abcd"], "[redacted] [redacted]"],
  ])("of %j without %j is %s", (text, secrets, line) => {
    expect(excerpt(text, secrets)).toBe(line);
  });
});
