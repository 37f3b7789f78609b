import type { DescMessage } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { encodeEnvelope, type UniversalHandler } from "@connectrpc/connect/protocol";
import {
  endStreamFlag,
  endStreamFromJson,
  endStreamToJson,
  errorFromJsonBytes,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerParse, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";

/**
 * Returns the error with the details that every error has, or as it is where it has
 * them. `input`: what the request should have been, where that is known.
 */
export type DescribeError = (error: ConnectError, input?: DescMessage) => ConnectError;

type Response = Awaited<ReturnType<UniversalHandler>>;

/**
 * Adds to the errors that Connect makes by itself what all others have: it refuses
 * a message that is too large or does not decode before any code of ours sees the
 * call, and offers no hook there, so the error is read back from the response.
 */
export function describeErrors(handler: UniversalHandler, describeError: DescribeError): UniversalHandler {
  const describe: DescribeError = (error) => describeError(error, handler.method.input);
  return Object.assign(async (request: Parameters<UniversalHandler>[0]) => {
    const response = await handler(request);
    const { header, body } = response;
    if (header === undefined || body === undefined) {
      return response;
    }
    const type = header.get("content-type") ?? "";
    if (response.status !== 200 && type === "application/json") {
      return describeUnary(response, header, body, describe);
    }
    return { ...response, body: describeStream(body, type, response.trailer, describe) };
  }, handler);
}

// A unary call of Connect: the body is the error.
async function describeUnary(
  response: Response,
  header: Headers,
  body: AsyncIterable<Uint8Array>,
  describe: DescribeError,
): Promise<Response> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) {
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  const error = errorFromJsonBytes(bytes, undefined, new ConnectError("", Code.Unknown));
  const described = describe(error);
  if (described === error) {
    return { ...response, body: one(bytes) };
  }
  copyReason(described, header);
  const text = errorToJsonBytes(described, undefined);
  header.set("content-length", String(text.byteLength));
  return { ...response, header, body: one(text) };
}

// gRPC tells an error in the trailers, gRPC-Web and Connect in the last envelope.
async function* describeStream(
  body: AsyncIterable<Uint8Array>,
  type: string,
  trailer: Headers | undefined,
  describe: DescribeError,
): AsyncGenerator<Uint8Array, void, undefined> {
  const isWeb = type.startsWith("application/grpc-web");
  const isConnect = type.startsWith("application/connect");
  for await (const chunk of body) {
    const flags = chunk[0] ?? 0;
    if (isWeb && (flags & trailerFlag) !== 0) {
      const webTrailer = trailerParse(chunk.subarray(5));
      describeTrailer(webTrailer, describe);
      yield encodeEnvelope(flags, trailerSerialize(webTrailer));
    } else if (isConnect && flags === endStreamFlag) {
      yield describeEndStream(chunk, describe);
    } else {
      yield chunk;
    }
  }
  if (trailer !== undefined) {
    describeTrailer(trailer, describe);
  }
}

function describeTrailer(trailer: Headers, describe: DescribeError): void {
  const error = findTrailerError(trailer);
  const described = error && describe(error);
  if (described !== undefined && described !== error) {
    setTrailerStatus(trailer, described);
  }
}

function describeEndStream(chunk: Uint8Array, describe: DescribeError): Uint8Array {
  const end = endStreamFromJson(chunk.subarray(5));
  const described = end.error && describe(end.error);
  if (described === undefined || described === end.error) {
    return chunk;
  }
  copyReason(described, end.metadata);
  const json = endStreamToJson(end.metadata, described, undefined);
  return encodeEnvelope(endStreamFlag, new TextEncoder().encode(JSON.stringify(json)));
}

function copyReason(error: ConnectError, target: Headers): void {
  for (const [name, value] of error.metadata) {
    target.set(name, value);
  }
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
