/**
 * A delivery's id: a UUID of version 7 made of the time of acceptance and the
 * delivery's number, so that it sorts, and is found without an index of its own.
 * `salt`, 14 bits, tells stores apart.
 */
export function deliveryIdOf(seq: number, createMs: number, salt: number): string {
  const time = Math.max(0, createMs).toString(16).padStart(12, "0").slice(-12);
  const number = seq.toString(16).padStart(12, "0");
  // 12 bits of the salt behind the version; 2 more, and none of the number's 48.
  const high = (salt & 0xfff).toString(16).padStart(3, "0");
  const low = (0x8000 | ((salt >> 12) & 0x3)).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${high}-${low}-${number}`;
}

const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7([0-9a-f]{3})-800([0-3])-([0-9a-f]{12})$/;

/** The number in an id that this store made; undefined for any other text. */
export function seqOfDeliveryId(id: string, salt: number): number | undefined {
  const match = pattern.exec(id);
  const own = match && (Number.parseInt(match[2] ?? "", 16) << 12) | Number.parseInt(match[1] ?? "", 16);
  return match === null || own !== salt ? undefined : Number.parseInt(match[3] ?? "", 16);
}
