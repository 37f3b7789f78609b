import http2, { type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import {
  Code,
  ConnectError,
  type ContextValues,
  createConnectRouter,
  createContextValues,
} from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { CallHead } from "../model/access.ts";
import type { Route } from "../model/route.ts";
import { type BodyBudget, createBodyBudget, limitedBody } from "./body-budget.ts";
import { headKey, isHost } from "./call-head.ts";
import { applyCors } from "./cors.ts";
import { capStreamDeadline, type DeadlinePolicy, grantDeadline, grantedTimeoutMs } from "./deadline.ts";
import { type DescribeError, describeErrors } from "./describe-errors.ts";
import { createFastLane } from "./fast-lane.ts";
import { logErrors } from "./log-errors.ts";
import { answerText, type NodeRequest, type NodeResponse } from "./node-http.ts";
import { answerUnknownPath } from "./unknown-path.ts";

export interface RpcHandlerOptions {
  routes: readonly Route[];
  /**
   * Decides about a call before its body is read: throws the error to answer with,
   * or leaves in the values what handlers need.
   */
  admit: (head: CallHead, values: ContextValues) => void;
  /** Gives every error the details that all have. */
  describe: DescribeError;
  /** Origins of browser pages that may call. */
  allowedOrigins: readonly string[];
  deadlines: DeadlinePolicy;
  maxMessageBytes: number;
  /** What unfinished bodies may hold of the memory. Default: 128 MiB for all together. */
  bodyBudget?: BodyBudget;
  /** How long a body may take, or a message of a stream once some of it is there. Default: a minute. */
  maxMessageMs?: number;
  /** Serve plain gRPC calls without Connect's adapter. */
  fastLane: boolean;
  /** Is told of an error that is no `ConnectError`; the caller sees only that it is internal. */
  onUnexpectedError: (error: unknown, path: string) => void;
}

/** Serves requests: every protocol, on whatever connection they come. */
export interface RpcHandler {
  /** Serves an HTTP/2 stream in the fast lane, or returns false. */
  onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): boolean;
  /** Serves any request. */
  onRequest(request: NodeRequest, response: NodeResponse): void;
}

// What unfinished bodies may hold of the memory, and how long one may take.
const maxHeldBodyBytes = 128 * 1024 * 1024;
const maxBodyMs = 60_000;

/** Creates the handler of the given routes: Connect's adapter, and the lane beside it. */
export function createRpcHandler(options: RpcHandlerOptions): RpcHandler {
  const handlers = createHandlers(options);
  const unknownMethod = options.describe(new ConnectError("unknown service or method", Code.Unimplemented));
  const { bodyBudget = createBodyBudget(maxHeldBodyBytes), maxMessageMs = maxBodyMs } = options;
  const lane = options.fastLane
    ? createFastLane({ ...options, handlers, bodyBudget, maxMessageMs })
    : undefined;

  async function serve(
    handler: UniversalHandler,
    path: string,
    request: NodeRequest,
    response: NodeResponse,
  ): Promise<void> {
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
    const values = createContextValues().set(headKey, head);
    const universal = universalRequestFromNodeRequest(request, response, undefined, values);
    if (isUnary) {
      universal.body = limitedBody(
        universal.body as AsyncIterable<Uint8Array>,
        bodyBudget,
        Math.min(maxMessageMs, grantedTimeoutMs(request.headers, options.deadlines)),
      );
    }
    endRequestBehind(response);
    await universalResponseToNodeResponse(await handler(universal), response);
  }

  return {
    onStream: (stream, headers) => lane?.(stream, headers) === true,
    onRequest(request, response) {
      // A peer that leaves says so by the end of the call.
      request.on("error", () => undefined);
      response.on("error", () => undefined);
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
      if (handler === undefined) {
        answerUnknownPath(request, response, unknownMethod);
        return;
      }
      serve(handler, path, request, response).catch((error) => {
        // A peer that has left says so by a code of its own; anything else is a defect.
        if (ConnectError.from(error).code === Code.Internal) {
          options.onUnexpectedError(error, path);
        }
        response.destroy();
      });
    },
  };
}

// What a client sends behind the end of its call is nobody's. As long as it has not ended
// its side, the stream counts towards those that its connection may have (RFC 9113, 8.1).
function endRequestBehind(response: NodeResponse): void {
  if ("stream" in response) {
    const { stream } = response;
    // The last that leaves are the trailers, which Node has not handed on before then.
    stream.once("wantTrailers", () =>
      setImmediate(() => {
        if (!stream.destroyed && !stream.readableEnded) {
          stream.close(http2.constants.NGHTTP2_NO_ERROR);
        }
      }),
    );
  }
}

function createHandlers(options: RpcHandlerOptions): ReadonlyMap<string, UniversalHandler> {
  const router = createConnectRouter({
    acceptCompression: [compressionGzip, compressionBrotli],
    readMaxBytes: options.maxMessageBytes,
    // A misspelt status must not count as none, and curl must show what is false.
    jsonOptions: { ignoreUnknownFields: false, alwaysEmitImplicit: true },
    interceptors: [logErrors(options.onUnexpectedError)],
    requestGate(context) {
      options.admit(context.values.get(headKey), context.values);
    },
  });
  for (const { service, implementation } of options.routes) {
    router.service(service, implementation);
  }
  return new Map(
    router.handlers.map((handler) => [handler.requestPath, describeErrors(handler, options.describe)]),
  );
}

function hostOf(request: NodeRequest): string | undefined {
  return "authority" in request && request.authority !== "" ? request.authority : request.headers.host;
}
