import { describe, expect, test } from "vitest";
import { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import { parseRunConfig } from "../../src/config/parse-run-config.ts";

const id = "1d876307-8c0a-42a1-8299-af0516223652";

function parse(env: Record<string, string>, flags: Record<string, string> = {}) {
  return parseRunConfig({ env, flags, readFile: (path) => `${path}!\n` });
}

describe("what taskgate run is told", () => {
  test("is nothing: the gateway on this machine, and the run that it was given", () => {
    expect(parse({})).toEqual({
      config: {
        gateway: { kind: "listen", listen: { kind: "tcp", host: "127.0.0.1", port: 7450 }, cert: undefined },
        token: undefined,
        subject: { kind: "run", taskRunId: "", attempt: undefined },
        onLost: OnLost.FAIL,
        onCancel: "terminate",
        messagesMs: undefined,
        logName: undefined,
        waitFor: WaitFor.STORED,
        reportTimeoutMs: 60_000,
      },
    });
  });

  test("is everything, by flags and variables", () => {
    const env = {
      TASKGATE_LISTEN: "0.0.0.0:1",
      TASKGATE_TLS_CERT: "cert",
      TASKGATE_AUTH_TOKEN_FILE: "token",
      TASKGATE_ADMIN_TOKEN: "admin",
      TASKGATE_ON_LOST: "ignore",
      ORCHESTRA_TASK_RUN_ID: id.toUpperCase(),
      ORCHESTRA_TASK_ATTEMPT_NUMBER: "3",
    };
    const flags = {
      messages: "5s",
      log: "a.log",
      attempt: "4",
      "wait-for": "delivered",
      "on-cancel": "ignore",
    };
    expect(parse(env, flags)).toMatchObject({
      config: {
        gateway: { listen: { host: "0.0.0.0", port: 1 }, cert: "cert!\n" },
        token: "token!",
        subject: { taskRunId: id, attempt: 4 },
        onLost: OnLost.IGNORE,
        onCancel: "ignore",
        messagesMs: 5000,
        logName: "a.log",
        waitFor: WaitFor.DELIVERED,
      },
    });
  });

  test.each([
    ["https://gateway.example/", { kind: "url", url: "https://gateway.example" }],
    ["http://127.0.0.1:1/under", { kind: "url", url: "http://127.0.0.1:1/under" }],
    ["unix:/tmp/x", { kind: "listen", listen: { kind: "unix", path: "/tmp/x" }, cert: undefined }],
  ])("is a gateway elsewhere: %s", (gateway, expected) => {
    expect(parse({ TASKGATE_GATEWAY: gateway, TASKGATE_TLS_CERT: "cert" })).toMatchObject({
      config: { gateway: expected },
    });
  });

  test("is a callback, whatever run there is besides", () => {
    expect(
      parse({ TASKGATE_CALLBACK_ROUTE: "/api", TASKGATE_JOB_ID: "j", ORCHESTRA_TASK_RUN_ID: id }),
    ).toMatchObject({
      config: { subject: { kind: "callback", target: { case: "callbackRoute", value: "/api" }, jobId: "j" } },
    });
  });

  test("may be wrong in many ways", () => {
    const env = {
      TASKGATE_GATEWAY: "somewhere",
      TASKGATE_AUTH_TOKEN: "a b",
      TASKGATE_ON_LOST: "x",
      TASKGATE_ON_CANCEL: "x",
      TASKGATE_MESSAGES: "often",
      TASKGATE_WAIT_FOR: "x",
      TASKGATE_REPORT_TIMEOUT: "0s",
      ORCHESTRA_TASK_RUN_ID: "x",
      ORCHESTRA_TASK_ATTEMPT_NUMBER: "-1",
    };
    expect(parse(env)).toEqual({
      problems: [
        "TASKGATE_GATEWAY must be http://HOST:PORT, https://HOST or unix:PATH",
        "TASKGATE_AUTH_TOKEN must be printable ASCII without spaces",
        "ORCHESTRA_TASK_RUN_ID must be a UUID",
        "ORCHESTRA_TASK_ATTEMPT_NUMBER must be a number from 0",
        "TASKGATE_ON_LOST must be fail or ignore",
        "TASKGATE_ON_CANCEL must be terminate or ignore",
        "TASKGATE_MESSAGES must be a duration such as 30s, 500ms or 2m, up to 576h",
        "TASKGATE_WAIT_FOR must be stored or delivered",
        "TASKGATE_REPORT_TIMEOUT must be a duration such as 30s, 500ms or 2m, up to 576h",
      ],
    });
    expect(parse({}, { "callback-route": "a", "callback-url": "b" })).toEqual({
      problems: ["TASKGATE_CALLBACK_ROUTE and TASKGATE_CALLBACK_URL exclude each other"],
    });
  });
});
