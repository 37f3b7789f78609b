const hyphenated = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const compact = /^[0-9a-f]{32}$/i;

/**
 * Reads a UUID of any version into its canonical lower-case form, or returns
 * undefined.
 *
 * Takes the spellings that Python's `uuid.UUID`, and so Orchestra's own SDK, is
 * documented to take: hyphenated, 32 hexadecimal digits, in braces, with
 * `urn:uuid:`. Surrounding blanks are refused, as there; so is what Python takes
 * besides, such as hyphens anywhere.
 */
export function parseUuid(text: string): string | undefined {
  if (hyphenated.test(text)) {
    return text.toLowerCase();
  }
  const bare = text.replace(/^urn:uuid:/i, "").replace(/^\{(.*)\}$/, "$1");
  if (hyphenated.test(bare)) {
    return bare.toLowerCase();
  }
  if (compact.test(bare)) {
    return bare.toLowerCase().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }
  return undefined;
}
