import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runOutbox } from "../../src/cli/outbox.ts";
import { startGateway } from "../../src/gateway.ts";
import { formatListenAddress } from "../../src/model/listen-address.ts";
import { runCli } from "../support/run-cli.ts";
import { useDirectory } from "../support/use-directory.ts";
import { configOf, type LogLine, recordLog, tlsPath, useGateway } from "../support/use-gateway.ts";

const run = "1d876307-8c0a-42a1-8299-af0516223652";
// Nobody listens there.
const orchestra = { ORCHESTRA_API_KEY: "k", ORCHESTRA_WEBHOOK_URL: "http://127.0.0.1:9/" };

const outbox = (args: readonly string[], env: Record<string, string>) => runCli(runOutbox, args, env);

async function update(url: string, status: string, token?: string): Promise<void> {
  const response = await fetch(`${url}/taskgate.v1.TaskStatusService/UpdateTask`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({
      taskRunId: run,
      status: `TASK_RUN_STATUS_${status}`,
      waitFor: "WAIT_FOR_STORED",
    }),
  });
  expect(response.status).toBe(200);
}

test("through the gateway that runs, lists and discards what waits", async () => {
  const env = {
    ...orchestra,
    TASKGATE_DATA_DIR: useDirectory(),
    TASKGATE_DRAIN_TIMEOUT: "50ms",
    TASKGATE_AUTH_TOKEN: "worker",
    TASKGATE_ADMIN_TOKEN: "admin",
  };
  const { gateway, url } = await useGateway(env);
  const own = { ...env, TASKGATE_LISTEN: formatListenAddress(gateway.address) };
  await update(url, "RUNNING", "worker");
  await update(url, "SUCCEEDED", "worker");

  const listed = await outbox(["list", "--state", "stored", "--task", run], own);
  expect(listed.code).toBe(0);
  const lines = listed.stdout.trimEnd().split("\n");
  expect(lines).toEqual([
    expect.stringMatching(
      /^\S+ {2}\S+ {2}STORED {2}orchestra {2}UpdateTask {2}1d87.* attempt 0 {2}\d+ attempts/,
    ),
    expect.stringMatching(/ {2}0 attempts$/),
  ]);
  const [id = ""] = lines[1]?.split(" ") ?? [];
  expect(await outbox(["discard", id], own)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("DISCARDED"),
  });
  expect(await outbox(["retry", id, "nothing"], own)).toEqual({
    code: 1,
    stdout: "",
    stderr: `taskgate: ${id}: the delivery ${id} cannot be moved: it is DISCARDED\ntaskgate: nothing: there is no such delivery\n`,
  });
  expect(
    await outbox(["list"], { ...own, TASKGATE_ADMIN_TOKEN: "", TASKGATE_AUTH_TOKEN: "worker" }),
  ).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^taskgate: .*operator/),
  });
});

const selfSigned = {
  TASKGATE_TLS_CERT: tlsPath("self-signed.pem"),
  TASKGATE_TLS_KEY: tlsPath("self-signed.key"),
};
const signed = { TASKGATE_TLS_CERT: tlsPath("server.pem"), TASKGATE_TLS_KEY: tlsPath("server.key") };
const clientCa = { TASKGATE_TLS_CLIENT_CA: tlsPath("ca.pem") };

test.for([
  ["that it signed itself", selfSigned],
  ["that an authority signed", signed],
  ["that an authority signed, who also signs those of clients", { ...signed, ...clientCa }],
] as const)("through a gateway with a certificate %s, lists", async ([, tls]) => {
  const env = { ...tls, TASKGATE_DATA_DIR: useDirectory() };
  const { gateway } = await useGateway(env);
  const own = { ...env, TASKGATE_LISTEN: formatListenAddress(gateway.address) };
  expect(await outbox(["list"], own)).toEqual({ code: 0, stdout: "", stderr: "" });
});

test.for([
  [
    "that takes only certificates of clients",
    selfSigned,
    clientCa,
    "it wants a client certificate, and does not take its own for one",
  ],
  ["that shows another certificate", signed, selfSigned, "unable to get local issuer certificate"],
  ["that speaks no TLS", {}, selfSigned, ".+"],
] as const)("of a gateway %s, says so in one line", async ([, served, asked, why]) => {
  const env = { ...served, TASKGATE_DATA_DIR: useDirectory() };
  const { gateway } = await useGateway(asked === clientCa ? { ...env, ...clientCa } : env);
  const listen = formatListenAddress(gateway.address);
  const { code, stderr } = await outbox(["list"], { ...env, ...asked, TASKGATE_LISTEN: listen });
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(new RegExp(`^taskgate: the gateway at ${listen} cannot be asked: ${why}.*\\n$`)),
  ]);
});

test("without a gateway, opens its directory", async () => {
  const env = { ...orchestra, TASKGATE_DATA_DIR: useDirectory(), TASKGATE_DRAIN_TIMEOUT: "50ms" };
  const { gateway, url } = await useGateway(env);
  const own = { ...env, TASKGATE_LISTEN: formatListenAddress(gateway.address) };
  await update(url, "RUNNING");
  await gateway.stop();
  const { stdout, code } = await outbox(["list", "--upstream", "orchestra"], own);
  expect([code, stdout.split("\n").length]).toEqual([0, 2]);
  expect(await outbox(["list", "--upstream", "aidbox"], own)).toMatchObject({ code: 0, stdout: "" });
});

test("without a gateway tells that the directory was damaged, and the gateway after it tells it, too", async () => {
  const directory = useDirectory();
  const env = { TASKGATE_LISTEN: "127.0.0.1:9", TASKGATE_DATA_DIR: directory };
  writeFileSync(join(directory, "outbox.db"), "this is no database, ".repeat(1000));
  for (const _ of ["once", "again"]) {
    expect(await outbox(["list"], env)).toEqual({
      code: 0,
      stdout: "",
      stderr: expect.stringMatching(/^taskgate: the database was damaged and is now .*damaged-\d+: .*\n$/),
    });
  }
  const log: LogLine[] = [];
  const config = configOf({ ...env, TASKGATE_LISTEN: "127.0.0.1:0", TASKGATE_OPS_LISTEN: "off" });
  const gateway = await startGateway({ config, version: "0.0.0-test", log: recordLog(log) });
  await gateway.stop();
  expect(log.filter(({ level }) => level === "error")).toMatchObject([
    { message: expect.stringMatching(/^the database was damaged/) },
  ]);
});

test("without either says so, and makes none", async () => {
  const env = { TASKGATE_LISTEN: "127.0.0.1:9", TASKGATE_DATA_DIR: "/nowhere" };
  expect(await outbox(["list"], env)).toEqual({
    code: 1,
    stdout: "",
    stderr: "taskgate: no gateway answers, and there is no outbox in /nowhere\n",
  });
});

test.each([[[]], [["list", "x"]], [["list", "--state", "odd"]], [["retry"]], [["drop", "x"]]])(
  "%j shows how it is used",
  async (args) => {
    const { code, stderr } = await outbox(args, {});
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^usage: taskgate outbox list/)]);
  },
);
