/** Returns the known name that was most likely meant; undefined: none is near. */
export function closestName(name: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(fold(name), fold(candidate), bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** ` (did you mean NAME?)`, or nothing. */
export function suggestion(name: string, known: Iterable<string>, prefix = ""): string {
  const closest = closestName(name, known);
  return closest === undefined ? "" : ` (did you mean ${prefix}${closest}?)`;
}

// One spelling in place of another is no distance at all.
function fold(name: string): string {
  return name.toLowerCase().replace(/[-_.]/g, "");
}

// Levenshtein's, row by row; given up once it cannot be below the limit.
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) {
    return limit;
  }
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? limit;
}
