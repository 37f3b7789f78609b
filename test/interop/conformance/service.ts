import { setTimeout as sleep } from "node:timers/promises";
import type { DescService, FileRegistry, Message } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { createRoute, type Route } from "../../../src/model/route.ts";

// The messages of the suite as far as a server needs them. Their descriptors are
// read at run time, so nothing is generated.
interface Header {
  name: string;
  value: string[];
}
interface ErrorDefinition {
  code: Code;
  message?: string;
  details: Any[];
}
interface UnaryDefinition {
  responseHeaders: Header[];
  responseTrailers: Header[];
  response:
    | { case: "responseData"; value: Uint8Array }
    | { case: "error"; value: ErrorDefinition }
    | { case: undefined };
  responseDelayMs: number;
}
interface StreamDefinition {
  responseHeaders: Header[];
  responseTrailers: Header[];
  responseData: Uint8Array[];
  responseDelayMs: number;
  error?: ErrorDefinition;
}
type UnaryRequest = Message & { responseDefinition?: UnaryDefinition };
type StreamRequest = Message & { responseDefinition?: StreamDefinition };
type BidiRequest = StreamRequest & { fullDuplex: boolean };
interface RequestInfo {
  requestHeaders: Header[];
  requests: Any[];
  timeoutMs?: bigint;
  connectGetInfo?: { queryParams: Header[] };
}
interface Response {
  payload: { data?: Uint8Array; requestInfo?: Partial<RequestInfo> };
}

const pkg = "connectrpc.conformance.v1";

/**
 * The reference service, which does what each request tells it. `grantedMs`: the time of a
 * call whose caller asked for none, which is then not reported.
 */
export function createConformanceRoute(registry: FileRegistry, grantedMs: number): Route {
  const service = known(registry.getService(`${pkg}.ConformanceService`));
  const infoSchema = known(registry.getMessage(`${pkg}.ConformancePayload.RequestInfo`));
  const inputs = new Map(service.methods.map(({ localName, input }) => [localName, input]));

  function packed(method: string, request: Message): Any {
    return anyPack(known(inputs.get(method)), request);
  }

  function infoOf(context: HandlerContext, requests: Any[]): RequestInfo {
    const timeoutMs = context.timeoutMs();
    const { searchParams } = new URL(context.url);
    return {
      requestHeaders: [...context.requestHeader].map(([name, value]) => ({ name, value: [value] })),
      requests,
      ...(timeoutMs === undefined || timeoutMs > grantedMs / 2
        ? {}
        : { timeoutMs: BigInt(Math.max(0, Math.floor(timeoutMs))) }),
      ...(context.requestMethod === "GET"
        ? {
            connectGetInfo: {
              queryParams: [...searchParams].map(([name, value]) => ({ name, value: [value] })),
            },
          }
        : {}),
    };
  }

  function errorOf({ code, message, details }: ErrorDefinition, info: RequestInfo | undefined): ConnectError {
    const error = new ConnectError(message ?? "", code);
    error.details = details.map(({ typeUrl, value }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
      value,
    }));
    if (info !== undefined) {
      error.details.push({ desc: infoSchema, value: info as unknown as Record<string, unknown> });
    }
    return error;
  }

  async function answer(
    definition: UnaryDefinition | undefined,
    requestInfo: RequestInfo,
    context: HandlerContext,
  ): Promise<Response> {
    if (definition === undefined) {
      return { payload: { requestInfo } };
    }
    setMetadata(definition, context);
    await delay(definition.responseDelayMs, context);
    const { response } = definition;
    if (response.case === "error") {
      throw errorOf(response.value, requestInfo);
    }
    return {
      payload: { requestInfo, ...(response.case === undefined ? {} : { data: response.value }) },
    };
  }

  return createRoute<DescService>(
    service,
    {
      unary: (request: UnaryRequest, context: HandlerContext) =>
        answer(request.responseDefinition, infoOf(context, [packed("unary", request)]), context),

      idempotentUnary: (request: UnaryRequest, context: HandlerContext) =>
        answer(request.responseDefinition, infoOf(context, [packed("idempotentUnary", request)]), context),

      async clientStream(requests: AsyncIterable<UnaryRequest>, context: HandlerContext) {
        let definition: UnaryDefinition | undefined;
        const seen: Any[] = [];
        const requestInfo = infoOf(context, seen);
        for await (const request of requests) {
          if (seen.length === 0) {
            definition = request.responseDefinition;
          }
          seen.push(packed("clientStream", request));
        }
        return answer(definition, requestInfo, context);
      },

      async *serverStream(request: StreamRequest, context: HandlerContext): AsyncGenerator<Response> {
        const definition = request.responseDefinition;
        if (definition === undefined) {
          return;
        }
        setMetadata(definition, context);
        const requestInfo = infoOf(context, [packed("serverStream", request)]);
        for (const [index, data] of definition.responseData.entries()) {
          await delay(definition.responseDelayMs, context);
          yield { payload: { data, ...(index === 0 ? { requestInfo } : {}) } };
        }
        if (definition.error !== undefined) {
          throw errorOf(definition.error, definition.responseData.length === 0 ? requestInfo : undefined);
        }
      },

      async *bidiStream(
        requests: AsyncIterable<BidiRequest>,
        context: HandlerContext,
      ): AsyncGenerator<Response> {
        let definition: StreamDefinition | undefined;
        let isFullDuplex: boolean | undefined;
        let seen: Any[] = [];
        let sent = 0;
        // The time that is left is told as it was at first.
        const info = infoOf(context, []);
        for await (const request of requests) {
          if (isFullDuplex === undefined) {
            definition = request.responseDefinition;
            isFullDuplex = request.fullDuplex;
            if (definition !== undefined) {
              setMetadata(definition, context);
            }
          }
          seen.push(packed("bidiStream", request));
          if (!isFullDuplex) {
            continue;
          }
          const data = definition?.responseData[sent];
          if (definition === undefined || data === undefined) {
            break;
          }
          await delay(definition.responseDelayMs, context);
          yield {
            payload: { data, requestInfo: sent === 0 ? { ...info, requests: seen } : { requests: seen } },
          };
          sent += 1;
          seen = [];
        }
        if (definition === undefined) {
          return;
        }
        for (const data of definition.responseData.slice(sent)) {
          await delay(definition.responseDelayMs, context);
          yield { payload: { data, ...(sent === 0 ? { requestInfo: { ...info, requests: seen } } : {}) } };
          sent += 1;
        }
        if (definition.error !== undefined) {
          throw errorOf(definition.error, sent === 0 ? { ...info, requests: seen } : undefined);
        }
      },
    } as unknown as Route["implementation"],
    "known",
  );
}

function setMetadata(
  { responseHeaders, responseTrailers }: Pick<UnaryDefinition, "responseHeaders" | "responseTrailers">,
  context: HandlerContext,
): void {
  for (const [target, headers] of [
    [context.responseHeader, responseHeaders],
    [context.responseTrailer, responseTrailers],
  ] as const) {
    for (const { name, value } of headers) {
      for (const each of value) {
        target.append(name, each);
      }
    }
  }
}

// Ends with the call: its deadline is what some cases are about.
async function delay(ms: number, { signal }: HandlerContext): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {
    throw ConnectError.from(signal.reason);
  });
}

function known<T>(descriptor: T | undefined): T {
  if (descriptor === undefined) {
    throw new Error(`the protos of ${pkg} are not what they were`);
  }
  return descriptor;
}
