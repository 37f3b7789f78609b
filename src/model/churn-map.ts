/**
 * A map for entries that come and go all the time. A `Map` that lives long makes a new
 * table whenever as many entries have gone as fit into one, and V8 makes it old at once,
 * with all that is in it: what was in the map for a moment would stay in memory, and be
 * copied there, until the next full collection.
 */
export interface ChurnMap<Key, Value> {
  readonly size: number;
  get(key: Key): Value | undefined;
  set(key: Key, value: Value): void;
  delete(key: Key): boolean;
  clear(): void;
  keys(): IterableIterator<Key>;
  values(): IterableIterator<Value>;
}

// Seldom enough to cost nothing, and soon enough that no map becomes old while much goes through it.
const minAdded = 256;

/** Creates an empty map. */
export function createChurnMap<Key, Value>(): ChurnMap<Key, Value> {
  let entries = new Map<Key, Value>();
  let added = 0;
  return {
    get size() {
      return entries.size;
    },
    get: (key) => entries.get(key),
    set(key, value) {
      if (added >= minAdded && added >= entries.size) {
        entries = new Map(entries);
        added = 0;
      }
      added += 1;
      entries.set(key, value);
    },
    delete: (key) => entries.delete(key),
    clear() {
      entries = new Map();
    },
    keys: () => entries.keys(),
    values: () => entries.values(),
  };
}
