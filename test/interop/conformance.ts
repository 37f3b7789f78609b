import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { addTallies, type Tally } from "./conformance/tally.ts";
import { buildGoTool, type GoTool, goModuleDirectory, goToolVersion } from "./support/go.ts";
import { runInterop, Skip, type Stage } from "./support/stage.ts";

const suite: GoTool = {
  module: "connectrpc.com/conformance",
  version: "v1.0.7",
  command: "cmd/connectconformance",
};
const here = new URL("./conformance/", import.meta.url).pathname;
const buf = new URL("../../node_modules/.bin/buf", import.meta.url).pathname;

// Of plain gRPC the lanes must serve these, and Connect's adapter everything else.
const laneMethods = ["BidiStream", "ClientStream", "ServerStream", "Unary", "Unimplemented"];
// They allow half a second, which a machine that is busy with other cases may not keep.
const timedCase = /^(Deadline Propagation|Timeouts)\//;
const runMs = 6 * 60_000;

interface Outcome {
  code: number | string;
  /** By protocol, transport and client. */
  cases: ReadonlyMap<string, number>;
  /** How many cases there are with these features. */
  computed: number;
  passed: number;
  failures: readonly { name: string; why: string }[];
  tally: Tally;
}

/** connectconformance judges the listener, the adapter and the lanes by the reference service. */
await runInterop("conformance", async (stage) => {
  const runner = await buildGoTool(stage, suite);
  const protos = join(await goModuleDirectory(stage, suite), "proto");
  const descriptors = join(stage.directory(), "conformance.binpb");
  const built = await stage.run(buf, ["build", protos, "--as-file-descriptor-set", "-o", descriptors]);
  if (built.code !== 0) {
    throw new Skip(`buf build: ${built.stderr.trim()}`);
  }
  stage.say(`        ${await goToolVersion(stage, runner)}; Node ${process.version}`);
  for (const lane of ["off", "on"] as const) {
    const outcome = await judge(stage, runner, descriptors, lane);
    const again = outcome.failures.filter(({ name }) => timedCase.test(name)).map(({ name }) => name);
    if (again.length > 0) {
      stage.say(`        lanes ${lane}: run again, one at a time: ${again.join(", ")}`);
      const alone = await judge(stage, runner, descriptors, lane, again);
      outcome.passed += alone.passed;
      outcome.failures = [...outcome.failures.filter(({ name }) => !again.includes(name)), ...alone.failures];
      outcome.code = outcome.failures.length === 0 ? alone.code : outcome.code;
    }
    for (const [name, count] of [...outcome.cases].sort()) {
      stage.say(`        lanes ${lane}: ${name}: ${count} cases`);
    }
    for (const [method, { lane: taken, adapter }] of Object.entries(outcome.tally).sort()) {
      stage.say(`        lanes ${lane}: ${method}: ${taken} calls in the lane, ${adapter} in the adapter`);
    }
    stage.check(`lanes ${lane}: no case failed, ${outcome.passed} passed`, outcome.failures, []);
    const run = outcome.passed + outcome.failures.length;
    stage.check(`lanes ${lane}: every case was run`, run, outcome.computed);
    stage.check(`lanes ${lane}: the runner is content`, outcome.code, 0);
    const taken = Object.keys(outcome.tally).filter((method) => outcome.tally[method]?.lane);
    stage.check(`lanes ${lane}: what the lane served`, taken.sort(), lane === "on" ? laneMethods : []);
  }
});

async function judge(
  stage: Stage,
  runner: string,
  descriptors: string,
  lane: "on" | "off",
  only: readonly string[] = [],
): Promise<Outcome> {
  const tallyFile = join(stage.directory(), "tally.jsonl");
  const server = [process.execPath, join(here, "server.ts"), descriptors, lane, tallyFile];
  const { code, stdout, stderr } = await stage.run(
    runner,
    [
      ...["--mode", "server", "--verbose", "--conf", join(here, "features.yaml")],
      ...["--max-servers", "2", "--parallel", only.length === 0 ? "8" : "1"],
      ...only.flatMap((name) => ["--run", name]),
      ...["--", ...server],
    ],
    { timeoutMs: runMs, ownGroup: true },
  );
  if (stderr !== "") {
    stage.say(stderr.trimEnd());
  }
  const total = /^Total cases: \d+\n(\d+) passed, \d+ failed/m.exec(stdout);
  if (total === null) {
    throw new Error(`the runner came to no end (${code}): ${stdout.slice(-2000)}`);
  }
  return {
    code,
    cases: countCases(stdout),
    computed: Number(/^Computed (\d+) test case permutation/m.exec(stdout)?.[1]),
    passed: Number(total[1]),
    failures: [...stdout.matchAll(/^FAILED: (.*):((?:\n\t.*)*)/gm)].map(([, name = "", why = ""]) => ({
      name,
      why: why.trim(),
    })),
    tally: readTallies(tallyFile),
  };
}

function countCases(output: string): Map<string, number> {
  const counts = new Map<string, number>();
  const pattern =
    /^Running (\d+) tests with (\S+) for server config #\d+ \{HTTP_VERSION_(\d), PROTOCOL_(\w+), TLS:([^}]*)\}/gm;
  for (const [, count, client, version, protocol, tls = ""] of output.matchAll(pattern)) {
    const transport = tls.replace(/^false$/, "plain text").replace(/^true/, "TLS");
    const name = `${protocol}, HTTP/${version}, ${transport}, ${client}`;
    counts.set(name, (counts.get(name) ?? 0) + Number(count));
  }
  return counts;
}

function readTallies(file: string): Tally {
  const lines = existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
  return addTallies(lines.map((line) => JSON.parse(line) as Tally));
}
