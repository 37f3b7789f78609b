import { spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ConnectError } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { type Caller, grpcClient, testClients } from "../support/clients.ts";
import { type ScriptedServer, useScriptedServer } from "../support/scripted-server.ts";
import { useDirectory } from "../support/use-directory.ts";

const bin = new URL("../../bin/taskgate.js", import.meta.url).pathname;

function canary(): string {
  return `canary${randomBytes(16).toString("hex")}`;
}

/** The ways in which a text may be written. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  // In base64 what stands before it decides about the letters at its ends.
  const base64 = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift, "x"), bytes])
      .toString("base64")
      .slice(4, -4),
  );
  return [secret, secret.slice(6), bytes.toString("hex"), ...base64];
}

/** Which canaries are in a text, by their names. */
function found(canaries: Record<string, string>, output: string): string[] {
  return Object.entries(canaries)
    .filter(([, secret]) => formsOf(secret).some((form) => output.includes(form)))
    .map(([name]) => name);
}

interface Run {
  stdout: () => string;
  stderr: () => string;
  pid: number;
  ended: Promise<unknown>;
  kill(signal: NodeJS.Signals): void;
}

function run(args: readonly string[], env: Record<string, string>): Run {
  const child = spawn(process.execPath, [bin, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  return {
    stdout: () => stdout,
    stderr: () => stderr,
    pid: child.pid ?? 0,
    ended: once(child, "close"),
    kill: (signal) => void child.kill(signal),
  };
}

/** An upstream that says back, in every way, whatever it was told. */
function useEcho(status: () => number): Promise<ScriptedServer> {
  return useScriptedServer(({ url, headers, body }, response) => {
    const said = `${url} ${JSON.stringify(headers)} ${body}`;
    const basic = Buffer.from(String(headers.authorization).replace(/^Basic /, ""), "base64").toString();
    response.writeHead(status(), {
      "content-type": `application/json; x="${encodeURIComponent(said).slice(0, 500)}"`,
      location: `http://elsewhere.invalid${url}?${headers.authorization}`,
      "x-echo": encodeURIComponent(said).slice(0, 2000),
    });
    response.end(
      JSON.stringify({
        success: false,
        error: said,
        code: headers.authorization,
        detail: `${said} ${basic}`,
        message: basic,
      }),
    );
  });
}

const secrets = {
  orchestraKey: canary(),
  orchestratorToken: canary(),
  aidboxSecret: canary(),
  authToken: canary(),
  adminToken: canary(),
  wrongToken: canary(),
  webhookPath: canary(),
};
const payloads = {
  callbackToken: `${canary()}aaaaa`,
  message: canary(),
  log: canary(),
  result: canary(),
  error: canary(),
  sessionId: canary(),
};

test("the search finds a secret in every form", () => {
  const { authToken } = secrets;
  for (const text of [
    `Bearer ${authToken}`,
    Buffer.from(`id:${authToken}`).toString("base64"),
    Buffer.from(`${authToken}`).toString("hex"),
    JSON.stringify({ a: authToken }),
  ]) {
    expect(found(secrets, text)).toEqual(["authToken"]);
  }
  expect(found(secrets, canary())).toEqual([]);
  expect(payloads.callbackToken).toHaveLength(43);
});

describe("S12 a secret is in no output", () => {
  test("of calls, logs, probes, the command line, crash reports and the store", {
    timeout: 60_000,
  }, async () => {
    let status = 401;
    const upstream = await useEcho(() => status);
    const directory = useDirectory();
    const dataDir = join(directory, "data");
    const reports = useDirectory();
    const secretFile = (name: keyof typeof secrets) => {
      const path = join(directory, name);
      writeFileSync(path, `${secrets[name]}\n`, { mode: 0o600 });
      return path;
    };
    const env = {
      TASKGATE_LISTEN: "127.0.0.1:0",
      TASKGATE_OPS_LISTEN: "127.0.0.1:0",
      TASKGATE_DATA_DIR: dataDir,
      TASKGATE_DRAIN_TIMEOUT: "500ms",
      ORCHESTRA_WEBHOOK_URL: `${upstream.origin}/${secrets.webhookPath}?key=${secrets.webhookPath}`,
      ORCHESTRA_API_KEY_FILE: secretFile("orchestraKey"),
      TASKGATE_ORCHESTRATOR_URL: upstream.origin,
      TASKGATE_ORCHESTRATOR_TOKEN_FILE: secretFile("orchestratorToken"),
      TASKGATE_AIDBOX_URL: upstream.origin,
      TASKGATE_AIDBOX_CLIENT_ID: "id",
      TASKGATE_AIDBOX_CLIENT_SECRET_FILE: secretFile("aidboxSecret"),
      TASKGATE_AUTH_TOKEN_FILE: secretFile("authToken"),
      TASKGATE_ADMIN_TOKEN_FILE: secretFile("adminToken"),
    };
    const gateway = run(["serve"], {
      ...env,
      NODE_OPTIONS: `--report-on-signal --report-directory=${reports} --report-exclude-env`,
    });
    await expect.poll(gateway.stderr, { timeout: 15_000 }).toContain('"message":"listening"');
    const line = gateway
      .stderr()
      .split("\n")
      .find((each) => each.includes('"listening"'));
    const { address, ops } = JSON.parse(line ?? "") as { address: string; ops: string };
    const outputs: Record<string, string> = {};
    const seen: string[] = [];

    // What a caller or an operator is told, whatever it is.
    async function told(call: Promise<unknown>): Promise<void> {
      const answer = (await call.catch((error: unknown) => error)) as Partial<ConnectError>;
      seen.push(
        JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? String(value) : value)),
        String(answer?.message),
        JSON.stringify([...(answer?.metadata ?? [])]),
        JSON.stringify(answer?.details ?? []),
        ...(answer?.details ?? []).map((detail) =>
          Buffer.from("value" in detail && detail.value instanceof Uint8Array ? detail.value : []).toString(
            "latin1",
          ),
        ),
      );
    }

    async function callAll(worker: Caller): Promise<void> {
      const own = randomUUID();
      const target = {
        case: "callbackRoute",
        value: `/api/processes/${own}/callback/${payloads.callbackToken}`,
      } as const;
      const attempt = { id: own, execId: "e" };
      const waitFor = WaitFor.STORED;
      const { updateTask, sendLog, heartbeatRun } = TaskStatusService.method;
      const { completeCallback, reportCallbackProgress, heartbeatCallback } = CallbackService.method;
      const { createTask, succeedTask, failTask, heartbeatTask, pollTasks } = ExecutorService.method;
      await Promise.all([
        told(
          worker.call(updateTask, {
            taskRunId: own,
            status: TaskRunStatus.FAILED,
            message: payloads.message,
            waitFor,
          }),
        ),
        told(worker.call(updateTask, { taskRunId: payloads.message, message: payloads.message })),
        told(worker.call(sendLog, { taskRunId: own, name: "l", data: payloads.log, waitFor })),
        told(worker.call(heartbeatRun, { taskRunId: own, sessionId: payloads.sessionId })),
        told(worker.call(heartbeatCallback, { target })),
        told(
          worker.call(reportCallbackProgress, {
            target,
            progress: { case: "text", value: payloads.message },
          }),
        ),
        told(
          worker.call(completeCallback, {
            target,
            payload: { case: "json", value: `{"a":"${payloads.result}"}` },
            waitFor,
          }),
        ),
        told(
          worker.call(completeCallback, {
            target: { case: "callbackUrl", value: `http://evil.invalid${target.value}` },
            payload: { case: "json", value: "{}" },
          }),
        ),
        told(
          worker.call(succeedTask, {
            ...attempt,
            outcome: { case: "resultJson", value: `"${payloads.result}"` },
            waitFor,
          }),
        ),
        told(
          worker.call(failTask, {
            ...attempt,
            reason: { case: "errorJson", value: `"${payloads.error}"` },
            waitFor,
          }),
        ),
        told(worker.call(heartbeatTask, { ...attempt, message: payloads.message })),
        told(worker.call(pollTasks, { taskDefinitions: ["a/b"] })),
        told(
          worker.call(createTask, {
            definition: "a/b",
            input: { case: "paramsJson", value: `{"a":"${payloads.result}"}` },
          }),
        ),
      ]);
    }

    const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
    const url = `http://${address}`;
    for (status of [401, 302, 400, 409, 422, 429, 500, 503, 200]) {
      await callAll(grpcClient.connect(url, bearer(secrets.authToken)));
    }
    for (const { connect } of testClients) {
      const stranger = connect(url, bearer(secrets.wrongToken));
      await told(
        stranger.call(TaskStatusService.method.updateTask, { taskRunId: randomUUID(), message: "x" }),
      );
      await callAll(connect(url, bearer(secrets.authToken)));
    }
    outputs["what callers are told"] = seen.splice(0).join("\n");

    const operator = grpcClient.connect(url, bearer(secrets.adminToken));
    const { getInfo, listDeliveries, listSessions } = GatewayService.method;
    await told(operator.call(getInfo, {}));
    await told(operator.call(listDeliveries, { pageSize: 1000 }));
    await told(operator.call(listSessions, {}));
    outputs["what operators are told"] = seen.splice(0).join("\n");
    const list = run(["outbox", "list"], {
      ...env,
      TASKGATE_LISTEN: address,
      PATH: process.env.PATH ?? "",
    });
    await list.ended;
    outputs["outbox list"] = list.stdout() + list.stderr();
    expect(outputs["outbox list"]).toContain("REJECTED");
    // They were there to be taken out.
    expect(outputs["what operators are told"]).toContain("[redacted]");
    for (const path of ["/startupz", "/livez", "/readyz", "/metrics", "/debug", `/${secrets.authToken}`]) {
      const response = await fetch(`http://${ops}${path}`, { headers: bearer(secrets.adminToken) });
      outputs[path] = `${JSON.stringify([...response.headers])} ${await response.text()}`;
    }
    // What a bad client sends is an error of the wire.
    const bad = await fetch(`${url}/taskgate.v1.TaskStatusService/${secrets.authToken}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...bearer(secrets.wrongToken) },
      body: "{",
    });
    outputs["a bad path"] = `${JSON.stringify([...bad.headers])} ${await bad.text()}`;
    outputs["the command line"] = readFileSync(`/proc/${gateway.pid}/cmdline`, "latin1");
    gateway.kill("SIGUSR2");
    await expect.poll(() => readdirSync(reports).length, { timeout: 10_000 }).toBeGreaterThan(0);
    gateway.kill("SIGTERM");
    await gateway.ended;
    for (const name of readdirSync(reports)) {
      outputs["the crash report"] = readFileSync(join(reports, name), "utf8");
    }
    outputs["the log"] = gateway.stdout() + gateway.stderr();
    expect(outputs["the log"].length).toBeGreaterThan(500);

    const leaks = Object.entries(outputs).flatMap(([name, output]) =>
      found({ ...secrets, ...(name === "what callers are told" ? {} : payloads) }, output).map(
        (secret) => `${secret} in ${name}`,
      ),
    );
    expect(leaks).toEqual([]);
    // A caller hears of its own callback token only what it said itself.
    expect(found({ callbackToken: payloads.callbackToken }, outputs["what callers are told"] ?? "")).toEqual(
      [],
    );

    // The store: what must be sent again is in it, and no credential.
    expect(statSync(dataDir).mode & 0o077).toBe(0);
    const files = readdirSync(dataDir).map((name) => join(dataDir, name));
    const stored = files.map((path) => readFileSync(path, "latin1")).join("");
    expect(found(payloads, stored)).toContain("callbackToken");
    expect(found(secrets, stored)).toEqual([]);
    for (const path of files) {
      expect([path, statSync(path).mode & 0o077]).toEqual([path, 0]);
    }
  });

  test("of a configuration that is wrong", async () => {
    const directory = useDirectory();
    const base = { TASKGATE_DATA_DIR: directory, PATH: process.env.PATH ?? "" };
    const wrong: Record<string, string>[] = [
      { TASKGATE_AUTH_TOKEN: `${secrets.authToken} x` },
      { ORCHESTRA_API_KEY: `${secrets.orchestraKey}\nx` },
      { TASKGATE_ORCHESTRATOR_URL: `http://user:${secrets.orchestratorToken}@host` },
      { ORCHESTRA_WEBHOOK_URL: `ftp://host/${secrets.webhookPath}`, ORCHESTRA_API_KEY: secrets.orchestraKey },
      { TASKGATE_AIDBOX_URL: "http://x", TASKGATE_AIDBOX_CLIENT_SECRET: secrets.aidboxSecret },
      { TASKGATE_DATABASE_URL: `postgres://u:${secrets.adminToken}@h/d` },
      {
        TASKGATE_ORCHESTRATOR_TOKEN: `${secrets.orchestratorToken},b`,
        TASKGATE_ORCHESTRATOR_URL: "http://a",
      },
    ];
    const ends = wrong.map(async (env) => {
      const refused = run(["serve"], { ...base, ...env });
      const [code] = (await refused.ended) as [number];
      return [Object.keys(env), code, found(secrets, refused.stdout() + refused.stderr())];
    });
    expect(await Promise.all(ends)).toEqual(wrong.map((env) => [Object.keys(env), 1, []]));
  });
});
