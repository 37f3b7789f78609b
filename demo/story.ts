import { isDeepStrictEqual } from "node:util";

/** Tells what happens, for a person, and keeps account of what should have. */
export interface Story {
  title(text: string): void;
  /** Makes a call and tells what it was and how long it took. */
  step<Result>(text: string, call: () => Promise<Result>): Promise<Result>;
  /** Tells whether a system has what it should have. */
  check(text: string, actual: unknown, expected: unknown): void;
  /** Tells how it ended; true when every check held. */
  end(): boolean;
}

/** Creates a story that is told on standard output. */
export function createStory(): Story {
  let checks = 0;
  let failures = 0;
  return {
    title: (text) => console.log(`\n${text}`),
    async step(text, call) {
      const startMs = performance.now();
      const result = await call();
      console.log(`  ${text.padEnd(64)} ${(performance.now() - startMs).toFixed(1).padStart(7)} ms`);
      return result;
    },
    check(text, actual, expected) {
      checks += 1;
      const holds = isDeepStrictEqual(actual, expected);
      failures += holds ? 0 : 1;
      console.log(`  ${holds ? "✓" : "✗"} ${text}`);
      if (!holds) {
        console.log(`    expected ${JSON.stringify(expected)}\n    but got  ${JSON.stringify(actual)}`);
      }
    },
    end() {
      const verdict =
        failures === 0 ? "every system got what it should" : `${failures} of ${checks} checks failed`;
      console.log(`\n${failures === 0 ? "✓" : "✗"} ${verdict}`);
      return failures === 0 && checks > 0;
    },
  };
}

/** Asks a sandbox, by its control surface. */
export async function ask(url: string, method = "GET", body?: unknown): Promise<unknown> {
  const response = await fetch(url, {
    method,
    ...(body === undefined
      ? {}
      : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });
  if (!response.ok) {
    throw new Error(`${method} ${url} was answered ${response.status}: ${await response.text()}`);
  }
  return response.json();
}
