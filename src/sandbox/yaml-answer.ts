/** How answers in YAML are written. */
export interface YamlStyle {
  /** Write UUIDs as folded block scalars (`id: >-`), as Aidbox's published answers have them. */
  readonly foldIds: boolean;
}

// Words and starts that YAML 1.1 or 1.2 would read as something else than a string.
const reserved = /^(?:y|n|yes|no|on|off|true|false|null)$/i;
const plain = /^[A-Za-z][A-Za-z0-9_./?-]*(?: [A-Za-z0-9_./?-]+)*$/;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Writes a value as Aidbox does: block style, plain words, single-quoted timestamps and numeric strings. */
export function formatYaml(value: unknown, style: YamlStyle): string {
  return `${formatNode(value, "", style).replace(/^\n/, "")}\n`;
}

/** A scalar, or what follows `key:`; nested collections begin with a line break. */
function formatNode(value: unknown, indent: string, style: YamlStyle): string {
  if (typeof value === "string") {
    return formatString(value, indent, style);
  }
  if (typeof value === "number") {
    return formatNumber(value);
  }
  if (typeof value !== "object" || value === null) {
    return String(value ?? null);
  }
  if (Array.isArray(value)) {
    if (value.length === 0) {
      return "[]";
    }
    return value.map((item) => `\n${indent}- ${inItem(item, indent, style)}`).join("");
  }
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  if (entries.length === 0) {
    return "{}";
  }
  return entries
    .map(([key, item]) => {
      const text = formatNode(item, `${indent}  `, style);
      return `\n${indent}${formatKey(key, indent)}:${text.startsWith("\n") ? "" : " "}${text}`;
    })
    .join("");
}

/** The first line of a collection stands behind the dash. */
function inItem(item: unknown, indent: string, style: YamlStyle): string {
  return formatNode(item, `${indent}  `, style).replace(/^\n */, "");
}

function formatString(text: string, indent: string, { foldIds }: YamlStyle): string {
  if (foldIds && uuid.test(text)) {
    return `>-\n${indent === "" ? "  " : indent}${text}`;
  }
  if (plain.test(text) && !reserved.test(text)) {
    return text;
  }
  // Line breaks and control characters need escapes, and so does what an older reader takes for a line break.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are the point
  const isSimple = !/[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/.test(text);
  return isSimple ? `'${text.replaceAll("'", "''")}'` : quoteWithEscapes(text);
}

function formatKey(key: string, indent: string): string {
  if (plain.test(key) && !reserved.test(key) && key.length < 1000) {
    return key;
  }
  const quoted = quoteWithEscapes(key);
  return quoted.length < 1000 ? quoted : `? ${quoted}\n${indent}`;
}

function quoteWithEscapes(text: string): string {
  return JSON.stringify(text).replace(/[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** A float without a point is a string to a YAML 1.1 reader. */
function formatNumber(value: number): string {
  if (!Number.isFinite(value)) {
    return "null";
  }
  const text = String(value);
  return text.includes("e") && !text.includes(".") ? text.replace("e", ".0e") : text;
}
