import { describe, expect, test } from "vitest";
import { parseConfigFile } from "../../src/config/config-file.ts";
import { type ConfigSources, parseConfig } from "../../src/config/parse-config.ts";

function parse(text: string, sources: Partial<ConfigSources> = {}) {
  return parseConfig({
    env: {},
    flags: {},
    file: parseConfigFile("taskgate.yaml", text),
    readFile: (path) => `content of ${path}\n`,
    ...sources,
  });
}

function configOf(text: string, sources: Partial<ConfigSources> = {}) {
  const result = parse(text, sources);
  if ("problems" in result) {
    throw new Error(result.problems.join("\n"));
  }
  return result.config;
}

function problemsOf(text: string, sources: Partial<ConfigSources> = {}): readonly string[] {
  const result = parse(text, sources);
  return "problems" in result ? result.problems : [];
}

test("what it says is read as it is written, whatever YAML would make of it", () => {
  const text = `
listen: unix:/run/taskgate/rpc.sock
leaseDuration: "45s"
outboxMaxRows: 2000
outboxMaxBytes: 1GiB
fastLane: false
orchestratorUrl:
  - http://one
  - http://two/base
allowedOrigins: https://a.example, https://b.example
aidboxHeartbeatNotification: 0660
logLevel: # nothing
`;
  expect(configOf(text)).toMatchObject({
    listen: { kind: "unix", path: "/run/taskgate/rpc.sock" },
    leaseDurationMs: 45_000,
    outbox: { maxRows: 2000, maxBytes: 1024 ** 3 },
    fastLane: false,
    orchestrator: {
      bases: [
        { origin: "http://one", path: "" },
        { origin: "http://two", path: "/base" },
      ],
    },
    allowedOrigins: ["https://a.example", "https://b.example"],
    logLevel: "info",
  });
  const aidbox = "aidboxUrl: http://box\naidboxClientId: 007\naidboxClientSecretFile: /s\n";
  expect(configOf(aidbox).aidbox).toMatchObject({ clientId: "007" });
});

test("a flag wins over a variable, that over the file, that over the default", () => {
  const text = "leaseDuration: 41s\nheartbeatInterval: 11s\ndrainTimeout: 21s\n";
  const env = { TASKGATE_LEASE_DURATION: "42s", TASKGATE_HEARTBEAT_INTERVAL: "12s" };
  expect(configOf(text, { env, flags: { "lease-duration": "43s" } })).toMatchObject({
    leaseDurationMs: 43_000,
    heartbeatIntervalMs: 12_000,
    drainTimeoutMs: 21_000,
    logLevel: "info",
  });
});

test("all that is wrong is told together, with file and line", () => {
  const text = `leaseDuration: 15s
heartbeatInterval: soon

leasDuration: 3s
lease-duration: 3s
tlsCert: [a, [b]]
outboxMaxBytes: {a: 1}
orchestraApiKey: hush
aidboxUrl: http://box
zzz: 1
`;
  expect(problemsOf(text, { env: { TASKGATE_LOG_LEVEL: "loud" }, flags: { "drain-timeout": "1" } })).toEqual([
    "taskgate.yaml:4: there is no setting leasDuration (did you mean leaseDuration?)",
    "taskgate.yaml:5: there is no setting lease-duration (did you mean leaseDuration?)",
    "taskgate.yaml:8: orchestraApiKey is a secret, which is not written here: name its file with orchestraApiKeyFile",
    "taskgate.yaml:10: there is no setting zzz",
    "taskgate.yaml:6: tlsCert must be a value, or a list of values",
    "taskgate.yaml:9: aidboxUrl needs TASKGATE_AIDBOX_CLIENT_ID and TASKGATE_AIDBOX_CLIENT_SECRET",
    "taskgate.yaml:7: outboxMaxBytes must be a value, or a list of values",
    "taskgate.yaml:2: heartbeatInterval must be a duration such as 30s, 500ms or 2m, up to 576h",
    "--drain-timeout must be a duration such as 30s, 500ms or 2m, up to 576h",
    "TASKGATE_LOG_LEVEL must be debug, info, warn, error or silent",
  ]);
});

describe("a secret", () => {
  test("is in a file that it names, and a variable wins", () => {
    const text = "orchestraApiKeyFile: /key\n";
    const readFile = () => "key-from-file\n";
    expect(configOf(text, { readFile }).orchestra?.apiKey.text()).toBe("key-from-file");
    const env = { ORCHESTRA_API_KEY: "key-from-variable" };
    expect(configOf(text, { readFile, env }).orchestra?.apiKey.text()).toBe("key-from-variable");
  });

  test("that cannot be read, or be one, is told at its line, and not shown", () => {
    const readFile = () => {
      throw new Error("EACCES");
    };
    expect(problemsOf("\norchestraApiKeyFile: /key\n", { readFile })).toEqual([
      "taskgate.yaml:2: orchestraApiKeyFile cannot be read: EACCES",
    ]);
    expect(problemsOf("authTokenFile: /key\n", { readFile: () => "two words" })).toEqual([
      "taskgate.yaml:1: authTokenFile must be a file with tokens of printable ASCII, one a line",
    ]);
  });
});

describe("what is no YAML is told by its line, and never shown", () => {
  test.each<[string, string]>([
    ["a: 1\na: hush\n", "taskgate.yaml:2 is not YAML: the key is there twice"],
    ["a: 1\n\thush: 1", "taskgate.yaml:2 is not YAML: a tab is no indentation"],
    ["listen: hush: c\n", "taskgate.yaml:1 is not YAML: a map begins in the middle of a line"],
    ['\nlisten: "hush', "taskgate.yaml:2 is not YAML: a quote, bracket or comma is missing"],
    ["a: !hush x", "taskgate.yaml:1 is not YAML: no tag is taken"],
    ["listen: &hush x\nopsListen: *hush", "taskgate.yaml:2 has an alias, and none is taken"],
    ["listen: *hush", "taskgate.yaml:1 has an alias, and none is taken"],
    ["%hush\n---\n", "taskgate.yaml:1 is not YAML: bad_directive"],
    ["--- {}\n--- hush", "taskgate.yaml:2 is not YAML: there is a second document"],
    ["hush", "taskgate.yaml:1 must be a map of settings, such as leaseDuration: 30s"],
    ["- hush", "taskgate.yaml:1 must be a map of settings, such as leaseDuration: 30s"],
    [`a: ${"[".repeat(100_000)}`, "taskgate.yaml:1 is not YAML: it is nested too deeply"],
    ["x".repeat(1024 * 1024 + 1), "taskgate.yaml is larger than 1048576 characters"],
  ])("case %#", (text, problem) => {
    const problems = problemsOf(text);
    expect(problems).toContain(problem);
    expect(problems.join()).not.toContain("hush");
  });

  test("an empty one says nothing", () => {
    expect(problemsOf("")).toEqual([]);
    expect(problemsOf("# nothing yet\n")).toEqual([]);
    expect(problemsOf("---\n")).toEqual([]);
  });
});
