import { statSync } from "node:fs";
import type { Finding } from "./finding.ts";

/** Looks at who may read the files that hold secrets. Those that are not there are the configuration's problem. */
export function checkFiles(paths: readonly string[]): Finding[] {
  return paths.flatMap((path): Finding[] => {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) {
      return [];
    }
    const mode = (stats.mode & 0o777).toString(8);
    if ((stats.mode & 0o007) === 0) {
      return [{ kind: "ok", subject: "file mode", words: `${path} (${mode})` }];
    }
    return [
      {
        kind: "warning",
        subject: "file mode",
        words: `${path} holds a secret, and everybody on this machine may read or write it (mode ${mode})`,
        advice: `chmod o= ${path}; in Kubernetes defaultMode: 0440 and an fsGroup`,
      },
    ];
  });
}
