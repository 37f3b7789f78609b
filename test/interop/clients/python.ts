import { randomUUID } from "node:crypto";
import type { Client, Setting } from "../support/client.ts";
import { workUntilStopped } from "../support/client-story.ts";
import { installedVersion, makeVenv } from "../support/python.ts";

const root = new URL("../../../", import.meta.url).pathname;
const example = `${root}examples/python`;
const protos = ["callback", "error_reason", "executor", "gateway", "receipt", "session", "task_status"];

const decorated = new URL("python/decorated.py", import.meta.url).pathname;

/** What the decorator makes of a function: its outputs, its log, and what it raises. */
async function decorate({ stage, name, sandbox, start }: Setting): Promise<void> {
  const [good, bad] = [randomUUID(), randomUUID()];
  const running = start(decorated, { GOOD_RUN_ID: good, BAD_RUN_ID: bad });
  stage.check(`${name} decorator: exits with 0`, await running.ended, 0);
  const run = sandbox.orchestra.taskRuns.get(good);
  stage.check(
    `${name} decorator: a function that returns`,
    { status: run?.status, outputs: { ...run?.outputs }, logs: run?.logs.map((log) => [log.name, log.data]) },
    {
      status: "SUCCEEDED",
      outputs: { rows: 42, tables: { orders: ["a", "b"] } },
      logs: [["load.log", "loaded\n"]],
    },
  );
  const failed = sandbox.orchestra.taskRuns.get(bad);
  stage.check(
    `${name} decorator: a function that raises`,
    { status: failed?.status, message: failed?.message },
    { status: "FAILED", message: "load: ValueError('no such table')" },
  );
}

export const clients: Client[] = [
  {
    name: "python",
    recipe: "Python",
    async build(stage) {
      const venv = await makeVenv(stage, `${example}/requirements.txt`, "clients-python");
      const { code, stderr } = await stage.run(
        venv.python,
        [
          "-m",
          "grpc_tools.protoc",
          ...["-I", `${root}proto`, "--python_out=.", "--pyi_out=.", "--grpc_python_out=."],
          ...protos.map((name) => `taskgate/v1/${name}.proto`),
        ],
        { cwd: example },
      );
      if (code !== 0) {
        throw new Error(`grpc_tools.protoc: ${stderr}`);
      }
      return {
        versions: {
          Python: venv.pythonVersion,
          grpcio: await installedVersion(stage, venv, "grpcio"),
          "grpcio-tools": await installedVersion(stage, venv, "grpcio-tools"),
          protobuf: await installedVersion(stage, venv, "protobuf"),
        },
        launch: (command) =>
          command === decorated
            ? { command: venv.python, args: [decorated], env: { PYTHONPATH: example } }
            : { command: venv.python, args: [`${command}.py`], cwd: example },
        async more(setting) {
          await workUntilStopped(setting);
          await decorate(setting);
        },
      };
    },
  },
];
