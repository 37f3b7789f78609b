import type { ServerHttp2Session } from "node:http2";

/**
 * Pings each session every `intervalMs`, and ends those that left the ping before
 * unanswered: a peer that vanished is noticed within two intervals. It also ends
 * sessions that Node forgets: one whose client said goodbye and then broke the
 * protocol stays, with its socket, for ever. Returns a function that stops it.
 */
export function keepAlive(sessions: ReadonlySet<ServerHttp2Session>, intervalMs: number): () => void {
  const unanswered = new WeakSet<ServerHttp2Session>();
  const timer = setInterval(() => {
    for (const session of sessions) {
      if (unanswered.has(session)) {
        session.destroy();
      } else {
        unanswered.add(session);
        session.ping((error) => {
          if (error === null) {
            unanswered.delete(session);
          }
        });
      }
    }
  }, intervalMs);
  return () => clearInterval(timer);
}
