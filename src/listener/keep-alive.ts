import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";

/**
 * Pings each session every `intervalMs`, and ends those that left the ping before
 * unanswered: a peer that vanished is noticed within two intervals. It also ends the
 * sockets of sessions that Node has given up and forgets: of one whose client said
 * goodbye, ignored ours, or broke the protocol behind it. Returns a function that
 * stops it.
 */
export function keepAlive(sessions: ReadonlyMap<ServerHttp2Session, Socket>, intervalMs: number): () => void {
  const unanswered = new WeakSet<ServerHttp2Session>();
  const timer = setInterval(() => {
    for (const [session, socket] of sessions) {
      if (session.destroyed || unanswered.has(session)) {
        session.destroy();
        socket.destroy();
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
