import {
  boolCoreTag,
  defineMappingTag,
  defineScalarTag,
  defineSequenceTag,
  load,
  NOT_RESOLVED,
  nullCoreTag,
  type ScalarTagDefinition,
  Schema,
} from "js-yaml";

/** A value that an upstream sent, with its JSON text as exact as it was received. */
export interface JsonNode {
  /** JSON text: keys in their order, numbers with all their digits. Made when it is asked for. */
  readonly text: string;
  /** The items of an array, else undefined. */
  readonly items: readonly JsonNode[] | undefined;
  /** The entries of an object, else undefined. */
  readonly entries: ReadonlyMap<string, JsonNode> | undefined;
}

/**
 * Reads YAML or JSON from an upstream, which is not trusted: nesting is limited,
 * aliases are refused, and so are tags other than YAML's own. Throws an `Error` for
 * anything else than one document that is JSON by value.
 *
 * A scalar without quotes is a number only where JSON would write a number like
 * that; a time stamp, `012` or `0o17` stays the text that it is, because versions
 * of YAML differ in them. The caller limits the size.
 */
export function readYaml(text: string): JsonNode {
  if (hasTooManySeparators(text)) {
    throw new Error(`the text has more than ${maxSeparators} separators`);
  }
  return nodeOf(load(text, { schema: jsonNodes, maxDepth, maxAliases: 0 }));
}

// More than the deepest payload that the gateway takes and what Aidbox puts around it.
const maxDepth = 128;

// Each value has one at least, and a value costs far more than its bytes: a few
// megabytes of brackets would stop the process for seconds.
const maxSeparators = 300_000;

function hasTooManySeparators(text: string): boolean {
  let count = 0;
  for (let index = 0; index < text.length && count <= maxSeparators; index += 1) {
    const code = text.charCodeAt(index);
    // , [ { and the line feed
    if (code === 0x2c || code === 0x5b || code === 0x7b || code === 0x0a) {
      count += 1;
    }
  }
  return count > maxSeparators;
}

const jsonNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const nonFinite = /^[-+]?\.(?:inf|Inf|INF|nan|NaN|NAN)$/;

// The schema reads every YAML node into a JsonNode instead of a JavaScript value.
const jsonNodes = new Schema([
  scalar("str", {}, (source) => JSON.stringify(source)),
  scalar("null", nullCoreTag, (source) => resolved(nullCoreTag, source) && "null"),
  scalar("bool", boolCoreTag, (source) => resolved(boolCoreTag, source) && source.toLowerCase()),
  scalar("int", { implicit: true, implicitFirstChars: [..."-0123456789"] }, numberText),
  scalar("float", { implicit: true, implicitFirstChars: [..."-+."] }, numberText),
  // Java's writer of YAML writes a string in this way when it holds a character that
  // YAML cannot show, an escape for a colour for example (MEASURED with SnakeYAML 1.26
  // to 2.4). That Aidbox uses it is an INFERENCE.
  scalar("binary", {}, (source) => JSON.stringify(utf8.decode(base64Bytes(source)))),
  defineSequenceTag<JsonNode[], JsonNode>("tag:yaml.org,2002:seq", {
    create: () => [],
    addItem(items, item) {
      items.push(nodeOf(item));
    },
    finalize: (items) => collection(items, undefined),
    identify: () => false,
  }),
  defineMappingTag<Map<string, JsonNode>, JsonNode>("tag:yaml.org,2002:map", {
    create: () => new Map(),
    addPair(entries, key, value) {
      entries.set(keyText(nodeOf(key)), nodeOf(value));
      return "";
    },
    has: (entries, key) => entries.has(keyText(nodeOf(key))),
    keys: () => [],
    get: () => undefined,
    finalize: (entries) => collection(undefined, entries),
    identify: () => false,
  }),
]);

function scalar(
  name: string,
  { implicit, implicitFirstChars }: Partial<ScalarTagDefinition<unknown>>,
  write: (source: string) => string | false,
): ScalarTagDefinition<JsonNode> {
  return defineScalarTag<JsonNode>(`tag:yaml.org,2002:${name}`, {
    implicit: implicit ?? false,
    implicitFirstChars: implicitFirstChars ?? null,
    resolve(source) {
      const text = write(source);
      return text === false ? NOT_RESOLVED : { text, items: undefined, entries: undefined };
    },
    identify: () => false,
  });
}

function resolved(tag: ScalarTagDefinition<unknown>, source: string): boolean {
  return tag.resolve(source, false, tag.tagName) !== NOT_RESOLVED;
}

function numberText(source: string): string | false {
  if (nonFinite.test(source)) {
    throw new Error(`${source} is not a JSON number`);
  }
  return jsonNumber.test(source) && source;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function base64Bytes(source: string): Uint8Array {
  return Uint8Array.from(atob(source), (char) => char.charCodeAt(0));
}

// js-yaml does not ask the schema for a scalar whose tag is `!`: it is a string.
function nodeOf(value: unknown): JsonNode {
  return typeof value === "string"
    ? { text: JSON.stringify(value), items: undefined, entries: undefined }
    : (value as JsonNode);
}

// Were the text made here, each level would hold once more what is deep inside.
function collection(items: JsonNode["items"], entries: JsonNode["entries"]): JsonNode {
  return {
    items,
    entries,
    get text() {
      const parts: string[] = [];
      writeNode(this, parts);
      return parts.join("");
    },
  };
}

function writeNode(node: JsonNode, parts: string[]): void {
  let separator = "";
  if (node.items !== undefined) {
    parts.push("[");
    for (const item of node.items) {
      parts.push(separator);
      writeNode(item, parts);
      separator = ",";
    }
    parts.push("]");
  } else if (node.entries !== undefined) {
    parts.push("{");
    for (const [key, value] of node.entries) {
      parts.push(separator, JSON.stringify(key), ":");
      writeNode(value, parts);
      separator = ",";
    }
    parts.push("}");
  } else {
    parts.push(node.text);
  }
}

// JSON's keys are texts: `1: x` is `{"1": x}`. A list or an object is none; its text
// as a key within a key within a key would double at each level.
function keyText(key: JsonNode): string {
  if (key.items !== undefined || key.entries !== undefined) {
    throw new Error("a key that is a list or an object is no JSON");
  }
  return key.text.startsWith('"') ? JSON.parse(key.text) : key.text;
}
