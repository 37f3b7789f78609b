/** A session as operators see it. Times are the wall clock's. */
export interface ListedSession {
  readonly sessionId: string;
  readonly upstream: string;
  readonly caller: string;
  /** The worker's name, where it gave one. */
  readonly worker: string;
  readonly createMs: number;
  readonly lastBeatMs: number;
  readonly leaseExpireMs: number;
  /** A stream carries it at the moment. */
  readonly isConnected: boolean;
  /** The tasks that it holds. */
  readonly taskIds: readonly string[];
}
