import { expect, test } from "vitest";
import { Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import { parseConfigFile } from "../../src/config/config-file.ts";
import { parseConfig } from "../../src/config/parse-config.ts";

const files: Record<string, string> = {
  "/etl": "etl-now\netl-next\n",
  "/ops-1": "ops-1",
  "/ops-2": "ops-2\n",
  "/empty": "\n",
  "/odd": "two words",
};

function parse(text: string, env: Record<string, string> = {}) {
  return parseConfig({
    env,
    flags: {},
    file: parseConfigFile("taskgate.yaml", text),
    readFile(path) {
      const content = files[path];
      if (content === undefined) {
        throw new Error("ENOENT");
      }
      return content;
    },
  });
}

function callersOf(text: string, env: Record<string, string> = {}) {
  const result = parse(text, env);
  if ("problems" in result) {
    throw new Error(result.problems.join("\n"));
  }
  return result.config.callers.map(({ tokens, ...caller }) => ({
    ...caller,
    tokens: tokens.map((secret) => secret.parse(secret.text())),
  }));
}

function problemsOf(text: string, env: Record<string, string> = {}): readonly string[] {
  const result = parse(text, env);
  return "problems" in result ? result.problems : [];
}

test("callers have names, roles, files with tokens, and may be limited to definitions", () => {
  const text = `
callers:
  etl:
    roles: worker
    tokenFile: /etl
    taskDefinitions: [etl/extract, etl/load]
  on-call:
    roles: [operator, client]
    tokenFile: [/ops-1, /ops-2]
`;
  expect(callersOf(text, { TASKGATE_AUTH_TOKEN: "t" })).toEqual([
    {
      name: "etl",
      roles: [Role.WORKER],
      tokens: [["etl-now", "etl-next"]],
      definitions: { taskDefinitions: ["etl/extract", "etl/load"], workflowDefinitions: [] },
    },
    {
      name: "on-call",
      roles: [Role.OPERATOR, Role.CLIENT],
      tokens: [["ops-1"], ["ops-2"]],
      definitions: undefined,
    },
    { name: "default", roles: [Role.WORKER, Role.CLIENT], tokens: [["t"]], definitions: undefined },
  ]);
  expect(callersOf("callers:\n")).toEqual([]);
});

test("one of them is enough for an address beyond this machine", () => {
  const env = { TASKGATE_LISTEN: "0.0.0.0:1", TASKGATE_INSECURE_LISTEN: "true" };
  expect(problemsOf("callers: {a: {roles: worker, tokenFile: /etl}}", env)).toEqual([]);
  expect(problemsOf("", env)).toHaveLength(1);
});

test("what is wrong with them is told with its line, and never shown", () => {
  const text = `callers:
  etl:
    roles: [worker, boss]
    token: etl-now
    tokenFiles: /etl
  everyone: {roles: worker, tokenFile: /missing}
  nobody: {roles: [], tokenFile: /empty}
  odd: {roles: client, tokenFile: /odd, taskDefinitions: {a: 1}}
  word: worker
  admin: {roles: operator, tokenFile: /ops-1}
  twin: {roles: operator, tokenFile: [/ops-2, /ops-1]}
`;
  const problems = problemsOf(text, { TASKGATE_ADMIN_TOKEN: "t" });
  expect(problems).toEqual([
    "taskgate.yaml:4: callers.etl.token is a secret, which is not written here: name its file with tokenFile",
    "taskgate.yaml:5: callers.etl has nothing named tokenFiles (did you mean tokenFile?)",
    "taskgate.yaml:3: callers.etl.roles must be one or more of worker, client and operator",
    "taskgate.yaml:2: callers.etl.tokenFile must name a file with tokens",
    "taskgate.yaml:6: a caller's name has letters, digits, ., _ and -, at most 63, and is not everyone",
    "taskgate.yaml:6: callers.everyone.tokenFile cannot be read: ENOENT",
    "taskgate.yaml:7: callers.nobody.roles must be one or more of worker, client and operator",
    "taskgate.yaml:7: callers.nobody.tokenFile must name a file with tokens of printable ASCII, one a line",
    "taskgate.yaml:8: callers.odd.taskDefinitions must be a value, or a list of values",
    "taskgate.yaml:8: callers.odd.tokenFile must name a file with tokens of printable ASCII, one a line",
    "taskgate.yaml:9: callers.word must have roles and a tokenFile",
    "TASKGATE_ADMIN_TOKEN is the token of the caller admin, who is among callers, too",
    "the callers admin and twin have a token in common",
  ]);
  expect(problems.join()).not.toMatch(/etl-now|ops-|two words/);
  expect(problemsOf("callers: [a]")).toEqual([
    "taskgate.yaml:1: callers must be a map of callers by their names",
  ]);
});
