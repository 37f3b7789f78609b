/** What may stand beside a message: plain values, never a secret or a payload. */
export type LogFields = Record<string, string | number | boolean | undefined>;

/** Writes one line per event. */
export interface Log {
  /** What is of use only to whoever looks for a fault. */
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  /** `error` is written with its stack. */
  error(message: string, error: unknown, fields?: LogFields): void;
}
