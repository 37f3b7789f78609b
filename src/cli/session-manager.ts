import http2 from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { GrpcTransportOptions } from "@connectrpc/connect-node";

/** Keeps one connection to a gateway, made when it is wanted and made anew when it is lost. */
export interface SessionManager extends NonNullable<GrpcTransportOptions["sessionManager"]> {
  /** Ends the connection, and what is under way on it. */
  close: () => void;
}

type ConnectOptions = http2.ClientSessionOptions | http2.SecureClientSessionOptions;

// A connection that has been silent is asked whether it is alive before it is used.
const silenceMs = 5000;
const answerMs = 5000;
const connectMs = 10_000;

/**
 * Creates it. Connect's own leaves sessions without a listener: one whose other end
 * speaks HTTP/1 ends the process (MEASURED with connect-node 2.2.0).
 */
export function createSessionManager(baseUrl: string, options: ConnectOptions): SessionManager {
  let current: Promise<http2.ClientHttp2Session> | undefined;
  let opened: http2.ClientHttp2Session | undefined;
  let aliveMs = 0;

  function open(): Promise<http2.ClientHttp2Session> {
    const session = http2.connect(baseUrl, options);
    opened = session;
    const opening = new Promise<http2.ClientHttp2Session>((resolve, reject) => {
      const timer = setTimeout(() => session.destroy(new Error("no connection in time")), connectMs);
      function fail(error?: Error): void {
        clearTimeout(timer);
        forget();
        const message = error?.message ?? "the connection was closed";
        reject(new ConnectError(message, Code.Unavailable, undefined, undefined, error));
      }
      session.on("error", fail);
      session.on("close", () => fail());
      session.on("goaway", forget);
      session.on("connect", () => {
        clearTimeout(timer);
        aliveMs = performance.now();
        resolve(session);
      });
    });
    function forget(): void {
      if (current === opening) {
        current = undefined;
      }
      // What is under way on it may still end.
      if (!session.destroyed && !session.closed) {
        session.close();
      }
    }
    return opening;
  }

  async function ready(): Promise<http2.ClientHttp2Session> {
    current ??= open();
    const asked = current;
    const session = await asked;
    if (performance.now() - aliveMs > silenceMs && !(await isAlive(session))) {
      destroy(session);
      // Another call may have found it silent, too.
      current = current === asked ? open() : (current ?? open());
      return current;
    }
    aliveMs = performance.now();
    return session;
  }

  return {
    authority: new URL(baseUrl).origin,
    async request(method, path, headers, requestOptions) {
      const session = await ready();
      return session.request({ ...headers, ":method": method, ":path": path }, requestOptions);
    },
    notifyResponseByteRead() {
      aliveMs = performance.now();
    },
    close() {
      current = undefined;
      if (opened !== undefined) {
        destroy(opened);
      }
    },
  };
}

// With an error: without one, what is under way is not told.
function destroy(session: http2.ClientHttp2Session): void {
  session.destroy(new Error("the connection was given up"), http2.constants.NGHTTP2_CANCEL);
}

function isAlive(session: http2.ClientHttp2Session): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), answerMs);
    function settle(isAnswered: boolean): void {
      clearTimeout(timer);
      resolve(isAnswered);
    }
    try {
      if (!session.ping((error) => settle(error === null))) {
        settle(false);
      }
    } catch {
      settle(false);
    }
  });
}
