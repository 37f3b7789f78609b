import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { readTaken } from "../../bench/servers.ts";

test("the upstream tells failures from what else it took", async () => {
  const file = fileURLToPath(new URL("../../bench/upstream-server.ts", import.meta.url));
  const child = spawn(process.execPath, [file, "127.0.0.1:0"], { stdio: ["ignore", "ignore", "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [line] = await once(child.stderr, "data");
  const { address } = JSON.parse(String(line));
  for (const status of ["RUNNING", "FAILED", "SUCCEEDED", "FAILED"]) {
    await fetch(`http://${address}/`, { method: "POST", body: JSON.stringify({ status }) });
  }
  expect(await readTaken(address)).toMatchObject({ count: 4, failed: 2 });
});
