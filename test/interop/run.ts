import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/**
 * What can be run, the quick ones first, and how many minutes each may take, with what it fetches and builds. Each is
 * a file of this folder that ends as `runInterop` does.
 */
const suiteMinutes: Record<string, number> = {
  "orchestra-sdk": 15,
  tools: 15,
  conformance: 15,
  orchestrator: 35,
  clients: 60,
};
const suites = Object.keys(suiteMinutes);

type Verdict = "PASSED" | "FAILED" | "SKIPPED";

interface Result {
  name: string;
  verdict: Verdict;
  /** What a suite said of itself, or why there is no such thing. */
  said: string;
  /** Parts that a suite which passed has left out, each with its reason. */
  skippedParts: readonly string[];
}

const cleanUpMs = 60_000;

async function runSuite(name: string, options: readonly string[], endMs: number): Promise<Result> {
  const leftMs = endMs - performance.now();
  if (leftMs <= 0) {
    return { name, verdict: "SKIPPED", said: "there was no time left for it", skippedParts: [] };
  }
  process.stdout.write(`\n=== ${name}\n`);
  const ownMinutes = suiteMinutes[name] ?? 0;
  const limitMs = Math.min(leftMs, ownMinutes * 60_000);
  const child = spawn(process.execPath, [fileOf(name), ...options], { stdio: ["ignore", "pipe", "inherit"] });
  let isCutOff = false;
  const timer = setTimeout(() => {
    isCutOff = true;
    child.kill("SIGTERM");
  }, limitMs);
  const lastTimer = setTimeout(() => child.kill("SIGKILL"), limitMs + cleanUpMs);
  const interrupt = (): boolean => child.kill("SIGTERM");
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  const skippedParts: string[] = [];
  let lastLine = "";
  let hasFailed = false;
  const closed = once(child, "close");
  for await (const line of createInterface({ input: child.stdout })) {
    process.stdout.write(`${line}\n`);
    lastLine = line === "" ? lastLine : line;
    // What fails behind the cut may fail because of it.
    hasFailed ||= line.startsWith("FAILED") && !isCutOff;
    if (line.startsWith("SKIPPED  ")) {
      skippedParts.push(line.replace(/^SKIPPED +/, ""));
    }
  }
  const [code, signal] = await closed;
  clearTimeout(timer);
  clearTimeout(lastTimer);
  process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  if (isCutOff) {
    // A suite that hangs fails; one that has no time left was only not run, unless it has failed before.
    const isHanging = limitMs < leftMs;
    return {
      name,
      verdict: hasFailed || isHanging ? "FAILED" : "SKIPPED",
      said: `it was cut off: ${isHanging ? `it took longer than ${ownMinutes} min` : "there was no time left"}`,
      skippedParts,
    };
  }
  const [, word, said = ""] = /^(PASSED|SKIPPED|FAILED): (.*)$/.exec(lastLine) ?? [];
  if (code !== 0 || word === undefined) {
    return { name, verdict: "FAILED", said: said || `ended with ${signal ?? code}`, skippedParts };
  }
  return { name, verdict: word as Verdict, said, skippedParts };
}

// What a failed suite said stays beside what became of the next attempt.
async function runUntilPassed(name: string, options: readonly string[]) {
  const failures: string[] = [];
  for (;;) {
    const result = await runSuite(name, options, endMs);
    if (result.verdict !== "FAILED" || failures.length + 1 >= maxAttempts) {
      return { ...result, failures };
    }
    failures.push(result.said);
  }
}

function fileOf(name: string): string {
  return new URL(`${name}.ts`, import.meta.url).pathname;
}

function exitWithUsage(problem: string): never {
  process.stderr.write(
    `${problem}\nnpm run interop -- [${suites.join(" | ")} [LANGUAGE]…]… [--max-minutes=N] [--attempts=N] [options of the suite]\n`,
  );
  process.exit(2);
}

/**
 * Runs the suites that are named, or all, one after the other, a failed one again where
 * more attempts are allowed. The last lines
 * say PASSED, FAILED or SKIPPED for each; the exit code is 1 when one failed.
 */
const args = process.argv.slice(2);
const words = args.filter((arg) => !arg.startsWith("--"));
const isSuite = (word: string): boolean => suites.includes(word);
// The clients may be named: `clients python go`.
const languages = words.filter((word, at) => !isSuite(word) && words.slice(0, at).includes("clients"));
const named = words.filter((word) => !languages.includes(word));
const limit = args.find((arg) => arg.startsWith("--max-minutes="))?.slice("--max-minutes=".length);
const maxMinutes = Number(limit ?? 120);
const unknown = named.find((name) => !isSuite(name));
if (unknown !== undefined) {
  exitWithUsage(`there is no suite ${unknown}`);
}
if (!(maxMinutes > 0)) {
  exitWithUsage(`--max-minutes=${limit} is not a number above 0`);
}
const attempts = args.find((arg) => arg.startsWith("--attempts="))?.slice("--attempts=".length);
const maxAttempts = Number(attempts ?? 1);
if (!(Number.isInteger(maxAttempts) && maxAttempts > 0)) {
  exitWithUsage(`--attempts=${attempts} is not a number above 0`);
}
const options = args.filter((arg) => arg.startsWith("--") && !/^--(max-minutes|attempts)=/.test(arg));
const chosen = named.length > 0 ? named : suites;
const endMs = performance.now() + maxMinutes * 60_000;
const results: Awaited<ReturnType<typeof runUntilPassed>>[] = [];
for (const name of chosen) {
  results.push(await runUntilPassed(name, name === "clients" ? [...languages, ...options] : options));
}
process.stdout.write("\n");
for (const { name, verdict, said, failures, skippedParts } of results) {
  process.stdout.write(`${verdict.padEnd(7)}  ${said.startsWith(name) ? said : `${name}: ${said}`}\n`);
  for (const failure of failures) {
    process.stdout.write(`         FAILED before: ${failure}\n`);
  }
  for (const part of skippedParts) {
    process.stdout.write(`         SKIPPED in it: ${part}\n`);
  }
}
process.exitCode = results.some(({ verdict }) => verdict === "FAILED") ? 1 : 0;
