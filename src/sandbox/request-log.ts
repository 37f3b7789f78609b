/** One request that reached an upstream of the sandbox. Control calls are not recorded. */
export interface RecordedRequest {
  /** Counts from 1 in order of arrival. */
  readonly seq: number;
  /** When its head arrived, in epoch milliseconds. */
  readonly atMs: number;
  /** When it was over: answered, or its connection gone. */
  endMs?: number;
  readonly method: string;
  /** The request target as sent, query included. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Names and values in turn, as they were on the wire. */
  readonly rawHeaders: readonly string[];
  /** The raw text, read as UTF-8; what had come when the connection broke, if it broke. */
  body: string;
  /** The body as the upstream understood it. */
  parsed?: unknown;
  /** The status that was sent, if only in part; null while there is none. */
  status: number | null;
  /** The id of the fault rule that struck. */
  fault?: string;
  /**
   * How many other requests about the same process or task were still being served when this one had been read.
   * Being served ends when the upstream is done with it and its answer is sent or its connection is gone.
   */
  concurrent: number;
}

export interface RequestLog {
  /** Oldest first. */
  readonly entries: readonly RecordedRequest[];
  begin(
    request: Pick<RecordedRequest, "atMs" | "method" | "path" | "headers" | "rawHeaders">,
  ): RecordedRequest;
  /** Keeps the text of a body. */
  keepBody(request: RecordedRequest, body: string): void;
  clear(): void;
}

/** Keeps the last `maxEntries` requests, fewer once their bodies exceed `maxChars` together. */
export function createRequestLog(maxEntries = 100_000, maxChars = 256 * 1024 * 1024): RequestLog {
  let entries: RecordedRequest[] = [];
  let chars = 0;
  let seq = 0;

  function dropOldest(count: number): void {
    for (const dropped of entries.splice(0, count)) {
      chars -= dropped.body.length;
    }
  }

  return {
    get entries() {
      return entries;
    },
    begin(request) {
      // A tenth at a time: moving so many entries up for each new one would cost more than serving it.
      if (entries.length >= maxEntries * 1.1) {
        dropOldest(entries.length - maxEntries);
      }
      const entry: RecordedRequest = { seq: ++seq, ...request, body: "", status: null, concurrent: 0 };
      entries.push(entry);
      return entry;
    },
    keepBody(request, body) {
      request.body = body;
      // Cleared, or dropped, while it was still being read.
      if (request.seq < (entries[0]?.seq ?? Number.POSITIVE_INFINITY)) {
        return;
      }
      chars += body.length;
      while (chars > maxChars && entries.length > 1) {
        dropOldest(Math.ceil(entries.length / 10));
      }
    },
    clear() {
      entries = [];
      chars = 0;
    },
  };
}

/** Counts what is in flight by key. */
export interface InFlight {
  /** Counts one more, and says how many there were before; `leave` takes it back. */
  enter(key: string): { before: number; leave: () => void };
}

export function createInFlight(): InFlight {
  const counts = new Map<string, number>();
  return {
    enter(key) {
      const before = counts.get(key) ?? 0;
      counts.set(key, before + 1);
      return {
        before,
        leave() {
          const left = (counts.get(key) ?? 1) - 1;
          if (left === 0) {
            counts.delete(key);
          } else {
            counts.set(key, left);
          }
        },
      };
    },
  };
}
