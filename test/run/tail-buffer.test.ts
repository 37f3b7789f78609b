import fc from "fast-check";
import { expect, test } from "vitest";
import { createTailBuffer } from "../../src/run/tail-buffer.ts";

test("keeps the last bytes, whatever the sizes", () => {
  const chunks = fc.array(fc.uint8Array({ maxLength: 9000 }).map((bytes) => Buffer.from(bytes)));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), chunks, (maxBytes, parts) => {
      const buffer = createTailBuffer(maxBytes);
      parts.forEach(buffer.append);
      const all = Buffer.concat(parts);
      expect(buffer.totalBytes()).toBe(all.length);
      expect(buffer.bytes().equals(all.subarray(-Math.min(maxBytes, all.length) || all.length))).toBe(true);
    }),
  );
});
