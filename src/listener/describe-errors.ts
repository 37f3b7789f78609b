import type { DescMessage } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { compressedFlag, encodeEnvelope, type UniversalHandler } from "@connectrpc/connect/protocol";
import {
  endStreamFlag,
  endStreamFromJson,
  endStreamToJson,
  errorFromJsonBytes,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerParse, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { outcomeKey } from "./call-outcome.ts";
import { compressions } from "./compressions.ts";

/**
 * Returns the error with the details that every error has, or as it is where it has
 * them. `input`: what the request should have been, where that is known.
 */
export type DescribeError = (error: ConnectError, input?: DescMessage) => ConnectError;

type Response = Awaited<ReturnType<UniversalHandler>>;

/**
 * Adds to the errors that Connect makes by itself what all others have: it refuses
 * a message that is too large or does not decode before any code of ours sees the
 * call, and offers no hook there, so the error is read back from the response. It is
 * also the one place that knows how a call ended in every protocol.
 */
export function describeErrors(handler: UniversalHandler, describeError: DescribeError): UniversalHandler {
  return Object.assign(async (request: Parameters<UniversalHandler>[0]) => {
    const outcome = request.contextValues?.get(outcomeKey);
    // Of what came with the error, whether its own or the call's, nothing is given twice.
    const describe: DescribeBare = (error) => {
      const bare = new ConnectError(error.rawMessage, error.code);
      bare.details = error.details;
      const described = describeError(bare, handler.method.input);
      if (outcome !== undefined) {
        outcome.code = described.code;
      }
      return described === bare ? undefined : described;
    };
    const response = await handler(request);
    const { header, body } = response;
    if (header === undefined || body === undefined) {
      // Not even a protocol that is known.
      if (outcome !== undefined && response.status !== 200) {
        outcome.code = Code.Unknown;
      }
      return response;
    }
    const type = header.get("content-type") ?? "";
    if (response.status !== 200 && type === "application/json") {
      return describeUnary(response, header, body, describe);
    }
    return { ...response, body: describeStream(body, header, response.trailer, describe) };
  }, handler);
}

/** Returns the error with its details; undefined: it has them. */
type DescribeBare = (error: ConnectError) => ConnectError | undefined;

// A unary call of Connect: the body is the error.
async function describeUnary(
  response: Response,
  header: Headers,
  body: AsyncIterable<Uint8Array>,
  describe: DescribeBare,
): Promise<Response> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) {
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  const json = await decompressed(bytes, header.get("content-encoding"));
  const described = describe(errorFromJsonBytes(json, undefined, new ConnectError("", Code.Unknown)));
  if (described === undefined) {
    return { ...response, body: one(bytes) };
  }
  for (const [name, value] of described.metadata) {
    header.set(name, value);
  }
  const text = errorToJsonBytes(described, undefined);
  header.delete("content-encoding");
  header.set("content-length", String(text.byteLength));
  return { ...response, header, body: one(text) };
}

// gRPC tells an error in the trailers, gRPC-Web and Connect in the last envelope.
async function* describeStream(
  body: AsyncIterable<Uint8Array>,
  header: Headers,
  trailer: Headers | undefined,
  describe: DescribeBare,
): AsyncGenerator<Uint8Array, void, undefined> {
  const type = header.get("content-type") ?? "";
  const isWeb = type.startsWith("application/grpc-web");
  const isConnect = type.startsWith("application/connect");
  const lastFlag = isWeb ? trailerFlag : isConnect ? endStreamFlag : 0;
  const encoding = header.get(isWeb ? "grpc-encoding" : "connect-content-encoding");
  for await (const chunk of body) {
    const flags = chunk[0] ?? 0;
    if ((flags & lastFlag) === 0) {
      yield chunk;
      continue;
    }
    const bytes = chunk.subarray(5);
    const plain = (flags & compressedFlag) === 0 ? bytes : await decompressed(bytes, encoding);
    const described = isWeb ? describeWebTrailer(plain, describe) : describeEndStream(plain, describe);
    yield described === undefined ? chunk : encodeEnvelope(lastFlag, described);
  }
  if (trailer !== undefined) {
    describeTrailer(trailer, describe);
  }
}

// Returns whether the trailer has changed.
function describeTrailer(trailer: Headers, describe: DescribeBare): boolean {
  const error = findTrailerError(trailer);
  const described = error && describe(error);
  if (described === undefined) {
    return false;
  }
  setTrailerStatus(trailer, described);
  return true;
}

function describeWebTrailer(bytes: Uint8Array, describe: DescribeBare): Uint8Array | undefined {
  const trailer = trailerParse(bytes);
  return describeTrailer(trailer, describe) ? trailerSerialize(trailer) : undefined;
}

function describeEndStream(bytes: Uint8Array, describe: DescribeBare): Uint8Array | undefined {
  const { metadata, error } = endStreamFromJson(bytes);
  const described = error && describe(error);
  return (
    described && new TextEncoder().encode(JSON.stringify(endStreamToJson(metadata, described, undefined)))
  );
}

// A limit is a must; what it limits is our own.
const maxErrorBytes = 1024 * 1024;

async function decompressed(bytes: Uint8Array, encoding: string | null): Promise<Uint8Array> {
  const compression = compressions.find(({ name }) => name === encoding);
  return compression === undefined ? bytes : compression.decompress(bytes, maxErrorBytes);
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}
