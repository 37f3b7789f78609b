import { expect, onTestFinished, test } from "vitest";
import { formatListenAddress } from "../../src/model/listen-address.ts";
import { type ProbeServerOptions, serveProbes } from "../../src/ops/probe-server.ts";

async function use(options: Partial<ProbeServerOptions> = {}): Promise<string> {
  const server = await serveProbes({
    address: { kind: "tcp", host: "127.0.0.1", port: 0 },
    isStarted: () => true,
    isReady: () => true,
    timeoutMs: 10_000,
    maxHeaderBytes: 16 * 1024,
    places: { take: () => undefined, keep: () => undefined },
    ...options,
  });
  onTestFinished(() => server.close());
  return `http://${formatListenAddress(server.address)}`;
}

async function ask(url: string, init?: RequestInit): Promise<[number, string]> {
  const response = await fetch(url, init);
  return [response.status, await response.text()];
}

const metrics = async (accept: string | undefined) => ({
  contentType: "text/plain",
  body: `for ${accept}\n`,
});

test("metrics are given what the caller accepts", async () => {
  const url = await use({ metrics });
  expect(await ask(`${url}/metrics`, { headers: { accept: "a/b" } })).toEqual([200, "for a/b\n"]);
  expect(await ask(`${url}/metrics?x=y`, { method: "HEAD" })).toEqual([200, ""]);
  expect(await ask(`${url}/metrics`, { method: "POST" })).toEqual([405, "only GET and HEAD\n"]);
});

test("without metrics there is no such path", async () => {
  expect(await ask(`${await use()}/metrics`)).toEqual([404, "not found\n"]);
});

test("metrics that fail are told, and the probes go on", async () => {
  const errors: unknown[] = [];
  const failure = new Error("a secret detail");
  const url = await use({
    metrics: () => Promise.reject(failure),
    onUnexpectedError: (error) => errors.push(error),
  });
  expect(await ask(`${url}/metrics`)).toEqual([500, "it failed; the log says why\n"]);
  expect(errors).toEqual([failure]);
  expect(await ask(`${url}/livez`)).toEqual([200, "ok\n"]);
});
