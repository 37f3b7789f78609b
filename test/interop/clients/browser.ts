import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import type { BuiltClient, Client, Setting } from "../support/client.ts";
import { installedOr } from "../support/debian.ts";
import { buildNpmProject, packageVersions } from "../support/npm-project.ts";
import { Skip, type Stage, until } from "../support/stage.ts";
import { toolVersion } from "../support/versions.ts";

const operatorToken = randomUUID();
const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript" };

export const clients: Client[] = [
  {
    name: "browser",
    lacks: { "work across a break": "unary calls hold no session that could be resumed" },
    async build(stage) {
      const chromium = await installedOr(stage, ["chromium"], () => findChromium(stage));
      const page = await buildNpmProject(stage, "examples/browser");
      const driver = await buildNpmProject(stage, "test/interop/browser", []);
      const origin = await serve(stage, page.directory);
      // The profiles of browsers that are killed.
      const temporary = stage.directory();
      const env = { CHROMIUM: chromium.command, PAGE: `${origin}/`, TMPDIR: temporary };
      const launch: BuiltClient["launch"] = (command) => ({
        command: process.execPath,
        args: ["drive.ts", command],
        cwd: driver.directory,
        env,
      });
      return {
        versions: {
          Chromium: chromium.version,
          ...packageVersions(page, [
            "@connectrpc/connect-web",
            "@bufbuild/protobuf",
            "@bufbuild/protoc-gen-es",
            "esbuild",
          ]),
          ...packageVersions(driver, ["puppeteer-core"]),
        },
        settings: { TASKGATE_ALLOWED_ORIGINS: origin, TASKGATE_ADMIN_TOKEN: operatorToken },
        launch,
        async more(setting) {
          const elsewhere = await serve(stage, page.directory);
          await closePage(setting);
          await watch(setting);
          await showWrongToken(setting);
          await callFromElsewhere(setting, `${elsewhere}/`);
        },
      };
    },
  },
];

async function findChromium(stage: Stage): Promise<{ command: string; version: string }> {
  const directories = (process.env.PATH ?? "").split(":");
  const command = ["chromium", "chromium-browser", "google-chrome"]
    .flatMap((name) => directories.map((directory) => join(directory, name)))
    .find((path) => existsSync(path));
  if (command === undefined) {
    throw new Skip("there is no chromium");
  }
  return { command, version: await toolVersion(stage, command, ["--version"]) };
}

/** Serves the files of a directory; returns the origin. */
async function serve(stage: Stage, directory: string): Promise<string> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const file = join(directory, pathname === "/" ? "index.html" : pathname);
    const type = types[extname(file)];
    if (type === undefined || !existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": type }).end(readFileSync(file));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stage.onEnd(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The page is gone, the browser is not. */
async function closePage({ stage, sandbox, leaseMs, start }: Setting): Promise<void> {
  const runId = randomUUID();
  const running = start("die", { ORCHESTRA_TASK_RUN_ID: runId, CLOSE_PAGE_AT: "tracking" });
  const statusOf = () => sandbox.orchestra.taskRuns.get(runId)?.status;
  await until("browser: the page is closed", () => /^closed$/m.test(running.output()) || undefined);
  const closedMs = performance.now();
  stage.check("browser closed page: its run is at work", statusOf(), "RUNNING");
  await until("browser closed page: FAILED", () => statusOf() === "FAILED" || undefined);
  const isInTime = performance.now() - closedMs < leaseMs + 2000;
  stage.check("browser closed page: FAILED within a lease and two seconds", isInTime, true);
  stage.check("browser closed page: the browser is still there", running.isRunning(), true);
  stage.check("browser closed page: the browser ends", await running.stop(), 0);
}

/** A server stream over gRPC-Web. */
async function watch({ stage, start }: Setting): Promise<void> {
  const run = { ORCHESTRA_TASK_RUN_ID: randomUUID() };
  const watching = start("watch", { ...run, TASKGATE_TOKEN: operatorToken });
  await until("browser watch: watching", () => /^watching$/m.test(watching.output()) || undefined);
  const reporting = start("report", run);
  stage.check("browser watch: the report succeeds", await reporting.ended, 0);
  stage.check("browser watch: ends by itself", await watching.ended, 0);
  // Each change is told at least once.
  const delivered = new Set(watching.output().match(/^\w+ DELIVERED .+$/gm));
  stage.check(
    "browser watch: sees every delivery, in order",
    Array.from(delivered, (line) => line.split(" ")[0]),
    ["UpdateTask", "SetOutput", "UpdateTask"],
  );
}

/** What is refused before the call is looked at can be read from another origin, too. */
async function showWrongToken({ stage, sandbox, start }: Setting): Promise<void> {
  const runId = randomUUID();
  const running = start("report", { ORCHESTRA_TASK_RUN_ID: runId, TASKGATE_TOKEN: "wrong" });
  stage.check("browser wrong token: fails", await running.ended, 1);
  stage.check("browser wrong token: is told why", /^TOKEN_INVALID: /m.test(running.output()), true);
  stage.check("browser wrong token: nothing was sent", sandbox.orchestra.taskRuns.get(runId), undefined);
}

async function callFromElsewhere({ stage, sandbox, start }: Setting, page: string): Promise<void> {
  const runId = randomUUID();
  const running = start("report", { ORCHESTRA_TASK_RUN_ID: runId, PAGE: page });
  stage.check("browser other origin: fails", await running.ended, 1);
  const hasNoAnswer = /^no answer: /m.test(running.output());
  stage.check("browser other origin: the browser does not let it call", hasNoAnswer, true);
  stage.check("browser other origin: nothing was sent", sandbox.orchestra.taskRuns.get(runId), undefined);
}
