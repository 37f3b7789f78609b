import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { createGrpcClient, type OpenStream } from "../grpc-client.ts";
import type { Verdict } from "../judge.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { setStage, sleep } from "../stage.ts";

export interface SteadyBeatsOptions {
  streams: number;
  connections: number;
  leaseMs: number;
  beatMs: number;
  /** How long they beat while every core is kept busy. */
  busyMs: number;
  /** For how long the gateway is stopped then. */
  stoppedMs: number;
  /** The safeguard: how many beat all the time. Whoever does not is lost, and must be found. */
  steadyShare: number;
}

/** A worker that beats is never reported lost: not by a busy machine, not by a gateway that stood still. */
export const steadyBeats: Scenario = {
  timeoutMs: 240_000,
  run: (context) =>
    runSteadyBeats(context, {
      streams: 2000,
      connections: 4,
      leaseMs: 6000,
      beatMs: 2000,
      busyMs: 60_000,
      stoppedMs: 9000,
      steadyShare: 1,
    }),
  control: (context) =>
    runSteadyBeats(context, {
      streams: 200,
      connections: 4,
      leaseMs: 3000,
      beatMs: 1000,
      busyMs: 8000,
      stoppedMs: 0,
      steadyShare: 0.9,
    }),
};

interface Beater {
  taskRunId: string;
  stream: OpenStream;
  isSteady: boolean;
  isReady: boolean;
  answers: number;
  lastBeatMs: number;
  longestMs: number;
  ended: string | undefined;
}

export async function runSteadyBeats(context: Context, options: SteadyBeatsOptions): Promise<Verdict> {
  const { random } = context;
  const { leaseMs, beatMs, streams } = options;
  const { sandbox, address, gateway } = await setStage(context, {
    env: { TASKGATE_LEASE_DURATION: `${leaseMs}ms`, TASKGATE_HEARTBEAT_INTERVAL: `${beatMs}ms` },
  });
  const clients = Array.from({ length: options.connections }, () => createGrpcClient(address));
  context.defer(() => {
    for (const client of clients) {
      client.close();
    }
  });
  const beaters = Array.from({ length: streams }, (_, index): Beater => {
    const taskRunId = uuidOf(random);
    const stream = clients[index % clients.length]?.open("TaskStatusService", "TrackRun", {
      onMessage({ frame }) {
        if (frame === "ready") {
          beater.isReady = true;
        } else if (frame === "directive") {
          beater.answers += 1;
        }
      },
      onEnd(error) {
        beater.ended = error?.message ?? "well";
      },
    });
    if (stream === undefined) {
      throw new Error("there is no connection");
    }
    const isSteady = index < streams * options.steadyShare;
    const beater: Beater = {
      taskRunId,
      stream,
      isSteady,
      isReady: false,
      answers: 0,
      lastBeatMs: performance.now(),
      longestMs: 0,
      ended: undefined,
    };
    stream.write({ open: { taskRunId } });
    return beater;
  });
  let beats = 0;
  function beat(beater: Beater): void {
    const nowMs = performance.now();
    beater.longestMs = Math.max(beater.longestMs, nowMs - beater.lastBeatMs);
    beater.lastBeatMs = nowMs;
    beats += 1;
    beater.stream.write({ heartbeat: {} });
  }
  const timers = beaters.map((beater) => {
    const run = () => beater.isReady && (beater.isSteady || beater.answers < 2) && beat(beater);
    return { run, timer: undefined as NodeJS.Timeout | undefined };
  });
  // Each in its own phase.
  for (const [index, each] of timers.entries()) {
    each.timer = setTimeout(
      () => {
        each.run();
        each.timer = setInterval(each.run, beatMs);
      },
      (index / streams) * beatMs,
    );
  }
  context.defer(() => {
    for (const { timer } of timers) {
      clearTimeout(timer);
    }
  });
  const untilMs = performance.now() + 60_000;
  while (beaters.some(({ isReady }) => !isReady)) {
    if (performance.now() > untilMs) {
      throw new Error("not all streams opened");
    }
    await sleep(50);
  }
  const lost = () =>
    beaters.filter(({ taskRunId }) =>
      sandbox.orchestra.taskRuns
        .get(taskRunId)
        ?.events.some(({ event }) => event.type === "UPDATE_STATUS" && event.status === "FAILED"),
    );

  const cpuMs = gateway().cpuMs();
  const cores = availableParallelism();
  const burners = Array.from({ length: cores }, () =>
    spawn(process.execPath, ["-e", "for (;;) {}"], { stdio: "ignore" }),
  );
  const coolDown = () => {
    for (const burner of burners) {
      burner.kill("SIGKILL");
    }
  };
  context.defer(coolDown);
  await sleep(options.busyMs);
  coolDown();
  const busy = gateway().cpuMs() - cpuMs;
  const lostBusy = lost().length;
  const answersBefore = beaters.reduce((sum, { answers }) => sum + answers, 0);
  if (options.stoppedMs > 0) {
    process.kill(gateway().pid, "SIGSTOP");
    await sleep(options.stoppedMs);
    process.kill(gateway().pid, "SIGCONT");
    await sleep(leaseMs + 2000);
  }
  const problems: string[] = [];
  const all = lost();
  // Whose own process kept it from beating was silent indeed.
  const late = beaters.filter(({ isSteady, longestMs }) => isSteady && longestMs > leaseMs / 2 + beatMs);
  const falsely = all.filter((beater) => !late.includes(beater));
  if (falsely.length > 0) {
    problems.push(`reported as lost although they beat: ${falsely.length}`);
  }
  if (late.length > streams / 2) {
    problems.push(`${late.length} did not beat as they should: nothing is proved`);
  }
  const broken = beaters.filter(({ ended }) => ended !== undefined);
  if (broken.length > 0) {
    problems.push(`streams that ended: ${broken.length} (${broken[0]?.ended})`);
  }
  const answers = beaters.reduce((sum, each) => sum + each.answers, 0);
  if (options.stoppedMs > 0 && answers === answersBefore) {
    problems.push("nothing was answered behind the stop: nothing is proved");
  }
  return {
    problems,
    figures: {
      streams,
      connections: options.connections,
      burners: cores,
      "lease ms": leaseMs,
      "busy s": (options.busyMs / 1000).toFixed(0),
      beats,
      answers,
      "lost while busy": lostBusy,
      "lost by a stop": all.length - lostBusy,
      "longest between two beats ms": Math.max(...beaters.map(({ longestMs }) => longestMs)).toFixed(0),
      "beat late themselves": late.length,
      "gateway CPU ms": busy,
      "RSS MiB": gateway().rssMiB().toFixed(0),
    },
  };
}
