import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { onTestFinished } from "vitest";
import { connectErrorOf, loadService, type SeenError, seenError } from "./clients.ts";

/** A client's end of a stream of frames both ways. */
export interface TestStream<Request extends DescMessage, Response extends DescMessage> {
  send(frame: MessageInitShape<Request>): void;
  /** The next frame; undefined at the end. Rejects with the error that ended the stream. */
  next(): Promise<MessageShape<Response> | undefined>;
  /** The next frame of a kind; those before it are skipped. */
  nextOf<Case extends string>(name: Case): Promise<FrameOf<MessageShape<Response>, Case>>;
  /** Sends no more. */
  halfClose(): void;
  /** Leaves, without a word. */
  cancel(): void;
  /** The error that ends the stream; whatever comes before it is skipped. */
  failure(): Promise<SeenError>;
}

type Frame = { case: string | undefined; value?: unknown };
type FrameOf<Message, Case extends string> = Message extends { frame: infer Any extends Frame }
  ? Message & { frame: Extract<Any, { case: Case }> }
  : never;

/** Opens streams with one client library. */
export interface StreamClient {
  name: string;
  /** Which way the server must serve it. */
  fastLane: boolean;
  open<Request extends DescMessage, Response extends DescMessage>(
    url: string,
    method: DescMethodBiDiStreaming<Request, Response>,
    headers?: Record<string, string>,
  ): TestStream<Request, Response>;
}

/** The clients that every stream is shown with. */
export const streamClients: readonly StreamClient[] = [
  { name: "grpc-js in the fast lane", fastLane: true, open: openGrpcJs },
  { name: "grpc-js beside the fast lane", fastLane: false, open: openGrpcJs },
  { name: "connect-node", fastLane: true, open: openConnect },
];

function openGrpcJs<Request extends DescMessage, Response extends DescMessage>(
  url: string,
  method: DescMethodBiDiStreaming<Request, Response>,
  headers: Record<string, string> = {},
): TestStream<Request, Response> {
  const Service = loadService(method.parent.name);
  const client = new Service(new URL(url).host, grpc.credentials.createInsecure());
  const definition = Service.service[method.name];
  if (definition === undefined) {
    throw new Error(`grpc-js knows no ${method.name}`);
  }
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) {
    metadata.set(name, value);
  }
  const call = client.makeBidiStreamRequest(
    definition.path,
    definition.requestSerialize,
    definition.responseDeserialize,
    metadata,
  );
  const frames = createInbox<MessageShape<Response>>();
  call.on("data", (frame: unknown) =>
    frames.give(fromBinary(method.output, definition.responseSerialize(frame)) as MessageShape<Response>),
  );
  call.on("error", (error: grpc.ServiceError) => frames.fail(connectErrorOf(error)));
  call.on("end", () => frames.end());
  onTestFinished(() => {
    call.cancel();
    client.close();
  });
  return withReading(frames, {
    send: (frame) =>
      void call.write(
        definition.requestDeserialize(Buffer.from(toBinary(method.input, create(method.input, frame)))),
      ),
    halfClose: () => call.end(),
    cancel: () => call.cancel(),
  });
}

function openConnect<Request extends DescMessage, Response extends DescMessage>(
  url: string,
  method: DescMethodBiDiStreaming<Request, Response>,
  headers: Record<string, string> = {},
): TestStream<Request, Response> {
  const sessionManager = new Http2SessionManager(url);
  const transport = createGrpcTransport({ baseUrl: url, sessionManager });
  const requests = createInbox<MessageInitShape<Request>>();
  const frames = createInbox<MessageShape<Response>>();
  const leaving = new AbortController();
  const client = createClient(method.parent, transport) as unknown as Record<
    string,
    (requests: AsyncIterable<unknown>, options: object) => AsyncIterable<MessageShape<Response>>
  >;
  const responses = client[method.localName]?.(requests.all(), { headers, signal: leaving.signal });
  void (async () => {
    try {
      for await (const frame of responses ?? []) {
        frames.give(frame);
      }
      frames.end();
    } catch (error) {
      frames.fail(ConnectError.from(error));
    }
  })();
  onTestFinished(() => {
    leaving.abort();
    sessionManager.abort();
  });
  return withReading(frames, {
    send: (frame) => requests.give(frame),
    halfClose: () => requests.end(),
    cancel: () => leaving.abort(),
  });
}

function withReading<Request extends DescMessage, Response extends DescMessage>(
  frames: Inbox<MessageShape<Response>>,
  writing: Pick<TestStream<Request, Response>, "send" | "halfClose" | "cancel">,
): TestStream<Request, Response> {
  return {
    ...writing,
    next: frames.take,
    async nextOf(name) {
      for (;;) {
        const frame = await frames.take();
        if (frame === undefined) {
          throw new Error(`the stream ended before a ${name} came`);
        }
        if ((frame as { frame?: Frame }).frame?.case === name) {
          return frame as never;
        }
      }
    },
    async failure() {
      try {
        while ((await frames.take()) !== undefined) {}
      } catch (error) {
        return seenError(error);
      }
      throw new Error("the stream must fail, and ended well");
    },
  };
}

interface Inbox<Item> {
  give(item: Item): void;
  end(): void;
  fail(error: Error): void;
  take(): Promise<Item | undefined>;
  all(): AsyncIterable<Item>;
}

function createInbox<Item>(): Inbox<Item> {
  const items: Item[] = [];
  let end: { error?: Error } | undefined;
  let wake: () => void = () => undefined;

  async function take(): Promise<Item | undefined> {
    for (;;) {
      if (items.length > 0) {
        return items.shift();
      }
      if (end?.error !== undefined) {
        throw end.error;
      }
      if (end !== undefined) {
        return undefined;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }

  return {
    give(item) {
      items.push(item);
      wake();
    },
    end() {
      end ??= {};
      wake();
    },
    fail(error) {
      end ??= { error };
      wake();
    },
    take,
    async *all() {
      for (let item = await take(); item !== undefined; item = await take()) {
        yield item;
      }
    },
  };
}
