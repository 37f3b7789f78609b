import { execFile } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { startSandbox } from "../../src/sandbox/sandbox.ts";
import { createFakeClock } from "./fake-clock.ts";
import { post, postAlone, until } from "./http-client.ts";
import { createScriptedRandom } from "./scripted-random.ts";

test("three upstreams listen on three ports of the loopback address", async () => {
  const sandbox = await startSandbox();
  try {
    const urls = [sandbox.orchestra.url, sandbox.orchestrator.url, sandbox.aidbox.url];
    for (const url of urls) {
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    }
    expect(new Set(urls).size).toBe(3);
  } finally {
    await sandbox.close();
  }
});

test("ports can be chosen, and a port that is taken rejects and leaves nothing open", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as AddressInfo;
  await expect(startSandbox({ ports: { aidbox: port } })).rejects.toMatchObject({ code: "EADDRINUSE" });
  await new Promise((resolve) => taken.close(resolve));
  const sandbox = await startSandbox({ ports: { aidbox: port } });
  expect(sandbox.aidbox.url).toBe(`http://127.0.0.1:${port}`);
  await sandbox.close();
});

test("closing ends everything: waiting requests, timers and sockets", async () => {
  const clock = createFakeClock();
  const sandbox = await startSandbox({ clock });
  const { aidbox, orchestra, orchestrator } = sandbox;
  orchestrator.processes.start({ actionMs: 1000, timeoutMs: 1000 });
  aidbox.tasks.create({ definition: "ns/work", params: {}, executeAt: "2027-01-01" });
  orchestra.faults.set([{ action: { kind: "hang" } }]);
  orchestrator.faults.set([{ action: { kind: "delay", delayMs: 1000 } }]);
  const authorization = `Basic ${Buffer.from("taskgate:sandbox-secret").toString("base64")}`;
  const longPoll = { method: "awf.task/long-poll", params: { taskDefinitions: ["ns/none"] } };
  const cut = [
    post(orchestra.webhookUrl, {}),
    post(orchestrator.url, {}),
    post(`${aidbox.url}/rpc`, longPoll, { authorization }),
  ];
  const outcomes = Promise.allSettled(cut);
  await until(() => [orchestra, orchestrator, aidbox].every(({ requests }) => requests.length === 1));
  await until(() => clock.pending >= 4);
  await sandbox.close();
  expect(clock.pending).toBe(0);
  const [hanging, delayed] = await outcomes;
  expect([hanging?.status, delayed?.status]).toEqual(["rejected", "rejected"]);
  await expect(postAlone(orchestra.webhookUrl, {}, {})).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

test("a sandbox that is down can be closed, and closing twice is closing once", async () => {
  const sandbox = await startSandbox();
  await sandbox.aidbox.faults.setDown(true);
  await sandbox.close();
  await sandbox.close();
});

test("the same random numbers make the same ids and tokens", async () => {
  const routes = [];
  for (const _round of [1, 2]) {
    const sandbox = await startSandbox({ random: createScriptedRandom().random });
    routes.push(sandbox.orchestrator.processes.start().callback_route);
    await sandbox.close();
  }
  expect(routes[0]).toBe(routes[1]);
});

test("requests are stamped with the sandbox's own time", async () => {
  const clock = createFakeClock();
  const sandbox = await startSandbox({ clock });
  await clock.advance(5000);
  await post(sandbox.orchestra.webhookUrl, {});
  expect(sandbox.orchestra.requests[0]).toMatchObject({ atMs: clock.now(), endMs: clock.now() });
  await sandbox.close();
});

test("a program that has closed its sandbox ends by itself", async () => {
  const { href } = new URL("../../src/sandbox/sandbox.ts", import.meta.url);
  const program = `
    import { startSandbox } from ${JSON.stringify(href)};
    const sandbox = await startSandbox();
    sandbox.orchestrator.processes.start({ actionMs: 60_000 });
    sandbox.aidbox.tasks.create({ definition: "ns/work", params: {}, executeAt: "2999-01-01" });
    sandbox.orchestra.faults.set([{ action: { kind: "hang" } }]);
    const hanging = fetch(sandbox.orchestra.url, { method: "POST" }).catch(() => {});
    while (sandbox.orchestra.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await sandbox.close();
    await hanging;
    console.log("closed");
  `;
  const run = promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], {
    timeout: 10_000,
  });
  expect((await run).stdout).toBe("closed\n");
});
