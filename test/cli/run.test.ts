import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { constants } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive, OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import { TaskRunStatus } from "../../gen/taskgate/v1/task_status_pb.ts";
import { unusedOrigin } from "../support/scripted-server.ts";
import { useDirectory } from "../support/use-directory.ts";
import { type FakeGateway, useFakeGateway } from "../support/use-fake-gateway.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const bin = new URL("../../bin/taskgate.js", import.meta.url).pathname;
const node = process.execPath;
const taskRunId = "1d876307-8c0a-42a1-8299-af0516223652";
const { RUNNING, SUCCEEDED, FAILED } = TaskRunStatus;

interface Run {
  kill: (signal: NodeJS.Signals) => void;
  stdout: () => string;
  stderr: () => string;
  /** The exit code, or the signal that ended it. */
  ended: Promise<number | string>;
}

/** Runs `taskgate run` as its own process, for the running test. */
function run(gateway: FakeGateway | string, args: readonly string[], env: Record<string, string> = {}): Run {
  const listen = typeof gateway === "string" ? gateway : gateway.address;
  const child = spawn(node, [bin, "run", ...args], {
    env: { PATH: process.env.PATH, TASKGATE_LISTEN: listen, ...env },
    stdio: ["pipe", "pipe", "pipe"],
    // Of its own group, so that a signal to it is one to it alone.
    detached: true,
  });
  child.stdin.end();
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (chunk) => {
      said[name] += chunk;
    });
  }
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  return {
    kill: (signal) => child.kill(signal),
    stdout: () => said.stdout,
    stderr: () => said.stderr,
    ended: once(child, "exit").then(async ([code, signal]) => {
      // What it left behind may hold the pipes, so their end is not waited for.
      await new Promise((resolve) => setTimeout(resolve, 50));
      return code ?? signal;
    }),
  };
}

async function nobody(): Promise<string> {
  return new URL(await unusedOrigin()).host;
}

/** Something that a script waits for, and the test opens. */
function useGate(): { wait: string; open: () => void } {
  const path = join(useDirectory(), "gate");
  return { wait: `until [ -e ${path} ]; do sleep 0.05; done`, open: () => writeFileSync(path, "") };
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

const soon = { timeout: 10_000 };

function statuses(gateway: FakeGateway): TaskRunStatus[] {
  return gateway.reports().map(({ request }) => request.status);
}

describe("taskgate run", () => {
  test("opens the run, beats, reports SUCCEEDED, and says nothing", async () => {
    const gateway = await useFakeGateway();
    const gate = useGate();
    const { ended, stdout, stderr } = run(
      gateway,
      [
        "--task-run-id",
        taskRunId,
        "--attempt",
        "2",
        "--on-lost",
        "ignore",
        "--",
        "sh",
        "-c",
        `cat; echo out; ${gate.wait}`,
      ],
      { TASKGATE_AUTH_TOKEN: "secret" },
    );
    const beats = () =>
      gateway.calls.filter(({ method }) => method === "heartbeat").map(({ request }) => request);
    await expect.poll(() => beats().length, soon).toBeGreaterThan(5);
    gate.open();
    expect(await ended).toBe(0);
    expect([stdout(), stderr()]).toEqual(["out\n", ""]);
    expect(statuses(gateway)).toEqual([RUNNING, SUCCEEDED]);
    const [begun, end] = gateway.reports().map(({ request }) => request);
    expect(begun).toMatchObject({ taskRunId, attempt: 2, waitFor: WaitFor.STORED });
    expect(end).toMatchObject({
      taskRunId,
      attempt: 2,
      waitFor: WaitFor.STORED,
      sessionId: "session",
      message: "",
    });
    expect(begun.requestId).not.toBe(end.requestId);
    expect(beats()[0]).toMatchObject({ taskRunId, attempt: 2, onLost: OnLost.IGNORE, sessionId: "" });
    expect(beats()[1]).toMatchObject({ sessionId: "session" });
    expect(new Set(gateway.calls.map(({ token }) => token))).toEqual(new Set(["Bearer secret"]));
  });

  test("a failure has the exit code and the last line of standard error", async () => {
    const gateway = await useFakeGateway();
    const script = "echo first >&2; printf '\\033[31mboom\\033[0m \\n\\n' >&2; echo out; exit 7";
    const { ended, stderr } = run(gateway, ["--", "sh", "-c", script]);
    expect(await ended).toBe(7);
    expect(stderr()).toBe("first\n\u001b[31mboom\u001b[0m \n\n");
    expect(
      gateway.reports().map(({ request }) => [request.taskRunId, request.status, request.message]),
    ).toEqual([
      ["", RUNNING, ""],
      ["", FAILED, "exit code 7: boom"],
    ]);
  });

  test("a command that a signal ends is 128 and the signal, and FAILED with its name", async () => {
    const gateway = await useFakeGateway();
    const { ended } = run(gateway, ["--", "sh", "-c", "kill -KILL $$"]);
    expect(await ended).toBe(128 + 9);
    expect(gateway.reports().at(-1)?.request).toMatchObject({ status: FAILED, message: "killed by SIGKILL" });
  });

  test.each([
    ["nowhere-at-all", 127, "command not found: nowhere-at-all"],
    ["/etc/passwd", 126, "the command cannot be run: /etc/passwd: EACCES"],
  ])("%s is not run, and ends with %d", async (command, code, message) => {
    const gateway = await useFakeGateway();
    const { ended, stderr } = run(gateway, ["--", command]);
    expect(await ended).toBe(code);
    expect(stderr()).toBe(`taskgate: ${message}\n`);
    expect(gateway.reports().at(-1)?.request).toMatchObject({ status: FAILED, message });
  });

  test.each(["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const)(
    "passes %s on, once",
    async (signal) => {
      const gateway = await useFakeGateway();
      const script = `trap 'echo got; exit 5' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`;
      const { ended, stdout, kill } = run(gateway, ["--", "sh", "-c", script]);
      await expect.poll(stdout, soon).toBe("ready\n");
      kill(signal);
      expect(await ended).toBe(5);
      expect(stdout()).toBe("ready\ngot\n");
    },
  );

  test("a command that dies of a signal that was passed on says so by its code", async () => {
    const { ended, stdout, kill } = run(await useFakeGateway(), [
      "--",
      "sh",
      "-c",
      "echo ready; exec sleep 60",
    ]);
    await expect.poll(stdout, soon).toBe("ready\n");
    kill("SIGTERM");
    expect(await ended).toBe(128 + constants.signals.SIGTERM);
  });
});

describe("outputs", () => {
  test("are read from the file, and what is wrong in it is told", async () => {
    const gateway = await useFakeGateway();
    const script = [
      `${node} -p 'fs.statSync(process.env.TASKGATE_OUTPUT).mode & 0o777'`,
      `${node} -p 'fs.statSync(path.dirname(process.env.TASKGATE_OUTPUT)).mode & 0o777'`,
      "echo $TASKGATE_OUTPUT",
      "echo 'rows = 12345678901234567890' >> $TASKGATE_OUTPUT",
      `echo '{"secret"' >> $TASKGATE_OUTPUT`,
      "echo 'half={' >> $TASKGATE_OUTPUT",
      `echo 'rows=[1, {"a": null}]' >> $TASKGATE_OUTPUT`,
      "printf name=true >> $TASKGATE_OUTPUT",
    ].join("\n");
    const { ended, stdout, stderr } = run(gateway, ["--", "sh", "-c", script]);
    expect(await ended).toBe(0);
    const [fileMode, directoryMode, path = ""] = stdout().split("\n");
    expect([fileMode, directoryMode, existsSync(path)]).toEqual([String(0o600), String(0o700), false]);
    expect(stderr()).toBe(
      "taskgate: TASKGATE_OUTPUT: line 2 is not name=JSON, with letters, _ and - in the name\n" +
        "taskgate: TASKGATE_OUTPUT: line 3: the value of half is not JSON\n",
    );
    expect(
      gateway
        .reports()
        .map(({ method, request }) => [method, request.name ?? request.status, request.output?.value]),
    ).toEqual([
      ["updateTask", RUNNING, undefined],
      ["setOutput", "rows", '[1, {"a": null}]'],
      ["setOutput", "name", "true"],
      ["updateTask", SUCCEEDED, undefined],
    ]);
  });

  test("have no place where no file can be made, and the command runs", async () => {
    const gateway = await useFakeGateway();
    const { ended, stdout, stderr } = run(gateway, ["--", "sh", "-c", "echo $TASKGATE_OUTPUT.; exit 3"], {
      TMPDIR: "/nowhere",
    });
    expect(await ended).toBe(3);
    expect(stdout()).toBe(".\n");
    expect(stderr()).toContain("taskgate: no temporary file can be made for outputs: ENOENT");
    expect(statuses(gateway)).toEqual([RUNNING, FAILED]);
  });

  test("a file that was set before is used and kept, and what was in it is not ours", async () => {
    const gateway = await useFakeGateway();
    const path = join(useDirectory(), "mine");
    writeFileSync(path, "old=1\n");
    const { ended } = run(gateway, ["--", "sh", "-c", "echo new=2 >> $TASKGATE_OUTPUT"], {
      TASKGATE_OUTPUT: path,
    });
    expect(await ended).toBe(0);
    expect(readFileSync(path, "utf8")).toBe("old=1\nnew=2\n");
    expect(gateway.reports().map(({ request }) => request.name)).toEqual([undefined, "new", undefined]);
  });

  test("one that is refused does not keep the outcome back", async () => {
    const gateway = await useFakeGateway(({ method }) => {
      if (method === "setOutput") {
        throw new ConnectError("no room for it", Code.InvalidArgument, {
          "taskgate-reason": "INVALID_REQUEST",
        });
      }
      return undefined;
    });
    const { ended, stderr } = run(gateway, ["--", "sh", "-c", "echo a=1 > $TASKGATE_OUTPUT"]);
    expect(await ended).toBe(0);
    expect(stderr()).toBe("taskgate: the output a was refused: no room for it (INVALID_REQUEST)\n");
    expect(statuses(gateway).at(-1)).toBe(SUCCEEDED);
  });
});

describe("what is printed", () => {
  test("arrives byte for byte and whole, and as a log that is cut to the gateway's limit", async () => {
    const gateway = await useFakeGateway(({ method }) =>
      method === "getInfo" ? { limits: { maxLogBytes: 10_000n } } : undefined,
    );
    const directory = useDirectory();
    const printer = `
      const bytes = Buffer.alloc(20e6, "0123456789abcde\\n");
      require("fs").writeSync(2, Buffer.from([0xff, 0x00, 0x0a]));
      process.stdout.write(bytes);`;
    const out = join(directory, "out");
    const child = run(gateway, ["--log", "a.log", "--", "sh", "-c", `${node} -e '${printer}' && : > ${out}`]);
    expect(await child.ended).toBe(0);
    expect(statSync(out).size).toBe(0);
    expect(child.stdout().length).toBe(20e6);
    expect(child.stdout()).toBe("0123456789abcde\n".repeat(20e6 / 16));
    const log = gateway.calls.find(({ method }) => method === "sendLog")?.request;
    expect(log.name).toBe("a.log");
    expect(Buffer.byteLength(log.data)).toBeLessThanOrEqual(10_000);
    expect(log.data).toMatch(
      /^(\ufffd\ufffd\n)?0123.*\n\[taskgate: 199\d+ bytes are left out here\]\n.*abcde\n(\ufffd\ufffd\n)?$/s,
    );
    expect(statuses(gateway)).toEqual([RUNNING, undefined, SUCCEEDED]);
  });

  test("is seen at once", async () => {
    const { stdout, ended } = run(await useFakeGateway(), [
      "--log",
      "x",
      "--",
      "sh",
      "-c",
      "printf now; sleep 1",
    ]);
    await expect.poll(stdout, { timeout: 5000 }).toBe("now");
    expect(await Promise.race([ended, "still running"])).toBe("still running");
    expect(await ended).toBe(0);
  });

  test("goes straight to our standard output where nobody else wants it", async () => {
    const gateway = await useFakeGateway();
    const path = join(useDirectory(), "out");
    const file = openSync(path, "w");
    const child = spawn(node, [bin, "run", "--", node, "-p", "fs.fstatSync(1).ino"], {
      env: { PATH: process.env.PATH, TASKGATE_LISTEN: gateway.address },
      stdio: ["ignore", file, "inherit"],
    });
    closeSync(file);
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(Number(readFileSync(path, "utf8"))).toBe(statSync(path).ino);
  });

  test("a script may open /dev/stderr and /dev/stdout", async () => {
    const gateway = await useFakeGateway();
    const script = "echo a > /dev/stderr; echo b > /dev/stdout";
    const { ended, stdout, stderr } = run(gateway, ["--log", "x", "--", "sh", "-c", script]);
    expect(await ended).toBe(0);
    expect([stdout(), stderr()]).toEqual(["b\n", "a\n"]);
  });

  test("the last lines are messages, at most one in a while, and the last one goes with the end", async () => {
    const gateway = await useFakeGateway();
    const gate = useGate();
    const script = `for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.1; done; ${gate.wait}; printf last`;
    const startMs = performance.now();
    const { ended } = run(gateway, ["--messages", "300ms", "--", "sh", "-c", script]);
    await expect.poll(() => gateway.reports().at(-1)?.request.message, soon).toBe("line 8");
    gate.open();
    expect(await ended).toBe(0);
    const messages = gateway.reports().map(({ request }) => request.message);
    expect(messages.at(0)).toBe("");
    expect(messages.slice(-2)).toEqual(["line 8", "last"]);
    expect(messages.length).toBeLessThan((performance.now() - startMs) / 300 + 2);
    expect(new Set(messages).size).toBe(messages.length);
  });

  test("a reader that is slow slows the command down, and nothing is kept", async () => {
    const gateway = await useFakeGateway();
    const directory = useDirectory();
    const count = join(directory, "count");
    const script = `${node} -e '
      const fs = require("fs");
      for (let i = 0; i < 400; i += 1) { fs.writeSync(1, Buffer.alloc(65536)); fs.writeFileSync("${count}", String(i)); }'`;
    const child = spawn(node, [bin, "run", "--log", "x", "--", "sh", "-c", script], {
      env: { PATH: process.env.PATH, TASKGATE_LISTEN: gateway.address },
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => {
      child.kill("SIGKILL");
    });
    await expect.poll(() => existsSync(count), soon).toBe(true);
    // The heartbeats do not wait for the reader.
    const beats = () => gateway.calls.filter(({ method }) => method === "heartbeat").length;
    const readCount = async () => {
      await expect.poll(beats, soon).toBeGreaterThan(beats() + 2);
      return readFileSync(count, "utf8");
    };
    let written = "";
    await expect
      .poll(
        async () => {
          const before = written;
          written = await readCount();
          return written === before;
        },
        { timeout: 15_000 },
      )
      .toBe(true);
    expect(Number(written)).toBeLessThan(40);
    expect(await readCount()).toBe(written);
    child.stdout.resume();
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  test("a reader that leaves ends the command as if taskgate were not there", async () => {
    const gateway = await useFakeGateway();
    const child = spawn("sh", ["-c", `"${node}" "${bin}" run --log x -- sh -c 'yes' | head -n 1; exit 0`], {
      env: { PATH: process.env.PATH, TASKGATE_LISTEN: gateway.address },
      stdio: ["ignore", "pipe", "inherit"],
    });
    expect(await once(child, "exit")).toEqual([0, null]);
    await expect.poll(() => statuses(gateway).at(-1), soon).toBe(FAILED);
  });

  test("processes that are left behind with the pipes do not keep the end back", async () => {
    const gateway = await useFakeGateway();
    const directory = useDirectory();
    const pid = join(directory, "pid");
    const script = `sleep 600 & echo $! > ${pid}; echo bye >&2; exit 4`;
    const startMs = performance.now();
    const { ended } = run(gateway, ["--log", "x", "--", "sh", "-c", script]);
    expect(await ended).toBe(4);
    expect(performance.now() - startMs).toBeLessThan(8000);
    process.kill(Number(readFileSync(pid, "utf8")), "SIGKILL");
    expect(gateway.reports().at(-1)?.request).toMatchObject({ status: FAILED, message: "exit code 4: bye" });
    expect(gateway.reports().at(-2)?.request).toMatchObject({ data: "bye\n" });
  });
});

describe("a gateway", () => {
  test("that comes up late gets everything, in order", async () => {
    const address = await nobody();
    const started = run(address, [
      "--messages",
      "100ms",
      "--",
      "sh",
      "-c",
      "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.2; done; exit 3",
    ]);
    await expect.poll(started.stderr, soon).toContain("the gateway does not answer");
    await expect.poll(started.stdout).toContain("4");
    const gateway = await useFakeGateway(undefined, Number(address.split(":")[1]));
    expect(await started.ended).toBe(3);
    expect(started.stderr()).toContain("taskgate: the gateway answers\n");
    const reports = gateway.reports().map(({ request }) => [request.status, request.message]);
    expect(reports[0]).toEqual([RUNNING, ""]);
    expect(reports.at(-1)).toEqual([FAILED, "exit code 3"]);
    // What waited is one message, and the newest.
    expect(reports.length).toBeLessThan(10);
  });

  test("that is never there costs nothing but a loud line", async () => {
    const { ended, stderr, stdout } = run(await nobody(), [
      "--report-timeout",
      "500ms",
      "--",
      "sh",
      "-c",
      "echo out; exit 3",
    ]);
    expect(await ended).toBe(3);
    expect(stdout()).toBe("out\n");
    expect(stderr()).toContain("taskgate: THE OUTCOME IS NOT REPORTED: the gateway did not take FAILED");
  });

  test("that is something else costs no more", async () => {
    const other = http.createServer((_, response) => response.end("hello"));
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void other.close());
    const address = `127.0.0.1:${(other.address() as AddressInfo).port}`;
    const args = ["--report-timeout", "500ms", "--", "sh", "-c", "sleep 0.5; exit 3"];
    const { ended, stderr } = run(address, args);
    expect(await ended).toBe(3);
    expect(stderr()).toContain("THE OUTCOME IS NOT REPORTED");
  });

  test("is given up at the second signal after the command's end", async () => {
    const { ended, stderr, kill } = run(await nobody(), ["--", "sh", "-c", "echo $$ >&2"]);
    await expect.poll(stderr, soon).toContain("does not answer");
    const pid = Number(/^\d+$/m.exec(stderr())?.[0]);
    await expect.poll(() => isThere(pid), soon).toBe(false);
    kill("SIGTERM");
    await expect
      .poll(stderr)
      .toContain("SIGTERM: the outcome is still being reported; another signal gives up");
    kill("SIGTERM");
    expect(await ended).toBe(0);
    expect(stderr()).toContain("THE OUTCOME IS NOT REPORTED");
  });

  test("that loses answers gets the same request again", async () => {
    const gateway = await useFakeGateway(({ method }, index) => {
      if (method === "updateTask" && index % 2 === 0) {
        throw new ConnectError("try again", Code.Unavailable);
      }
      return undefined;
    });
    const { ended } = run(gateway, ["--", "true"]);
    expect(await ended).toBe(0);
    const [begun, begunAgain, end, endAgain, ...more] = gateway.reports().map(({ request }) => request);
    expect(begunAgain.requestId).toBe(begun.requestId);
    expect(endAgain.requestId).toBe(end.requestId);
    expect([begun.status, end.status, more]).toEqual([RUNNING, SUCCEEDED, []]);
  });

  test("that refuses is told, and the exit code stays", async () => {
    const gateway = await useFakeGateway(() => {
      throw new ConnectError("no token", Code.Unauthenticated, { "taskgate-reason": "TOKEN_MISSING" });
    });
    const { ended, stderr } = run(gateway, ["--", "sh", "-c", "exit 9"]);
    expect(await ended).toBe(9);
    expect(stderr().trimEnd().split("\n").toSorted()).toEqual([
      "taskgate: RUNNING was refused: no token (TOKEN_MISSING)",
      "taskgate: THE OUTCOME IS NOT REPORTED: FAILED was refused: no token (TOKEN_MISSING)",
      "taskgate: the heartbeat was refused, and there are no more: no token (TOKEN_MISSING)",
    ]);
  });

  test("may be waited for until the outcome is delivered", async () => {
    const gateway = await useFakeGateway(({ request }, index) =>
      request.status === SUCCEEDED && index > 2 ? { receipt: { state: DeliveryState.DELIVERED } } : undefined,
    );
    const { ended, stderr } = run(gateway, ["--wait-for", "delivered", "--", "true"]);
    expect(await ended).toBe(0);
    expect(gateway.reports().map(({ request }) => request.waitFor)).toEqual([
      WaitFor.STORED,
      WaitFor.DELIVERED,
      WaitFor.DELIVERED,
      WaitFor.DELIVERED,
    ]);
    expect(stderr()).toBe("");
  });
});

test("an outcome that is stored is waited for although the heartbeats say that the task has ended", async () => {
  const gateway = await useFakeGateway(({ method, request }, index) => {
    if (method === "heartbeat") {
      const isStored = gateway.calls.some((call) => call.request.status === SUCCEEDED);
      return isStored ? { directive: Directive.CANCEL, cause: ErrorReason.TASK_FINISHED } : undefined;
    }
    return request.status === SUCCEEDED && index > 3
      ? { receipt: { state: DeliveryState.DELIVERED } }
      : undefined;
  });
  const { ended, stderr } = run(gateway, ["--wait-for", "delivered", "--", "true"]);
  expect(await ended).toBe(0);
  expect(stderr()).toBe("");
  expect(statuses(gateway)).toEqual([RUNNING, SUCCEEDED, SUCCEEDED, SUCCEEDED, SUCCEEDED]);
});

describe("a directive", () => {
  const cancel = (cause: ErrorReason) => (beats: number) =>
    useFakeGateway(({ method }, index) =>
      method === "heartbeat" && index >= beats ? { directive: Directive.CANCEL, cause } : undefined,
    );

  test("to cancel ends the command, once, and no outcome is reported where nobody waits for one", async () => {
    const gateway = await cancel(ErrorReason.TASK_FINISHED)(10);
    const { ended, stderr, stdout } = run(gateway, [
      "--",
      "sh",
      "-c",
      "trap 'echo got' TERM; sleep 5 & wait; sleep 1; exit 6",
    ]);
    expect(await ended).toBe(6);
    expect(stdout()).toBe("got\n");
    expect(stderr()).toBe(
      "taskgate: the gateway says to stop (TASK_FINISHED): SIGTERM to the command\n" +
        "taskgate: FAILED is not reported: nobody waits for it any more (TASK_FINISHED)\n",
    );
    expect(statuses(gateway)).toEqual([RUNNING]);
  });

  test("to cancel may be ignored, and an outcome that may still count is reported", async () => {
    const gateway = await cancel(ErrorReason.LEASE_EXPIRED)(1);
    const gate = useGate();
    const { ended, stderr } = run(gateway, ["--on-cancel", "ignore", "--", "sh", "-c", gate.wait]);
    await expect
      .poll(stderr, soon)
      .toBe("taskgate: the gateway says to stop (LEASE_EXPIRED): the command goes on\n");
    gate.open();
    expect(await ended).toBe(0);
    expect(stderr().split("\n")).toHaveLength(2);
    expect(statuses(gateway)).toEqual([RUNNING, SUCCEEDED]);
  });
});

describe("a callback", () => {
  const route = `/api/processes/${taskRunId}/callback/${"a".repeat(43)}`;

  test("gets progress and the result, with the output where it is wanted", async () => {
    const gateway = await useFakeGateway();
    const gate = useGate();
    const args = ["--job-id", "job", "--messages", "100ms", "--log", "x", "--"];
    const script = `echo one; ${gate.wait}; echo a=1 > $TASKGATE_OUTPUT; printf two >&2; exit 2`;
    const { ended, stderr } = run(gateway, [...args, "sh", "-c", script], { TASKGATE_CALLBACK_ROUTE: route });
    await expect.poll(() => gateway.reports().length, soon).toBe(1);
    gate.open();
    expect(await ended).toBe(2);
    expect(stderr()).toBe(
      "two\ntaskgate: a callback has no place for outputs: 1 in TASKGATE_OUTPUT is left out\n",
    );
    const target = { case: "callbackRoute", value: route };
    expect(gateway.calls[0]?.request).toMatchObject({ target, jobId: "job", onLost: OnLost.FAIL });
    expect(
      gateway.reports().map(({ method, request }) => [method, request.progress ?? request.payload]),
    ).toMatchObject([
      ["progress", { case: "text", value: "one" }],
      [
        "completeCallback",
        {
          case: "result",
          value: { jobId: "job", output: ["one", "two"], returnCode: 2, status: "failed" },
        },
      ],
    ]);
  });

  test("by its URL, without the output, has the last line of standard error", async () => {
    const gateway = await useFakeGateway();
    const url = `https://orchestrator.example${route}`;
    const { ended } = run(gateway, ["--callback-url", url, "--", "sh", "-c", "echo no; echo why >&2"]);
    expect(await ended).toBe(0);
    expect(gateway.reports()[0]?.request).toMatchObject({
      target: { case: "callbackUrl", value: url },
      payload: { value: { output: ["why"], returnCode: 0, status: "successful" } },
    });
  });
});

describe("the command line", () => {
  test.each([
    [[], "usage: taskgate run"],
    [["true"], "usage: taskgate run"],
    [["--"], "usage: taskgate run"],
    [["--nothing", "--", "true"], "--nothing"],
    [["--report-timeout", "60", "--", "true"], "--report-timeout must be a duration"],
    [["--on-lost", "odd", "--", "true"], "--on-lost must be fail or ignore"],
  ])("%j is an error before anything runs", async (args, problem) => {
    const { ended, stderr, stdout } = run("127.0.0.1:9", args);
    expect(await ended).toBe(2);
    expect(stderr()).toContain(problem);
    expect(stdout()).toBe("");
  });

  test("what is wrong with a variable does not keep the command from running", async () => {
    const env = { TASKGATE_REPORT_TIMEOUT: "soon", TASKGATE_AUTH_TOKEN_FILE: "/nowhere" };
    const { ended, stderr, stdout } = run("127.0.0.1:9", ["--", "sh", "-c", "echo out; exit 3"], env);
    expect(await ended).toBe(3);
    expect(stdout()).toBe("out\n");
    expect(stderr()).toContain("TASKGATE_REPORT_TIMEOUT must be");
    expect(stderr()).toContain("TASKGATE_AUTH_TOKEN_FILE cannot be read");
    expect(stderr()).toContain("THE COMMAND RUNS, AND NOTHING OF IT IS REPORTED");
  });

  test("options behind the dashes are the command's", async () => {
    const { ended, stdout } = run(await useFakeGateway(), [
      "--",
      "sh",
      "-c",
      'echo "$@"',
      "sh",
      "-h",
      "--help",
      "--",
      "--log",
    ]);
    expect(await ended).toBe(0);
    expect(stdout()).toBe("-h --help -- --log\n");
  });

  test("the variables are the command's, too", async () => {
    const gateway = await useFakeGateway();
    const env = { TASKGATE_AUTH_TOKEN: "t", ORCHESTRA_TASK_RUN_ID: taskRunId };
    const { ended, stdout } = run(
      gateway,
      ["--", "sh", "-c", "echo $TASKGATE_AUTH_TOKEN $ORCHESTRA_TASK_RUN_ID $TASKGATE_LISTEN"],
      env,
    );
    expect(await ended).toBe(0);
    expect(stdout()).toBe(`t ${taskRunId} ${gateway.address}\n`);
  });
});

test("a real gateway takes a whole run to Orchestra", async () => {
  const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_AUTH_TOKEN: "worker" });
  const id = randomUUID();
  const gate = useGate();
  const script = `echo one; echo a=[1.50] > $TASKGATE_OUTPUT; ${gate.wait}; echo two >&2; exit 1`;
  const args = [
    "--gateway",
    url,
    "--task-run-id",
    id,
    "--messages",
    "100ms",
    "--log",
    "a.log",
    "--wait-for",
    "delivered",
  ];
  const { ended } = run("127.0.0.1:9", [...args, "--", "sh", "-c", script], {
    TASKGATE_AUTH_TOKEN: "worker",
  });
  await expect.poll(() => sandbox.orchestra.taskRuns.get(id)?.message, soon).toBe("one");
  gate.open();
  expect(await ended).toBe(1);
  const taskRun = sandbox.orchestra.taskRuns.get(id);
  expect(taskRun).toMatchObject({
    status: "FAILED",
    message: "exit code 1: two",
    outputs: { a: [1.5] },
    logs: [{ name: "a.log", data: "one\ntwo\n" }],
  });
  // The last line is a message of its own when its time comes before the command's end.
  expect(taskRun?.events.map(({ event }) => event.type).join(" ")).toMatch(
    /^(UPDATE_STATUS ){2,3}SET_OUTPUT LOG UPDATE_STATUS$/,
  );
  expect(taskRun?.events.filter(({ afterOutcome }) => afterOutcome)).toEqual([]);
});

describe("with a real gateway's leases", () => {
  const short = { TASKGATE_LEASE_DURATION: "2s", TASKGATE_HEARTBEAT_INTERVAL: "400ms" };

  test("a command that outlives its lease many times over is not lost, and one whose taskgate is killed is", async () => {
    const { url, sandbox } = await useGatewayWithSandbox(short);
    const [living, dying] = [randomUUID(), randomUUID()];
    const command = (id: string, seconds: number) =>
      run("127.0.0.1:9", ["--gateway", url, "--task-run-id", id, "--", "sleep", String(seconds)]);
    const one = command(living, 5);
    const other = command(dying, 5);
    const statusOf = (id: string) => sandbox.orchestra.taskRuns.get(id)?.status;
    await expect.poll(() => [living, dying].map(statusOf), soon).toEqual(["RUNNING", "RUNNING"]);
    other.kill("SIGKILL");
    const killedMs = performance.now();
    await expect.poll(() => statusOf(dying), soon).toBe("FAILED");
    // A lease and a second, behind the last beat.
    expect(performance.now() - killedMs).toBeLessThan(4500);
    expect(sandbox.orchestra.taskRuns.get(dying)?.message).toMatch(/^the worker is lost/);
    expect(await one.ended).toBe(0);
    await expect.poll(() => statusOf(living), soon).toBe("SUCCEEDED");
  });

  test("a callback's process is told of the result", async () => {
    const { url, sandbox } = await useGatewayWithSandbox(short);
    const { process_id, callback_route } = sandbox.orchestrator.processes.start();
    const { ended } = run("127.0.0.1:9", [
      ...["--gateway", url, "--callback-route", callback_route, "--log", "x", "--wait-for", "delivered"],
      ...["--", "sh", "-c", "echo done; sleep 3"],
    ]);
    expect(await ended).toBe(0);
    const found = sandbox.orchestrator.processes.get(process_id);
    expect(found).toMatchObject({ status: "completed", accepted_callbacks: 1 });
    expect(found?.history.find(({ event }) => event === "callback")?.detail).toMatchObject({
      output: ["done"],
      return_code: 0,
      status: "successful",
    });
  });
});
