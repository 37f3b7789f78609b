import { readFileSync } from "node:fs";
import { isatty } from "node:tty";

/**
 * Says whether what is typed at a terminal reaches us, and so our whole process
 * group: Ctrl-C has then reached the command, too.
 */
export function isInForeground(): boolean {
  try {
    // Behind the name, which may hold anything: state, parent, group, session, terminal, its group.
    const [, , group, , , terminalGroup] = readFileSync("/proc/self/stat", "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return group === terminalGroup;
  } catch {
    return isatty(0) || isatty(1) || isatty(2);
  }
}
