/** A map that remembers so many keys, and forgets first what was set first. */
export interface RecentMap<Key, Value> {
  get(key: Key): Value | undefined;
  has(key: Key): boolean;
  /** Sets a key, which is the newest then. */
  set(key: Key, value: Value): void;
  delete(key: Key): void;
}

/** Creates an empty map of at most so many keys. */
export function createRecentMap<Key, Value>(maxKeys: number): RecentMap<Key, Value> {
  const entries = new Map<Key, Value>();
  return {
    get: (key) => entries.get(key),
    has: (key) => entries.has(key),
    set(key, value) {
      entries.delete(key);
      entries.set(key, value);
      const oldest = entries.keys().next();
      if (entries.size > maxKeys && oldest.done !== true) {
        entries.delete(oldest.value);
      }
    },
    delete: (key) => void entries.delete(key),
  };
}
