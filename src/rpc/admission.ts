import { hash, timingSafeEqual } from "node:crypto";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { createFailure } from "../model/failure.ts";
import { anonymous, type Caller, type Role } from "./caller.ts";
import { errorFromFailure } from "./errors.ts";

/** What is known of a call before a byte of its body is read. */
export interface CallHead {
  /** For example `/taskgate.v1.TaskStatusService/UpdateTask`. */
  path: string;
  /** `Host` or `:authority`, with the port. */
  host: string;
  origin: string | undefined;
  authorization: string | undefined;
}

/** A token and whom it stands for. Several tokens may stand for the same caller. */
export interface TokenEntry {
  token: string;
  caller: Caller;
}

export interface AdmissionOptions {
  /** Empty: everyone may do everything, which is for loopback and Unix sockets. */
  tokens: readonly TokenEntry[];
  /** Origins of browser pages that may call. */
  allowedOrigins: readonly string[];
  /**
   * Take only calls to a loopback name: the guard of a TCP listener without tokens
   * against pages that have their own name resolve to the loopback address.
   */
  loopbackHostOnly: boolean;
  /** The role that a path needs; undefined: any, `nobody`: not even a token. */
  roleOf: (path: string) => Role | "nobody" | undefined;
}

/**
 * Decides about a call: returns who calls, or throws the error to answer with. It
 * is the one place where that is decided, for every protocol and lane.
 */
export type Admit = (head: CallHead) => Caller;

/** Creates the decision about calls. */
export function createAdmission(options: AdmissionOptions): Admit {
  const origins = new Set(options.allowedOrigins);
  const tokens = options.tokens.map(({ token, caller }) => ({ digest: sha256(token), caller }));

  function authenticate(head: CallHead): Caller {
    if (tokens.length === 0) {
      return anonymous;
    }
    const presented = /^bearer +(.+)$/i.exec(head.authorization ?? "")?.[1];
    if (presented === undefined) {
      throw refusal(ErrorReason.TOKEN_MISSING, "a bearer token is required");
    }
    const digest = sha256(presented);
    // All are compared, in constant time each, so that time tells nothing.
    const matches = tokens.filter((entry) => timingSafeEqual(entry.digest, digest));
    if (matches[0] === undefined) {
      throw refusal(ErrorReason.TOKEN_INVALID, "the bearer token is not known");
    }
    return matches[0].caller;
  }

  return (head) => {
    if (options.loopbackHostOnly && !isLoopbackHost(head.host)) {
      throw refusal(
        ErrorReason.NOT_PERMITTED,
        "the Host is no loopback name, and this listener has no tokens",
      );
    }
    if (head.origin !== undefined && tokens.length === 0 && !origins.has(head.origin)) {
      throw refusal(ErrorReason.NOT_PERMITTED, "the Origin is not allowed");
    }
    const role = options.roleOf(head.path);
    if (role === "nobody") {
      return anonymous;
    }
    const caller = authenticate(head);
    if (role !== undefined && !caller.roles.includes(role)) {
      throw refusal(ErrorReason.NOT_PERMITTED, `the call needs the role ${role}`);
    }
    return caller;
  };
}

const loopbackHost = /^(localhost|[a-z0-9-]+\.localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d+)?$/i;

/** Says whether a `Host` names this machine and nothing else can make it so. */
export function isLoopbackHost(host: string): boolean {
  return loopbackHost.test(host);
}

function refusal(reason: ErrorReason, message: string) {
  return errorFromFailure(createFailure(reason, message));
}

function sha256(text: string): Buffer {
  return hash("sha256", text, "buffer");
}
