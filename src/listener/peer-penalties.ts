/** Who has broken the rules of late. */
export interface PeerPenalties {
  /** A connection of the peer was ended because it broke them. */
  add(peer: string | undefined): void;
  /** How long the peer's next connection has to wait before it is served. */
  delayMs(peer: string | undefined): number;
}

const stepMs = 100;
const windowMs = 10_000;
// A table that a flood of addresses fills is of no use to anybody.
const maxPeers = 10_000;

/**
 * Creates the record. Limits end a connection, and nothing keeps its peer from making
 * another: so that each costs it time, connections wait 100 ms for each that was ended
 * within the last ten seconds, `maxDelayMs` at most.
 */
export function createPeerPenalties(maxDelayMs: number, now: () => number): PeerPenalties {
  const endedMs = new Map<string | undefined, number[]>();
  const most = Math.ceil(maxDelayMs / stepMs);

  function recent(peer: string | undefined): number[] {
    const since = now() - windowMs;
    return (endedMs.get(peer) ?? []).filter((ms) => ms > since);
  }

  return {
    add(peer) {
      const times = [...recent(peer), now()].slice(-most);
      // Behind all others, so that those that are forgotten first are the oldest.
      endedMs.delete(peer);
      endedMs.set(peer, times);
      const [oldest] = endedMs.keys();
      if (endedMs.size > maxPeers) {
        endedMs.delete(oldest);
      }
    },
    delayMs: (peer) => (endedMs.has(peer) ? Math.min(maxDelayMs, stepMs * recent(peer).length) : 0),
  };
}
