/** A source of numbers in [0, 1). A seeded one makes a whole sandbox repeatable. */
export type Random = () => number;

function randomBytes(random: Random, count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, () => Math.floor(random() * 256)));
}

/** A version 4 UUID in canonical form. */
export function uuid(random: Random): string {
  const bytes = randomBytes(random, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** 32 bytes as 43 characters of the base64url alphabet: the form of a Workflow Orchestrator callback token. */
export function callbackToken(random: Random): string {
  return randomBytes(random, 32).toString("base64url");
}
