import { execFileSync } from "node:child_process";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fileSize, makeOutputFile, maxFileBytes, readOutputFile } from "../../src/run/output-file.ts";
import { useDirectory } from "../support/use-directory.ts";

function read(content: string | Buffer, fromByte = 0) {
  const path = join(useDirectory(), "output");
  writeFileSync(path, content);
  return readOutputFile(path, fromByte);
}

describe("a file of outputs", () => {
  test("has the last value of each name, as it is written", async () => {
    expect(await read('a=1\r\n\n  b-B_ = {"x": 1.50}\na= "=" \n')).toEqual({
      outputs: [
        { name: "b-B_", valueJson: '{"x": 1.50}' },
        { name: "a", valueJson: '"="' },
      ],
      problems: [],
    });
  });

  test("may have bad lines, which are told without what is in them", async () => {
    const { outputs, problems } = await read("a1=1\nsecret\nb=secret\nc=\nd=1");
    expect(outputs).toEqual([{ name: "d", valueJson: "1" }]);
    expect(problems).toEqual([
      "line 1 is not name=JSON, with letters, _ and - in the name",
      "line 2 is not name=JSON, with letters, _ and - in the name",
      "line 3: the value of b is not JSON",
      "line 4: the value of c is not JSON",
    ]);
  });

  test("is read from where it began, unless it was written anew", async () => {
    expect((await read("old=1\nnew=2\n", 6)).outputs).toEqual([{ name: "new", valueJson: "2" }]);
    expect((await read("new=2\n", 60)).outputs).toEqual([{ name: "new", valueJson: "2" }]);
  });

  test("is read to a bound", async () => {
    const { outputs, problems } = await read(`a=1\n${`b="${"x".repeat(1e6)}"\n`.repeat(5)}c=1\n`);
    expect(outputs.map(({ name }) => name)).toEqual(["a", "b"]);
    expect(problems).toEqual([`what follows its first ${maxFileBytes} bytes is left out`]);
  });

  test("may be missing, and must be a file", async () => {
    const directory = useDirectory();
    const none = join(directory, "none");
    expect([await readOutputFile(none, 0), await fileSize(none)]).toEqual([{ outputs: [], problems: [] }, 0]);
    expect((await readOutputFile(directory, 0)).problems).toEqual(["it is not a file"]);
    execFileSync("mkfifo", [none]);
    expect((await readOutputFile(none, 0)).problems).toEqual(["it is not a file"]);
  });

  test("is its owner's alone", async () => {
    expect(statSync(await makeOutputFile(useDirectory())).mode & 0o777).toBe(0o600);
  });
});
