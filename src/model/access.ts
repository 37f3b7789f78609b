import type { Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { WorkDefinitions } from "./work-pool.ts";

/**
 * Who may call a method: callers with a role, every caller that the gateway
 * knows, or the public, which shows no token even where others must.
 */
export type Access = Role | "known" | "public";

/** Who calls. */
export interface Caller {
  /** A name for people and for telling callers apart; never a token. */
  name: string;
  roles: readonly Role[];
  /** The definitions of Aidbox that it may have to do with. Undefined: all. */
  definitions?: WorkDefinitions | undefined;
}

/** What is known of a call before a byte of its body is read. */
export interface CallHead {
  /** For example `/taskgate.v1.TaskStatusService/UpdateTask`. */
  path: string;
  /** `Host` or `:authority`, with the port. */
  host: string;
  origin: string | undefined;
  authorization: string | undefined;
}
