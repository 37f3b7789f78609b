import type { Credential } from "../model/credential.ts";

/**
 * Makes an attempt with the credential. Where the upstream refuses it and there is
 * another one by now, makes the attempt once more with that: what was refused so was
 * not taken.
 */
export async function withCredential<Value, Result extends { readonly kind: string }>(
  credential: Credential<Value>,
  attempt: (value: Value) => Promise<Result>,
): Promise<Result> {
  const value = credential.current();
  const result = await attempt(value);
  return result.kind === "unauthorized" && (await credential.isReplaced(value))
    ? attempt(credential.current())
    : result;
}
