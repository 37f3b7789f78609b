import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";

/**
 * Pings each session every `intervalMs`, and ends those that left the ping before
 * unanswered: a peer that vanished is noticed within two intervals. One that has said
 * goodbye cannot be pinged: it is ended when it has sent nothing for two intervals. It
 * also ends the sockets of sessions that Node has given up and forgets: of one that
 * broke the protocol behind its goodbye. Returns a function that stops it.
 */
export function keepAlive(sessions: ReadonlyMap<ServerHttp2Session, Socket>, intervalMs: number): () => void {
  const unanswered = new WeakSet<ServerHttp2Session>();
  const bytesRead = new WeakMap<ServerHttp2Session, number>();

  function isGone(session: ServerHttp2Session, socket: Socket): boolean {
    if (session.destroyed || unanswered.has(session)) {
      return true;
    }
    if (session.closed && bytesRead.get(session) === socket.bytesRead) {
      unanswered.add(session);
    } else if (session.closed) {
      bytesRead.set(session, socket.bytesRead);
    }
    return false;
  }

  function ping(session: ServerHttp2Session): void {
    unanswered.add(session);
    session.ping((error) => {
      // It says goodbye at this moment.
      if (error === null || session.closed) {
        unanswered.delete(session);
      }
    });
  }

  const timer = setInterval(() => {
    for (const [session, socket] of sessions) {
      if (isGone(session, socket)) {
        session.destroy();
        socket.destroy();
      } else if (!session.closed) {
        ping(session);
      }
    }
  }, intervalMs);
  return () => clearInterval(timer);
}
