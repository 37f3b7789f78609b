/** A priority queue: `peek` and `pop` give the least item. */
export interface Heap<T> {
  push(item: T): void;
  peek(): T | undefined;
  pop(): T | undefined;
}

export function createHeap<T>(rankOf: (item: T) => number): Heap<T> {
  const items: { item: T; rank: number }[] = [];

  function rankAt(index: number): number {
    return items[index]?.rank ?? Number.POSITIVE_INFINITY;
  }

  function swap(a: number, b: number): void {
    const [left, right] = [items[a], items[b]];
    if (left === undefined || right === undefined) {
      return;
    }
    items[a] = right;
    items[b] = left;
  }

  return {
    push(item) {
      items.push({ item, rank: rankOf(item) });
      let at = items.length - 1;
      for (let parent = (at - 1) >> 1; at > 0 && rankAt(at) < rankAt(parent); parent = (at - 1) >> 1) {
        swap(at, parent);
        at = parent;
      }
    },
    peek: () => items[0]?.item,
    pop() {
      swap(0, items.length - 1);
      const least = items.pop()?.item;
      for (let at = 0; ; ) {
        const left = 2 * at + 1;
        const child = rankAt(left + 1) < rankAt(left) ? left + 1 : left;
        if (rankAt(child) >= rankAt(at)) {
          return least;
        }
        swap(at, child);
        at = child;
      }
    },
  };
}
