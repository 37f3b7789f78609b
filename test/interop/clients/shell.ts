import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "../support/client.ts";
import { toolVersion } from "../support/versions.ts";

const root = new URL("../../../", import.meta.url).pathname;

export const clients: Client[] = [
  {
    name: "shell",
    recipe: "Shell",
    lacks: {
      "work across a break": "a script of unary calls holds no session",
      "track across a restart": "of the messages that wait meanwhile, taskgate run keeps the last only",
    },
    async build(stage) {
      const versions = {
        bash: await toolVersion(stage, "bash", ["--version"]),
        curl: await toolVersion(stage, "curl", ["--version"]),
        jq: await toolVersion(stage, "jq", ["--version"], /(?<=jq-).*/),
      };
      // As an installed package would be found.
      const bin = stage.directory();
      const taskgate = join(bin, "taskgate");
      writeFileSync(taskgate, `#!/bin/sh\nexec "${process.execPath}" "${root}bin/taskgate.js" "$@"\n`);
      chmodSync(taskgate, 0o755);
      return {
        versions: { ...versions, "taskgate run": await toolVersion(stage, taskgate, ["version"]) },
        launch: (command) => ({
          command: join(root, "examples/shell", `${command}.sh`),
          args: [],
          env: { PATH: `${bin}:${process.env.PATH}` },
        }),
        tools: bin,
      };
    },
  },
];
