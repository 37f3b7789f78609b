import type { Random } from "./ids.ts";

/** What goes wrong. Where a body is sent, `contentType` overrides the one that belongs to the kind. */
export type FaultAction =
  /** Another answer than the upstream's. The body defaults to none. */
  | {
      kind: "answer";
      status: number;
      headers?: Record<string, string>;
      body?: string;
      contentType?: string;
    }
  /** Everything as usual, `delayMs` later. */
  | { kind: "delay"; delayMs: number }
  /** No answer, until the client gives up. */
  | { kind: "hang" }
  /** TCP reset: before the body is read, after the request was read (the default), or half-way through the answer. */
  | { kind: "reset"; at?: "head" | "request" | "answer" }
  /** The connection is closed in good order, without an answer. */
  | { kind: "noAnswerClose" }
  /** Half of the answer, or `bytes` of it, under the `content-length` of the whole; then the connection is closed. */
  | { kind: "truncate"; bytes?: number }
  /** The answer, one byte every `intervalMs`. */
  | { kind: "dribble"; intervalMs: number }
  /** A 200 whose body never ends. */
  | { kind: "endless"; contentType?: string }
  /** A 200 with a log-in page, as a proxy in front would answer. */
  | { kind: "html" }
  | { kind: "redirect"; status: 301 | 302 | 303 | 307 | 308; location: string }
  /** A 200 whose few hundred bytes of YAML stand for 10^9 strings. */
  | { kind: "yamlBomb"; contentType?: string }
  /** A 200 with `depth` (100,000) nested brackets. */
  | { kind: "deepNesting"; depth?: number; contentType?: string };

export interface FaultRule {
  /** Named in `RecordedRequest.fault` and in counters. Default: `fault-1`, `fault-2` and so on. */
  id?: string;
  /** Every given condition must hold. Default: every request. */
  match?: {
    /** A regular expression, searched for in the path (without the query). */
    path?: string;
    /** The HTTP method or the RPC method. */
    method?: string;
    bodyIncludes?: string;
  };
  /** How often it strikes. Default: every time. */
  times?: number;
  /** From 0 to 1. Default 1. */
  probability?: number;
  /** Whether the upstream processes the request first. Default "before": it never sees it (`delay`: it does, later). */
  when?: "before" | "after";
  action: FaultAction;
}

export interface FaultState {
  readonly id: string;
  readonly rule: FaultRule;
  /** How often it struck. */
  readonly fired: number;
}

/**
 * The rules of one upstream. The first that matches a request wins, and a probability that misses is no match. Only
 * resets at the head jump the queue: they strike before the rest of a request is known.
 */
export interface FaultRules {
  readonly rules: readonly FaultState[];
  /** Replaces all rules. Throws a TypeError when one is not valid, and then changes nothing. */
  set(rules: readonly FaultRule[]): void;
  /** Appends a rule and returns its id. Throws a TypeError when it is not valid. */
  add(rule: FaultRule): string;
  remove(id: string): boolean;
  clear(): void;
  /** How often rules of that id struck since the last `clear` or `set`, removed ones included. */
  fired(id: string): number;
}

/** What a rule can be matched against. `body` is undefined while only the head has been read. */
export interface FaultCandidate {
  readonly path: string;
  readonly methods: readonly string[];
  readonly body: string | undefined;
}

export interface FaultPicker extends FaultRules {
  /** The rule that strikes, counted as fired. Before the body is read only resets at the head can. */
  strike(candidate: FaultCandidate): FaultState | undefined;
}

interface Entry {
  readonly id: string;
  readonly rule: FaultRule;
  readonly path: RegExp | undefined;
  fired: number;
}

export function createFaultRules(random: Random): FaultPicker {
  let entries: Entry[] = [];
  let firedById = new Map<string, number>();
  let made = 0;

  function prepare(rule: FaultRule): Entry {
    const problem = problemOf(rule);
    if (problem !== undefined) {
      throw new TypeError(problem);
    }
    const { id = `fault-${++made}`, match } = rule;
    return { id, rule, path: match?.path === undefined ? undefined : new RegExp(match.path), fired: 0 };
  }

  function matches({ rule, path, fired }: Entry, candidate: FaultCandidate): boolean {
    const { match = {}, times = Number.POSITIVE_INFINITY, probability = 1 } = rule;
    if (fired >= times) {
      return false;
    }
    if ((candidate.body === undefined) !== strikesAtHead(rule)) {
      return false;
    }
    if (path !== undefined && !path.test(candidate.path)) {
      return false;
    }
    if (match.method !== undefined && !candidate.methods.includes(match.method)) {
      return false;
    }
    if (match.bodyIncludes !== undefined && !candidate.body?.includes(match.bodyIncludes)) {
      return false;
    }
    // Last, so that a request the rule is not about draws no random number.
    return probability >= 1 || random() < probability;
  }

  return {
    get rules() {
      return entries;
    },
    set(rules) {
      entries = rules.map(prepare);
      firedById = new Map();
    },
    add(rule) {
      const entry = prepare(rule);
      entries = [...entries, entry];
      return entry.id;
    },
    remove(id) {
      const before = entries.length;
      entries = entries.filter((entry) => entry.id !== id);
      return entries.length < before;
    },
    clear() {
      entries = [];
      firedById = new Map();
    },
    fired: (id) => firedById.get(id) ?? 0,
    strike(candidate) {
      const entry = entries.find((each) => matches(each, candidate));
      if (entry === undefined) {
        return undefined;
      }
      entry.fired++;
      firedById.set(entry.id, (firedById.get(entry.id) ?? 0) + 1);
      return entry;
    },
  };
}

function strikesAtHead({ action }: FaultRule): boolean {
  return action.kind === "reset" && action.at === "head";
}

const actionKinds: ReadonlySet<string> = new Set<FaultAction["kind"]>([
  "answer",
  "delay",
  "hang",
  "reset",
  "noAnswerClose",
  "truncate",
  "dribble",
  "endless",
  "html",
  "redirect",
  "yamlBomb",
  "deepNesting",
]);

// Rules also come over HTTP, so their type proves nothing.
function problemOf(rule: FaultRule): string | undefined {
  const { action, times, probability, when, match = {} }: Partial<FaultRule> = rule ?? {};
  if (action === undefined || !actionKinds.has(action.kind)) {
    return `action.kind is one of ${[...actionKinds].join(", ")}`;
  }
  const numbers = { times, probability, ...neededNumbers(action) };
  for (const [name, value] of Object.entries(numbers)) {
    const isNeeded = name !== "times" && name !== "probability";
    if (typeof value !== "number" && (isNeeded || value !== undefined)) {
      return `${name} is a number`;
    }
  }
  if (action.kind === "redirect" && typeof action.location !== "string") {
    return "location is a text";
  }
  if (when !== undefined && when !== "before" && when !== "after") {
    return 'when is "before" or "after"';
  }
  if (!Object.values(match).every((each) => typeof each === "string")) {
    return "match is made of texts";
  }
  if (match.path !== undefined && !isPattern(match.path)) {
    return "path is a regular expression";
  }
  if (strikesAtHead(rule) && (when === "after" || match.bodyIncludes !== undefined)) {
    return "a reset at the head comes before the upstream and the body";
  }
  return undefined;
}

function isPattern(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}

function neededNumbers(action: FaultAction): Record<string, unknown> {
  switch (action.kind) {
    case "answer":
    case "redirect":
      return { status: action.status };
    case "delay":
      return { delayMs: action.delayMs };
    case "dribble":
      return { intervalMs: action.intervalMs };
    default:
      return {};
  }
}
