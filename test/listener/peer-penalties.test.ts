import { describe, expect, test } from "vitest";
import { createPeerPenalties } from "../../src/listener/peer-penalties.ts";

describe("a peer whose connections were ended", () => {
  test("waits longer for each, up to the longest, and is forgiven after ten seconds", () => {
    let nowMs = 1000;
    const penalties = createPeerPenalties(1000, () => nowMs);
    expect(penalties.delayMs("a")).toBe(0);
    penalties.add("a");
    penalties.add("a");
    expect(penalties.delayMs("a")).toBe(200);
    expect(penalties.delayMs("b")).toBe(0);
    expect(penalties.delayMs(undefined)).toBe(0);
    for (let count = 0; count < 100; count += 1) {
      penalties.add("a");
    }
    expect(penalties.delayMs("a")).toBe(1000);
    nowMs += 10_001;
    expect(penalties.delayMs("a")).toBe(0);
  });

  test("is forgotten when there are too many others", () => {
    const penalties = createPeerPenalties(1000, () => 0);
    for (let peer = 0; peer <= 10_000; peer += 1) {
      penalties.add(String(peer));
    }
    expect(penalties.delayMs("0")).toBe(0);
    expect(penalties.delayMs("10000")).toBe(100);
  });
});
