import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Clock, ownClock, sleep } from "./clock.ts";
import { answerControl } from "./control-surface.ts";
import { performFault } from "./fault-actions.ts";
import { createFaultRules, type FaultRules } from "./faults.ts";
import {
  answerWith,
  type Exchange,
  httpRequest,
  openExchange,
  readBody,
  sendAnswer,
  splitTarget,
} from "./http-exchange.ts";
import type { HttpAnswer } from "./http-message.ts";
import type { Random } from "./ids.ts";
import { listen, listenAgain, stop } from "./listening.ts";
import { createInFlight, createRequestLog, type RecordedRequest } from "./request-log.ts";
import type { Upstream } from "./upstream.ts";

export interface Faults extends FaultRules {
  readonly down: boolean;
  /**
   * Down: the port is closed, open connections are cut, new ones are refused by the kernel. Up again: on the same
   * port. Resolves when that is so.
   */
  setDown(down: boolean): Promise<void>;
}

export interface UpstreamServer {
  /** Without a slash at its end. */
  readonly url: string;
  readonly faults: Faults;
  /** Oldest first; the last 100,000, fewer when their bodies are large. */
  readonly requests: readonly RecordedRequest[];
  clearRequests(): void;
  /** As `POST /_sandbox/reset`: forgets state, requests and fault rules, and comes up if it is down. */
  reset(): Promise<void>;
  /** Cuts every connection and forgets every timer. */
  close(): Promise<void>;
}

export interface ListenOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly clock: Clock;
  readonly random: Random;
}

/** Puts an upstream behind a port of its own, with recording, faults and the control surface. */
export async function startUpstreamServer(
  upstream: Upstream,
  options: ListenOptions,
): Promise<UpstreamServer> {
  const { host, random } = options;
  const clock = ownClock(options.clock);
  const log = createRequestLog();
  const inFlight = createInFlight();
  const rules = createFaultRules(random);
  const server = createServer((request, response) => {
    const exchange = openExchange(request, response, clock);
    const { path } = splitTarget(request);
    void (path.startsWith("/_sandbox/") ? serveControl(exchange) : serve(exchange));
  });
  await listen(server, host, options.port);
  const { port } = server.address() as AddressInfo;

  let turned = Promise.resolve();
  const faults = Object.assign(rules, {
    down: false,
    async setDown(down: boolean) {
      if (faults.down === down) {
        return await turned;
      }
      faults.down = down;
      // One after the other: a port cannot be opened while it is being closed.
      turned = turned.catch(() => {}).then(() => (down ? stop(server) : listenAgain(server, host, port)));
      await turned;
    },
  });
  const running: UpstreamServer = {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    faults,
    get requests() {
      return log.entries;
    },
    clearRequests: log.clear,
    async reset() {
      upstream.reset();
      log.clear();
      faults.clear();
      await faults.setDown(false);
    },
    async close() {
      clock.cancelAll();
      upstream.reset();
      await turned;
      await stop(server);
    },
  };
  return running;

  async function serve(exchange: Exchange): Promise<void> {
    const { request } = exchange;
    const { path } = splitTarget(request);
    const method = request.method ?? "";
    const record = log.begin({
      atMs: clock.now(),
      method,
      path: request.url ?? "",
      headers: request.headers,
      rawHeaders: request.rawHeaders,
    });
    try {
      const atHead = rules.strike({ path, methods: [method], body: undefined });
      if (atHead !== undefined) {
        record.fault = atHead.id;
        request.socket.resetAndDestroy();
        return;
      }
      const { bytes, complete } = await readBody(request, upstream.maxBodyBytes);
      log.keepBody(record, bytes.toString());
      if (complete) {
        record.status = await respond(exchange, record, bytes);
      }
    } catch {
      // A fault rule can ask for what HTTP cannot send, such as a header with a line break.
      request.socket.destroy();
    } finally {
      record.endMs = clock.now();
    }
  }

  /** Serves a request whose body has been read, and returns the status that was sent. */
  async function respond(exchange: Exchange, record: RecordedRequest, bytes: Buffer): Promise<number | null> {
    if (bytes.length > upstream.maxBodyBytes) {
      return await answerWith(exchange, upstream.tooLarge());
    }
    const request = httpRequest(exchange.request, bytes);
    const reception = upstream.receive(request);
    if (reception.parsed !== undefined) {
      record.parsed = reception.parsed;
    }
    const presence = reception.subject === undefined ? undefined : inFlight.enter(reception.subject);
    record.concurrent = presence?.before ?? 0;
    try {
      const methods = [request.method, ...(reception.rpcMethod === undefined ? [] : [reception.rpcMethod])];
      const fault = rules.strike({ path: request.path, methods, body: record.body });
      const { action, when = "before" } = fault?.rule ?? {};
      if (fault !== undefined) {
        record.fault = fault.id;
      }
      if (action?.kind === "delay" && when === "before") {
        await sleep(clock, action.delayMs);
      }
      const isProcessed = action === undefined || action.kind === "delay" || when === "after";
      const answer = isProcessed ? await ask(reception.process) : undefined;
      if (action?.kind === "delay" && when === "after") {
        await sleep(clock, action.delayMs);
      }
      if (action === undefined || action.kind === "delay") {
        return await answerWith(exchange, answer ?? upstream.crashed());
      }
      return await performFault(action, exchange, answer);
    } finally {
      presence?.leave();
    }
  }

  async function ask(act: () => HttpAnswer | Promise<HttpAnswer>): Promise<HttpAnswer> {
    try {
      return await act();
    } catch {
      return upstream.crashed();
    }
  }

  async function serveControl(exchange: Exchange): Promise<void> {
    const { bytes, complete } = await readBody(exchange.request, upstream.maxBodyBytes);
    if (!complete) {
      return;
    }
    const answer = await answerControl(httpRequest(exchange.request, bytes), upstream, running, clock);
    await sendAnswer(exchange, answer);
    answer.afterwards?.();
  }
}
