import type { Registry } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createConnectRouter,
  createContextValues,
} from "@connectrpc/connect";
import type { Compression, UniversalHandler } from "@connectrpc/connect/protocol";
import {
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { CallHead } from "../model/access.ts";
import type { CallObserver } from "../model/call-observer.ts";
import type { Route } from "../model/route.ts";
import { type BodyBudget, limitedBody } from "./body-budget.ts";
import { createBoundCompression } from "./bounded-compression.ts";
import { admittedKey, headKey, isHost } from "./call-head.ts";
import { type CallOutcome, codeOf, outcomeKey } from "./call-outcome.ts";
import type { CallPlaces } from "./call-places.ts";
import { compressions } from "./compressions.ts";
import { applyCors } from "./cors.ts";
import { capStreamDeadline, type DeadlinePolicy, grantDeadline, grantedTimeoutMs } from "./deadline.ts";
import { type DescribeError, describeErrors } from "./describe-errors.ts";
import { bodyOf, endRequestBehind } from "./end-request-behind.ts";
import { createFastLane, type FastLane, type OnAdmitted } from "./fast-lane.ts";
import { limitedMessages } from "./limited-messages.ts";
import { logErrors } from "./log-errors.ts";
import { createMethodLimits, type MethodLimits, methodLimitsOf } from "./method-limits.ts";
import { answerText, type NodeRequest, type NodeResponse, onceOver } from "./node-http.ts";
import { answerUnknownPath } from "./unknown-path.ts";

export interface RpcHandlerOptions {
  routes: readonly Route[];
  /**
   * Decides about a call before its body is read: throws the error to answer with,
   * or leaves in the values what handlers need.
   */
  admit: (head: CallHead, values: ContextValues) => void;
  /** Of calls that are under way. */
  calls: CallPlaces;
  /** Gives every error the details that all have. */
  describe: DescribeError;
  /** Origins of browser pages that may call. */
  allowedOrigins: readonly string[];
  deadlines: DeadlinePolicy;
  /** The largest message, of methods that are not for the public. */
  maxMessageBytes: number;
  /** What unfinished bodies may hold of the memory, all together. */
  bodyBudget: BodyBudget;
  /** How long a body may take, or a message of a stream once some of it is there. */
  maxMessageMs: number;
  /** How many times its size a compressed message may become. */
  maxExpansion: number;
  /** Serve plain gRPC calls without Connect's adapter. */
  fastLane: boolean;
  /** Hears of every call, in the lane and beside it. Default: nobody does. */
  observer?: CallObserver | undefined;
  /** What a `google.protobuf.Any` may hold in JSON. Default: nothing. */
  anyTypes?: Registry;
  /** Is told of an error that is no `ConnectError`; the caller sees only that it is internal. */
  onUnexpectedError: (error: unknown, path: string) => void;
}

/** Serves requests: every protocol, on whatever connection they come. */
export interface RpcHandler {
  /** Serves an HTTP/2 stream in the fast lane, or returns false. */
  onStream: FastLane;
  /** Serves any request. */
  onRequest(request: NodeRequest, response: NodeResponse, onAdmitted?: OnAdmitted): void;
}

/** Creates the handler of the given routes: Connect's adapter, and the lane beside it. */
export function createRpcHandler(options: RpcHandlerOptions): RpcHandler {
  const bound = createBoundCompression({ maxExpansion: options.maxExpansion, budget: options.bodyBudget });
  const handlers = createHandlers(options, compressions.map(bound));
  const unknownMethod = options.describe(new ConnectError("unknown service or method", Code.Unimplemented));
  const { bodyBudget, maxMessageMs } = options;
  const methodLimits = createMethodLimits(options.routes, options.maxMessageBytes);
  const lane = options.fastLane
    ? createFastLane({ ...options, handlers, gzip: bound(compressionGzip) })
    : undefined;

  async function serve(
    handler: UniversalHandler,
    { isPublic, maxMessageBytes }: MethodLimits,
    request: NodeRequest,
    response: NodeResponse,
    onAdmitted: OnAdmitted | undefined,
  ): Promise<void> {
    const path = handler.requestPath;
    const isUnary = handler.method.methodKind === "unary";
    if (isUnary) {
      grantDeadline(request.headers, options.deadlines);
    } else {
      capStreamDeadline(request.headers);
    }
    const head = {
      path,
      host: hostOf(request) ?? "",
      origin: request.headers.origin,
      authorization: request.headers.authorization,
    };
    const outcome: CallOutcome = { code: 0 };
    const values = createContextValues().set(headKey, head).set(outcomeKey, outcome);
    let isOver = false;
    let hasPlace = false;
    values.set(admittedKey, () => {
      if (!isOver && !hasPlace) {
        options.calls.take(isPublic);
        hasPlace = true;
        if (!isPublic) {
          onAdmitted?.();
        }
      }
    });
    onceOver(request, response, () => {
      isOver = true;
      if (hasPlace) {
        options.calls.give(isPublic);
      }
    });
    const universal = universalRequestFromNodeRequest(request, response, undefined, values);
    const body = bodyOf(request);
    universal.body = isUnary
      ? limitedBody(body, {
          budget: bodyBudget,
          timeoutMs: Math.min(maxMessageMs, grantedTimeoutMs(request.headers, options.deadlines)),
          maxMessageBytes,
        })
      : limitedMessages(body, { budget: bodyBudget, timeoutMs: maxMessageMs, maxMessageBytes });
    const observed = options.observer?.begin(path, request.headers);
    const answer = async () => universalResponseToNodeResponse(await handler(universal), response);
    if (observed === undefined) {
      await answer();
      return;
    }
    // Not by the promise: it waits for an event that a response does not have.
    onceOver(request, response, () => observed.end(codeOf(outcome, response)));
    await observed.run(answer);
  }

  return {
    onStream: (...call) => lane?.(...call) === true,
    onRequest(request, response, onAdmitted) {
      // A peer that leaves says so by the end of the call.
      request.on("error", () => undefined);
      response.on("error", () => undefined);
      endRequestBehind(request, response);
      // Connect builds a URL of it and throws outside of any call where it cannot.
      if (!isHost(hostOf(request))) {
        answerText(response, 400, "the Host is malformed\n");
        return;
      }
      if (applyCors(request, response, options.allowedOrigins)) {
        return;
      }
      const [path = ""] = (request.url ?? "").split("?", 1);
      const handler = handlers.get(path);
      const limits = methodLimits.get(path);
      if (handler === undefined || limits === undefined) {
        options.observer?.unknown();
        answerUnknownPath(request, response, unknownMethod);
        return;
      }
      serve(handler, limits, request, response, onAdmitted).catch((error) => {
        // A peer that has left says so by a code of its own; anything else is a defect.
        if (ConnectError.from(error).code === Code.Internal) {
          options.onUnexpectedError(error, path);
        }
        response.destroy();
      });
    },
  };
}

function createHandlers(
  options: RpcHandlerOptions,
  acceptCompression: Compression[],
): ReadonlyMap<string, UniversalHandler> {
  const router = createConnectRouter({
    acceptCompression,
    // A misspelt status must not count as none, and curl must show what is false.
    jsonOptions: {
      ignoreUnknownFields: false,
      alwaysEmitImplicit: true,
      ...(options.anyTypes === undefined ? {} : { registry: options.anyTypes }),
    },
    interceptors: [logErrors(options.onUnexpectedError)],
    requestGate(context) {
      options.admit(context.values.get(headKey), context.values);
      context.values.get(admittedKey)();
    },
  });
  for (const route of options.routes) {
    const { maxMessageBytes } = methodLimitsOf(route, options.maxMessageBytes);
    router.service(route.service, route.implementation, { readMaxBytes: maxMessageBytes });
  }
  return new Map(
    router.handlers.map((handler) => [handler.requestPath, describeErrors(handler, options.describe)]),
  );
}

function hostOf(request: NodeRequest): string | undefined {
  return "authority" in request && request.authority !== "" ? request.authority : request.headers.host;
}
