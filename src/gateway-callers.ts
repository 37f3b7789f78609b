import type { CallerConfig } from "./config/config.ts";
import type { GatewaySecrets } from "./gateway-secrets.ts";
import type { CallerTokens } from "./rpc/find-caller.ts";

/** The callers of a configuration, with the tokens that their files hold now. */
export function joinCallers(callers: readonly CallerConfig[], secrets: GatewaySecrets): CallerTokens[] {
  return callers.flatMap(({ name, roles, tokens, definitions }) =>
    tokens.map((secret) => ({ caller: { name, roles, definitions }, tokens: secrets.live(secret) })),
  );
}
