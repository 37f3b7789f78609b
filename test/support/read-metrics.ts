/** Metrics as a scrape sees them. */
export interface Scrape {
  text: string;
  /** The value of a series as it is written, for example `a_total{b="c"}`. Undefined: it is not there. */
  value(series: string): number | undefined;
  /** The names of all metrics, as `# TYPE` says them. */
  names: ReadonlySet<string>;
}

/** Asks a gateway for its metrics. */
export async function readMetrics(opsUrl: string): Promise<Scrape> {
  const response = await fetch(`${opsUrl}/metrics`);
  if (response.status !== 200) {
    throw new Error(`/metrics answers ${response.status}`);
  }
  const text = await response.text();
  const lines = text.split("\n");
  const values = new Map(
    lines.flatMap((line) => {
      const [, series, value] = /^([^#].*) (\S+)$/.exec(line) ?? [];
      return series === undefined ? [] : [[series, Number(value)] as const];
    }),
  );
  return {
    text,
    value: (series) => values.get(series),
    names: new Set(lines.flatMap((line) => /^# TYPE (\S+) /.exec(line)?.[1] ?? [])),
  };
}
