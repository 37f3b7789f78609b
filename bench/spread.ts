/** The figures of several rounds in three. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** Sums up one figure or more. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const [min, lower, upper, max] = [0, Math.floor(middle), Math.ceil(middle), -1].map((at) => sorted.at(at));
  if (min === undefined || lower === undefined || upper === undefined || max === undefined) {
    throw new Error("there is no figure to sum up");
  }
  return { median: (lower + upper) / 2, min, max };
}

/** Writes a spread as `median (min-max)`. */
export function formatSpread({ median, min, max }: Spread, fractionDigits = 0): string {
  const { format } = new Intl.NumberFormat("en-US", {
    minimumFractionDigits: fractionDigits,
    maximumFractionDigits: fractionDigits,
  });
  return `${format(median)} (${format(min)}-${format(max)})`;
}
