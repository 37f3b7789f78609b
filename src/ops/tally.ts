import { Counter, type Registry } from "@prometheus-io/client";

export interface TallyOptions {
  registry: Registry;
  name: string;
  help: string;
  labelNames: readonly string[];
}

type Labels = Readonly<Record<string, string>>;

/** One series of a counter. */
export interface Tally {
  add(): void;
}

/**
 * Creates a counter for what happens with every call: to count is an addition, and the
 * library hears of it when somebody asks for the metrics. Returns the way to a series,
 * which is there with 0 from then on: an increase from nothing to 1 is none to Prometheus.
 */
export function createTally({ registry, ...options }: TallyOptions): (labels: Labels) => Tally {
  const series: { labels: Labels; count: number }[] = [];
  new Counter({
    ...options,
    labelNames: [...options.labelNames],
    registers: [registry],
    collect() {
      for (const each of series) {
        this.inc(each.labels, each.count);
        each.count = 0;
      }
    },
  });
  return (labels) => {
    const own = { labels, count: 0 };
    series.push(own);
    return {
      add() {
        own.count += 1;
      },
    };
  };
}
