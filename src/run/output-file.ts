import { constants, type PathLike } from "node:fs";
import { type FileHandle, open, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** One output, as the command wrote it. */
export interface NamedOutput {
  name: string;
  /** JSON text. */
  valueJson: string;
}

/** What a file of outputs holds, and what is wrong with the rest, a sentence each. */
export interface OutputFile {
  outputs: readonly NamedOutput[];
  problems: readonly string[];
}

/** No more of a file is read. */
export const maxFileBytes = 4 * 1024 * 1024;

/** Makes an empty file for outputs that only its owner can read. */
export async function makeOutputFile(directory: string): Promise<string> {
  const path = join(directory, "output");
  await writeFile(path, "", { mode: 0o600, flag: "wx" });
  return path;
}

/** How long a file is; 0 when there is none. */
export async function fileSize(path: PathLike): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

/**
 * Reads the outputs that a command has written, `name=JSON` on each line, the last
 * one of a name. No file is no outputs.
 *
 * @param fromByte what was there before; ignored when the file has become shorter
 */
export async function readOutputFile(path: PathLike, fromByte: number): Promise<OutputFile> {
  let file: FileHandle;
  try {
    // A pipe of this name would hold us up.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return { outputs: [], problems: code === "ENOENT" ? [] : [`it cannot be read: ${code}`] };
  }
  try {
    const status = await file.stat();
    if (!status.isFile()) {
      return { outputs: [], problems: ["it is not a file"] };
    }
    const start = status.size < fromByte ? 0 : fromByte;
    const bytes = Buffer.alloc(Math.min(status.size - start, maxFileBytes));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, start);
    const isCut = status.size - start > bytesRead;
    return parseOutputs(bytes.subarray(0, bytesRead), isCut);
  } catch (error) {
    return { outputs: [], problems: [`it cannot be read: ${(error as NodeJS.ErrnoException).code}`] };
  } finally {
    await file.close();
  }
}

// FACT: Orchestra's SDK documents letters, `_` and `-`.
const linePattern = /^\s*([A-Za-z_-]+)\s*=(.*)$/s;

function parseOutputs(bytes: Buffer, isCut: boolean): OutputFile {
  const lines = bytes.toString("utf8").split("\n");
  const outputs = new Map<string, NamedOutput>();
  const problems: string[] = [];
  if (isCut) {
    lines.pop();
    problems.push(`what follows its first ${maxFileBytes} bytes is left out`);
  }
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") {
      continue;
    }
    const [, name, valueJson = ""] = linePattern.exec(line) ?? [];
    // What is wrong is not quoted: it may be a secret.
    if (name === undefined) {
      problems.push(`line ${index + 1} is not name=JSON, with letters, _ and - in the name`);
    } else if (isJson(valueJson)) {
      outputs.delete(name);
      outputs.set(name, { name, valueJson: valueJson.trim() });
    } else {
      problems.push(`line ${index + 1}: the value of ${name} is not JSON`);
    }
  }
  return { outputs: [...outputs.values()], problems };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
