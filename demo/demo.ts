import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { parseConfig } from "../src/config/parse-config.ts";
import { startGateway } from "../src/gateway.ts";
import { formatListenAddress } from "../src/model/listen-address.ts";
import { createPinoLog } from "../src/ops/pino-log.ts";
import { startSandbox } from "../src/sandbox/sandbox.ts";
import { sandboxSettings } from "../src/sandbox-settings.ts";
import { version } from "../src/version.ts";
import { showAidbox } from "./show-aidbox.ts";
import { showOrchestra } from "./show-orchestra.ts";
import { showOrchestrator } from "./show-orchestrator.ts";
import { createStory } from "./story.ts";

/**
 * `npm run demo`: a worker talks to all three systems through a gateway, over real
 * gRPC, and then each system is asked what it got. The exit code is 0 only if
 * every one got what it should.
 */
const sandbox = await startSandbox();
const dataDir = mkdtempSync(join(tmpdir(), "taskgate-demo-"));
const config = parseConfig({
  fixed: {
    ...sandboxSettings(sandbox),
    listen: "127.0.0.1:0",
    opsListen: "off",
    dataDir,
  },
  env: {},
  flags: {},
  readFile: () => "",
});
if ("problems" in config) {
  throw new Error(config.problems.join("\n"));
}
const gateway = await startGateway({
  config: config.config,
  version,
  log: createPinoLog({ level: "warn", format: "json", hasColours: false }),
});
const address = formatListenAddress(gateway.address);
const transport = createGrpcTransport({ baseUrl: `http://${address}` });
const story = createStory();
try {
  story.title(`taskgate ${version} at ${address}, and a sandbox of the systems behind it`);
  await showOrchestra(transport, sandbox.orchestra.url, story);
  await showOrchestrator(transport, sandbox.orchestrator.url, story);
  await showAidbox(transport, sandbox.aidbox.url, story);
} finally {
  await gateway.stop();
  await sandbox.close();
  rmSync(dataDir, { recursive: true });
}
process.exitCode = story.end() ? 0 : 1;
