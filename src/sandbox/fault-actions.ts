import type { ServerResponse } from "node:http";
import { sleep } from "./clock.ts";
import type { FaultAction } from "./faults.ts";
import { type Exchange, sendAnswer, writeHead } from "./http-exchange.ts";
import { emptyAnswer, type HttpAnswer, textAnswer } from "./http-message.ts";

/**
 * Does what a fault does to an exchange, up to its end. `answer` is what the upstream said, if it was asked.
 * Returns the status that was sent, or null when none was.
 */
export async function performFault(
  action: Exclude<FaultAction, { kind: "delay" }>,
  exchange: Exchange,
  answer: HttpAnswer = textAnswer(200, "application/json", '{"fault":"the upstream was not asked"}'),
): Promise<number | null> {
  const { response, request, over } = exchange;
  switch (action.kind) {
    case "hang":
      await over;
      return null;
    case "noAnswerClose":
      request.socket.end();
      await over;
      return null;
    case "reset":
      if (action.at === "answer") {
        await sendPart(response, answer, half(answer));
      }
      request.socket.resetAndDestroy();
      await over;
      return action.at === "answer" ? answer.status : null;
    case "truncate":
      await sendPart(response, answer, action.bytes ?? half(answer));
      request.socket.end();
      await over;
      return answer.status;
    case "dribble":
      return await dribble(exchange, answer, action.intervalMs);
    case "endless":
      return await pourEndlessly(exchange, action.contentType ?? "application/json");
    default: {
      const other = otherAnswer(action);
      await sendAnswer(exchange, other);
      return other.status;
    }
  }
}

type AnswerFault = Extract<
  FaultAction,
  { kind: "answer" | "html" | "redirect" | "yamlBomb" | "deepNesting" }
>;

function otherAnswer(action: AnswerFault): HttpAnswer {
  switch (action.kind) {
    case "answer": {
      const { status, headers = {}, body = "", contentType } = action;
      return { status, headers: contentType ? { "content-type": contentType, ...headers } : headers, body };
    }
    case "redirect":
      return emptyAnswer(action.status, { location: action.location });
    case "html":
      return textAnswer(200, "text/html; charset=utf-8", "<!doctype html><title>Sign in</title>\n");
    case "yamlBomb":
      return textAnswer(200, action.contentType ?? "text/yaml", yamlBomb());
    case "deepNesting": {
      const depth = action.depth ?? 100_000;
      const body = `{"result": ${"[".repeat(depth)}${"]".repeat(depth)}}`;
      return textAnswer(200, action.contentType ?? "application/json", body);
    }
  }
}

function yamlBomb(): string {
  const levels = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
  const lines = levels.map((name, level) => {
    const below = levels[level - 1];
    return `${name}: &${name} [${Array(10)
      .fill(below ? `*${below}` : "lol")
      .join(", ")}]`;
  });
  return `${lines.join("\n")}\nresult: *i\n`;
}

function half(answer: HttpAnswer): number {
  return Math.floor(Buffer.byteLength(answer.body) / 2);
}

/** Sends the head and the first `bytes` of the body, and resolves when they are on their way. */
function sendPart(response: ServerResponse, answer: HttpAnswer, bytes: number): Promise<void> {
  writeHead(response, answer);
  response.flushHeaders();
  return new Promise((resolve) =>
    response.write(Buffer.from(answer.body).subarray(0, bytes), () => resolve()),
  );
}

async function dribble(
  { response, clock, over, isOver }: Exchange,
  answer: HttpAnswer,
  intervalMs: number,
): Promise<number> {
  writeHead(response, answer);
  response.flushHeaders();
  for (const byte of Buffer.from(answer.body)) {
    await Promise.race([sleep(clock, intervalMs), over]);
    if (isOver()) {
      return answer.status;
    }
    response.write(Buffer.of(byte));
  }
  response.end();
  await over;
  return answer.status;
}

async function pourEndlessly({ response, over, isOver }: Exchange, contentType: string): Promise<number> {
  const chunk = Buffer.alloc(64 * 1024, " ");
  response.writeHead(200, { "content-type": contentType });
  while (!isOver()) {
    const hasRoom = response.write(chunk);
    const next = new Promise((go) => (hasRoom ? setImmediate(go) : response.once("drain", go)));
    await Promise.race([next, over]);
  }
  return 200;
}
