import { isJsonObject, type Json } from "./json.ts";

/** FACT: names, defaults and meaning, for tasks. All times in milliseconds. */
export interface DefinitionSettings {
  /** Default 10,000. */
  requestedToStartTimeout: number;
  /** Default 120,000. */
  inProgressTimeout: number;
  /** INFERENCE: attempts in all. Default 2. */
  allowedRetryCount: number;
  /** Default 10,000. */
  retryDelay: number;
  /** How many may be out at a time, INFERENCE: requested or in progress. Default: any number. */
  concurrencyLimit?: number;
  /** Counts `concurrencyLimit` for each value at this path of the resource, such as `["params", "resourceType"]`. */
  concurrencyPath?: string[];
  /** A schema, in its simplest form: keys that must be there. Default: none. */
  requiredParamsKeys?: string[];
  requiredResultKeys?: string[];
  requiredErrorKeys?: string[];
}

export interface DefinitionChecks {
  /** Judges a result: undefined is good, a text is why not. */
  checkResult?: (result: Json | undefined) => string | undefined;
  checkError?: (error: Json | undefined) => string | undefined;
}

export interface Definition extends DefinitionSettings, DefinitionChecks {
  /** `namespace/name` */
  readonly name: string;
}

export interface Definitions {
  /** Makes a definition, or changes one: settings that are not given stay. */
  define(name: string, settings?: Partial<DefinitionSettings> & DefinitionChecks): Definition;
  /** A definition; one with default settings for an unknown name, unless definitions are strict. */
  find(name: string): Definition | undefined;
  list(): Definition[];
  /** Back to the definitions that it was made with. */
  reset(): void;
}

export type DefinitionSource = Readonly<Record<string, Partial<DefinitionSettings> & DefinitionChecks>>;

/** Empty until the first `reset`. `onDefine` hears of every definition that is made or changed. */
export function createDefinitions(
  initial: DefinitionSource,
  isStrict: boolean,
  onDefine: (definition: Definition) => void,
): Definitions {
  const byName = new Map<string, Definition>();
  const definitions: Definitions = {
    define(name, settings = {}) {
      const known = byName.get(name) ?? {
        name,
        requestedToStartTimeout: 10_000,
        inProgressTimeout: 120_000,
        allowedRetryCount: 2,
        retryDelay: 10_000,
      };
      const definition = Object.assign(known, settings);
      byName.set(name, definition);
      onDefine(definition);
      return definition;
    },
    find: (name) => byName.get(name) ?? (isStrict ? undefined : definitions.define(name)),
    list: () => [...byName.values()],
    reset() {
      byName.clear();
      for (const [name, settings] of Object.entries(initial)) {
        definitions.define(name, settings);
      }
    },
  };
  return definitions;
}

export function settingsOf(definition: Definition): DefinitionSettings {
  const { name: _name, checkResult: _checkResult, checkError: _checkError, ...settings } = definition;
  return settings;
}

/** Why a value does not conform to a definition's schema; undefined when it does. */
export function schemaProblem(
  definition: Definition,
  part: "params" | "result" | "error",
  value: Json | undefined,
): string | undefined {
  const [required = [], check] = {
    params: [definition.requiredParamsKeys, undefined] as const,
    result: [definition.requiredResultKeys, definition.checkResult] as const,
    error: [definition.requiredErrorKeys, definition.checkError] as const,
  }[part];
  const missing = required.find((key) => !(isJsonObject(value) && Object.hasOwn(value, key)));
  return missing === undefined ? check?.(value) : `:${missing} is required`;
}
