import type { GrpcClient, Message, OpenStream } from "./grpc-client.ts";

export interface TrackedRunOptions {
  taskRunId: string;
  /** What it says, in order; the last frame is its finish. Request ids are given to them: "1", "2" … */
  frames: readonly Message[];
  paceMs: number;
  beatMs: number;
  /** It goes on with its session when it opens again. */
  keepsSession: boolean;
}

/** A run on streams: it goes on where it was whenever one breaks, as the contract says. */
export interface TrackedRun {
  /** The gateway knows it. */
  readonly ready: Promise<void>;
  /** Its outcome is settled and its stream closed by the gateway. */
  readonly done: Promise<void>;
  /** How often its stream broke. */
  readonly breaks: number;
  /** Frames that it had sent, of which it heard only by a resume that they were accepted. */
  readonly heardByResume: number;
  /** What was answered that must not be. */
  readonly problems: string[];
  stop(): void;
}

/** Tracks a run until its outcome is settled. */
export function trackRun(client: GrpcClient, options: TrackedRunOptions): TrackedRun {
  const { taskRunId, frames } = options;
  const ready = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  // What was said, and not answered.
  const pending = new Map<string, Message>();
  const problems: string[] = [];
  let said = 0;
  let sessionId = "";
  let breaks = 0;
  let heardByResume = 0;
  let isStopped = false;
  let isOpen = false;
  let stream: OpenStream | undefined;

  const pacing = setInterval(() => {
    const frame = frames[said];
    if (sessionId !== "" && frame !== undefined) {
      said += 1;
      pending.set(String(said), frame);
      if (isOpen) {
        stream?.write({ requestId: String(said), ...frame });
      }
    }
  }, options.paceMs);
  const beating = setInterval(() => {
    if (isOpen) {
      stream?.write({ heartbeat: {} });
    }
  }, options.beatMs);

  function stop(): void {
    isStopped = true;
    clearInterval(pacing);
    clearInterval(beating);
  }

  function isSaid(): boolean {
    return said === frames.length && pending.size === 0;
  }

  function onReady({ sessionId: given, resumed, acceptedRequestIds }: Message): void {
    if (options.keepsSession && sessionId !== "" && (given !== sessionId || resumed !== true)) {
      problems.push("its session was not resumed");
    }
    sessionId = String(given);
    for (const id of (acceptedRequestIds ?? []) as string[]) {
      heardByResume += pending.delete(id) ? 1 : 0;
    }
    isOpen = true;
    for (const [requestId, frame] of pending) {
      stream?.write({ requestId, ...frame });
    }
    ready.resolve();
  }

  function onFrame(message: Message): void {
    const requestId = String(message.requestId);
    switch (message.frame) {
      case "ready":
        onReady(message.ready as Message);
        break;
      case "receipt": {
        pending.delete(requestId);
        const { state } = message.receipt as Message;
        if (requestId === String(frames.length) && state !== "DELIVERY_STATE_STORED") {
          stream?.halfClose();
        }
        break;
      }
      case "failure":
        pending.delete(requestId);
        problems.push(`the frame ${requestId} failed: ${JSON.stringify(message.failure)}`);
        break;
      case "directive": {
        const { directive, cause } = message.directive as Message;
        if (directive === "DIRECTIVE_CANCEL" && cause === "ERROR_REASON_TASK_FINISHED" && isSaid()) {
          // The rest of its end was said to a stream that had broken.
          stream?.halfClose();
        } else if (directive !== "DIRECTIVE_CONTINUE") {
          problems.push(`it heard ${directive} ${cause}`);
        }
        break;
      }
      default:
    }
  }

  function open(): void {
    stream = client.open("TaskStatusService", "TrackRun", {
      onMessage: onFrame,
      onEnd(error) {
        isOpen = false;
        if (error === undefined && isSaid()) {
          stop();
          done.resolve();
        } else if (!isStopped) {
          breaks += 1;
          if (error?.reason !== undefined) {
            problems.push(`its stream ended with ${error.reason}`);
          }
          setTimeout(open, 50);
        }
      },
    });
    const shown = options.keepsSession ? sessionId : "";
    stream.write({ requestId: "open", open: { taskRunId, message: "begun", sessionId: shown } });
  }

  open();
  return {
    ready: ready.promise,
    done: done.promise,
    get breaks() {
      return breaks;
    },
    get heardByResume() {
      return heardByResume;
    },
    problems,
    stop() {
      stop();
      stream?.cancel();
    },
  };
}
