const units: Record<string, number> = { "": 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** Reads `65536`, `64KiB`, `4MiB` or `1GiB` as bytes; undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,15})(KiB|MiB|GiB)?$/.exec(text);
  const bytes = Number(match?.[1]) * (units[match?.[2] ?? ""] ?? 1);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
