/** A text that is not shown, as it was configured. */
export interface Secret<Value = string> {
  /** The spelling of the setting that gave it, with its place. For messages. */
  readonly name: string;
  /** What it was at the start. A function, so that nobody prints it by accident. */
  readonly text: () => string;
  /** The file that holds it, and may hold another one later. Undefined: it stays what it is. */
  readonly path: string | undefined;
  /** What the text stands for; undefined: it is not what it must be. */
  readonly parse: (text: string) => Value | undefined;
}
