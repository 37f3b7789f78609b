import { createContextKey } from "@connectrpc/connect";
import { Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { Caller } from "../model/access.ts";

/** Where there are no tokens everyone is everything. */
export const everyone: Caller = {
  name: "everyone",
  roles: [Role.WORKER, Role.CLIENT, Role.OPERATOR],
};

/** Whoever calls a public method. */
export const stranger: Caller = { name: "", roles: [] };

/** The caller that admission found, for handlers. */
export const callerKey = createContextKey<Caller>(stranger, {
  description: "the caller that admission found",
});
