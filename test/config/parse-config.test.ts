import { describe, expect, test } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { parseDurationMs } from "../../src/config/duration.ts";
import { type ConfigSources, parseConfig } from "../../src/config/parse-config.ts";
import { envOf, flagOf, type SettingName, settings } from "../../src/config/settings.ts";

const files: Record<string, string> = {
  "/key": "key-from-file\n",
  "/cert.pem": "CERT",
  "/key.pem": "KEY",
  "/ca.pem": "CA",
};

function parse(env: Record<string, string>, flags: ConfigSources["flags"] = {}) {
  return parseConfig({
    env,
    flags,
    readFile(path) {
      const text = files[path];
      if (text === undefined) {
        throw new Error(`ENOENT: no such file or directory, open '${path}'`);
      }
      return text;
    },
  });
}

function configOf(env: Record<string, string>, flags: ConfigSources["flags"] = {}): Config {
  const result = parse(env, flags);
  if ("problems" in result) {
    throw new Error(result.problems.join("\n"));
  }
  return result.config;
}

function problemsOf(env: Record<string, string>): readonly string[] {
  const result = parse(env);
  return "problems" in result ? result.problems : [];
}

test("with nothing set the gateway listens on loopback, with nobody behind it", () => {
  expect(configOf({})).toMatchObject({
    listen: { kind: "tcp", host: "127.0.0.1", port: 7450 },
    opsListen: { kind: "tcp", host: "127.0.0.1", port: 7451 },
    orchestra: undefined,
    orchestrator: undefined,
    aidbox: undefined,
    heartbeatIntervalMs: 10_000,
    leaseDurationMs: 30_000,
    drainTimeoutMs: 25_000,
    fastLane: true,
    logLevel: "info",
  });
});

test("O-15 a key turns Orchestra on, at its public webhook", () => {
  expect(configOf({ ORCHESTRA_API_KEY: "k" }).orchestra).toEqual({
    origin: "https://webhook.getorchestra.io",
    webhookPath: "/",
    apiKey: "k",
    timeoutMs: 15_000,
    defaultRun: undefined,
  });
  expect(
    configOf({
      ORCHESTRA_API_KEY: "k",
      ORCHESTRA_WEBHOOK_URL: "https://eu.example.org:8443/a/b?c=d",
      ORCHESTRA_TASK_RUN_ID: "1D8763078C0A42A18299AF0516223652",
      ORCHESTRA_TASK_ATTEMPT_NUMBER: "3",
    }).orchestra,
  ).toMatchObject({
    origin: "https://eu.example.org:8443",
    webhookPath: "/a/b?c=d",
    defaultRun: { taskRunId: "1d876307-8c0a-42a1-8299-af0516223652", attempt: 3 },
  });
});

test("an empty variable is the same as none", () => {
  expect(configOf({ ORCHESTRA_API_KEY: "", ORCHESTRA_WEBHOOK_URL: "" }).orchestra).toBeUndefined();
  expect(configOf({ ORCHESTRA_API_KEY: "k", ORCHESTRA_WEBHOOK_URL: "" }).orchestra?.origin).toBe(
    "https://webhook.getorchestra.io",
  );
});

test("several Orchestrators, their slashes dropped", () => {
  const { orchestrator } = configOf({
    TASKGATE_ORCHESTRATOR_URL: "http://one:8080/, https://two/deep/er//",
    TASKGATE_ORCHESTRATOR_TOKEN: "t,",
  });
  expect(orchestrator).toEqual({
    bases: [
      { origin: "http://one:8080", path: "", token: "t" },
      { origin: "https://two", path: "/deep/er", token: undefined },
    ],
    timeoutMs: 60_000,
  });
});

test("W-03 a credential is for one Orchestrator, so several need as many", () => {
  const env = { TASKGATE_ORCHESTRATOR_URL: "http://one, http://two" };
  expect(configOf(env).orchestrator?.bases.map(({ token }) => token)).toEqual([undefined, undefined]);
  expect(problemsOf({ ...env, TASKGATE_ORCHESTRATOR_TOKEN: "t" })).toEqual([
    "TASKGATE_ORCHESTRATOR_TOKEN must hold one token for each of the 2 URLs in TASKGATE_ORCHESTRATOR_URL, with commas between",
  ]);
});

test("what is fixed cannot be changed, by a variable, a file or a flag", () => {
  const result = parseConfig({
    fixed: { orchestraApiKey: "fixed", orchestraWebhookUrl: "http://sandbox" },
    env: { ORCHESTRA_API_KEY: "real", ORCHESTRA_API_KEY_FILE: "/key" },
    flags: { "orchestra-webhook-url": "https://real" },
    readFile: () => "real",
  });
  expect("config" in result && result.config.orchestra).toMatchObject({
    apiKey: "fixed",
    origin: "http://sandbox",
  });
});

test("a secret comes from its variable, or from a file, and the file wins", () => {
  expect(configOf({ ORCHESTRA_API_KEY_FILE: "/key" }).orchestra?.apiKey).toBe("key-from-file");
  expect(configOf({ ORCHESTRA_API_KEY: "x" }, { "orchestra-api-key-file": "/key" }).orchestra?.apiKey).toBe(
    "key-from-file",
  );
});

test("a flag wins over a variable", () => {
  const env = { TASKGATE_LEASE_DURATION: "40s", TASKGATE_FAST_LANE: "true" };
  expect(configOf(env, { "lease-duration": "1m", "fast-lane": "false" })).toMatchObject({
    leaseDurationMs: 60_000,
    fastLane: false,
  });
});

test("an address beyond this machine needs a token and TLS, or a word that says insecure", () => {
  expect(problemsOf({ TASKGATE_LISTEN: "0.0.0.0:7450" })).toEqual([
    "TASKGATE_LISTEN can be reached from other machines, so TASKGATE_AUTH_TOKEN or TASKGATE_ADMIN_TOKEN must be set",
    "TASKGATE_LISTEN can be reached from other machines, so TASKGATE_TLS_CERT must be set, or TASKGATE_INSECURE_LISTEN where the network is trusted",
  ]);
  expect(problemsOf({ TASKGATE_LISTEN: "10.0.0.1:7450", TASKGATE_AUTH_TOKEN: "t" })).toHaveLength(1);
  expect(
    configOf({ TASKGATE_LISTEN: ":7450", TASKGATE_AUTH_TOKEN: "t", TASKGATE_INSECURE_LISTEN: "true" }).listen,
  ).toEqual({ kind: "tcp", host: "::", port: 7450 });
  expect(
    configOf({
      TASKGATE_LISTEN: "[2001:db8::1]:7450",
      TASKGATE_ADMIN_TOKEN: "t",
      TASKGATE_TLS_CERT: "/cert.pem",
      TASKGATE_TLS_KEY: "/key.pem",
      TASKGATE_TLS_CLIENT_CA: "/ca.pem",
    }).tls,
  ).toEqual({ cert: "CERT", key: "KEY", clientCa: "CA" });
  expect(problemsOf({ TASKGATE_LISTEN: "unix:/run/taskgate.sock" })).toEqual([]);
  expect(problemsOf({ TASKGATE_LISTEN: "[::1]:1" })).toEqual([]);
});

test("all problems are told together, none with a secret in it", () => {
  const problems = problemsOf({
    TASKGATE_LISTEN: "nowhere",
    TASKGATE_OPS_LISTEN: "127.0.0.1:99999",
    ORCHESTRA_API_KEY: "secret-key",
    ORCHESTRA_WEBHOOK_URL: "https://user:secret-password@x/",
    TASKGATE_ORCHESTRATOR_URL: "ftp://x, http://y?z",
    TASKGATE_AIDBOX_URL: "http://box",
    TASKGATE_AIDBOX_CLIENT_SECRET_FILE: "/missing",
    TASKGATE_LEASE_DURATION: "15s",
    TASKGATE_HEARTBEAT_INTERVAL: "soon",
    TASKGATE_FAST_LANE: "maybe",
    TASKGATE_LOG_LEVEL: "loud",
    TASKGATE_ALLOWED_ORIGINS: "https://a.example/path",
    TASKGATE_TLS_CERT: "/cert.pem",
  });
  expect(problems).toEqual([
    "TASKGATE_LISTEN must be host:port or unix:PATH",
    "TASKGATE_TLS_CERT and TASKGATE_TLS_KEY must be set together",
    "TASKGATE_OPS_LISTEN must be host:port",
    "ORCHESTRA_WEBHOOK_URL must be an http or https URL without credentials or fragment",
    "TASKGATE_ORCHESTRATOR_URL must be http or https URLs without credentials, query or fragment, with commas between",
    "TASKGATE_AIDBOX_CLIENT_SECRET_FILE cannot be read: ENOENT: no such file or directory, open '/missing'",
    "TASKGATE_AIDBOX_URL needs TASKGATE_AIDBOX_CLIENT_ID and TASKGATE_AIDBOX_CLIENT_SECRET",
    "TASKGATE_ALLOWED_ORIGINS must hold origins such as https://example.org",
    "TASKGATE_HEARTBEAT_INTERVAL must be a duration such as 30s, 500ms or 2m, up to 576h",
    "TASKGATE_FAST_LANE must be true or false",
    "TASKGATE_LOG_LEVEL must be info, warn, error or silent",
  ]);
  expect(problems.join()).not.toContain("secret-");
});

test.each(["0s", "577h", "24d", "-1s", "1"])("%s is no duration that a timer can hold", (value) => {
  expect(problemsOf({ TASKGATE_DRAIN_TIMEOUT: value })).toEqual([
    "TASKGATE_DRAIN_TIMEOUT must be a duration such as 30s, 500ms or 2m, up to 576h",
  ]);
});

test.each(["ORCHESTRA_API_KEY", "TASKGATE_AUTH_TOKEN", "TASKGATE_ADMIN_TOKEN"])(
  "%s must be able to travel in a header",
  (name) => {
    for (const value of ["two words", "línea", "a\nb", "\u007f"]) {
      expect(problemsOf({ [name]: value })).toEqual([`${name} must be printable ASCII without spaces`]);
    }
  },
);

test("a lease must outlast a lost beat", () => {
  expect(problemsOf({ TASKGATE_LEASE_DURATION: "15s" })).toEqual([
    "TASKGATE_LEASE_DURATION must be at least twice TASKGATE_HEARTBEAT_INTERVAL, or one lost beat ends a task",
  ]);
});

describe("settings", () => {
  test("have one name in two spellings", () => {
    expect([envOf("leaseDuration"), flagOf("leaseDuration")]).toEqual([
      "TASKGATE_LEASE_DURATION",
      "lease-duration",
    ]);
    expect([envOf("aidboxClientSecret"), flagOf("aidboxClientSecret")]).toEqual([
      "TASKGATE_AIDBOX_CLIENT_SECRET",
      "aidbox-client-secret-file",
    ]);
    expect(envOf("orchestraApiKey")).toBe("ORCHESTRA_API_KEY");
  });

  test("have defaults that are right", () => {
    const names = Object.keys(settings) as SettingName[];
    expect(new Set(names.map(envOf)).size).toBe(names.length);
    expect(new Set(names.map(flagOf)).size).toBe(names.length);
    expect(problemsOf({ ORCHESTRA_API_KEY: "k" })).toEqual([]);
  });
});

test.each([
  ["10s", 10_000],
  ["250ms", 250],
  ["1.5m", 90_000],
  ["2h", 7_200_000],
  ["0s", 0],
  ["10", undefined],
  ["s", undefined],
  ["-1s", undefined],
  ["1 s", undefined],
  ["1d", undefined],
])("%j is %j ms", (text, expected) => {
  expect(parseDurationMs(text)).toBe(expected);
});
