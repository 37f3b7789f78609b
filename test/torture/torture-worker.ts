import { performance } from "node:perf_hooks";
import type { GrpcClient, Message } from "./grpc-client.ts";
import { intBetween, type Random } from "./random.ts";

export interface TortureWorkerOptions {
  client: GrpcClient;
  random: Random;
  name: string;
  definition: string;
  /** How many tasks it takes at once. */
  limit: number;
  beatMs: number;
  /** How long it works on a task, at most. */
  maxWorkMs: number;
  onLost: "ON_LOST_FAIL" | "ON_LOST_IGNORE";
  /** It has the task. */
  onTask: (id: string) => void;
  /** It has more than it asked for. */
  onExcess: (held: number) => void;
}

/** A worker over `Work`, with the ways in which workers fail. */
export interface TortureWorker {
  /** How many of its outcomes were accepted. */
  readonly done: number;
  /** How many tasks it was told to stop. */
  readonly stopped: number;
  /** Its stream breaks, and it resumes it. */
  breakStream(): void;
  /** It hears and says nothing for so long, and then goes on as if nothing was. */
  sleep(ms: number): void;
  /** It dies of the next task that it begins; its stream breaks, or stays open. */
  doom(how: "broken" | "silent"): void;
  /** It is gone. */
  end(): void;
}

interface Held {
  readonly id: string;
  readonly execId: string;
  phase: "pushed" | "starting" | "working" | "ending";
  outcomeId: string;
  timer: NodeJS.Timeout | undefined;
}

/** Starts a worker. */
export function startTortureWorker(options: TortureWorkerOptions): TortureWorker {
  const { client, random, limit } = options;
  const held = new Map<string, Held>();
  const asked = new Map<string, Held>();
  // What it has not noticed yet.
  const unheard: Message[] = [];
  let call: ReturnType<GrpcClient["duplex"]>;
  let sessionId = "";
  let made = 0;
  let done = 0;
  let stopped = 0;
  let isDead = false;
  let doom: "broken" | "silent" | undefined;
  let asleepUntilMs = 0;

  const isAsleep = () => performance.now() < asleepUntilMs;

  function say(frame: Message, about?: Held): string {
    made += 1;
    const requestId = `${options.name}-${made}`;
    if (about !== undefined) {
      asked.set(requestId, about);
    }
    call.send({ requestId, ...frame });
    return requestId;
  }

  function connect(): void {
    call = client.duplex("ExecutorService", "Work", onMessage, onEnd);
    say({
      subscribe: {
        taskDefinitions: [options.definition],
        maxInFlight: limit,
        worker: options.name,
        onLost: options.onLost,
        sessionId,
      },
    });
  }

  function onEnd(): void {
    if (isDead) {
      return;
    }
    unheard.length = 0;
    // What it did not know to have begun is another's now.
    for (const task of held.values()) {
      if (task.phase === "pushed" || task.phase === "starting") {
        drop(task);
      }
    }
    asked.clear();
    setTimeout(() => {
      if (!isDead) {
        connect();
      }
    }, 20);
  }

  function onMessage(message: Message): void {
    if (isDead) {
      return;
    }
    if (isAsleep() || unheard.length > 0) {
      unheard.push(message);
    } else {
      hear(message);
    }
  }

  function hear(message: Message): void {
    const { frame, requestId } = message as { frame: string; requestId: string };
    const value = message[frame] as Message;
    const about = asked.get(requestId);
    switch (frame) {
      case "ready":
        onReady(value as { sessionId: string; acceptedRequestIds?: string[] });
        break;
      case "task":
        take(value as unknown as Pick<Held, "id" | "execId">);
        break;
      case "ack":
        if (about !== undefined) {
          onAck(about, value.receipt !== null && value.receipt !== undefined);
        }
        break;
      case "failure":
        if (about !== undefined) {
          drop(about);
        }
        break;
      case "directive":
        if (value.directive === "DIRECTIVE_CANCEL" && value.taskId !== "") {
          stop(`${value.taskId}/${value.execId}`);
        }
        break;
      default:
    }
  }

  function onReady({
    sessionId: given,
    acceptedRequestIds = [],
  }: {
    sessionId: string;
    acceptedRequestIds?: string[];
  }): void {
    sessionId = given;
    for (const task of held.values()) {
      if (task.phase !== "ending") {
        continue;
      }
      if (acceptedRequestIds.includes(task.outcomeId)) {
        onAck(task, true);
      } else {
        succeed(task);
      }
    }
  }

  function take({ id, execId }: Pick<Held, "id" | "execId">): void {
    const task: Held = { id, execId, phase: "pushed", outcomeId: "", timer: undefined };
    held.set(`${id}/${execId}`, task);
    options.onTask(id);
    if (held.size > limit) {
      options.onExcess(held.size);
    }
    task.timer = setTimeout(
      () => {
        task.phase = "starting";
        say({ start: { id, execId } }, task);
      },
      intBetween(random, 0, 10),
    );
  }

  function onAck(task: Held, isOutcome: boolean): void {
    if (isOutcome) {
      done += held.has(`${task.id}/${task.execId}`) ? 1 : 0;
      drop(task);
    } else if (task.phase === "starting") {
      task.phase = "working";
      if (doom !== undefined) {
        die(doom);
        return;
      }
      work(task, intBetween(random, 1, options.maxWorkMs));
    }
  }

  function work(task: Held, ms: number): void {
    task.timer = setTimeout(() => {
      if (isAsleep()) {
        work(task, asleepUntilMs - performance.now() + 1);
      } else {
        task.phase = "ending";
        succeed(task);
      }
    }, ms);
  }

  function succeed(task: Held): void {
    const { id, execId } = task;
    task.outcomeId = say({ succeed: { id, execId, resultJson: `{"by":"${options.name}"}` } }, task);
  }

  function stop(key: string): void {
    const task = held.get(key);
    if (task !== undefined) {
      stopped += 1;
      drop(task);
    }
  }

  function drop(task: Held): void {
    clearTimeout(task.timer);
    held.delete(`${task.id}/${task.execId}`);
  }

  function die(how: "broken" | "silent"): void {
    isDead = true;
    clearInterval(beats);
    for (const task of held.values()) {
      clearTimeout(task.timer);
    }
    if (how === "broken") {
      call.cancel();
    }
  }

  const beats = setInterval(() => {
    if (isDead || isAsleep()) {
      return;
    }
    for (const message of unheard.splice(0)) {
      hear(message);
    }
    const tasks = [...held.values()].filter(({ phase }) => phase === "working" || phase === "ending");
    call.send({ heartbeat: { tasks: tasks.map(({ id, execId }) => ({ id, execId })) } });
  }, options.beatMs);

  connect();
  return {
    get done() {
      return done;
    },
    get stopped() {
      return stopped;
    },
    breakStream() {
      call.cancel();
      onEnd();
    },
    sleep(ms) {
      asleepUntilMs = performance.now() + ms;
    },
    doom(how) {
      doom = how;
    },
    end: () => die("broken"),
  };
}
