/**
 * Says what is wrong with a text that goes to an upstream, or returns undefined.
 *
 * U+0000 is refused because PostgreSQL, in which the Orchestrator and Aidbox keep
 * their JSON, cannot store it: the Orchestrator answers 500 for ever (MEASURED
 * with orchestrator-core 5.3.0). Half a surrogate pair is no Unicode text and
 * cannot be sent as UTF-8.
 */
export function findTextProblem(text: string): string | undefined {
  if (text.includes("\u0000")) {
    return "contains U+0000, which the upstream cannot store";
  }
  if (!text.isWellFormed()) {
    return "contains half a surrogate pair, which is not Unicode text";
  }
  return undefined;
}
