/** Makes delivery ids: UUIDs of version 7, each greater than the one before. */
export type CreateDeliveryId = () => string;

/**
 * Creates the maker of delivery ids.
 *
 * @param now the wall clock, in milliseconds
 * @param randomBytes gives that many random bytes
 */
export function createDeliveryIds(
  now: () => number,
  randomBytes: (size: number) => Uint8Array,
): CreateDeliveryId {
  let lastMs = 0;
  let sequence = 0;
  return () => {
    const ms = now();
    // Within a millisecond, and while the clock stands back, a counter goes on.
    sequence = ms > lastMs ? 0 : sequence + 1;
    lastMs = Math.max(ms, lastMs);
    if (sequence > 0xfff) {
      sequence = 0;
      lastMs += 1;
    }
    const time = lastMs.toString(16).padStart(12, "0");
    const random = Buffer.from(randomBytes(8));
    random[0] = ((random[0] ?? 0) & 0x3f) | 0x80;
    const tail = random.toString("hex");
    return `${time.slice(0, 8)}-${time.slice(8)}-7${sequence.toString(16).padStart(3, "0")}-${tail.slice(0, 4)}-${tail.slice(4)}`;
  };
}
