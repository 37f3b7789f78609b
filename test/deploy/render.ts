import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

/** What the chart is rendered for: the modes that it has. */
export const modes = ["job", "worker", "shared"] as const;

export type Mode = (typeof modes)[number];

/** Helm and the strict decoder, as programs. */
export interface Tools {
  helm: string;
  strict: string;
}

const chart = "deploy/helm/taskgate";

/** Builds the tools that test/deploy/strict/go.mod pins. Returns why that cannot be done here. */
export function buildTools(): Tools | string {
  const version = spawnSync("go", ["version"], { encoding: "utf8" });
  if (version.status !== 0) {
    return "there is no Go, of which Helm and the types of Kubernetes are made";
  }
  const directory = join(process.cwd(), "node_modules/.cache/taskgate-deploy");
  mkdirSync(directory, { recursive: true });
  const tools = { helm: join(directory, "helm"), strict: join(directory, "strict") };
  const cwd = "test/deploy/strict";
  run("go", ["build", "-o", tools.helm, "helm.sh/helm/v3/cmd/helm"], { cwd });
  run("go", ["build", "-o", tools.strict, "."], { cwd });
  return tools;
}

/** What Helm says of the chart with these values; throws when it is not content. */
export function lint({ helm }: Tools, mode: Mode): string {
  return run(helm, ["lint", "--strict", "--quiet", "-f", `${chart}/ci/${mode}-values.yaml`, chart]);
}

/**
 * The manifests of a mode, as they are in deploy/kubernetes: what the chart makes, the
 * workload first, without Helm's own words.
 */
export function render({ helm }: Tools, mode: Mode, ...args: string[]): string {
  const values = `${chart}/ci/${mode}-values.yaml`;
  const text = run(helm, ["template", "taskgate", chart, "-f", values, "--kube-version", "1.33.0", ...args]);
  const documents = text
    .split(/^---\n/m)
    .map((document) => document.replace(/^# Source: .*\n/m, "").trimEnd())
    .filter((document) => document !== "");
  const isWorkload = (document: string) => /^kind: (Job|Deployment)$/m.test(document);
  const sorted = documents.toSorted((a, b) => Number(isWorkload(b)) - Number(isWorkload(a)));
  return `# Made from ${chart} by npm run deploy-test -- --write.\n${sorted.join("\n---\n")}\n`;
}

/** Decodes manifests into the types of Kubernetes. Returns the kinds, or what is wrong. */
export function decode({ strict }: Tools, manifests: string): { kinds: string[] } | { problem: string } {
  const result = spawnSync(strict, { input: manifests, encoding: "utf8" });
  return result.status === 0
    ? { kinds: result.stdout.trimEnd().split("\n") }
    : { problem: result.error?.message ?? result.stderr };
}

function run(command: string, args: string[], options: { cwd?: string } = {}): string {
  const result = spawnSync(command, args, { encoding: "utf8", ...options });
  if (result.status !== 0) {
    throw new Error(`${command} ${args.join(" ")} failed: ${result.error ?? result.stdout + result.stderr}`);
  }
  return result.stdout;
}
