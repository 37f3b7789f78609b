import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import type { LeasedTask, LeaseRecord } from "../model/lease.ts";
import type { LeaseListener } from "../model/lease-book.ts";
import { createPauseDetector } from "./pause-detector.ts";

/** A lease that is in force. */
export interface HeldLease {
  readonly record: LeaseRecord;
  /** Wall clock. */
  readonly lastBeatMs: number;
  listener: LeaseListener | undefined;
}

/** The leases that are in force, by their tasks' names. */
export interface HeldLeases {
  readonly size: number;
  /** What all of them have left for the case that they are lost, in UTF-16 units. */
  readonly lostPayloadLength: number;
  /** How many sessions hold leases, and how many leases there are, by upstream. */
  counts(): { upstream: string; sessions: number; leases: number }[];
  get(name: string): HeldLease | undefined;
  values(): Iterable<HeldLease>;
  ofSession(sessionId: string): Iterable<HeldLease>;
  /** Holds a lease for its full time, instead of the one that its task had. */
  hold(record: LeaseRecord): HeldLease;
  /** Gives a lease that is held its full time again. */
  renew(lease: HeldLease): void;
  /** Holds a task's lease no more, and tells who carried it why. */
  drop(name: string, cause: ErrorReason): HeldLease | undefined;
  /** When a lease ends unless its worker says something. Wall clock. */
  expireMsOf(lease: HeldLease): number;
  /** Begins to look for leases that have run out. */
  watch(): void;
  stop(): void;
}

export interface HeldLeasesDeps {
  durationMs: number;
  /** The wall clock. */
  now: () => number;
  /** A clock that nobody sets. */
  steadyNow: () => number;
  setTimer: (run: () => void, delayMs: number) => () => void;
  /** Somebody is about to take the task's lease: it must not run out before that is decided. */
  isAwaited: (name: string) => boolean;
  /** A lease has run out, and is held no more. */
  onExpired: (lease: HeldLease) => void;
}

/** The name of a leased task. */
export function leaseName({ upstream, key }: Pick<LeasedTask, "upstream" | "key">): string {
  return `${upstream}/${key}`;
}

type Timed = HeldLease & { lastBeatMs: number; dueMs: number };

// Nothing that is late by less is a pause, and no lease ends later than by twice this.
const tickMs = 250;

/**
 * Creates the holding of leases. They run on a steady clock, each for its full time anew
 * after a pause of the gateway or a jump of the clock.
 */
export function createHeldLeases(deps: HeldLeasesDeps): HeldLeases {
  const { durationMs, now, steadyNow, setTimer } = deps;
  // In the order in which they run out: who beats goes to the end.
  const held = new Map<string, Timed>();
  const bySession = new Map<string, Set<Timed>>();
  // Kept, because there may be too many leases to count them when somebody asks.
  const counts = new Map<string, { upstream: string; sessions: number; leases: number }>();
  const pause = createPauseDetector(steadyNow, now);
  let suspects = new Set<Timed>();
  let lostPayloadLength = 0;
  let cancelTick: () => void = () => undefined;

  function count({ upstream }: LeasedTask, sessions: number, leases: number): void {
    const before = counts.get(upstream) ?? { upstream, sessions: 0, leases: 0 };
    counts.set(upstream, {
      upstream,
      sessions: before.sessions + sessions,
      leases: before.leases + leases,
    });
  }

  function renew(name: string, lease: Timed): void {
    lease.lastBeatMs = now();
    lease.dueMs = steadyNow() + durationMs;
    held.delete(name);
    held.set(name, lease);
  }

  function remove(name: string, lease: Timed): void {
    held.delete(name);
    const { task, sessionId, lostPayload } = lease.record;
    lostPayloadLength -= lostPayload.length;
    const own = bySession.get(sessionId);
    own?.delete(lease);
    const isLast = own?.size === 0;
    if (isLast) {
      bySession.delete(sessionId);
    }
    count(task, isLast ? -1 : 0, -1);
  }

  function drop(name: string, cause: ErrorReason): Timed | undefined {
    const lease = held.get(name);
    if (lease !== undefined) {
      remove(name, lease);
      lease.listener?.onDirective(Directive.CANCEL, cause);
    }
    return lease;
  }

  // A lease is over when two looks in a row find it so: what its worker had sent
  // before the first one was read between them.
  function tick(): void {
    cancelTick = setTimer(tick, tickMs);
    if (pause.wasPaused()) {
      suspects = new Set();
      renewAll();
      return;
    }
    const steadyMs = steadyNow();
    const found = new Set<Timed>();
    for (const [name, lease] of held) {
      if (lease.dueMs > steadyMs) {
        break;
      }
      if (suspects.has(lease) && !deps.isAwaited(name)) {
        drop(name, ErrorReason.LEASE_EXPIRED);
        deps.onExpired(lease);
      } else {
        found.add(lease);
      }
    }
    suspects = found;
  }

  function renewAll(): void {
    const dueMs = steadyNow() + durationMs;
    for (const lease of held.values()) {
      lease.dueMs = dueMs;
    }
  }

  return {
    get size() {
      return held.size;
    },
    get lostPayloadLength() {
      return lostPayloadLength;
    },
    counts: () => [...counts.values()],
    get: (name) => held.get(name),
    values: () => held.values(),
    ofSession: (sessionId) => bySession.get(sessionId) ?? [],
    hold(record) {
      const name = leaseName(record.task);
      const before = held.get(name);
      if (before !== undefined) {
        remove(name, before);
      }
      const lease: Timed = { record, lastBeatMs: 0, dueMs: 0, listener: undefined };
      renew(name, lease);
      const own = bySession.get(record.sessionId) ?? new Set();
      count(record.task, own.size === 0 ? 1 : 0, 1);
      bySession.set(record.sessionId, own.add(lease));
      lostPayloadLength += record.lostPayload.length;
      return lease;
    },
    renew: (lease) => renew(leaseName(lease.record.task), lease as Timed),
    drop,
    expireMsOf: (lease) => Math.floor(now() + Math.max(0, (lease as Timed).dueMs - steadyNow())),
    watch: tick,
    stop: () => cancelTick(),
  };
}
