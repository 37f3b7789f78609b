import { appendFileSync, readFileSync } from "node:fs";
import { buffer } from "node:stream/consumers";
import { create, createFileRegistry, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { createBodyBudget } from "../../../src/listener/body-budget.ts";
import { createCallPlaces } from "../../../src/listener/call-places.ts";
import { listen } from "../../../src/listener/listener.ts";
import { createRpcHandler } from "../../../src/listener/rpc-handler.ts";
import { defaultPeerLimits } from "../../../src/model/peer-limits.ts";
import { createAdmission } from "../../../src/rpc/admission.ts";
import { createConformanceRoute } from "./service.ts";
import { countCalls, type Tally } from "./tally.ts";

type ServerRequest = Message & {
  useTls: boolean;
  clientTlsCert: Uint8Array;
  messageReceiveLimit: number;
  serverCreds?: { cert: Uint8Array; key: Uint8Array };
};

// A server under test, as the runner starts it: what it is to be comes on stdin, where
// it listens goes to stdout, SIGTERM ends it. What it counted is added to the tally file.
const [descriptors = "", lane, tallyFile = ""] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const request = read("ServerCompatRequest", (await buffer(process.stdin)).subarray(4)) as ServerRequest;

// Unary calls get a deadline whether they ask for one or not; no case asks for one as long.
const grantedMs = 1_000_000_000;
const limits = defaultPeerLimits;
const routes = [createConformanceRoute(registry, grantedMs)];
const handler = createRpcHandler({
  routes,
  admit: createAdmission({ routes, findCaller: undefined, allowedOrigins: [], loopbackHostOnly: true }),
  calls: createCallPlaces(limits.maxCalls, new ConnectError("too many calls", Code.ResourceExhausted)),
  // The gateway adds details of its own, which no case expects. A copy goes the same way.
  describe: copyError,
  allowedOrigins: [],
  deadlines: { defaultMs: grantedMs, maxMs: grantedMs },
  maxMessageBytes: request.messageReceiveLimit,
  bodyBudget: createBodyBudget(
    limits.maxUnfinishedBytes,
    new ConnectError("too many bodies", Code.ResourceExhausted),
  ),
  maxMessageMs: limits.bodyTimeoutMs,
  // The suite pads messages with zeros, which brotli makes thousands of times as small.
  maxExpansion: 10_000,
  fastLane: lane === "on",
  anyTypes: registry,
  onUnexpectedError: (error, path) => process.stderr.write(`${path}: ${String(error)}\n`),
});
const tally: Tally = {};
const listener = await listen({
  address: { kind: "tcp", host: "127.0.0.1", port: 0 },
  tls: request.useTls ? tlsOf(request) : undefined,
  handler: countCalls(handler, tally),
  limits,
  pingIntervalMs: 15_000,
});

process.once("SIGTERM", () => {
  appendFileSync(tallyFile, `${JSON.stringify(tally)}\n`);
  process.exit();
});

const answer = toBinary(...compatResponse());
const head = Buffer.alloc(4);
head.writeUInt32BE(answer.length);
process.stdout.write(Buffer.concat([head, answer]));

function read(name: string, bytes: Uint8Array): Message {
  return fromBinary(schemaOf(name), bytes);
}

function compatResponse() {
  const schema = schemaOf("ServerCompatResponse");
  const { address } = listener;
  if (address.kind !== "tcp") {
    throw new Error("the server listens on TCP");
  }
  const init = {
    host: address.host,
    port: address.port,
    ...(request.useTls ? { pemCert: request.serverCreds?.cert } : {}),
  };
  return [schema, create(schema, init as Record<string, unknown>)] as const;
}

function schemaOf(name: string) {
  const schema = registry.getMessage(`connectrpc.conformance.v1.${name}`);
  if (schema === undefined) {
    throw new Error(`${descriptors} has no ${name}`);
  }
  return schema;
}

function tlsOf({ serverCreds, clientTlsCert }: ServerRequest) {
  return {
    cert: Buffer.from(serverCreds?.cert ?? []).toString(),
    key: Buffer.from(serverCreds?.key ?? []).toString(),
    ...(clientTlsCert.length === 0 ? {} : { clientCa: Buffer.from(clientTlsCert).toString() }),
  };
}

function copyError(error: ConnectError): ConnectError {
  const copy = new ConnectError(error.rawMessage, error.code, error.metadata);
  copy.details = error.details;
  return copy;
}
