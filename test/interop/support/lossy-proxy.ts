import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { Stage } from "./stage.ts";

/** What is lost of a request. */
export type Loss =
  /** The upstream takes it, and its answer never comes back. */
  | "answer"
  /** It never comes to the upstream, though all of it was sent. */
  | "request";

/** What the client sees of the loss: its connection breaks, or nothing until it leaves itself. */
export type Sign = "break" | "silence";

export interface ProxiedRequest {
  path: string;
  headers: Record<string, string | string[] | undefined>;
  body: string;
  lost: Loss | undefined;
  /** What the upstream answered; undefined: it was not asked. */
  status: number | undefined;
}

/** Stands between a client and its upstream. */
export interface LossyProxy {
  url: string;
  /** All that came, in this order. */
  requests: ProxiedRequest[];
  /** Loses this of the next request to the path. Resolves when it is lost. */
  lose(loss: Loss, path: string, sign?: Sign): Promise<void>;
  /** The paths of callbacks that had two requests under way at once. */
  overlaps: string[];
}

/** Starts a proxy that passes on what comes, but for what it is told to lose. */
export async function startLossyProxy(stage: Stage, upstream: string): Promise<LossyProxy> {
  const requests: ProxiedRequest[] = [];
  const losses = new Map<string, { loss: Loss; sign: Sign; tell: () => void }>();
  const underWay = new Map<string, number>();
  const overlaps: string[] = [];
  const server = http.createServer(async (request, response) => {
    const path = request.url ?? "";
    const callback = path.replace(/\/progress$/, "");
    const others = underWay.get(callback) ?? 0;
    underWay.set(callback, others + 1);
    if (others > 0) {
      overlaps.push(callback);
    }
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request) {
        chunks.push(chunk);
      }
      const body = Buffer.concat(chunks);
      const ordered = losses.get(path);
      losses.delete(path);
      const { headers, socket } = request;
      const proxied: ProxiedRequest = {
        path,
        headers,
        body: body.toString("utf8"),
        lost: ordered?.loss,
        status: undefined,
      };
      requests.push(proxied);
      const lose = async ({ sign, tell }: { sign: Sign; tell: () => void }): Promise<void> => {
        tell();
        await (sign === "break" ? socket.destroy() : socket.destroyed || once(socket, "close"));
      };
      if (ordered?.loss === "request") {
        await lose(ordered);
        return;
      }
      const answer = await fetch(upstream + path, {
        method: request.method ?? "GET",
        headers: Object.fromEntries(
          ["content-type", "accept"].flatMap((name) => {
            const value = request.headers[name];
            return value === undefined ? [] : [[name, String(value)]];
          }),
        ),
        body,
        redirect: "manual",
        signal: AbortSignal.timeout(60_000),
      });
      const text = await answer.text();
      proxied.status = answer.status;
      if (ordered?.loss === "answer") {
        await lose(ordered);
        return;
      }
      response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" });
      response.end(text);
    } catch {
      request.socket.destroy();
    } finally {
      underWay.set(callback, (underWay.get(callback) ?? 1) - 1);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stage.onEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    lose: (loss, path, sign = "break") =>
      new Promise((tell) => {
        losses.set(path, { loss, sign, tell });
      }),
    overlaps,
  };
}
