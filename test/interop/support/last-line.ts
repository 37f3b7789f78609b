/** What a tool that failed said at last, which is mostly why. */
export function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
