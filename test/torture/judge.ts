import type { Arrival, Listed, Report } from "./ledger.ts";

/** What the judge found, and figures for people. */
export interface Verdict {
  /** Empty: what was promised was kept. */
  problems: string[];
  figures: Record<string, string | number>;
}

/** What is known at the end, from three sides: producers, operator, upstreams. */
export interface Evidence {
  reports: readonly Report[];
  /** In the order of acceptance. */
  deliveries: readonly Listed[];
  /** Per task in the order of arrival. */
  arrivals: readonly Arrival[];
}

export interface Rules {
  /** Whether a delivery may have ended so. Default: only DELIVERED is right. */
  mayEnd?: (delivery: Listed, report: Report) => boolean;
  /** Whether a report may have been refused to its producer. Default: none. */
  mayRefuse?: (report: Report) => boolean;
  /** How many more often than once Orchestra may have got something. Default: none. */
  maxDuplicates?: number;
}

export interface Judged {
  problems: string[];
  acknowledged: number;
  duplicates: number;
  /** Attempts beyond the first of each delivery. */
  extraAttempts: number;
}

// Not taken, and the operator sees that.
const keptStates: ReadonlySet<string> = new Set(["REJECTED", "SUPERSEDED", "DISCARDED"]);

/** Judges one run. */
export function judge({ reports, deliveries, arrivals }: Evidence, rules: Rules = {}): Judged {
  const found = new Map<string, string[]>();
  const object = (what: string, which: string) => {
    found.set(what, [...(found.get(what) ?? []), which]);
  };
  const byId = new Map(reports.map((report) => [report.id, report]));
  const taken = arrivals.filter(({ refused }) => refused === undefined);
  const arrivalsOf = Map.groupBy(taken, ({ reportId }) => reportId);
  const deliveryOf = new Map(deliveries.map((delivery) => [delivery.id, delivery]));
  const reportOf = new Map<string, Report>();

  for (const report of reports) {
    const { told, id } = report;
    if (told === undefined) {
      object("never answered", id);
    } else if (told.kind === "refused") {
      if (rules.mayRefuse?.(report) !== true) {
        object("refused to its producer", `${id} ${told.code} ${told.reason ?? ""} ${told.message}`);
      }
    } else {
      if (reportOf.has(told.deliveryId)) {
        object("two reports are one delivery", `${id} ${told.deliveryId}`);
      }
      reportOf.set(told.deliveryId, report);
    }
  }

  for (const { refused, reportId, task, payload } of arrivals) {
    const report = byId.get(reportId ?? "");
    if (refused !== undefined) {
      object("refused by the upstream", `${refused} ${task} ${payload}`);
    } else if (report === undefined) {
      object("invented", `${task} ${payload}`);
    } else if (report.told?.kind === "refused") {
      object("refused to its producer, and sent", report.id);
    } else if (report.expected !== payload || report.task !== task) {
      object("altered", `${report.expected} became ${payload}`);
    }
  }

  let duplicates = 0;
  let acknowledged = 0;
  for (const [deliveryId, report] of reportOf) {
    acknowledged += 1;
    const count = arrivalsOf.get(report.id)?.length ?? 0;
    const delivery = deliveryOf.get(deliveryId);
    const where = `${report.id} (${report.upstream} ${report.task}, ${report.kind}, delivery ${deliveryId})`;
    if (delivery === undefined) {
      object("acknowledged, and unknown to the operator", where);
    } else if (delivery.state !== "DELIVERED" && rules.mayEnd?.(delivery, report) !== true) {
      object("ended as it must not", `${where} ${delivery.state} ${JSON.stringify(delivery.failure)}`);
    }
    const isKept = delivery !== undefined && keptStates.has(delivery.state);
    if (count === 0 && !(isKept && rules.mayEnd?.(delivery, report) === true)) {
      object("lost", where);
    }
    duplicates += Math.max(0, count - 1);
    if (count > 1 && report.upstream !== "orchestra") {
      object("taken more than once", where);
    }
    if (delivery !== undefined && count > delivery.attempts) {
      object("arrived more often than it was sent", `${where} ${count} times, ${delivery.attempts} attempts`);
    }
  }
  for (const { id, task } of deliveries) {
    if (!reportOf.has(id)) {
      object("a delivery that nobody made", `${id} of ${task}`);
    }
  }
  if (duplicates > (rules.maxDuplicates ?? 0)) {
    object("more duplicates than allowed", `${duplicates} of ${rules.maxDuplicates ?? 0}`);
  }

  const accepted = Map.groupBy(
    deliveries.flatMap(({ id }) => reportOf.get(id) ?? []),
    ({ task }) => task,
  );
  for (const [task, order] of accepted) {
    if (order.some(({ group }, index) => group < (order[index - 1]?.group ?? 0))) {
      object("accepted in another order than it was said", task);
    }
  }
  for (const [task, all] of Map.groupBy(taken, (arrival) => arrival.task)) {
    judgeOrder(task, all, accepted.get(task) ?? [], byId, object);
  }

  return {
    problems: Array.from(
      found,
      ([what, which]) => `${what}: ${which.length} (${which.slice(0, 3).join("; ")})`,
    ),
    acknowledged,
    duplicates,
    extraAttempts: deliveries.reduce((sum, { attempts }) => sum + Math.max(0, attempts - 1), 0),
  };
}

// A repetition is in order when it comes before the next one. So every run of
// equal arrivals counts as one, and then the order must be that of acceptance.
function judgeOrder(
  task: string,
  arrivals: readonly Arrival[],
  accepted: readonly Report[],
  byId: ReadonlyMap<string, Report>,
  object: (what: string, which: string) => void,
): void {
  const collapsed = arrivals
    .map(({ reportId }) => reportId)
    .filter((reportId, index, all) => reportId !== all[index - 1]);
  const arrived = new Set(collapsed);
  const expected = accepted.map(({ id }) => id).filter((id) => arrived.has(id));
  const known = new Set(expected);
  const got = collapsed.filter((id) => id !== undefined && known.has(id));
  const at = got.findIndex((id, index) => id !== expected[index]);
  if (at >= 0) {
    const around = (ids: readonly unknown[]) => ids.slice(Math.max(0, at - 2), at + 3).join(" ");
    object("out of order", `${task} got ${around(got)} instead of ${around(expected)}`);
  }
  const outcomeAt = collapsed.findIndex((id) => byId.get(id ?? "")?.kind === "outcome");
  for (const id of outcomeAt < 0 ? [] : collapsed.slice(outcomeAt + 1)) {
    if (byId.get(id ?? "")?.kind !== "log") {
      object("behind an outcome", `${id} of ${task}`);
    }
  }
}
