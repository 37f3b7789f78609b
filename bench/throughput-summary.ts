import type { RateSample } from "./rate-sample.ts";
import { formatSpread, type Spread, spreadOf } from "./spread.ts";
import { formatTable } from "./table.ts";

/** What one server did in all rounds. */
export interface ThroughputSummary {
  contender: string;
  rounds: number;
  /** Rounds in which the client was what was slow: they do not count for calls and their ratio. */
  clientBoundRounds: number;
  /** Rounds in which nobody filled a processor: others took their time, or the two waited for each other. */
  slackRounds: number;
  /** Undefined when no round counts. */
  callsPerSecond: Spread | undefined;
  /** To the reference in the same round. Undefined when no round counts. */
  callsRatio: Spread | undefined;
  serverCpuUsPerCall: Spread;
  /** To the reference in the same round. */
  cpuRatio: Spread;
  serverShare: Spread;
  clientShare: Spread;
  /** Undefined where it was not looked at. */
  rssMiB: Spread | undefined;
}

/** Sums up samples for each server, in the order in which they took their turn. */
export function summarizeThroughput(
  samples: readonly (RateSample & { rssMiB?: number })[],
  reference: string,
): ThroughputSummary[] {
  const references = new Map(
    samples.filter(({ contender }) => contender === reference).map((sample) => [sample.round, sample]),
  );
  return [...Map.groupBy(samples, ({ contender }) => contender)].map(([contender, own]) => {
    const pairs = own.flatMap((sample) => {
      const other = references.get(sample.round);
      return other === undefined ? [] : [{ sample, other }];
    });
    const counted = own.filter((sample) => !sample.isClientBound);
    const countedPairs = pairs.filter(({ sample, other }) => !sample.isClientBound && !other.isClientBound);
    return {
      contender,
      rounds: own.length,
      clientBoundRounds: own.length - counted.length,
      slackRounds: own.filter((sample) => !sample.isClientBound && sample.serverShare <= 0.9).length,
      callsPerSecond: spreadOfAny(counted.map((sample) => sample.callsPerSecond)),
      callsRatio: spreadOfAny(
        countedPairs.map(({ sample, other }) => sample.callsPerSecond / other.callsPerSecond),
      ),
      serverCpuUsPerCall: spreadOf(own.map((sample) => sample.serverCpuUsPerCall)),
      cpuRatio: spreadOf(
        pairs.map(({ sample, other }) => sample.serverCpuUsPerCall / other.serverCpuUsPerCall),
      ),
      serverShare: spreadOf(own.map((sample) => sample.serverShare)),
      clientShare: spreadOf(own.map((sample) => sample.clientShare)),
      rssMiB: spreadOfAny(own.flatMap(({ rssMiB }) => rssMiB ?? [])),
    };
  });
}

/** Writes summaries as a table: medians, with the least and the most. `unit` is what was counted. */
export function formatThroughput(summaries: readonly ThroughputSummary[], unit = "call"): string {
  const columns = [`${unit}s/s`, "ratio", `server CPU us/${unit}`, "ratio", "server core %", "client core %"];
  const hasRss = summaries.some(({ rssMiB }) => rssMiB !== undefined);
  return formatTable([
    ["", ...columns, ...(hasRss ? ["RSS MiB"] : []), ""],
    ...summaries.map((summary) => [
      summary.contender,
      formatCounted(summary.callsPerSecond),
      formatCounted(summary.callsRatio, 2),
      formatSpread(summary.serverCpuUsPerCall, 1),
      formatSpread(summary.cpuRatio, 2),
      formatSpread(percentOf(summary.serverShare)),
      formatSpread(percentOf(summary.clientShare)),
      ...(summary.rssMiB === undefined ? [] : [formatSpread(summary.rssMiB)]),
      noteOn(summary),
    ]),
  ]);
}

function spreadOfAny(values: readonly number[]): Spread | undefined {
  return values.length === 0 ? undefined : spreadOf(values);
}

function formatCounted(spread: Spread | undefined, fractionDigits?: number): string {
  return spread === undefined ? "client-bound" : formatSpread(spread, fractionDigits);
}

function noteOn({ rounds, clientBoundRounds, slackRounds }: ThroughputSummary): string {
  return [
    clientBoundRounds === 0 ? "" : `client-bound in ${clientBoundRounds} of ${rounds} rounds`,
    slackRounds === 0 ? "" : `slack in ${slackRounds} of ${rounds} rounds`,
  ]
    .filter((note) => note !== "")
    .join(", ");
}

function percentOf({ median, min, max }: Spread): Spread {
  return { median: median * 100, min: min * 100, max: max * 100 };
}
