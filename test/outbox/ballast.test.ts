import { existsSync, statfsSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createBallast } from "../../src/outbox/ballast.ts";
import { useDirectory } from "../support/use-directory.ts";

test("ballast takes space, gives it up and takes it again", () => {
  const directory = useDirectory();
  const path = join(directory, "ballast");
  const ballast = createBallast(directory);
  ballast.restore();
  const { size, mode } = statSync(path);
  expect(size).toBeGreaterThan(0);
  expect(size).toBeLessThanOrEqual(8 * 1024 * 1024);
  expect(size).toBeLessThanOrEqual((statfsSync(directory).blocks * statfsSync(directory).bsize) / 16);
  expect(mode & 0o777).toBe(0o600);
  ballast.drop();
  ballast.drop();
  expect(existsSync(path)).toBe(false);
  expect(ballast.restore()).toBe(true);
  expect(statSync(path).size).toBe(size);
});

test("ballast is real space, not a hole in a file", () => {
  const directory = useDirectory();
  createBallast(directory).restore();
  const { blocks, size } = statSync(join(directory, "ballast"));
  expect(blocks * 512).toBeGreaterThanOrEqual(size);
});

test("ballast of another size, as after a crash in between, is made whole", () => {
  const directory = useDirectory();
  createBallast(directory).restore();
  const path = join(directory, "ballast");
  const { size } = statSync(path);
  truncateSync(path, 100);
  createBallast(directory).restore();
  expect(statSync(path).size).toBe(size);
});
