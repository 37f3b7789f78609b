import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Attempt, AttemptLease, CallResult } from "../model/call-result.ts";
import { createFailure } from "../model/failure.ts";
import type { TaskBeats, TaskProgress } from "../model/work-pool.ts";

export interface TaskBeatsDeps {
  heartbeat: (request: Attempt & { message: string }) => Promise<CallResult<AttemptLease>>;
  progress: (attempt: Attempt, progress: TaskProgress) => Promise<CallResult<AttemptLease>>;
  /** How often a worker beats. */
  intervalMs: number;
  /** The wall clock. */
  now: () => number;
  /** A clock that nobody sets. */
  steadyNow: () => number;
}

// What a worker wants to have said, and who waits for it.
interface Wish {
  message: string;
  progress: TaskProgress | undefined;
  readonly wishedMs: number;
  readonly result: Promise<CallResult<AttemptLease>>;
  readonly resolve: (result: CallResult<AttemptLease>) => void;
}

interface Heard {
  readonly attempt: Attempt;
  /** Until then the upstream needs to hear nothing. */
  freshUntilMs: number;
  last: CallResult<AttemptLease> | undefined;
  running: Wish | undefined;
  next: Wish | undefined;
}

const concurrency = 32;
// A worker beats a little early now and then, which must not halve the rate.
const early = 0.75;
const forgetMs = 10 * 60_000;

/**
 * Passes beats on. Per attempt one call is under way at most, and a beat within the
 * same interval is answered with what the upstream said last: the interval is the
 * workers' own, or a third of the upstream's timer where that is shorter. Nothing is
 * ever sent but for a beat that has just come: a dead worker must not look alive.
 */
export function createTaskBeats(deps: TaskBeatsDeps): TaskBeats & { readonly size: number } {
  const { intervalMs, steadyNow } = deps;
  // Who was heard of last is at the end.
  const known = new Map<string, Heard>();
  const queue: Heard[] = [];
  let underWay = 0;

  function heardOf(attempt: Attempt): Heard {
    const key = keyOf(attempt);
    const heard = known.get(key) ?? {
      attempt,
      freshUntilMs: steadyNow(),
      last: undefined,
      running: undefined,
      next: undefined,
    };
    known.delete(key);
    known.set(key, heard);
    forgetOldest();
    return heard;
  }

  function forgetOldest(): void {
    for (const [key, heard] of known) {
      const isIdle = heard.running === undefined && heard.next === undefined;
      if (!isIdle || heard.freshUntilMs > steadyNow() - forgetMs) {
        return;
      }
      known.delete(key);
    }
  }

  // Adds to what is wished next for the attempt.
  function wish(heard: Heard, message: string, progress: TaskProgress | undefined): Wish {
    if (heard.next === undefined) {
      const { promise: result, resolve } = Promise.withResolvers<CallResult<AttemptLease>>();
      const next: Wish = { message, progress, wishedMs: steadyNow(), result, resolve };
      heard.next = next;
      if (heard.running === undefined) {
        queue.push(heard);
        send();
      }
      return next;
    }
    heard.next.message = message || heard.next.message;
    heard.next.progress = progress ?? heard.next.progress;
    return heard.next;
  }

  function send(): void {
    while (underWay < concurrency) {
      const heard = queue.shift();
      if (heard === undefined) {
        return;
      }
      const { next } = heard;
      if (next === undefined) {
        continue;
      }
      heard.next = undefined;
      if (steadyNow() - next.wishedMs > intervalMs) {
        next.resolve(tooOld);
        continue;
      }
      heard.running = next;
      underWay += 1;
      void call(heard.attempt, next).then((result) => finish(heard, next, result));
    }
  }

  async function call(attempt: Attempt, { message, progress }: Wish): Promise<CallResult<AttemptLease>> {
    try {
      // One call says one of the two.
      if (progress !== undefined && message !== "") {
        await deps.heartbeat({ ...attempt, message });
      }
      return progress === undefined
        ? await deps.heartbeat({ ...attempt, message })
        : await deps.progress(attempt, progress);
    } catch (error) {
      return { kind: "failed", failure: createFailure(ErrorReason.INTERNAL, String(error)) };
    }
  }

  function finish(heard: Heard, wish: Wish, result: CallResult<AttemptLease>): void {
    underWay -= 1;
    heard.running = undefined;
    heard.last = result;
    heard.freshUntilMs = result.kind === "ok" ? wish.wishedMs + freshMs(result.value) : steadyNow();
    wish.resolve(result);
    if (heard.next !== undefined) {
      queue.push(heard);
    }
    send();
  }

  function freshMs({ leaseExpireMs }: AttemptLease): number {
    const thirdMs = leaseExpireMs === undefined ? intervalMs : (leaseExpireMs - deps.now()) / 3;
    return early * Math.max(0, Math.min(intervalMs, thirdMs));
  }

  return {
    async beat(attempt, message) {
      const heard = heardOf(attempt);
      if (message === "") {
        const waiting = heard.running ?? heard.next;
        if (waiting !== undefined) {
          return waiting.result;
        }
        if (heard.last?.kind === "ok" && steadyNow() < heard.freshUntilMs) {
          return heard.last;
        }
      }
      return wish(heard, message, undefined).result;
    },
    progress: async (attempt, progress) => wish(heardOf(attempt), "", progress).result,
    forget(attempt) {
      const heard = known.get(keyOf(attempt));
      known.delete(keyOf(attempt));
      heard?.next?.resolve(isOver);
      if (heard !== undefined) {
        heard.next = undefined;
      }
    },
    get size() {
      return known.size;
    },
  };
}

function keyOf({ id, execId }: Attempt): string {
  return `${id}/${execId}`;
}

const isOver: CallResult<AttemptLease> = {
  kind: "failed",
  failure: createFailure(ErrorReason.LEASE_EXPIRED, "the attempt was over before aidbox was told of it", {
    metadata: { upstream: "aidbox" },
  }),
};

const tooOld: CallResult<AttemptLease> = {
  kind: "failed",
  failure: createFailure(
    ErrorReason.UPSTREAM_UNAVAILABLE,
    "aidbox answers too slowly to be told of every beat",
    { metadata: { upstream: "aidbox" } },
  ),
};
