import net, { type AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { runHealth } from "../../src/cli/health.ts";
import { formatListenAddress } from "../../src/model/listen-address.ts";
import { runCli } from "../support/run-cli.ts";
import { useDirectory } from "../support/use-directory.ts";
import { tlsPath, type UsedGateway, useGateway } from "../support/use-gateway.ts";

const health = (args: readonly string[], env: Record<string, string>) => runCli(runHealth, args, env);

function addressesOf({ gateway }: UsedGateway): Record<string, string> {
  return {
    TASKGATE_LISTEN: formatListenAddress(gateway.address),
    TASKGATE_OPS_LISTEN: gateway.opsAddress === undefined ? "off" : formatListenAddress(gateway.opsAddress),
  };
}

const ok = { code: 0, stdout: "ok\n", stderr: "" };
const service = "taskgate.v1.TaskStatusService";

test.each([
  [[]],
  [["--probe", "startup"]],
  [["--probe", "live"]],
  [["--service", service]],
  [["--service="]],
])("a gateway that serves is well: %o", async (args) => {
  expect(await health(args, addressesOf(await useGateway()))).toEqual(ok);
});

test("without an ops port the health service is asked, on a Unix socket too", async () => {
  const socket = `unix:${join(useDirectory(), "s")}`;
  const used = await useGateway({ TASKGATE_OPS_LISTEN: "off", TASKGATE_LISTEN: socket });
  expect(await health([], addressesOf(used))).toEqual(ok);
});

test("over TLS the gateway is known by its own certificate", async () => {
  const tls = { TASKGATE_TLS_CERT: tlsPath("server.pem"), TASKGATE_TLS_KEY: tlsPath("server.key") };
  const used = await useGateway({ ...tls, TASKGATE_OPS_LISTEN: "off" });
  expect(await health([], { ...tls, ...addressesOf(used) })).toEqual(ok);
});

test("one that drains is alive, and not ready", async () => {
  const used = await useGateway();
  const drain = `${used.url}/taskgate.v1.GatewayService/Drain`;
  const headers = { "content-type": "application/json" };
  expect((await fetch(drain, { method: "POST", headers, body: "{}" })).status).toBe(200);
  const env = addressesOf(used);
  expect(await health([], env)).toEqual({
    code: 1,
    stdout: "",
    stderr: "taskgate: /readyz says 503: not ready\n",
  });
  expect(await health(["--probe", "live"], env)).toEqual(ok);
  expect(await health(["--service", service], env)).toMatchObject({
    code: 1,
    stderr: `taskgate: ${service} is not serving\n`,
  });
});

test("one that is not there, or says nothing, is not well", async () => {
  const used = await useGateway();
  const env = addressesOf(used);
  await used.gateway.stop();
  expect(await health([], env)).toMatchObject({ code: 1, stderr: expect.stringContaining("ECONNREFUSED") });
  const silent = net.createServer();
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void silent.close());
  const { port } = silent.address() as AddressInfo;
  const asked = await health(["--timeout", "50ms"], { TASKGATE_OPS_LISTEN: `127.0.0.1:${port}` });
  expect(asked).toMatchObject({
    code: 1,
    stderr: `taskgate: the gateway does not answer: 127.0.0.1:${port} says nothing within 50 ms\n`,
  });
});

test("an unknown service is not well", async () => {
  const env = addressesOf(await useGateway());
  expect(await health(["--service", "a.B"], env)).toMatchObject({ code: 1 });
});

test("a probe that there is not is a mistake", async () => {
  expect(await health(["--probe", "odd"], {})).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("usage"),
  });
});
