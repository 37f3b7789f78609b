import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** A POST as a client without a gateway sends it. */
export interface NaivePost {
  path: string;
  body: string;
}

/**
 * Sends them at the same instant, each on a connection of its own: all but the last
 * byte of each goes ahead. Resolves with their statuses.
 */
export async function postTogether(url: string, posts: readonly NaivePost[]): Promise<number[]> {
  const { hostname, port, host } = new URL(url);
  const open = await Promise.all(
    posts.map(async ({ path, body }) => {
      const head = [
        `POST ${path} HTTP/1.1`,
        `host: ${host}`,
        "content-type: application/json",
        `content-length: ${Buffer.byteLength(body)}`,
        "connection: close",
      ];
      const text = Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`);
      const socket = net.connect({ host: hostname, port: Number(port), noDelay: true });
      await once(socket, "connect");
      socket.write(text.subarray(0, -1));
      return { socket, lastByte: text.subarray(-1) };
    }),
  );
  // What was sent ahead is to be read by then; the race is the server's own.
  await sleep(50);
  for (const { socket, lastByte } of open) {
    socket.write(lastByte);
  }
  return Promise.all(open.map(({ socket }) => readStatus(socket)));
}

async function readStatus(socket: net.Socket): Promise<number> {
  let answer = "";
  socket.setEncoding("utf8");
  for await (const chunk of socket) {
    answer += chunk;
  }
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);
}
