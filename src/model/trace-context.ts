/** Where something belongs in a trace, in the words of W3C's headers of the same names. */
export interface TraceContext {
  readonly traceparent: string;
  /** Empty: none. */
  readonly tracestate: string;
}

/** The id of the trace: 32 hexadecimal digits. */
export function traceIdOf({ traceparent }: TraceContext): string {
  return traceparent.slice(3, 35);
}
