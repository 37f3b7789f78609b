import { ErrorReason } from "../../../gen/taskgate/v1/error_reason_pb.ts";
import type { AttemptFailure, AttemptResult } from "../../../src/model/attempt-result.ts";
import type { DeliveryUpstream } from "../../../src/model/delivery.ts";
import { createFailure, type FailureOptions } from "../../../src/model/failure.ts";
import { doubtFloorMs } from "../../../src/outbox/doubt-floor.ts";
import { intBetween, pick, type Random } from "../random.ts";
import type { Book, Entry } from "./book.ts";
import type { VirtualTime } from "./virtual-time.ts";

export type UpstreamName = "orchestra" | "orchestrator" | "aidbox";

/** The three upstreams, as far as the outbox can tell. */
export interface SimulatedUpstreams {
  /** As a process sees them: what it waits for is lost with it. */
  connect(process: UpstreamProcess): ReadonlyMap<string, DeliveryUpstream>;
  /** Something that is sent for a task beside its deliveries. */
  besides(process: UpstreamProcess, key: string): Promise<void>;
  /** From now on everything works. */
  heal(): void;
  readonly counts: Record<string, number>;
}

/** What of a process the upstreams see. */
export interface UpstreamProcess {
  generation: number;
  isGone: () => boolean;
  /** What is under way, by task. */
  underWay: Map<string, string>;
  /** How much is under way, by lane. */
  perLane: Map<string, number>;
}

export interface SimulatedUpstreamOptions {
  random: Random;
  time: VirtualTime;
  book: Book;
  /** How often something goes wrong, from 0 to 1. */
  trouble: number;
  concurrency: number;
  /** Says of each attempt that no earlier one may have been taken. */
  ignoreDoubt?: boolean;
}

type Fault =
  | "none"
  | "answerLost"
  | "requestLost"
  | "error500"
  | "refused"
  | "noConnection"
  | "tooMany"
  | "hang"
  | "unauthorized"
  | "tooEarly";

const faults: readonly [Fault, ...Fault[]] = [
  "answerLost",
  "answerLost",
  "requestLost",
  "error500",
  "refused",
  "noConnection",
  "tooMany",
  "hang",
  "unauthorized",
  "tooEarly",
];

// After so long an attempt is surely over.
const maxWorkMs = 0.9 * (doubtFloorMs.orchestrator ?? 0);

export function createSimulatedUpstreams(options: SimulatedUpstreamOptions): SimulatedUpstreams {
  const { random, time, book } = options;
  const world = time.createClock();
  const counts: Record<string, number> = {};
  const working = new Map<string, number>();
  const takenOutcome = new Map<string, string>();
  let { trouble } = options;

  function sleep(ms: number): Promise<void> {
    return new Promise((resolve) => world.setTimer(resolve, ms));
  }

  function failed(
    kind: AttemptFailure["kind"],
    failureOptions: FailureOptions = {},
    isTaskOpen = false,
  ): AttemptResult {
    const reason = kind === "unauthorized" ? ErrorReason.UPSTREAM_AUTH : ErrorReason.UPSTREAM_UNAVAILABLE;
    return { kind, failure: createFailure(reason, kind, failureOptions), isTaskOpen };
  }

  // The request arrives and is worked on, whether its sender still lives or not.
  async function arrive(entry: Entry): Promise<"taken" | "conflict"> {
    const { upstream, key, kind, body } = entry.delivery;
    if (upstream === "orchestra" || kind !== "outcome") {
      entry.taken += 1;
      return "taken";
    }
    if (takenOutcome.has(key)) {
      return "conflict";
    }
    working.set(key, (working.get(key) ?? 0) + 1);
    if (upstream === "orchestrator") {
      // Read, validate, write: two at once are both taken.
      await sleep(intBetween(random, 0, random() < 0.2 ? maxWorkMs : 40));
    }
    working.set(key, (working.get(key) ?? 0) - 1);
    takenOutcome.set(key, body);
    entry.taken += 1;
    return "taken";
  }

  // What the adapter of the upstream makes of an answer, docs/upstreams.md.
  function judge(entry: Entry, arrived: "taken" | "conflict", isInDoubt: boolean): AttemptResult {
    if (arrived === "taken") {
      return { kind: "accepted", answer: "" };
    }
    const { upstream, key, body } = entry.delivery;
    if (upstream === "aidbox") {
      return isInDoubt && takenOutcome.get(key) === body
        ? { kind: "accepted", answer: "" }
        : failed("rejected");
    }
    return failed(isInDoubt ? "unconfirmed" : "rejected", { metadata: { http_status: "409" } });
  }

  async function attempt(entry: Entry, fault: Fault, isInDoubt: boolean): Promise<AttemptResult> {
    const { upstream, kind } = entry.delivery;
    counts[fault] = (counts[fault] ?? 0) + 1;
    await sleep(intBetween(random, 1, 20));
    switch (fault) {
      case "noConnection":
        return failed("unavailable");
      case "tooMany":
        return failed("unavailable", { retryAfterMs: pick(random, [0, 1000, 86_400_000, -1000]) });
      case "unauthorized":
        return failed("unauthorized");
      case "tooEarly":
        // Behind a doubt the same answer may mean that it was taken.
        return failed(upstream === "orchestrator" && !isInDoubt ? "tooEarly" : "unavailable");
      case "refused":
        if (random() < 0.3 && !(isInDoubt && kind === "outcome")) {
          return failed("rejected", {}, kind === "outcome" && random() < 0.7);
        }
        return failed("unavailable");
      case "requestLost":
        return failed("inDoubt");
      case "hang":
        await sleep(30_000);
        return failed("inDoubt");
      case "error500":
        if (random() < 0.5) {
          await arrive(entry);
        }
        return failed("inDoubt", { metadata: { http_status: "500" } });
      case "answerLost": {
        const arrived = arrive(entry);
        await sleep(random() < 0.5 ? 1 : 10_000);
        void arrived;
        return failed("inDoubt");
      }
      case "none": {
        const arrived = await arrive(entry);
        await sleep(intBetween(random, 1, 20));
        return judge(entry, arrived, isInDoubt);
      }
      default:
        return fault satisfies never;
    }
  }

  function begin(process: UpstreamProcess, key: string, what: string): void {
    const other = process.underWay.get(key);
    if (other !== undefined) {
      book.problem(`${what} leaves while ${other} is under way`);
    }
    process.underWay.set(key, what);
  }

  async function send(process: UpstreamProcess, body: string, isInDoubt: boolean): Promise<AttemptResult> {
    const entry = book.find(body);
    if (entry === undefined || process.isGone()) {
      book.problem(entry === undefined ? `${body} was never reported` : `${body} is sent by a dead process`);
      return failed("rejected");
    }
    const { key, lane } = entry.delivery;
    begin(process, key, body);
    const many = (process.perLane.get(lane) ?? 0) + 1;
    process.perLane.set(lane, many);
    if (many > options.concurrency) {
      book.problem(`${many} attempts are under way in ${lane}`);
    }
    const sent = book.leaves(entry, process.generation, isInDoubt);
    const fault = random() < trouble ? pick(random, faults) : "none";
    const result = await attempt(entry, fault, isInDoubt);
    if (process.isGone()) {
      return new Promise(() => undefined);
    }
    sent.result = result.kind;
    process.underWay.delete(key);
    process.perLane.set(lane, many === 0 ? 0 : (process.perLane.get(lane) ?? 1) - 1);
    return result;
  }

  return {
    counts,
    heal() {
      trouble = 0;
    },
    connect: (process) =>
      new Map(
        ["orchestra", "orchestrator", "aidbox"].map((name) => [
          name,
          {
            send: ({ body, isInDoubt }) =>
              send(process, body, options.ignoreDoubt === true ? false : isInDoubt),
          } satisfies DeliveryUpstream,
        ]),
      ),
    async besides(process, key) {
      begin(process, key, "something beside the deliveries");
      await sleep(intBetween(random, 1, 200));
      if (process.isGone()) {
        return new Promise(() => undefined);
      }
      process.underWay.delete(key);
    },
  };
}
