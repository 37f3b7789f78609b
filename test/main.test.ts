import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { version } from "../src/version.ts";
import { useScriptedServer } from "./support/scripted-server.ts";
import { useDirectory } from "./support/use-directory.ts";

const bin = new URL("../bin/taskgate.js", import.meta.url).pathname;

interface Process {
  child: ChildProcess;
  stdout: () => string;
  stderr: () => string;
  /** The exit code, or the signal that ended it. */
  ended: Promise<number | string>;
}

/** Runs taskgate as its own process, with nothing but these variables, for the running test. */
function run(args: readonly string[], env: Record<string, string> = {}): Process {
  const variables = { TASKGATE_DATA_DIR: useDirectory(), ...env };
  const child = spawn(process.execPath, [bin, ...args], {
    env: variables,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    ended: once(child, "close").then(([code, signal]) => code ?? signal),
  };
}

async function serve(env: Record<string, string> = {}, args: readonly string[] = []) {
  const process = run(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", ...args], env);
  await expect.poll(process.stderr, { timeout: 10_000 }).toContain('"message":"listening"');
  const line = process
    .stderr()
    .split("\n")
    .find((each) => each.includes('"message":"listening"'));
  const { address, ops } = JSON.parse(line ?? "") as { address: string; ops: string };
  return { ...process, url: `http://${address}`, opsUrl: `http://${ops}` };
}

describe("taskgate serve", () => {
  test("serves, says nothing but its log, and ends with 0 when it is asked to", async () => {
    const { child, url, opsUrl, ended, stderr, stdout } = await serve({ ORCHESTRA_API_KEY: "k" });
    const response = await fetch(`${url}/taskgate.v1.GatewayService/GetInfo`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect(await response.json()).toMatchObject({ version });
    expect((await fetch(`${opsUrl}/startupz`)).status).toBe(200);
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
    expect(stdout()).toBe("");
    const lines = stderr().trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line).message)).toEqual(["listening", "stopped"]);
  });

  test("writes its log for people where that is asked for", async () => {
    const { stderr, child, ended } = run(
      ["serve", "--listen", "127.0.0.1:0", "--ops-listen", "off", "--log-format", "text"],
      { ORCHESTRA_API_KEY: "k" },
    );
    await expect.poll(stderr, { timeout: 10_000 }).toMatch(/INFO {2}listening address=127\.0\.0\.1:\d+\n/);
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  });

  test("takes no proxy from the environment", async () => {
    const proxy = await useScriptedServer((_, response) => void response.writeHead(502).end());
    const webhook = await useScriptedServer((_, response) => void response.end());
    const names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
    const { url } = await serve({
      ...Object.fromEntries(names.map((name) => [name, proxy.origin])),
      NODE_USE_ENV_PROXY: "1",
      ORCHESTRA_API_KEY: "k",
      ORCHESTRA_WEBHOOK_URL: webhook.origin,
    });
    const answer = await fetch(`${url}/taskgate.v1.TaskStatusService/UpdateTask`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"taskRunId": "1d876307-8c0a-42a1-8299-af0516223652", "status": "TASK_RUN_STATUS_SUCCEEDED"}',
    });
    expect(await answer.json()).toMatchObject({ receipt: { state: "DELIVERY_STATE_DELIVERED" } });
    expect([proxy.seen.length, webhook.seen.length]).toEqual([0, 1]);
  });

  // What is not loaded costs neither time nor memory, at the start and later.
  test.each<[string, args: string[], env: Record<string, string>, loaded: string[]]>([
    ["no port to ask, and no collector", ["--ops-listen", "off"], {}, []],
    ["metrics", ["--ops-listen", "127.0.0.1:0"], {}, ["@opentelemetry/api", "@prometheus-io/client"]],
  ])("with %s it loads no more than that needs", async (_, args, env, loaded) => {
    const { stderr, child, ended } = run(["serve", "--listen", "127.0.0.1:0", ...args], {
      ORCHESTRA_API_KEY: "k",
      NODE_OPTIONS: `--import ${new URL("./support/tell-packages.js", import.meta.url)}`,
      ...env,
    });
    await expect.poll(stderr, { timeout: 10_000 }).toContain('"message":"listening"');
    const names = Array.from(stderr().matchAll(/^loaded (.*)$/gm), ([, name]) => name);
    expect([...new Set(names)].sort()).toEqual(loaded);
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  });

  test("without an upstream it says that every report will be refused", async () => {
    const { stderr } = await serve();
    const { level, message } = JSON.parse(stderr().split("\n")[0] ?? "") as Record<string, string>;
    expect([level, message]).toEqual(["warn", "no upstream is configured: every report will be refused"]);
  });

  test("says with its exit code and in the termination log what is not delivered", async () => {
    const terminationLog = join(useDirectory(), "termination-log");
    const env = {
      TASKGATE_DATA_DIR: useDirectory(),
      TASKGATE_DRAIN_TIMEOUT: "300ms",
      TASKGATE_TERMINATION_LOG: terminationLog,
      ORCHESTRA_API_KEY: "k",
    };
    const down = await useScriptedServer((_, response) => void response.writeHead(503).end());
    const first = await serve({ ...env, ORCHESTRA_WEBHOOK_URL: down.origin });
    const body = JSON.stringify({
      taskRunId: "1d876307-8c0a-42a1-8299-af0516223652",
      status: "TASK_RUN_STATUS_FAILED",
      waitFor: "WAIT_FOR_STORED",
    });
    const headers = { "content-type": "application/json" };
    await fetch(`${first.url}/taskgate.v1.TaskStatusService/UpdateTask`, { method: "POST", headers, body });
    first.child.kill("SIGTERM");
    expect(await first.ended).toBe(4);
    const words = "not delivered, and stored: orchestra 1 report (1 outcome)";
    expect(readFileSync(terminationLog, "utf8")).toBe(`taskgate ended with 4: ${words}\n`);
    expect(JSON.parse(first.stderr().trimEnd().split("\n").at(-1) ?? "")).toMatchObject({
      message: `stopped; ${words}`,
      undelivered: 1,
      outcomes: 1,
    });

    const up = await useScriptedServer((_, response) => void response.end());
    const second = await serve({ ...env, ORCHESTRA_WEBHOOK_URL: up.origin });
    second.child.kill("SIGTERM");
    expect(await second.ended).toBe(0);
    expect(up.seen).toHaveLength(1);
    expect(readFileSync(terminationLog, "utf8")).toBe("taskgate ended with 0: all is delivered\n");
  });

  test("a collector of traces that does not answer does not keep it alive", async () => {
    const asked = Promise.withResolvers<void>();
    const collector = await useScriptedServer(() => asked.resolve());
    const { child, url, ended, stderr } = await serve({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.origin });
    await fetch(`${url}/taskgate.v1.GatewayService/GetInfo`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    child.kill("SIGTERM");
    await asked.promise;
    const beganMs = performance.now();
    expect(await ended).toBe(0);
    // The export itself is given up after ten seconds.
    expect(performance.now() - beganMs).toBeLessThan(7000);
    expect(stderr()).toContain('"message":"stopped"');
  });

  test("a second signal ends it at once", async () => {
    const { child, url, ended } = await serve(
      { ORCHESTRA_API_KEY: "k", ORCHESTRA_WEBHOOK_URL: "http://127.0.0.1:9" },
      ["--drain-timeout", "60s"],
    );
    // A call whose body never ends keeps the stop waiting.
    const { request } = await import("node:http");
    const call = request(`${url}/taskgate.v1.TaskStatusService/SendLog`, {
      method: "POST",
      headers: { "content-type": "application/json", "content-length": "1000" },
    });
    call.on("error", () => undefined);
    call.write("{");
    await once(call, "socket").then(([socket]) => once(socket, "connect"));
    await expect.poll(async () => (await fetch(`${url}/`)).status).toBe(404);
    child.kill("SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(child.exitCode).toBeNull();
    child.kill("SIGTERM");
    expect(await ended).toBe(5);
  });

  test("tells all that is wrong with its settings, and ends with 1", async () => {
    const { ended, stderr } = run(["serve", "--listen", "0.0.0.0:1"], { TASKGATE_LEASE_DURATION: "x" });
    expect(await ended).toBe(1);
    expect(stderr().trimEnd().split("\n")).toEqual([
      "taskgate: --listen can be reached from other machines, so TASKGATE_AUTH_TOKEN, TASKGATE_ADMIN_TOKEN or callers in the file must be set",
      "taskgate: --listen can be reached from other machines, so TASKGATE_TLS_CERT must be set, or TASKGATE_INSECURE_LISTEN where the network is trusted",
      "taskgate: TASKGATE_LEASE_DURATION must be a duration such as 30s, 500ms or 2m, up to 576h",
    ]);
  });

  test("what it has stored outlives its being killed, and what was being sent is sent again", async () => {
    const held = Promise.withResolvers<void>();
    const webhook = await useScriptedServer((_, response, index) => {
      if (index === 0) {
        held.resolve();
      } else {
        response.end();
      }
    });
    const env = {
      TASKGATE_DATA_DIR: useDirectory(),
      ORCHESTRA_API_KEY: "k",
      ORCHESTRA_WEBHOOK_URL: webhook.origin,
      ORCHESTRA_TASK_RUN_ID: "1d876307-8c0a-42a1-8299-af0516223652",
    };
    async function call(url: string, method: string, request: object): Promise<unknown> {
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify(request);
      return (await fetch(`${url}/taskgate.v1.${method}`, { method: "POST", headers, body })).json();
    }
    const first = await serve(env);
    const running = { status: "TASK_RUN_STATUS_RUNNING", message: "begun" };
    const ended = { status: "TASK_RUN_STATUS_FAILED", waitFor: "WAIT_FOR_STORED" };
    const answers = [
      await call(first.url, "TaskStatusService/UpdateTask", running),
      await call(first.url, "TaskStatusService/UpdateTask", ended),
    ];
    await held.promise;
    first.child.kill("SIGKILL");
    expect(await first.ended).toBe("SIGKILL");

    const second = await serve(env);
    const deliveries = async () => {
      const listed = await call(second.url, "GatewayService/ListDeliveries", {});
      return (listed as { deliveries: { receipt: object }[] }).deliveries.map(({ receipt }) => receipt);
    };
    await expect
      .poll(deliveries, { timeout: 10_000 })
      .toMatchObject(answers.map(() => ({ state: "DELIVERY_STATE_DELIVERED" })));
    expect(await deliveries()).toMatchObject([{ attempts: 2 }, { attempts: 1 }]);
    const idOf = (receipt: unknown) => (receipt as { deliveryId: string }).deliveryId;
    expect((await deliveries()).map(idOf)).toEqual(
      answers.map((answer) => idOf((answer as { receipt: unknown }).receipt)),
    );
    const [begun, again, failed, ...others] = webhook.seen.map(({ body }) => body);
    expect(again).toBe(begun);
    expect(failed).toContain('"FAILED"');
    expect(others).toEqual([]);
  });

  test("a data directory that another one uses is an error with the directory in it", async () => {
    const directory = useDirectory();
    await serve({ TASKGATE_DATA_DIR: directory });
    const { ended, stderr } = run(["serve", "--ops-listen", "off", "--listen", "127.0.0.1:0"], {
      TASKGATE_DATA_DIR: directory,
    });
    expect(await ended).toBe(1);
    expect(stderr()).toContain(`the data directory ${directory} is in use by another gateway`);
  });

  test("an address that is taken is an error with the address in it", async () => {
    const { url } = await serve();
    const { ended, stderr } = run(["serve", "--ops-listen", "off", "--listen", new URL(url).host]);
    expect(await ended).toBe(1);
    expect(stderr()).toContain(`address already in use ${new URL(url).host}`);
  });
});

test("a probe address that is taken ends it, too", async () => {
  const { opsUrl } = await serve();
  const { ended, stderr } = run(["serve", "--listen", "127.0.0.1:0", "--ops-listen", new URL(opsUrl).host]);
  expect(await ended).toBe(1);
  expect(stderr()).toContain("address already in use");
});

describe("taskgate doctor", () => {
  test("says that all is well, and ends with 0", async () => {
    const webhook = await useScriptedServer((_, response) => void response.writeHead(405).end());
    const { ended, stdout } = run(["doctor", "--orchestra-webhook-url", webhook.origin], {
      ORCHESTRA_API_KEY: "canary-secret",
    });
    expect(await ended).toBe(0);
    expect(stdout()).toMatch(/^ok {7}configuration$/m);
    expect(stdout()).toMatch(/^0 problems, \d warnings$/m);
    expect(stdout()).not.toContain("canary-secret");
  });

  test("says what is wrong and what to do, and ends with 1", async () => {
    const { ended, stdout } = run(["doctor"], { TASKGATE_ORCHESTRATOR_URL: "http://127.0.0.1:9" });
    expect(await ended).toBe(1);
    expect(stdout()).toMatch(/^PROBLEM {2}orchestrator reachable: .*\n +→ check the URL/m);
  });

  test("of settings that are wrong says all of it", async () => {
    const { ended, stderr } = run(["doctor"], { TASKGATE_LEASE_DURATION: "x" });
    expect(await ended).toBe(1);
    expect(stderr()).toContain("TASKGATE_LEASE_DURATION must be a duration");
  });
});

describe("the command line", () => {
  test("a flag that is not there is named", async () => {
    const { ended, stderr } = run(["serve", "--lisen", "x"]);
    expect(await ended).toBe(1);
    expect(stderr()).toContain("--lisen");
  });

  test("a command that is not there is an error of its own", async () => {
    const { ended, stderr } = run(["sreve"]);
    expect(await ended).toBe(2);
    expect(stderr()).toBe("taskgate: there is no command sreve\n");
  });

  test("version and help are for people", async () => {
    const shown = run(["version"]);
    expect(await shown.ended).toBe(0);
    expect(shown.stdout()).toBe(`taskgate ${version}\n`);
    const help = run(["help"]);
    expect(await help.ended).toBe(0);
    expect(help.stdout()).toContain("--lease-duration  (TASKGATE_LEASE_DURATION)");
  });

  test("an old Node is told which one is needed, in one line", async () => {
    const pretend = `Object.defineProperty(process, "versions", { value: { node: "20.20.2" } });`;
    const child = spawn(process.execPath, ["-e", `${pretend} import(${JSON.stringify(bin)})`]);
    let stderr = "";
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    const [code] = await once(child, "close");
    expect([code, stderr]).toEqual([1, `taskgate needs Node 24.18.1 or newer; this is ${process.version}\n`]);
  });
});
