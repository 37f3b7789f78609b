import { AsyncLocalStorage } from "node:async_hooks";
import { Code } from "@connectrpc/connect";
import {
  type Attributes,
  type Context,
  defaultTextMapGetter,
  defaultTextMapSetter,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { ExportResultCode, W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { TraceContext } from "../model/trace-context.ts";
import type { TracedSpan, Tracer } from "./tracer.ts";

export interface OtlpTracerOptions {
  /** Base URL of the collector, without a trailing slash: `/v1/traces` is appended. */
  endpoint: string;
  /** Sent with every export, as they are then. */
  headers: () => Record<string, string>;
  /** The part of the traces that begin here that is recorded, from 0 to 1. Those of callers are as they say. */
  sampleRatio: number;
  /** What the spans are told to come from. */
  resource: Record<string, string>;
  version: string;
  /** Is told what became of spans: `error` says why the collector did not take them. */
  onExported: (count: number, error: Error | undefined) => void;
  /** Is told of spans that were never sent, since too many wait already or the tracer is closed. */
  onDropped: (count: number) => void;
}

// Spans beyond wait for nobody: they are dropped.
const maxWaitingSpans = 8192;
const exportDelayMs = 1000;
const exportTimeoutMs = 10_000;

// What probes and tools ask all the time is no work of anybody's trace.
const untraced = /^\/grpc\.(health|reflection)\./;

// Codes that are the server's fault, as OpenTelemetry's conventions for gRPC have it.
const serverFaults: ReadonlySet<number> = new Set([
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Unimplemented,
  Code.Internal,
  Code.Unavailable,
  Code.DataLoss,
]);

/** Creates a tracer that sends its spans to a collector by OTLP over HTTP, in Protobuf. */
export function createOtlpTracer(options: OtlpTracerOptions): Tracer {
  const exporter = new OTLPTraceExporter({
    url: `${options.endpoint}/v1/traces`,
    headers: async () => options.headers(),
    timeoutMillis: exportTimeoutMs,
  });
  const provider = new TracerProvider({
    resource: resourceFromAttributes(options.resource),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(options.sampleRatio) }),
    spanProcessors: [createBatches(exporter, options)],
  });
  const tracer = provider.getTracer("taskgate", options.version);
  const propagator = new W3CTraceContextPropagator();
  const running = new AsyncLocalStorage<TraceContext>();

  function contextFrom(carrier: object): Context {
    return propagator.extract(ROOT_CONTEXT, carrier, defaultTextMapGetter);
  }

  function begin<Outcome>(
    name: string,
    kind: SpanKind,
    attributes: Attributes,
    parent: Context,
    finish: (span: Span, outcome: Outcome) => void,
  ): TracedSpan<Outcome> {
    const span = tracer.startSpan(name, { kind, attributes }, parent);
    const carrier: { traceparent?: string; tracestate?: string } = {};
    propagator.inject(trace.setSpan(ROOT_CONTEXT, span), carrier, defaultTextMapSetter);
    const own = { traceparent: carrier.traceparent ?? "", tracestate: carrier.tracestate ?? "" };
    return {
      trace: own,
      run: (work) => running.run(own, work),
      end(outcome) {
        finish(span, outcome);
        span.end();
      },
    };
  }

  return {
    call(path, headers) {
      if (untraced.test(path)) {
        return undefined;
      }
      const [, service = "", method = ""] = path.split("/");
      const attributes = { "rpc.system": "grpc", "rpc.service": service, "rpc.method": method };
      return begin(path.slice(1), SpanKind.SERVER, attributes, contextFrom(headers), (span, code) => {
        span.setAttribute("rpc.grpc.status_code", code);
        if (serverFaults.has(code)) {
          span.setStatus({ code: SpanStatusCode.ERROR });
        }
      });
    },

    attempt({ id, upstream, kind, attempts, trace: cause }) {
      const attributes = {
        "taskgate.upstream": upstream,
        "taskgate.delivery_id": id,
        "taskgate.delivery_kind": kind,
        "taskgate.attempt": attempts,
      };
      const parent = cause === null ? ROOT_CONTEXT : contextFrom(cause);
      return begin(`deliver to ${upstream}`, SpanKind.CLIENT, attributes, parent, (span, result) => {
        span.setAttribute("taskgate.result", result.kind);
        if (result.kind !== "accepted") {
          const { message, metadata } = result.failure;
          if (metadata.http_status !== undefined) {
            span.setAttribute("http.response.status_code", Number(metadata.http_status));
          }
          span.setStatus({ code: SpanStatusCode.ERROR, message });
        }
      });
    },

    current: () => running.getStore(),

    async close(timeoutMs) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, timeoutMs);
      // What could not be sent was told by its export.
      await Promise.race([promise, provider.shutdown().catch(() => undefined)]);
      clearTimeout(timer);
    },
  };
}

// The library says nothing of spans that it drops, nor of an export that failed, unless it is
// given a meter and a log for all of the process. So what waits is counted here.
function createBatches(
  exporter: SpanExporter,
  { onExported, onDropped }: Pick<OtlpTracerOptions, "onExported" | "onDropped">,
): SpanProcessor {
  let waiting = 0;
  let isClosed = false;
  const batches = new BatchSpanProcessor({
    exporter: {
      export(spans, done) {
        waiting -= spans.length;
        exporter.export(spans, (result) => {
          const isTaken = result.code === ExportResultCode.SUCCESS;
          onExported(spans.length, isTaken ? undefined : (result.error ?? new Error("no reason was given")));
          done(result);
        });
      },
      forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
      shutdown: () => exporter.shutdown(),
    },
    maxQueueSize: maxWaitingSpans,
    scheduledDelayMillis: exportDelayMs,
    exportTimeoutMillis: exportTimeoutMs,
  });
  return {
    onStart: () => undefined,
    // Only sampled spans come here: the sampler records no others.
    onEnd(span) {
      if (isClosed || waiting >= maxWaitingSpans) {
        onDropped(1);
        return;
      }
      waiting += 1;
      batches.onEnd(span);
    },
    forceFlush: () => batches.forceFlush(),
    shutdown() {
      isClosed = true;
      return batches.shutdown();
    },
  };
}
