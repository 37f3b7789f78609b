import type { ContextValues } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { Access, Caller, CallHead } from "../model/access.ts";
import { createFailure } from "../model/failure.ts";
import { pathOf, type Route } from "../model/route.ts";
import { callerKey, everyone, stranger } from "./caller.ts";
import { errorFromFailure } from "./errors.ts";
import type { FindCaller } from "./find-caller.ts";

export interface AdmissionOptions {
  /** What is served, and to whom. Any other path is refused. */
  routes: readonly Route[];
  /** Undefined: nobody has a token, and everyone may do everything, which is for loopback and Unix sockets. */
  findCaller: FindCaller | undefined;
  /** Origins of browser pages that may call. */
  allowedOrigins: readonly string[];
  /**
   * Take only calls to a loopback name: the guard of a TCP listener without tokens
   * against pages that have their own name resolve to the loopback address.
   */
  loopbackHostOnly: boolean;
}

/**
 * Decides about a call by what is known before its body: leaves the caller in the
 * call's values for handlers, or throws the error to answer with. It is the one
 * place where that is decided, for every protocol and lane.
 */
export type Admit = (head: CallHead, values: ContextValues) => void;

/** Creates the decision about calls. */
export function createAdmission(options: AdmissionOptions): Admit {
  const origins = new Set(options.allowedOrigins);
  const { findCaller } = options;
  const access = new Map<string, Access>(
    options.routes.flatMap((route) =>
      route.service.methods.map(({ name }) => [pathOf(route.service, name), route.access(name)] as const),
    ),
  );

  function authenticate(authorization: string | undefined): Caller {
    if (findCaller === undefined) {
      return everyone;
    }
    const presented = /^bearer +(.+)$/i.exec(authorization ?? "")?.[1];
    if (presented === undefined) {
      throw refusal(ErrorReason.TOKEN_MISSING, "a bearer token is required");
    }
    const caller = findCaller(presented);
    if (caller === undefined) {
      throw refusal(ErrorReason.TOKEN_INVALID, "the bearer token is not known");
    }
    return caller;
  }

  return (head, values) => {
    if (options.loopbackHostOnly && !isLoopbackHost(head.host)) {
      throw refusal(
        ErrorReason.NOT_PERMITTED,
        "the Host is not a loopback name, and this listener has no tokens",
      );
    }
    if (head.origin !== undefined && findCaller === undefined && !origins.has(head.origin)) {
      throw refusal(ErrorReason.NOT_PERMITTED, "the Origin is not allowed");
    }
    const needed = access.get(head.path);
    if (needed === undefined) {
      throw refusal(ErrorReason.NOT_PERMITTED, "nobody may call this method");
    }
    const caller = needed === "public" ? stranger : authenticate(head.authorization);
    if (typeof needed !== "string" && !caller.roles.includes(needed)) {
      throw refusal(ErrorReason.NOT_PERMITTED, `the call needs the role ${roleNames[needed]}`);
    }
    values.set(callerKey, caller);
  };
}

const roleNames: Record<Role, string> = {
  [Role.UNSPECIFIED]: "unspecified",
  [Role.WORKER]: "worker",
  [Role.CLIENT]: "client",
  [Role.OPERATOR]: "operator",
};

const loopbackHost = /^(localhost|[a-z0-9-]+\.localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d+)?$/i;

/** Says whether a `Host` names this machine and nothing else can make it so. */
export function isLoopbackHost(host: string): boolean {
  return loopbackHost.test(host);
}

function refusal(reason: ErrorReason, message: string) {
  return errorFromFailure(createFailure(reason, message));
}
