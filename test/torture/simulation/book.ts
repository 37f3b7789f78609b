import { DeliveryState } from "../../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptResult } from "../../../src/model/attempt-result.ts";
import type { NewDelivery } from "../../../src/model/delivery.ts";
import type { DeliveryRow } from "../../../src/outbox/store.ts";

/** One attempt, as its upstream saw it. */
export interface Sent {
  generation: number;
  result: AttemptResult["kind"] | undefined;
}

/** What is known of one report. */
export interface Entry {
  delivery: NewDelivery;
  /** Its number, once it was stored. */
  seq: number | undefined;
  /** Ids under which it was acknowledged. */
  acknowledged: Set<string>;
  sent: Sent[];
  /** How often the upstream took it. */
  taken: number;
  isDiscarded: boolean;
  /** An operator wanted another attempt. */
  isByHand: boolean;
  /** The upstream refused it, and its task was open again. */
  isOpenAgain: boolean;
  /** When it was first known to have ended. */
  endedMs: number | undefined;
}

/** What was reported, sent and taken, and what of it must never be. */
export interface Book {
  readonly problems: string[];
  entry(delivery: NewDelivery): Entry;
  find(body: string): Entry | undefined;
  findBySeq(seq: number): Entry | undefined;
  /** A report was stored. What had its number before was not committed. */
  stored(entry: Entry, seq: number): void;
  /** An attempt is about to leave. */
  leaves(entry: Entry, generation: number, isInDoubt: boolean): Sent;
  problem(text: string): void;
  /** Compares all with what the store says at the end. */
  judge(rows: readonly DeliveryRow[], bodyOf: (id: string) => string | undefined): void;
}

export function createBook(): Book {
  const entries = new Map<string, Entry>();
  const bySeq = new Map<number, Entry>();
  const byTask = new Map<string, Entry[]>();
  const problems: string[] = [];

  function problem(text: string): void {
    problems.push(text);
  }

  return {
    problems,
    problem,
    entry(delivery) {
      const existing = entries.get(delivery.body);
      if (existing !== undefined) {
        return existing;
      }
      const entry: Entry = {
        delivery,
        seq: undefined,
        acknowledged: new Set(),
        sent: [],
        taken: 0,
        isDiscarded: false,
        isByHand: false,
        isOpenAgain: false,
        endedMs: undefined,
      };
      entries.set(delivery.body, entry);
      byTask.set(delivery.key, [...(byTask.get(delivery.key) ?? []), entry]);
      return entry;
    },
    find: (body) => entries.get(body),
    findBySeq: (seq) => bySeq.get(seq),
    stored(entry, seq) {
      const undone = bySeq.get(seq);
      if (undone?.seq === seq) {
        undone.seq = undefined;
      }
      entry.seq = seq;
      bySeq.set(seq, entry);
    },
    leaves(entry, generation, isInDoubt) {
      const { delivery, sent, seq } = entry;
      const name = `${delivery.kind} ${delivery.body}`;
      if (seq === undefined) {
        problem(`${name} leaves before it is stored`);
      }
      const last = sent.at(-1);
      if (last?.generation === generation && !entry.isByHand) {
        if (last.result === undefined) {
          problem(`${name} is sent again while it is under way`);
        } else if (["accepted", "rejected", "unconfirmed"].includes(last.result)) {
          problem(`${name} is sent again although it was ${last.result}`);
        }
      }
      const mayBeTaken = sent.some(({ result }) => result === undefined || result === "inDoubt");
      if (mayBeTaken && !isInDoubt && !entry.isByHand) {
        problem(`${name} is sent again without a doubt, and may have been taken`);
      }
      for (const other of byTask.get(delivery.key) ?? []) {
        if (other === entry || other.sent.length === 0 || other.seq === undefined || seq === undefined) {
          continue;
        }
        const isLog = delivery.kind === "log" || other.delivery.kind === "log";
        if (other.seq > seq && !(entry.isByHand && isLog)) {
          problem(`${name} leaves behind ${other.delivery.body}, which was accepted later`);
        }
        if (other.delivery.kind === "outcome" && !other.isOpenAgain && delivery.kind !== "log") {
          problem(`${name} leaves behind the outcome ${other.delivery.body}`);
        }
      }
      const attempt: Sent = { generation, result: undefined };
      sent.push(attempt);
      return attempt;
    },
    judge(rows, bodyOf) {
      const byId = new Map(rows.map((row) => [row.id, row]));
      for (const row of rows) {
        if (bodyOf(row.id) === undefined) {
          problem(`${row.id} is in the store and was never reported`);
        }
      }
      for (const entry of entries.values()) {
        const { delivery, acknowledged, taken } = entry;
        for (const id of acknowledged) {
          const row = byId.get(id);
          if (row === undefined) {
            problem(`${delivery.body} was acknowledged as ${id} and is gone`);
          } else if (bodyOf(id) !== delivery.body) {
            problem(`${delivery.body} was acknowledged with the id of ${bodyOf(id)}`);
          } else {
            judgeEnd(entry, row, problem);
          }
        }
        if (taken > 0 && entry.seq === undefined) {
          problem(`${delivery.body} was taken and never stored`);
        }
      }
      for (const [key, ofTask] of byTask) {
        const outcomes = ofTask.filter(({ delivery }) => delivery.kind === "outcome");
        const taken = outcomes.reduce((sum, entry) => sum + entry.taken, 0);
        const [first] = outcomes;
        const isOnce =
          first?.delivery.upstream !== "orchestra" &&
          !outcomes.some((entry) => entry.isByHand || entry.isDiscarded);
        if (isOnce && taken > 1) {
          problem(`${key}: ${first?.delivery.upstream} took ${taken} outcomes`);
        }
        const isMoved = outcomes.some((entry) => entry.isByHand || entry.isDiscarded);
        if (!isMoved && outcomes.filter((entry) => entry.taken > 0).length > 1) {
          problem(`${key}: different outcomes were taken`);
        }
      }
    },
  };
}

function judgeEnd(entry: Entry, row: DeliveryRow, problem: (text: string) => void): void {
  const { delivery, taken, sent } = entry;
  const name = `${delivery.kind} ${delivery.body}`;
  const hadDoubt = sent.length > 1 || sent.some(({ result }) => result === undefined || result === "inDoubt");
  switch (row.state) {
    case DeliveryState.STORED:
      problem(`${name} has never ended`);
      break;
    case DeliveryState.DELIVERED:
      if (taken === 0) {
        problem(`${name} is DELIVERED and was never taken`);
      }
      break;
    case DeliveryState.REJECTED:
      // What may be taken more than once is refused after five failures of its own, taken or not.
      if (taken > 0 && delivery.upstream !== "orchestra" && delivery.kind === "outcome" && !entry.isByHand) {
        problem(`${name} is REJECTED and was taken`);
      }
      break;
    case DeliveryState.UNCONFIRMED:
      if (!hadDoubt) {
        problem(`${name} is UNCONFIRMED without a doubt`);
      }
      break;
    case DeliveryState.SUPERSEDED:
      if (delivery.kind !== "status" || sent.length > 0) {
        problem(`${name} is SUPERSEDED`);
      }
      break;
    case DeliveryState.DISCARDED:
      if (!entry.isDiscarded) {
        problem(`${name} is DISCARDED and nobody did that`);
      }
      break;
    default:
      problem(`${name} is in state ${row.state}`);
  }
}
