import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { useScriptedServer } from "./support/scripted-server.ts";
import { useDirectory } from "./support/use-directory.ts";

const bin = new URL("../bin/taskgate.js", import.meta.url).pathname;
// All that is secret has this in it.
const canary = "CANARY";
const runId = "1d876307-8c0a-42a1-8299-af0516223652";
const processId = "2d876307-8c0a-42a1-8299-af0516223652";
const callbackToken = `${canary}-callback-token`;

interface Process {
  child: ChildProcess;
  /** Standard output and standard error. */
  said: () => string;
  ended: Promise<unknown>;
}

function run(args: readonly string[], env: Record<string, string>): Process {
  const child = spawn(process.execPath, [bin, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  const listen = (chunk: Buffer) => {
    said += chunk;
  };
  child.stdout?.on("data", listen);
  child.stderr?.on("data", listen);
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  return { child, said: () => said, ended: once(child, "close").then(([code]) => code) };
}

function useSecretFile(name: string): string {
  const path = join(useDirectory(), "secret");
  writeFileSync(path, `${canary}-${name}\n`);
  return path;
}

test("S12 no secret is in what a gateway says, answers, stores or leaves behind when it crashes", async () => {
  // It says back all that it is told, as careless servers do.
  const upstream = await useScriptedServer(({ headers, url, body }, response, index) => {
    if (index % 3 === 2) {
      response.destroy();
      return;
    }
    const said = `${headers.authorization} ${url} ${body}`;
    response.writeHead(index % 3 === 0 ? 401 : 400, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: said, detail: said, code: said }));
  });
  const traced: string[] = [];
  const collector = await useScriptedServer(({ body }, response) => {
    traced.push(body);
    response.end();
  });
  const reports = useDirectory();
  const dataDir = join(useDirectory(), "data");
  const tokenFile = useSecretFile("auth-token");
  const keyFile = useSecretFile("api-key");
  const env = {
    NODE_OPTIONS: `--report-on-signal --report-uncaught-exception --report-on-fatalerror --report-directory=${reports}`,
    TASKGATE_LISTEN: "127.0.0.1:0",
    TASKGATE_OPS_LISTEN: "127.0.0.1:0",
    TASKGATE_DATA_DIR: dataDir,
    TASKGATE_DRAIN_TIMEOUT: "500ms",
    TASKGATE_LOG_LEVEL: "debug",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.origin,
    OTEL_EXPORTER_OTLP_HEADERS: `api-key=${canary}-collector-key`,
    TASKGATE_AUTH_TOKEN_FILE: tokenFile,
    TASKGATE_ADMIN_TOKEN: `${canary}-admin-token`,
    ORCHESTRA_API_KEY_FILE: keyFile,
    ORCHESTRA_WEBHOOK_URL: `${upstream.origin}/${canary}-path?code=${canary}-query`,
    TASKGATE_ORCHESTRATOR_URL: upstream.origin,
    TASKGATE_ORCHESTRATOR_TOKEN: `${canary}-orchestrator-token`,
    TASKGATE_AIDBOX_URL: upstream.origin,
    TASKGATE_AIDBOX_CLIENT_ID: "me",
    TASKGATE_AIDBOX_CLIENT_SECRET: `${canary}-client-secret`,
  };
  const { child, said, ended } = run(["serve"], env);
  await expect.poll(said, { timeout: 30_000 }).toContain('"message":"listening"');
  const line = said()
    .split("\n")
    .find((each) => each.includes('"message":"listening"'));
  const { address, ops } = JSON.parse(line ?? "") as { address: string; ops: string };

  const answers: string[] = [];
  async function call(method: string, request: object, token: string): Promise<void> {
    const response = await fetch(`http://${address}/taskgate.v1.${method}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify(request),
    });
    answers.push(JSON.stringify([...response.headers]), await response.text());
  }
  const worker = `${canary}-auth-token`;
  await call("GatewayService/GetInfo", {}, `${canary}-wrong-token`);
  await call("GatewayService/GetInfo", {}, worker);
  const waitFor = "WAIT_FOR_DELIVERED";
  for (const status of ["TASK_RUN_STATUS_RUNNING", "TASK_RUN_STATUS_FAILED"]) {
    await call("TaskStatusService/UpdateTask", { taskRunId: runId, status, waitFor }, worker);
  }
  const callbackRoute = `/api/processes/${processId}/callback/${callbackToken}`;
  for (const json of ['{"a": 1}', '{"a": 2}']) {
    await call("CallbackService/CompleteCallback", { callbackRoute, json, waitFor }, worker);
    await call("CallbackService/ReportCallbackProgress", { callbackRoute, json }, worker);
  }
  for (let round = 0; round < 3; round += 1) {
    await call("ExecutorService/PollTasks", { taskDefinitions: ["a/b"] }, worker);
  }
  for (const method of ["ListSessions", "ListDeliveries"]) {
    await call(`GatewayService/${method}`, {}, `${canary}-admin-token`);
  }
  for (const path of ["startupz", "livez", "readyz", "metrics", "", "debug"]) {
    answers.push(await (await fetch(`http://${ops}/${path}`)).text());
  }
  // Neither of them can be a token or a key.
  writeFileSync(tokenFile, `${canary} with spaces`);
  writeFileSync(keyFile, `${canary} with spaces`);
  await expect
    .poll(() => said().split("cannot be used").length - 1, { timeout: 30_000, interval: 20 })
    .toBe(2);
  const listed = run(["outbox", "list"], {
    ...env,
    TASKGATE_LISTEN: address,
    NODE_OPTIONS: "",
    TASKGATE_AUTH_TOKEN_FILE: "",
    ORCHESTRA_API_KEY_FILE: "",
  });
  await listed.ended;
  expect(listed.said()).toContain(runId);

  if (process.platform === "linux") {
    answers.push(readFileSync(`/proc/${child.pid}/cmdline`, "utf8"));
  }
  child.kill("SIGUSR2");
  await expect.poll(() => readdirSync(reports).length, { timeout: 30_000 }).toBe(1);
  child.kill("SIGTERM");
  await ended;
  const [report = ""] = readdirSync(reports).map((name) => readFileSync(join(reports, name), "utf8"));
  expect(report).toContain('"nodejsVersion"');

  const answered = answers.join("\n");
  expect(answered).toContain("UPSTREAM_AUTH");
  expect(answered).toContain("[redacted]");
  expect(answered).not.toContain(canary);
  expect(answered).toContain("taskgate_");
  expect(traced.join("")).toContain("UpdateTask");
  expect(traced.join("")).not.toContain(canary);
  expect(report).not.toContain(canary);
  expect(said()).not.toContain(canary);
  expect(listed.said()).not.toContain(canary);
  for (const name of readdirSync(dataDir)) {
    const path = join(dataDir, name);
    // What is on its way to a callback is, with the callback's own token.
    const stored = readFileSync(path, "latin1").replaceAll(callbackToken, "");
    expect(`${name}: ${stored.includes(canary)}`).toBe(`${name}: false`);
    expect(statSync(path).mode & 0o077).toBe(0);
  }
}, 90_000);

test("S12 no secret is in what a gateway says of a wrong configuration, wherever it stands", async () => {
  const directory = useDirectory();
  mkdirSync(join(directory, "one"));
  const config = join(directory, "taskgate.yaml");
  writeFileSync(
    config,
    `orchestraApiKey: ${canary}-1
authToken: ${canary}-2
listen: ${canary} 3
leaseDuration: ${canary}-4
orchestratorUrl: https://user:${canary}-5@host
fastLane: ${canary}
outboxMaxBytes: ${canary}
logLevel: ${canary}
socketMode: ${canary}
socketGroup: ${canary}
allowedOrigins: ${canary}
aidboxUrl: http://box?${canary}
tlsCert: ${config}
tlsKey: ${config}
callers:
  one: {roles: ${canary}, token: ${canary}, tokenFile: ${config}}
`,
  );
  const env = {
    TASKGATE_ADMIN_TOKEN: `${canary} 6`,
    ORCHESTRA_WEBHOOK_URL: `https://${canary}@x`,
    ORCHESTRA_TASK_RUN_ID: canary,
    TASKGATE_DATABASE_URL: `postgres://u:${canary}@host/db`,
  };
  const args = ["serve", "--config", config, "--heartbeat-interval", canary, `--ops-listen=${canary}`];
  const { said, ended } = run([...args, `--unknown=${canary}`], env);
  expect(await ended).toBe(1);
  expect(said().trimEnd().split("\n").length).toBeGreaterThanOrEqual(20);
  expect(said()).not.toContain(canary);
  const broken = join(directory, "broken.yaml");
  writeFileSync(broken, `a: b\n ${canary}: c: d\ne: "${canary}`);
  const second = run(["serve", "--config", broken], {});
  expect(await second.ended).toBe(1);
  expect(second.said()).toContain("broken.yaml:");
  expect(second.said()).not.toContain(canary);
}, 60_000);
