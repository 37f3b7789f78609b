import { Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { Secret } from "../model/secret.ts";
import { suggestion } from "./closest-name.ts";
import type { CallerConfig } from "./config.ts";
import type { ConfigFile, FileNode } from "./config-file.ts";
import type { SettingSources } from "./given-settings.ts";
import type { SettingReader } from "./setting-reader.ts";
import type { settings } from "./settings.ts";
import { parseTokens, tokensForm } from "./tokens.ts";

const roleNames = new Map([
  ["worker", Role.WORKER],
  ["client", Role.CLIENT],
  ["operator", Role.OPERATOR],
]);

const keys = ["roles", "tokenFile", "taskDefinitions", "workflowDefinitions"];

// A caller owns tasks by its name, also after a restart; where there are no callers, everyone does.
const namePattern = /^(?!everyone$)[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** Reads who may call, from settings and from `callers` in `taskgate.yaml`. */
export function parseCallers(
  read: SettingReader<typeof settings>,
  { file, readFile }: Pick<SettingSources<never>, "file" | "readFile">,
  problems: string[],
): CallerConfig[] {
  const named = file === undefined ? [] : parseNamed(file, readFile, problems);
  const usual = [
    { name: "default", setting: "authToken", roles: [Role.WORKER, Role.CLIENT] },
    { name: "admin", setting: "adminToken", roles: [Role.WORKER, Role.CLIENT, Role.OPERATOR] },
  ] as const;
  const callers = [...named];
  for (const { name, setting, roles } of usual) {
    const tokens = read.tokens(setting);
    if (tokens !== undefined) {
      callers.push({ name, roles, tokens: [tokens], definitions: undefined });
      if (named.some((caller) => caller.name === name)) {
        problems.push(`${read.where(setting)} is the token of the caller ${name}, who is among callers, too`);
      }
    }
  }
  const owners = new Map<string, string>();
  for (const { name, tokens } of callers) {
    for (const token of tokens.flatMap((secret) => secret.parse(secret.text()) ?? [])) {
      const owner = owners.get(token) ?? name;
      owners.set(token, owner);
      if (owner !== name) {
        problems.push(`the callers ${owner} and ${name} have a token in common`);
      }
    }
  }
  return callers;
}

function parseNamed(
  file: ConfigFile,
  readFile: (path: string) => string,
  problems: string[],
): CallerConfig[] {
  const node = file.entries.get("callers");
  if (node === undefined || isNothing(node)) {
    return [];
  }
  if (node.kind !== "map") {
    problems.push(`${file.path}:${node.line}: callers must be a map of callers by their names`);
    return [];
  }
  return Array.from(node.entries, ([name, caller]) => {
    const at = (line: number) => `${file.path}:${line}: callers.${name}`;
    if (!namePattern.test(name)) {
      problems.push(
        `${file.path}:${caller.line}: a caller's name has letters, digits, ., _ and -, at most 63, and is not everyone`,
      );
    }
    return parseCaller(name, caller, at, readFile, problems);
  }).filter((caller) => caller !== undefined);
}

function parseCaller(
  name: string,
  node: FileNode,
  at: (line: number) => string,
  readFile: (path: string) => string,
  problems: string[],
): CallerConfig | undefined {
  if (node.kind !== "map") {
    problems.push(`${at(node.line)} must have roles and a tokenFile`);
    return undefined;
  }
  for (const [key, { line }] of node.entries) {
    if (key === "token" || key === "tokens") {
      problems.push(
        `${at(line)}.${key} is a secret, which is not written here: name its file with tokenFile`,
      );
    } else if (!keys.includes(key)) {
      problems.push(`${at(line)} has nothing named ${key.slice(0, 60)}${suggestion(key, keys)}`);
    }
  }

  function textsOf(key: string): { line: number; texts: readonly string[] } | undefined {
    const value = node.kind === "map" ? node.entries.get(key) : undefined;
    if (value === undefined) {
      return undefined;
    }
    const texts = listOf(value);
    if (texts === undefined) {
      problems.push(`${at(value.line)}.${key} must be a value, or a list of values`);
    }
    return { line: value.line, texts: texts ?? [] };
  }

  const roles = textsOf("roles");
  const known = roles?.texts.map((role) => roleNames.get(role)) ?? [];
  if (known.length === 0 || known.includes(undefined)) {
    problems.push(`${at(roles?.line ?? node.line)}.roles must be one or more of worker, client and operator`);
  }
  const files = textsOf("tokenFile");
  if (files === undefined || files.texts.length === 0) {
    problems.push(`${at(files?.line ?? node.line)}.tokenFile must name a file with tokens`);
  }
  const where = `${at(files?.line ?? node.line)}.tokenFile`;
  const tasks = textsOf("taskDefinitions");
  const workflows = textsOf("workflowDefinitions");
  return {
    name,
    roles: known.filter((role) => role !== undefined),
    tokens: (files?.texts ?? [])
      .map((path) => tokensIn(path, where, readFile, problems))
      .filter((tokens) => tokens !== undefined),
    definitions:
      tasks === undefined && workflows === undefined
        ? undefined
        : { taskDefinitions: tasks?.texts ?? [], workflowDefinitions: workflows?.texts ?? [] },
  };
}

function tokensIn(
  path: string,
  where: string,
  readFile: (path: string) => string,
  problems: string[],
): Secret<readonly string[]> | undefined {
  let text: string;
  try {
    text = readFile(path).trim();
  } catch (error) {
    problems.push(`${where} cannot be read: ${error instanceof Error ? error.message : "unknown error"}`);
    return undefined;
  }
  if (parseTokens(text) === undefined) {
    problems.push(`${where} must name ${tokensForm}`);
    return undefined;
  }
  return { name: where, text: () => text, path, parse: parseTokens };
}

function listOf(node: FileNode): string[] | undefined {
  if (node.kind === "text") {
    return node.text === "" ? [] : [node.text];
  }
  const texts = node.kind === "list" ? node.items.map((item) => item.kind === "text" && item.text) : [false];
  return texts.every((text) => typeof text === "string") ? texts : undefined;
}

function isNothing(node: FileNode): boolean {
  return node.kind === "text" && node.text === "";
}
