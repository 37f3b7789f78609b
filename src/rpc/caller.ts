import { createContextKey } from "@connectrpc/connect";

/** What a caller may do: report and execute, create and watch tasks, run the gateway. */
export type Role = "worker" | "client" | "operator";

/** Who calls. */
export interface Caller {
  /** A name for people and for telling callers apart; never a token. */
  name: string;
  roles: readonly Role[];
}

/** Where there are no tokens everyone is everything. */
export const anonymous: Caller = { name: "anonymous", roles: ["worker", "client", "operator"] };

/** The caller that admission found, for handlers. */
export const callerKey = createContextKey<Caller>(anonymous, {
  description: "the caller that admission found",
});
