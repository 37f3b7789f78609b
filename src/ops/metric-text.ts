const openMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const plainType = "text/plain; version=0.0.4; charset=utf-8";

/** Metrics in the format that was asked for. */
export interface MetricText {
  contentType: string;
  body: string;
}

/**
 * Answers with what `Accept` prefers: OpenMetrics where it is named, else the plain
 * text format, which everybody reads.
 */
export function metricText(plain: string, accept: string | undefined): MetricText {
  return prefersOpenMetrics(accept ?? "")
    ? { contentType: openMetricsType, body: toOpenMetrics(plain) }
    : { contentType: plainType, body: plain };
}

function prefersOpenMetrics(accept: string): boolean {
  const weight = (type: string) => {
    const range = accept.split(",").find((part) => part.trim().toLowerCase().startsWith(type));
    const quality = /;\s*q=([\d.]+)/.exec(range ?? "")?.[1];
    return range === undefined ? 0 : Number(quality ?? 1);
  };
  const open = weight("application/openmetrics-text");
  return open > 0 && open >= weight("text/plain");
}

/**
 * Rewrites the plain text format: OpenMetrics names a counter without `_total`,
 * has no empty lines and says where it ends. The library would do it by renaming its
 * counters for good, and the next scrape in plain text would find them without `_total`.
 */
export function toOpenMetrics(plain: string): string {
  const lines = plain.split("\n").filter((line) => line !== "");
  const counters = new Set(lines.flatMap((line) => /^# TYPE (\S+)_total counter$/.exec(line)?.[1] ?? []));
  const rewritten = lines.map((line) => {
    const [, keyword, name, rest] = /^# (HELP|TYPE) (\S+)_total (.*)$/.exec(line) ?? [];
    return name !== undefined && counters.has(name) ? `# ${keyword} ${name} ${rest}` : line;
  });
  return `${[...rewritten, "# EOF"].join("\n")}\n`;
}
