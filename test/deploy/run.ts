import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { checkImage } from "./check-image.ts";
import { buildTools, decode, lint, type Mode, modes, render, type Tools } from "./render.ts";

// Shows with real tools that what is in deploy/ is what Kubernetes takes, and that the
// image's content runs where it may do next to nothing. Usage: npm run deploy-test --
// [--write] [--only manifests|image]; --write replaces deploy/kubernetes.

const { values: flags } = parseArgs({ options: { write: { type: "boolean" }, only: { type: "string" } } });
let failures = 0;

function say(isWell: boolean, what: string): void {
  failures += isWell ? 0 : 1;
  process.stdout.write(`${isWell ? "✓" : "✗"} ${what}\n`);
}

function skip(what: string, reason: string): void {
  process.stdout.write(`! ${what} SKIPPED: ${reason}\n`);
}

/** Whether something throws, and says why. */
function refusal(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function checkMode(tools: Tools, mode: Mode): void {
  const problem = refusal(() => lint(tools, mode));
  say(problem === undefined, `${mode}: helm lint${problem === undefined ? "" : `: ${problem}`}`);
  const manifests = render(tools, mode);
  const path = `deploy/kubernetes/${mode}.yaml`;
  if (flags.write === true) {
    writeFileSync(path, manifests);
  }
  say(readFileSync(path, "utf8") === manifests, `${mode}: ${path} is what the chart makes`);
  const decoded = decode(tools, manifests);
  say("kinds" in decoded, `${mode}: ${"kinds" in decoded ? decoded.kinds.join("; ") : decoded.problem}`);
}

function checkTools(tools: Tools): void {
  const shared = render(tools, "shared");
  const misspelt = decode(tools, shared.replace("readOnlyRootFilesystem:", "readonlyRootFilesystem:"));
  say("problem" in misspelt, "a field that is misspelt is refused");
  const wrong = decode(tools, shared.replace("replicas: 1", 'replicas: "one"'));
  say("problem" in wrong, "a value of the wrong type is refused");
  for (const value of [
    "mode=both",
    "image.digest=latest",
    "worker.uid=65532",
    "drainTimeout=5",
    "networkPolicy.dnsPorts[0]=dns",
  ]) {
    say(refusal(() => render(tools, "job", "--set", value)) !== undefined, `the chart refuses ${value}`);
  }
  const dns = '[{"ipBlock":{"cidr":"169.254.20.10/32"}}]';
  const set = ["--set-json", `networkPolicy.dnsTo=${dns}`, "--set-json", "networkPolicy.dnsPorts=[53,5353]"];
  const named = render(tools, "shared", ...set);
  const isNamed = named.includes("169.254.20.10/32") && !named.includes("kube-system");
  const isTaken = "kinds" in decode(tools, named) && named.match(/port: 5353/g)?.length === 2;
  say(isNamed && isTaken, "the cluster's DNS may be elsewhere");
  const digest = `sha256:${"0".repeat(64)}`;
  const pinned = render(tools, "job", "--set", `image.digest=${digest}`);
  say(pinned.includes(`image: registry.example.com/taskgate@${digest}`), "a digest wins over the tag");
}

if (flags.only !== "image") {
  const tools = buildTools();
  if (typeof tools === "string") {
    skip("manifests", tools);
  } else {
    for (const mode of modes) {
      checkMode(tools, mode);
    }
    checkTools(tools);
  }
}
if (flags.only !== "manifests") {
  await checkImage({ say, skip });
}
process.exitCode = failures === 0 ? 0 : 1;
