import type { Socket } from "node:net";
import { peerOf } from "./peer-of.ts";

/** Places for connections, of which there are only so many. */
export interface ConnectionPlaces {
  /**
   * Takes a place until the connection is closed. Where all are taken, the oldest
   * connection for which no call was admitted is closed for it. Undefined: it has one;
   * otherwise why there is none.
   */
  take(socket: Socket): string | undefined;
  /** A call of the connection was admitted: nobody is given its place any more. */
  keep(socket: Socket): void;
}

/** Creates the places. */
export function createConnectionPlaces(limits: {
  maxConnections: number;
  maxConnectionsPerPeer: number;
}): ConnectionPlaces {
  const byPeer = new Map<string, number>();
  // In the order in which they came.
  const strangers = new Map<unknown, Socket>();
  let taken = 0;

  function countPeer(peer: string | undefined, change: number): void {
    if (peer === undefined) {
      return;
    }
    const count = (byPeer.get(peer) ?? 0) + change;
    if (count > 0) {
      byPeer.set(peer, count);
    } else {
      byPeer.delete(peer);
    }
  }

  return {
    take(socket) {
      const peer = peerOf(socket);
      if (peer !== undefined && (byPeer.get(peer) ?? 0) >= limits.maxConnectionsPerPeer) {
        return "its peer has too many connections";
      }
      if (taken >= limits.maxConnections) {
        const [oldest] = strangers;
        if (oldest === undefined) {
          return "there are too many connections";
        }
        strangers.delete(oldest[0]);
        oldest[1].destroy();
      }
      const key = keyOf(socket);
      taken += 1;
      countPeer(peer, 1);
      strangers.set(key, socket);
      socket.once("close", () => {
        taken -= 1;
        countPeer(peer, -1);
        strangers.delete(key);
      });
      return undefined;
    },
    keep: (socket) => void strangers.delete(keyOf(socket)),
  };
}

// Of TLS there are two sockets for one connection, and nothing public joins them.
function keyOf(socket: Socket): unknown {
  return socket.remotePort === undefined ? socket : `${socket.remoteAddress} ${socket.remotePort}`;
}
