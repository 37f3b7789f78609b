import { createWatchedFiles } from "./files/watched-files.ts";
import type { Credential } from "./model/credential.ts";
import type { Log } from "./model/log.ts";
import type { Secret } from "./model/secret.ts";

export interface GatewaySecretsDeps {
  setTimer: (run: () => void, delayMs: number) => () => void;
  log: Log;
}

/** The secrets that the gateway runs with, as their files say them now. */
export interface GatewaySecrets {
  /** What a secret stands for now. */
  live<Value>(secret: Secret<Value>): () => Value;
  /** A part of a secret as a credential. */
  credential<Value, Part>(secret: Secret<Value>, part: (value: Value) => Part): Credential<Part>;
  /**
   * Calls `onChange` with the texts of secrets that belong together whenever one of
   * them changes. What it throws is told, and the ones before are kept.
   */
  onChange(secrets: readonly Secret[], onChange: (texts: readonly string[]) => void): void;
  /** Reads no file any more. */
  close(): void;
}

/** Follows the files that secrets were read from. What cannot be used is told, and the one before is kept. */
export function joinSecrets({ setTimer, log }: GatewaySecretsDeps): GatewaySecrets {
  const files = createWatchedFiles({
    setTimer,
    onUnreadable: (path, message) =>
      log.warn("a file cannot be read: what it said before is kept", { file: path, message }),
  });
  const lives = new Map<Secret<unknown>, () => unknown>();

  function onChange(secrets: readonly Secret<unknown>[], use: (texts: readonly string[]) => void): void {
    const paths = secrets.map(({ path }) => path);
    if (paths.some((path) => path === undefined)) {
      return;
    }
    let used = secrets.map((secret) => secret.text());
    const settings = secrets.map(({ name }) => name).join(", ");
    files.watch(paths as string[], used, (contents) => {
      const texts = contents.map((content) => content.trim());
      if (texts.every((text, index) => text === used[index]?.trim())) {
        return;
      }
      try {
        use(texts);
        used = texts;
        log.info("a file has changed, and what it says is used from now on", { settings });
      } catch (error) {
        const message = error instanceof Error ? error.message : "unknown error";
        log.warn("a file has changed, and what it says cannot be used: what it said before is kept", {
          settings,
          message,
        });
      }
    });
  }

  function live<Value>(secret: Secret<Value>): () => Value {
    const known = lives.get(secret);
    if (known !== undefined) {
      return known as () => Value;
    }
    let value = parsed(secret, secret.text());
    onChange([secret], ([text = ""]) => {
      value = parsed(secret, text);
    });
    const current = () => value;
    lives.set(secret, current);
    return current;
  }

  return {
    live,
    onChange,
    credential(secret, part) {
      const current = live(secret);
      return {
        current: () => part(current()),
        async isReplaced(refused) {
          if (part(current()) === refused && secret.path !== undefined) {
            await files.look();
          }
          return part(current()) !== refused;
        },
      };
    },
    close: files.close,
  };
}

function parsed<Value>(secret: Secret<Value>, text: string): Value {
  const value = text === "" ? undefined : secret.parse(text);
  if (value === undefined) {
    throw new Error("it has not the form that it must have");
  }
  return value;
}
