import http from "node:http";
import type { AddressInfo } from "node:net";
import { BinaryReader, type WireType } from "@bufbuild/protobuf/wire";
import { onTestFinished } from "vitest";

/** A span as a collector gets it. Ids are hexadecimal. */
export interface CollectedSpan {
  traceId: string;
  spanId: string;
  /** Empty: it begins its trace. */
  parentSpanId: string;
  traceState: string;
  name: string;
  /** 2: of a server, 3: of a client. */
  kind: number;
  attributes: Record<string, unknown>;
  isError: boolean;
  resource: Record<string, unknown>;
}

export interface Collector {
  /** As `OTEL_EXPORTER_OTLP_ENDPOINT` names it. */
  url: string;
  spans: CollectedSpan[];
  /** Headers of the exports. */
  headers: http.IncomingHttpHeaders[];
  /** What it answers. Default: 200. */
  status: number;
}

/** A collector of OTLP over HTTP in Protobuf, for the running test. */
export async function useCollector(): Promise<Collector> {
  const collector: Collector = { url: "", spans: [], headers: [], status: 200 };
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      chunks.push(chunk as Buffer);
    }
    const isExport =
      request.url === "/v1/traces" && request.headers["content-type"] === "application/x-protobuf";
    if (isExport && collector.status === 200) {
      collector.headers.push(request.headers);
      collector.spans.push(...readExport(Buffer.concat(chunks)));
    }
    response.writeHead(isExport ? collector.status : 404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  collector.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return collector;
}

// By the field numbers of opentelemetry/proto/collector/trace/v1 and what it imports.
function readExport(bytes: Uint8Array): CollectedSpan[] {
  return fieldsOf(bytes).flatMap(([number, resourceSpans]) =>
    number === 1 ? readResourceSpans(resourceSpans as Uint8Array) : [],
  );
}

function readResourceSpans(bytes: Uint8Array): CollectedSpan[] {
  const fields = fieldsOf(bytes);
  const resource = fields.flatMap(([number, value]) => (number === 1 ? fieldsOf(value as Uint8Array) : []));
  const resourceAttributes = readAttributes(resource.filter(([number]) => number === 1));
  return fields
    .filter(([number]) => number === 2)
    .flatMap(([, scope]) => fieldsOf(scope as Uint8Array))
    .filter(([number]) => number === 2)
    .map(([, span]) => readSpan(span as Uint8Array, resourceAttributes));
}

function readSpan(bytes: Uint8Array, resource: Record<string, unknown>): CollectedSpan {
  const fields = fieldsOf(bytes);
  const last = (number: number) => fields.findLast(([each]) => each === number)?.[1];
  const status = fieldsOf((last(15) as Uint8Array | undefined) ?? new Uint8Array());
  return {
    traceId: hex(last(1)),
    spanId: hex(last(2)),
    traceState: text(last(3)),
    parentSpanId: hex(last(4)),
    name: text(last(5)),
    kind: Number(last(6)),
    attributes: readAttributes(fields.filter(([number]) => number === 9)),
    isError: status.some(([number, value]) => number === 3 && Number(value) === 2),
    resource,
  };
}

function readAttributes(fields: Field[]): Record<string, unknown> {
  return Object.fromEntries(
    fields.map(([, bytes]) => {
      const pair = new Map(fieldsOf(bytes as Uint8Array));
      const [[kind, value] = [0, ""]] = fieldsOf(pair.get(2) as Uint8Array);
      return [text(pair.get(1)), kind === 1 ? text(value) : Number(value)];
    }),
  );
}

type Field = [number: number, value: Uint8Array | bigint | number];

const varint: WireType = 0;
const bytesType: WireType = 2;

function fieldsOf(bytes: Uint8Array): Field[] {
  const reader = new BinaryReader(bytes);
  const fields: Field[] = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type === bytesType) {
      fields.push([number, reader.bytes()]);
    } else if (type === varint) {
      fields.push([number, Number(reader.int64())]);
    } else {
      reader.skip(type, number);
    }
  }
  return fields;
}

function hex(value: unknown): string {
  return value === undefined ? "" : Buffer.from(value as Uint8Array).toString("hex");
}

function text(value: unknown): string {
  return value === undefined ? "" : Buffer.from(value as Uint8Array).toString();
}
