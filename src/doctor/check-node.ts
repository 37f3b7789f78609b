import type { Finding } from "./finding.ts";

/** The first of its line without the HTTP/2 and TLS defects that are known. */
const lowestPatched = [24, 22, 3] as const;

/** Looks at the version of Node, as `24.22.3`. */
export function checkNode(version: string): Finding {
  const subject = "node";
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  const [line, patchedMinor, patchedPatch] = lowestPatched;
  const isPatched =
    major !== line || minor > patchedMinor || (minor === patchedMinor && patch >= patchedPatch);
  return isPatched
    ? { kind: "ok", subject, words: version }
    : {
        kind: "warning",
        subject,
        words: `${version} has known defects in HTTP/2 and TLS`,
        advice: `run it with Node ${lowestPatched.join(".")} or newer`,
      };
}
