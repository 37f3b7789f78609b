import http from "node:http";
import http2, { type ServerHttp2Session } from "node:http2";
import net, { type Socket } from "node:net";
import tls from "node:tls";
import { formatListenAddress, type ListenAddress } from "../model/listen-address.ts";
import { keepAlive } from "./keep-alive.ts";
import type { RpcHandler } from "./rpc-handler.ts";
import { bindUnixSocket } from "./unix-socket.ts";

export interface ListenerOptions {
  address: ListenAddress;
  /** PEM texts. Undefined: plain text. With `clientCa` a client must show a certificate. */
  tls?: { cert: string; key: string; clientCa?: string } | undefined;
  handler: RpcHandler;
  /** How many connections may be open at once; more are closed as they come. */
  maxConnections: number;
  /** How many calls one HTTP/2 connection may have under way. */
  maxStreams: number;
  /** How long a new connection may keep silent, and a request's head may take. */
  firstByteTimeoutMs: number;
  /** How often HTTP/2 clients are pinged; one that does not answer before the next is gone. */
  pingIntervalMs: number;
}

/** A listening port. */
export interface Listener {
  /** The address, with the port that was chosen where 0 was asked for. */
  address: ListenAddress;
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
  const { handler } = options;
  const sockets = new Set<Socket>();
  const sessions = new Map<ServerHttp2Session, Socket>();
  let isClosing = false;

  // Only makes Node's request and response objects for streams that are handed
  // to it; it never listens.
  const compat = http2.createServer((request, response) => handler.onRequest(request, response));
  compat.on("checkContinue", (request, response) => {
    // Node would throw if the stream was reset in the packet that began it.
    if (!response.stream.closed && !response.stream.destroyed) {
      response.writeContinue();
    }
    handler.onRequest(request, response);
  });
  const h2 = http2.createServer({
    settings: {
      maxConcurrentStreams: options.maxStreams,
      initialWindowSize: 1024 * 1024,
      maxHeaderListSize: 16 * 1024,
    },
    maxSettings: 32,
  });
  h2.on("stream", (stream, headers, flags, rawHeaders) => {
    if (!handler.onStream(stream, headers)) {
      compat.emit("stream", stream, headers, flags, rawHeaders);
    }
  });

  function serveHttp2(socket: Socket): void {
    h2.once("session", (session) => {
      session.setLocalWindowSize(4 * 1024 * 1024);
      sessions.set(session, socket);
      session.once("close", () => sessions.delete(session));
      if (isClosing) {
        session.close();
      }
    });
    h2.emit("connection", socket);
  }

  const h1 = http.createServer(
    { headersTimeout: options.firstByteTimeoutMs, requestTimeout: 0, keepAliveTimeout: 60_000 },
    (request, response) => {
      response.once("close", () => {
        if (isClosing) {
          h1.closeIdleConnections();
        }
      });
      handler.onRequest(request, response);
    },
  );
  // It never listens by itself, but only then begins to watch its timeouts.
  h1.emit("listening");

  // Of TLS as well, before its handshake: a socket that stalls there must be closed, too.
  function track(socket: Socket): void {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    ignoreErrors(socket);
  }

  function accept(socket: Socket): void {
    if (socket instanceof tls.TLSSocket) {
      ignoreErrors(socket);
      if (socket.alpnProtocol === "h2") {
        serveHttp2(socket);
      } else {
        h1.emit("connection", socket);
      }
      return;
    }
    socket.setTimeout(options.firstByteTimeoutMs, () => socket.destroy());
    readPreface(socket, (isHttp2) => {
      socket.setTimeout(0);
      if (isHttp2) {
        // It takes the bytes that were put back, and then the handle itself.
        serveHttp2(socket);
      } else {
        h1.emit("connection", socket);
        socket.resume();
      }
    });
  }

  const server =
    options.tls === undefined
      ? net.createServer({ noDelay: true, keepAlive: true }, accept)
      : tls.createServer(
          {
            cert: options.tls.cert,
            key: options.tls.key,
            ALPNProtocols: ["h2", "http/1.1"],
            handshakeTimeout: options.firstByteTimeoutMs,
            noDelay: true,
            keepAlive: true,
            ...(options.tls.clientCa === undefined
              ? {}
              : { ca: options.tls.clientCa, requestCert: true, rejectUnauthorized: true }),
          },
          accept,
        );
  server.prependListener("connection", track);
  server.on("tlsClientError", (_, socket: Socket) => socket.destroy());
  server.maxConnections = options.maxConnections;
  const address = await bind(server, options.address);
  const stopKeepAlive = keepAlive(sessions, options.pingIntervalMs);

  return {
    address,
    async close(graceMs) {
      isClosing = true;
      // From now on the end of the time watches over them.
      stopKeepAlive();
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

async function bind(server: net.Server, address: ListenAddress): Promise<ListenAddress> {
  if (address.kind === "unix") {
    await bindUnixSocket(server, address.path);
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
