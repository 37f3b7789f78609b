import {
  boolCoreTag,
  defineMappingTag,
  defineScalarTag,
  defineSequenceTag,
  floatCoreTag,
  intCoreTag,
  load,
  NOT_RESOLVED,
  nullCoreTag,
  type ScalarTagDefinition,
  Schema,
} from "js-yaml";

/** A value that an upstream sent, with its JSON text as exact as it was received. */
export interface JsonNode {
  /** JSON text: keys in their order, numbers with all their digits. */
  readonly text: string;
  /** The items of an array, else undefined. */
  readonly items: readonly JsonNode[] | undefined;
  /** The entries of an object, else undefined. */
  readonly entries: ReadonlyMap<string, JsonNode> | undefined;
}

/**
 * Reads YAML or JSON from an upstream, which is not trusted: nesting is limited,
 * aliases and tags are refused. Throws an `Error` for anything else than one
 * document that is JSON by value.
 *
 * Scalars are read by YAML 1.2's core schema, so a time stamp stays the text that
 * it is. The caller limits the size.
 */
export function readYaml(text: string): JsonNode {
  const node = load(text, { schema: jsonNodes, maxDepth: 100, maxAliases: 0, maxTotalMergeKeys: 0 });
  return node as JsonNode;
}

const jsonNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

// The schema reads every YAML node into a JsonNode instead of a JavaScript value.
const jsonNodes = new Schema([
  scalar("tag:yaml.org,2002:str", undefined, (source) => JSON.stringify(source)),
  scalar("tag:yaml.org,2002:null", nullCoreTag, () => "null"),
  scalar("tag:yaml.org,2002:bool", boolCoreTag, (source) => source.toLowerCase()),
  scalar("tag:yaml.org,2002:int", intCoreTag, (source, value) =>
    jsonNumber.test(source) ? source : JSON.stringify(value),
  ),
  scalar("tag:yaml.org,2002:float", floatCoreTag, (source, value) => {
    if (!Number.isFinite(value)) {
      throw new Error(`${source} is no JSON number`);
    }
    return jsonNumber.test(source) ? source : JSON.stringify(value);
  }),
  defineSequenceTag<JsonNode[], JsonNode>("tag:yaml.org,2002:seq", {
    create: () => [],
    addItem(items, item) {
      items.push(item as JsonNode);
    },
    finalize: (items) => ({
      text: `[${items.map((item) => item.text).join(",")}]`,
      items,
      entries: undefined,
    }),
    identify: () => false,
  }),
  defineMappingTag<Map<string, JsonNode>, JsonNode>("tag:yaml.org,2002:map", {
    create: () => new Map(),
    addPair(entries, key, value) {
      entries.set(keyText(key as JsonNode), value as JsonNode);
      return "";
    },
    has: (entries, key) => entries.has(keyText(key as JsonNode)),
    keys: () => [],
    get: () => undefined,
    finalize: (entries) => ({
      text: `{${Array.from(entries, ([key, value]) => `${JSON.stringify(key)}:${value.text}`).join(",")}}`,
      items: undefined,
      entries,
    }),
    identify: () => false,
  }),
]);

function scalar<Value>(
  name: string,
  core: ScalarTagDefinition<Value> | undefined,
  write: (source: string, value: Value) => string,
): ScalarTagDefinition<JsonNode> {
  return defineScalarTag<JsonNode>(name, {
    implicit: core?.implicit ?? false,
    implicitFirstChars: core?.implicitFirstChars ?? null,
    resolve(source, isExplicit, tagName) {
      const value = core?.resolve(source, isExplicit, tagName);
      return value === NOT_RESOLVED
        ? NOT_RESOLVED
        : { text: write(source, value as Value), items: undefined, entries: undefined };
    },
    identify: () => false,
  });
}

// JSON's keys are texts: `1: x` is `{"1": x}`.
function keyText(key: JsonNode): string {
  return key.text.startsWith('"') ? JSON.parse(key.text) : key.text;
}
