import { isAlias, isCollection, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";

/** What `taskgate.yaml` says, every value as text and with its line. */
export interface ConfigFile {
  /** As messages name it. */
  readonly path: string;
  readonly entries: ReadonlyMap<string, FileNode>;
  /** What is wrong with it as YAML, a sentence each. */
  readonly problems: readonly string[];
}

/** A value in the file. */
export type FileNode = { /** From 1. */ readonly line: number } & (
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "list"; readonly items: readonly FileNode[] }
  | { readonly kind: "map"; readonly entries: ReadonlyMap<string, FileNode> }
);

const maxLength = 1024 * 1024;

/**
 * Reads the text of a configuration file. Scalars are taken as they are written,
 * so that `0660` keeps its zero. No message quotes a value: a secret may be in it.
 */
export function parseConfigFile(path: string, text: string): ConfigFile {
  if (text.length > maxLength) {
    return { path, entries: new Map(), problems: [`${path} is larger than ${maxLength} characters`] };
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const lineAt = (offset: number) => lines.linePos(offset).line;
  const problems = [...document.errors, ...document.warnings].map(
    ({ code, pos }) => `${path}:${lineAt(pos[0])} is not YAML: ${syntax[code] ?? code.toLowerCase()}`,
  );

  function nodeOf(node: unknown, line: number): FileNode {
    const at = isNode(node) ? lineAt(node.range?.[0] ?? 0) : line;
    if (isMap(node)) {
      return { kind: "map", line: at, entries: entriesOf(node.items) };
    }
    if (isSeq(node)) {
      return { kind: "list", line: at, items: node.items.map((item) => nodeOf(item, at)) };
    }
    if (isAlias(node)) {
      problems.push(`${path}:${at} has an alias, and none is taken`);
    }
    const isText = isScalar(node) && node.value !== null;
    return { kind: "text", line: at, text: isText ? (node.source ?? String(node.value)) : "" };
  }
  function entriesOf(items: readonly { key: unknown; value: unknown }[]): Map<string, FileNode> {
    return new Map(
      items.map(({ key, value }) => {
        const line = isNode(key) ? lineAt(key.range?.[0] ?? 0) : 1;
        const name = isScalar(key) ? (key.source ?? String(key.value)) : "";
        const node = nodeOf(value, line);
        // A value that begins further down is still looked for at its key.
        return [name, { ...node, line }];
      }),
    );
  }

  const { contents } = document;
  if (problems.length > 0 || contents === null) {
    return { path, entries: new Map(), problems };
  }
  if (!isMap(contents)) {
    const isEmpty = isScalar(contents) && contents.value === null;
    problems.push(...(isEmpty ? [] : [`${path}:1 must be a map of settings, such as leaseDuration: 30s`]));
    return { path, entries: new Map(), problems };
  }
  return { path, entries: entriesOf(contents.items), problems };
}

function isNode(value: unknown): value is Node {
  return isScalar(value) || isCollection(value) || isAlias(value);
}

const syntax: Partial<Record<string, string>> = {
  BAD_INDENT: "the indentation is wrong",
  BLOCK_AS_IMPLICIT_KEY: "a map begins in the middle of a line",
  DUPLICATE_KEY: "the key is there twice",
  MISSING_CHAR: "a quote, bracket or comma is missing",
  MULTIPLE_DOCS: "there is a second document",
  RESOURCE_EXHAUSTION: "it is nested too deeply",
  TAB_AS_INDENT: "a tab is no indentation",
  TAG_RESOLVE_FAILED: "no tag is taken",
};
