import { Role } from "../gen/taskgate/v1/gateway_pb.ts";
import type { Config } from "./config/config.ts";
import type { TokenEntry } from "./rpc/admission.ts";

/** The tokens of a configuration, and whom they stand for. */
export function tokensOf(config: Pick<Config, "authToken" | "adminToken">): TokenEntry[] {
  const tokens: TokenEntry[] = [];
  if (config.authToken !== undefined) {
    const caller = { name: "default", roles: [Role.WORKER, Role.CLIENT] };
    tokens.push({ token: config.authToken, caller });
  }
  if (config.adminToken !== undefined) {
    const caller = { name: "admin", roles: [Role.WORKER, Role.CLIENT, Role.OPERATOR] };
    tokens.push({ token: config.adminToken, caller });
  }
  return tokens;
}
