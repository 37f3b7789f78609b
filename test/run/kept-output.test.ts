import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createKeptOutput } from "../../src/run/kept-output.ts";

function kept(maxBytes: number, ...chunks: (string | Buffer)[]) {
  const output = createKeptOutput(maxBytes);
  for (const chunk of chunks) {
    output.append(Buffer.from(chunk));
  }
  return output;
}

describe("kept output", () => {
  test("is whole where there is room", () => {
    expect(kept(100, "a\n", "é", "\ufeffb\u0000\n").text(100)).toBe("a\né\ufeffb\ufffd\n");
    expect(kept(100).text(100)).toBe("");
  });

  test("has its beginning and its end where there is not, and says how much is left out", () => {
    const text = kept(1000, "a".repeat(500), "b".repeat(5000), "c".repeat(500)).text(1000);
    expect(text).toMatch(/^a{230}\n\[taskgate: \d{4} bytes are left out here\]\nb{190}c{500}$/);
    expect(text).toContain("[taskgate: 5080 bytes");
  });

  test("is cut again for a smaller limit, and between characters", () => {
    const text = kept(1000, "é".repeat(500)).text(301);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(301);
    expect(text).toMatch(/^é{27}\n\[taskgate: \d+ bytes are left out here\]\né{82,83}$/);
  });

  test("never exceeds the limit, by any measure, and is always text", () => {
    const chunks = fc.array(fc.uint8Array({ maxLength: 700 }).map((bytes) => Buffer.from(bytes)));
    const json = (text: string) => Buffer.byteLength(JSON.stringify(text));
    fc.assert(
      fc.property(chunks, fc.integer({ min: 100, max: 3000 }), (parts, limit) => {
        const output = kept(2000, ...parts);
        expect(Buffer.byteLength(output.text(limit))).toBeLessThanOrEqual(limit);
        const text = output.text(limit, json);
        expect(json(text)).toBeLessThanOrEqual(limit);
        expect(text.isWellFormed() && !text.includes("\u0000")).toBe(true);
      }),
    );
  });
});
