import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkDisk, judgeDisk } from "../../src/doctor/check-disk.ts";
import { checkFiles } from "../../src/doctor/check-files.ts";
import { checkNode } from "../../src/doctor/check-node.ts";
import type { Finding } from "../../src/doctor/finding.ts";
import { useDirectory } from "../support/use-directory.ts";

const kinds = (findings: readonly Finding[]) => findings.map(({ kind, subject }) => `${kind} ${subject}`);

test.for([
  ["24.22.3", "ok"],
  ["24.23.0", "ok"],
  ["26.0.0", "ok"],
  ["24.22.2", "warning"],
  ["24.21.9", "warning"],
] as const)("Node %s: %s", ([version, kind]) => {
  expect(checkNode(version).kind).toBe(kind);
});

describe("the disk", () => {
  const disk = { freeBytes: 1e10, type: 0xef53, syncsMs: [1, 2, 300] };

  test("that is roomy, quick and a disk is well", () => {
    expect(kinds(judgeDisk(disk, 1e9))).toEqual(["ok disk space", "ok disk sync"]);
  });

  test.for([
    [{ freeBytes: 1e6 }, "problem disk space"],
    [{ freeBytes: 5e8 }, "warning disk space"],
    [{ syncsMs: [30, 40, 50] }, "warning disk sync"],
    [{ type: 0x6969 }, "warning file system"],
    [{ type: 0x01021994 }, "warning file system"],
  ] as const)("%o: %s", ([change, expected]) => {
    expect(kinds(judgeDisk({ ...disk, ...change }, 1e9))).toContain(expected);
  });

  test("is looked at where the outbox is or will be, and nothing stays there", () => {
    const directory = useDirectory();
    expect(kinds(checkDisk(directory, 1))).toContain("ok data directory");
    const [made] = checkDisk(join(directory, "not/yet"), 1);
    expect(made?.words).toBe(`will be made in ${directory}`);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("says that others can read the directory", () => {
    const directory = join(useDirectory(), "open");
    mkdirSync(directory);
    chmodSync(directory, 0o755);
    expect(checkDisk(directory, 1)[0]).toMatchObject({ kind: "warning", advice: `chmod 700 ${directory}` });
  });

  test("where nothing can be written is a problem", () => {
    const file = join(useDirectory(), "file");
    writeFileSync(file, "");
    expect(kinds(checkDisk(file, 1))).toEqual(["problem disk"]);
  });
});

test("a file with a secret is not for everybody", () => {
  const path = join(useDirectory(), "key");
  writeFileSync(path, "secret");
  const kindAs = (mode: number) => {
    chmodSync(path, mode);
    return checkFiles([path]).map(({ kind }) => kind);
  };
  expect([0o400, 0o440, 0o604, 0o644, 0o602].map(kindAs)).toEqual([
    ["ok"],
    ["ok"],
    ["warning"],
    ["warning"],
    ["warning"],
  ]);
  expect(checkFiles([`${path}-not-there`])).toEqual([]);
  expect(JSON.stringify(checkFiles([path]))).not.toContain('secret"');
});
