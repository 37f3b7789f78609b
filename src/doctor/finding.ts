/** One thing that was looked at. */
export interface Finding {
  /**
   * `problem`: the gateway cannot do its work. `warning`: it can, and something will hurt.
   * `unknown`: it cannot be looked at without changing something.
   */
  kind: "ok" | "warning" | "problem" | "unknown";
  /** What was looked at. */
  subject: string;
  /** What was seen. */
  words: string;
  /** What to do about it. */
  advice?: string;
}
