import { Agent, request } from "undici";

export interface Sent {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
}

export interface ToSend {
  method?: "GET" | "POST" | "PUT" | "DELETE" | "PATCH" | "HEAD" | "OPTIONS";
  headers?: Record<string, string>;
  body?: string | Buffer;
}

/** One request without any header that was not asked for, and without following redirects. */
export async function send(url: string, { method = "POST", headers = {}, body }: ToSend = {}): Promise<Sent> {
  const answer = await request(url, { method, headers, ...(body === undefined ? {} : { body }) });
  return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() };
}

/** A POST of JSON. */
export async function post(url: string, value: unknown, headers: Record<string, string> = {}): Promise<Sent> {
  return await send(url, {
    headers: { "content-type": "application/json", ...headers },
    body: typeof value === "string" ? value : JSON.stringify(value),
  });
}

/** A POST of JSON over a connection of its own: one from a pool may have been cut without its client knowing. */
export async function postAlone(url: string, value: unknown, headers: Record<string, string>): Promise<Sent> {
  const dispatcher = new Agent();
  try {
    const answer = await request(url, {
      dispatcher,
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(value),
    });
    return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() };
  } finally {
    await dispatcher.close();
  }
}

/** A call to a control surface. Returns what the answer's JSON says, or undefined when it says nothing. */
// biome-ignore lint/suspicious/noExplicitAny: a test knows what it asked for
export async function control(url: string, call: string, value?: unknown): Promise<any> {
  const [method, path] = call.split(" ");
  const answer = await send(`${url}/_sandbox${path}`, {
    method: method as "GET",
    ...(value === undefined ? {} : { body: JSON.stringify(value) }),
  });
  if (answer.status >= 400) {
    throw new Error(`${call}: ${answer.status} ${answer.text}`);
  }
  return answer.text === "" ? undefined : JSON.parse(answer.text);
}

/** Waits until a condition holds, for as long as the test may run. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
