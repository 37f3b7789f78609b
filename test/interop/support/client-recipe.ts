import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { startSandbox } from "../../../src/sandbox/sandbox.ts";
import { type Stage, until } from "./stage.ts";
import { startTaskgate } from "./taskgate.ts";

const root = new URL("../../../", import.meta.url).pathname;
const documentedAddress = "127.0.0.1:7450";
const documentedRun = "1d876307-8c0a-42a1-8299-af0516223652";
const recipeMs = 10 * 60_000;

/** What a section of docs/clients.md says to do: commands, and files by name. */
interface Recipe {
  commands: string[];
  files: Map<string, string>;
}

function readRecipe(heading: string): Recipe {
  const text = readFileSync(join(root, "docs/clients.md"), "utf8");
  const section = text.split(/^## /m).find((each) => each.startsWith(`${heading}\n`));
  if (section === undefined) {
    throw new Error(`docs/clients.md has no section ${heading}`);
  }
  const recipe: Recipe = { commands: [], files: new Map() };
  for (const [, kind = "", name, body = ""] of section.matchAll(/^```(\w+)(?: (\S+))?\n(.*?)^```$/gms)) {
    if (name !== undefined) {
      recipe.files.set(name, body);
    } else if (kind === "sh") {
      recipe.commands.push(body);
    }
  }
  return recipe;
}

/**
 * Does what docs/clients.md says below a heading, in a directory with nothing but the contract. The gateway stands at
 * another address than there, and that is all that is changed.
 */
export async function followRecipe(
  stage: Stage,
  name: string,
  heading: string,
  tools: string | undefined,
): Promise<void> {
  const { commands, files } = readRecipe(heading);
  const sandbox = await startSandbox();
  stage.onEnd(() => sandbox.close());
  const taskgate = await startTaskgate(stage, {
    ORCHESTRA_WEBHOOK_URL: sandbox.orchestra.webhookUrl,
    ORCHESTRA_API_KEY: sandbox.orchestra.apiKey,
  });
  const here = (text: string) => text.replaceAll(documentedAddress, taskgate.address);
  const directory = stage.directory();
  const path = [...(tools === undefined ? [] : [tools]), join(root, "node_modules/.bin"), process.env.PATH];
  cpSync(join(root, "proto"), join(directory, "proto"), { recursive: true });
  for (const [file, body] of files) {
    const target = join(directory, file);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, here(body));
  }
  const { code, stdout, stderr } = await stage.run(
    "bash",
    ["-euo", "pipefail", "-c", here(commands.join("\n"))],
    {
      cwd: directory,
      env: { ...process.env, PATH: path.join(":") },
      ownGroup: true,
      timeoutMs: recipeMs,
    },
  );
  stage.check(`${name} recipe: its commands succeed`, code, 0);
  if (code !== 0) {
    stage.say(`${stdout}${stderr}`.slice(-4000).replace(/^/gm, "        "));
  }
  // The call is answered when the report is stored.
  const run = await until(
    "the first call",
    () => sandbox.orchestra.taskRuns.get(documentedRun),
    10_000,
  ).catch(() => undefined);
  stage.check(
    `${name} recipe: Orchestra hears of the first call`,
    { status: run?.status, message: run?.message },
    { status: "RUNNING", message: "hello" },
  );
  await taskgate.stop();
}
