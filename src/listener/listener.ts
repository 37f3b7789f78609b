import http from "node:http";
import http2, {
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import net, { type Socket } from "node:net";
import tls from "node:tls";
import { formatListenAddress, type ListenAddress, type SocketAccess } from "../model/listen-address.ts";
import type { PeerLimits } from "../model/peer-limits.ts";
import { createConnectionPlaces } from "./connection-places.ts";
import { keepAlive } from "./keep-alive.ts";
import { peerOf } from "./peer-of.ts";
import { createPeerPenalties } from "./peer-penalties.ts";
import type { RpcHandler } from "./rpc-handler.ts";
import { sessionWindowBytes, streamWindowBytes, watchSessions } from "./session-watch.ts";
import { bindUnixSocket } from "./unix-socket.ts";

/** What TLS needs, as PEM. */
export interface ListenerTls {
  cert: string;
  key: string;
  /** Who signs certificates of clients, which must then show one. */
  clientCa?: string | undefined;
}

export interface ListenerOptions {
  address: ListenAddress;
  /** Who may connect to a Unix socket. Default: its owner and the process's group. */
  socketAccess?: SocketAccess;
  /** Undefined: plain text. */
  tls?: ListenerTls | undefined;
  handler: RpcHandler;
  limits: PeerLimits;
  /** How often HTTP/2 clients are pinged; one that does not answer before the next is gone. */
  pingIntervalMs: number;
  /** Is told why a connection was refused or cut off by a limit. */
  onCutOff?: (why: string) => void;
}

/** A listening port. */
export interface Listener {
  /** The address, with the port that was chosen where 0 was asked for. */
  address: ListenAddress;
  /**
   * Speaks TLS with other certificates from the next connection on; a session of before
   * is not resumed. Throws when they are wrong, and keeps those before. Only where it
   * speaks TLS, and wants certificates of clients if and only if it did before.
   */
  replaceTls(tls: ListenerTls): void;
  /**
   * Takes no more connections, asks clients to leave, waits for the calls under
   * way up to `graceMs`, then ends what is left.
   */
  close(graceMs: number): Promise<void>;
}

/**
 * Serves HTTP/2 and HTTP/1.1 on one port: by ALPN with TLS, by the first bytes
 * without. Rejects when the address cannot be bound.
 */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const { handler, limits, onCutOff = () => undefined } = options;
  const sockets = new Set<Socket>();
  // Kept: a socket that is closed has forgotten it.
  const peers = new WeakMap<Socket, string | undefined>();
  const sessions = new Map<ServerHttp2Session, Socket>();
  const places = createConnectionPlaces(limits);
  // Those for which no call was admitted yet, and what is to be done when one is.
  const strangers = new Map<unknown, () => void>();
  const now = () => performance.now();
  const penalties = createPeerPenalties(limits.maxPenaltyMs, now);
  const watch = watchSessions({
    limits,
    now,
    onCutOff(why, socket) {
      penalties.add(peers.get(socket));
      onCutOff(why);
    },
  });
  let isClosing = false;

  // Only makes Node's request and response objects for streams that are handed
  // to it; it never listens.
  const compat = http2.createServer(serveCompat);
  compat.on("checkContinue", (request, response) => {
    // Node would throw if the stream was reset in the packet that began it.
    if (!response.stream.closed && !response.stream.destroyed) {
      response.writeContinue();
    }
    serveCompat(request, response);
  });
  function serveCompat(request: Http2ServerRequest, response: Http2ServerResponse): void {
    handler.onRequest(request, response, () => strangers.get(response.stream.session)?.());
  }
  const h2 = http2.createServer({
    settings: {
      maxConcurrentStreams: limits.maxStreams,
      initialWindowSize: streamWindowBytes,
      maxHeaderListSize: limits.maxHeaderBytes,
    },
    maxSettings: 32,
    // Each costs about as much as a call: not all of a minute's at once.
    streamResetBurst: Math.ceil(limits.maxResetsPerMinute / 3),
    streamResetRate: Math.ceil(limits.maxResetsPerMinute / 60),
  });
  h2.on("stream", (stream, headers, flags, rawHeaders) => {
    watch.addStream(stream);
    if (!handler.onStream(stream, headers, strangers.get(stream.session))) {
      compat.emit("stream", stream, headers, flags, rawHeaders);
    }
  });

  function serveHttp2(socket: Socket): void {
    h2.once("session", (session) => {
      session.setLocalWindowSize(sessionWindowBytes);
      sessions.set(session, socket);
      session.once("close", () => sessions.delete(session));
      strangers.set(session, () => {
        strangers.delete(session);
        places.keep(socket);
      });
      session.once("close", () => strangers.delete(session));
      watch.add(session, socket);
      if (isClosing) {
        session.close();
      }
    });
    h2.emit("connection", socket);
  }

  const h1 = http.createServer(
    {
      headersTimeout: limits.firstByteTimeoutMs,
      connectionsCheckingInterval: Math.min(1000, Math.ceil(limits.firstByteTimeoutMs / 2)),
      maxHeaderSize: limits.maxHeaderBytes,
      requestTimeout: 0,
      keepAliveTimeout: Math.min(60_000, limits.idleTimeoutMs),
    },
    (request, response) => {
      response.once("close", () => {
        if (isClosing) {
          h1.closeIdleConnections();
        }
      });
      handler.onRequest(request, response, () => places.keep(request.socket));
    },
  );
  // It never listens by itself, but only then begins to watch its timeouts.
  h1.emit("listening");

  // Of TLS as well, before its handshake: a socket that stalls there must be closed, too.
  function track(socket: Socket): void {
    const problem = places.take(socket);
    if (problem !== undefined) {
      socket.destroy();
      onCutOff(problem);
      return;
    }
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    ignoreErrors(socket);
  }

  function accept(socket: Socket): void {
    if (socket.destroyed) {
      return;
    }
    const peer = peerOf(socket);
    peers.set(socket, peer);
    const delayMs = penalties.delayMs(peer);
    if (delayMs > 0) {
      setTimeout(serve, delayMs, socket);
    } else {
      serve(socket);
    }
  }

  function serve(socket: Socket): void {
    if (socket.destroyed) {
      return;
    }
    if (socket instanceof tls.TLSSocket) {
      ignoreErrors(socket);
      if (socket.alpnProtocol === "h2") {
        serveHttp2(socket);
      } else {
        h1.emit("connection", socket);
        // Has the parser fed by the stream: what TLS feeds it is not held back while a large
        // answer is being written, which ends the connection ("Parse Error: Paused").
        socket.on("data", () => undefined);
      }
      return;
    }
    // Not the socket's own timeout, which begins anew with each byte.
    const timer = setTimeout(() => socket.destroy(), limits.firstByteTimeoutMs);
    socket.once("close", () => clearTimeout(timer));
    readPreface(socket, (isHttp2) => {
      clearTimeout(timer);
      if (isHttp2) {
        // It takes the bytes that were put back, and then the handle itself.
        serveHttp2(socket);
      } else {
        h1.emit("connection", socket);
        socket.resume();
      }
    });
  }

  const tlsServer =
    options.tls &&
    tls.createServer(
      {
        ...secureContext(options.tls),
        ALPNProtocols: ["h2", "http/1.1"],
        handshakeTimeout: limits.firstByteTimeoutMs,
        noDelay: true,
        keepAlive: true,
        ...(options.tls.clientCa === undefined ? {} : { requestCert: true, rejectUnauthorized: true }),
      },
      accept,
    );
  const server = tlsServer ?? net.createServer({ noDelay: true, keepAlive: true }, accept);
  server.prependListener("connection", track);
  server.on("tlsClientError", (_, socket: Socket) => socket.destroy());
  const address = await bind(server, options.address, options.socketAccess).catch((error) => {
    watch.stop();
    throw error;
  });
  const stopKeepAlive = keepAlive(sessions, options.pingIntervalMs);

  return {
    address,
    replaceTls(replacement) {
      // Node forgets the old one before it finds fault with the new one.
      tls.createSecureContext(secureContext(replacement));
      tlsServer?.setSecureContext(secureContext(replacement));
    },
    async close(graceMs) {
      isClosing = true;
      // From now on the end of the time watches over them.
      stopKeepAlive();
      watch.stop();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const timer = setTimeout(() => destroyAll(sockets), graceMs);
      for (const session of sessions.keys()) {
        session.close();
      }
      h1.closeIdleConnections();
      for (const socket of sockets) {
        // Still silent: nothing is under way on it.
        if (socket.bytesRead === 0) {
          socket.destroy();
        }
      }
      await closed;
      clearTimeout(timer);
      // Ends the watch over timeouts.
      h1.close(() => undefined);
    },
  };
}

function secureContext({ cert, key, clientCa }: ListenerTls): tls.SecureContextOptions {
  return { cert, key, ...(clientCa === undefined ? {} : { ca: clientCa }) };
}

// What there is to say of a broken connection is said by its end.
function ignoreErrors(socket: Socket): void {
  socket.on("error", () => undefined);
}

function destroyAll(sockets: ReadonlySet<Socket>): void {
  for (const socket of sockets) {
    socket.destroy();
  }
}

const preface = Buffer.from("PRI * HTTP/2.0\r\n");

// Tells HTTP/2 with prior knowledge from HTTP/1.1 by as many bytes as it takes,
// and puts them back.
function readPreface(socket: Socket, done: (isHttp2: boolean) => void): void {
  let seen: Buffer = Buffer.alloc(0);
  socket.on("data", onData);
  function onData(chunk: Buffer): void {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, preface.length);
    const isPreface = seen.compare(preface, 0, length, 0, length) === 0;
    if (isPreface && length < preface.length) {
      return;
    }
    socket.off("data", onData);
    socket.pause();
    socket.unshift(seen);
    done(isPreface);
  }
}

async function bind(
  server: net.Server,
  address: ListenAddress,
  socketAccess: SocketAccess = { mode: 0o660, gid: undefined },
): Promise<ListenAddress> {
  if (address.kind === "unix") {
    await bindUnixSocket(server, address.path, socketAccess);
    return address;
  }
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: address.host, port: address.port, backlog: 1024 }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const bound = server.address();
  if (bound === null || typeof bound === "string") {
    throw new Error(`${formatListenAddress(address)} has no port`);
  }
  return { ...address, port: bound.port };
}
