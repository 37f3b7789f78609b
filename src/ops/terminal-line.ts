const colours: Readonly<Record<string, string>> = {
  debug: "\x1b[2m",
  info: "\x1b[32m",
  warn: "\x1b[33m",
  error: "\x1b[31m",
};
const end = "\x1b[0m";

/**
 * Rewrites a line of the log for people: the time of day, the level, what happened
 * and its fields, the stack of an error below. What a peer has said stays on its line.
 */
export function terminalLine(json: string, hasColours: boolean): string {
  const { level, time, message, err, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const rest = Object.entries(fields).map(([name, value]) => ` ${name}=${wordOf(value)}`);
  const colour = hasColours ? colours[String(level)] : undefined;
  const word = String(level).toUpperCase().padEnd(5);
  const clock = String(time).slice(11, 23);
  const head = `${clock} ${colour === undefined ? word : colour + word + end} ${visible(String(message))}`;
  return `${head}${rest.join("")}\n${stackOf(err)}`;
}

function wordOf(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return visible(/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text));
}

// A terminal obeys control characters, and a peer may have written them.
function visible(text: string): string {
  return text.replace(
    /\p{Cc}/gu,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

function stackOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("stack" in error)) {
    return "";
  }
  const lines = String(error.stack).split("\n");
  return lines.map((line) => `    ${visible(line)}\n`).join("");
}
