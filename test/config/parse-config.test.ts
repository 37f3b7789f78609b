import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { parseDurationMs } from "../../src/config/duration.ts";
import { type ConfigSources, parseConfig } from "../../src/config/parse-config.ts";
import { envName, flagName, keyName, type Setting } from "../../src/config/setting.ts";
import { type SettingName, settings } from "../../src/config/settings.ts";
import { tlsPath } from "../support/use-gateway.ts";

const pem = (name: string) => readFileSync(tlsPath(name), "utf8");
const files: Record<string, string> = {
  "/key": "key-from-file\n",
  "/cert.pem": pem("server.pem"),
  "/key.pem": pem("server.key"),
  "/other-key.pem": pem("client.key"),
  "/ca.pem": pem("ca.pem"),
  "/empty": "\n",
  "/etc/group": "root:x:0:\nworkers:x:2001:a,b\n",
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
    minAcceptMs: 0,
    terminationLog: undefined,
    fastLane: true,
    logLevel: "info",
  });
});

test("O-15 a key turns Orchestra on, at its public webhook", () => {
  const { orchestra } = configOf({ ORCHESTRA_API_KEY: "k" });
  expect(orchestra).toMatchObject({
    origin: "https://webhook.getorchestra.io",
    webhookPath: "/",
    timeoutMs: 15_000,
    defaultRun: undefined,
  });
  expect(orchestra?.apiKey.text()).toBe("k");
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
  expect(orchestrator).toMatchObject({
    bases: [
      { origin: "http://one:8080", path: "" },
      { origin: "https://two", path: "/deep/er" },
    ],
    timeoutMs: 60_000,
  });
  expect(orchestrator?.tokens?.parse(orchestrator.tokens.text())).toEqual(["t", undefined]);
});

test("W-03 a credential is for one Orchestrator, so several need as many", () => {
  const env = { TASKGATE_ORCHESTRATOR_URL: "http://one, http://two" };
  expect(configOf(env).orchestrator?.tokens).toBeUndefined();
  expect(problemsOf({ ...env, TASKGATE_ORCHESTRATOR_TOKEN: "t" })).toEqual([
    "TASKGATE_ORCHESTRATOR_TOKEN must be one token for each of the 2 URLs in TASKGATE_ORCHESTRATOR_URL, with commas between, each printable ASCII without spaces",
  ]);
});

test("what is fixed cannot be changed, by a variable, a file or a flag", () => {
  const result = parseConfig({
    fixed: { orchestraApiKey: "fixed", orchestraWebhookUrl: "http://sandbox" },
    env: { ORCHESTRA_API_KEY: "real", ORCHESTRA_API_KEY_FILE: "/key" },
    flags: { "orchestra-webhook-url": "https://real" },
    readFile: () => "real",
  });
  const orchestra = "config" in result ? result.config.orchestra : undefined;
  expect(orchestra?.origin).toBe("http://sandbox");
  expect(orchestra?.apiKey.text()).toBe("fixed");
});

test("a secret comes from its variable, or from a file, and the file wins", () => {
  expect(configOf({ ORCHESTRA_API_KEY_FILE: "/key" }).orchestra?.apiKey.text()).toBe("key-from-file");
  expect(
    configOf({ ORCHESTRA_API_KEY: "x" }, { "orchestra-api-key-file": "/key" }).orchestra?.apiKey.text(),
  ).toBe("key-from-file");
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
    "TASKGATE_LISTEN can be reached from other machines, so TASKGATE_AUTH_TOKEN, TASKGATE_ADMIN_TOKEN or callers in the file must be set",
    "TASKGATE_LISTEN can be reached from other machines, so TASKGATE_TLS_CERT must be set, or TASKGATE_INSECURE_LISTEN where the network is trusted",
  ]);
  expect(problemsOf({ TASKGATE_LISTEN: "10.0.0.1:7450", TASKGATE_AUTH_TOKEN: "t" })).toHaveLength(1);
  expect(
    configOf({ TASKGATE_LISTEN: ":7450", TASKGATE_AUTH_TOKEN: "t", TASKGATE_INSECURE_LISTEN: "true" }).listen,
  ).toEqual({ kind: "tcp", host: "::", port: 7450 });
  const { tls } = configOf({
    TASKGATE_LISTEN: "[2001:db8::1]:7450",
    TASKGATE_ADMIN_TOKEN: "t",
    TASKGATE_TLS_CERT: "/cert.pem",
    TASKGATE_TLS_KEY: "/key.pem",
    TASKGATE_TLS_CLIENT_CA: "/ca.pem",
  });
  expect([tls?.cert, tls?.key, tls?.clientCa].map((file) => file?.text())).toEqual([
    pem("server.pem"),
    pem("server.key"),
    pem("ca.pem"),
  ]);
  expect(problemsOf({ TASKGATE_LISTEN: "unix:/run/taskgate.sock" })).toEqual([]);
  expect(problemsOf({ TASKGATE_LISTEN: "[::1]:1" })).toEqual([]);
});

test("each upstream has CA certificates and a proxy of its own", () => {
  const { orchestra, orchestrator, aidbox } = configOf({
    ORCHESTRA_API_KEY: "k",
    TASKGATE_ORCHESTRA_PROXY: "http://proxy.example:3128/",
    TASKGATE_ORCHESTRA_PROXY_CREDENTIALS: "user:pass:word",
    TASKGATE_ORCHESTRATOR_URL: "https://one",
    TASKGATE_ORCHESTRATOR_CA: "/ca.pem",
    TASKGATE_AIDBOX_URL: "https://box",
    TASKGATE_AIDBOX_CLIENT_ID: "id",
    TASKGATE_AIDBOX_CLIENT_SECRET: "s",
    TASKGATE_AIDBOX_PROXY: "https://proxy.example",
  });
  expect(orchestra?.way).toMatchObject({ ca: undefined, proxy: { origin: "http://proxy.example:3128" } });
  expect(orchestra?.way.proxy?.credentials?.text()).toBe("user:pass:word");
  expect(orchestrator?.way.ca?.text()).toBe(pem("ca.pem"));
  expect(orchestrator?.way.ca?.parse("other")).toBeUndefined();
  expect(orchestrator?.way.proxy).toBeUndefined();
  expect(aidbox?.way.proxy).toEqual({ origin: "https://proxy.example", credentials: undefined });
  expect(
    problemsOf({
      ORCHESTRA_API_KEY: "k",
      TASKGATE_ORCHESTRA_CA: "/key",
      TASKGATE_ORCHESTRA_PROXY: "http://user:hush@proxy",
      TASKGATE_ORCHESTRATOR_URL: "https://one",
      TASKGATE_ORCHESTRATOR_PROXY: "http://proxy/path",
      TASKGATE_ORCHESTRATOR_PROXY_CREDENTIALS: "hush",
      TASKGATE_AIDBOX_URL: "https://box",
      TASKGATE_AIDBOX_CLIENT_ID: "id",
      TASKGATE_AIDBOX_CLIENT_SECRET: "s",
      TASKGATE_AIDBOX_PROXY_CREDENTIALS: "u:hush",
    }),
  ).toEqual([
    "TASKGATE_ORCHESTRA_CA holds no certificate in PEM",
    "TASKGATE_ORCHESTRA_PROXY must be an http or https URL without credentials, query or fragment",
    "TASKGATE_ORCHESTRATOR_PROXY_CREDENTIALS must be a user and a password with : between",
    "TASKGATE_ORCHESTRATOR_PROXY must be the URL of a proxy, without a path",
    "TASKGATE_AIDBOX_PROXY_CREDENTIALS needs TASKGATE_AIDBOX_PROXY",
  ]);
});

test("a Unix socket has a mode and a group, by number or by name", () => {
  expect(configOf({}).socketAccess).toEqual({ mode: 0o660, gid: undefined });
  expect(configOf({ TASKGATE_SOCKET_MODE: "600", TASKGATE_SOCKET_GROUP: "2000" }).socketAccess).toEqual({
    mode: 0o600,
    gid: 2000,
  });
  expect(configOf({ TASKGATE_SOCKET_GROUP: "workers" }).socketAccess.gid).toBe(2001);
  for (const mode of ["0460", "1777", "8", "rw", "06660"]) {
    expect(problemsOf({ TASKGATE_SOCKET_MODE: mode })).toEqual([
      "TASKGATE_SOCKET_MODE must be permissions such as 0660, with 6 or 7 for the owner",
    ]);
  }
  expect(problemsOf({ TASKGATE_SOCKET_GROUP: "nobodys" })).toEqual([
    "TASKGATE_SOCKET_GROUP must be a group's number, or a name that /etc/group has",
  ]);
});

test("certificates and their key are tried before anything listens", () => {
  const tls = { TASKGATE_TLS_CERT: "/cert.pem", TASKGATE_TLS_KEY: "/key.pem" };
  expect(problemsOf({ ...tls, TASKGATE_TLS_KEY: "/other-key.pem" })).toEqual([
    "TASKGATE_TLS_KEY is not the key of the certificate",
  ]);
  expect(
    problemsOf({ TASKGATE_TLS_CERT: "/key", TASKGATE_TLS_KEY: "/key", TASKGATE_TLS_CLIENT_CA: "/key.pem" }),
  ).toEqual([
    "TASKGATE_TLS_CERT holds no certificate in PEM",
    "TASKGATE_TLS_KEY holds no private key in PEM without a passphrase",
    "TASKGATE_TLS_CLIENT_CA holds no certificate in PEM",
  ]);
});

test("what is set of an upstream that is off is looked at, too", () => {
  expect(
    problemsOf({
      TASKGATE_ORCHESTRA_TIMEOUT: "soon",
      TASKGATE_ORCHESTRATOR_TOKEN: "t",
      TASKGATE_AIDBOX_CLIENT_ID: "id",
      TASKGATE_AIDBOX_PROXY: "ftp://x",
    }),
  ).toEqual([
    "TASKGATE_ORCHESTRA_TIMEOUT must be a duration such as 30s, 500ms or 2m, up to 576h",
    "TASKGATE_ORCHESTRATOR_TOKEN needs TASKGATE_ORCHESTRATOR_URL",
    "TASKGATE_AIDBOX_PROXY must be an http or https URL without credentials, query or fragment",
    "TASKGATE_AIDBOX_CLIENT_ID needs TASKGATE_AIDBOX_URL",
  ]);
});

test("a file for a secret that is empty is no secret, and not none", () => {
  expect(problemsOf({ TASKGATE_AUTH_TOKEN_FILE: "/empty" })).toEqual([
    "TASKGATE_AUTH_TOKEN_FILE names an empty file",
  ]);
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
    "TASKGATE_LOG_LEVEL must be debug, info, warn, error or silent",
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
  test("have one name in three spellings", () => {
    const spellings = (name: SettingName) =>
      [keyName, envName, flagName].map((spell) => spell(name, settings[name]));
    expect(spellings("leaseDuration")).toEqual([
      "leaseDuration",
      "TASKGATE_LEASE_DURATION",
      "lease-duration",
    ]);
    expect(spellings("aidboxClientSecret")).toEqual([
      "aidboxClientSecretFile",
      "TASKGATE_AIDBOX_CLIENT_SECRET",
      "aidbox-client-secret-file",
    ]);
    expect(spellings("orchestraApiKey")[1]).toBe("ORCHESTRA_API_KEY");
  });

  test("have defaults that are right, and names that are nobody else's", () => {
    const rows: [string, Setting][] = Object.entries(settings);
    for (const spell of [keyName, envName, flagName]) {
      expect(new Set(rows.map((row) => spell(...row))).size).toBe(rows.length);
    }
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
