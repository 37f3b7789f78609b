import { createHeap, type Heap } from "./heap.ts";

/** What can wait in a ready queue. */
export interface Queueable {
  /** Items of one group share the limit on how many may be out at a time. */
  readonly group: string;
  /** Its place in the queue, lowest first; 0 when it is not to be handed out (any more). */
  order: number;
}

/** The tasks of one definition that can be handed out, oldest first, within the definition's concurrency limit. */
export interface ReadyQueue<T> {
  add(item: T): void;
  /** The place of the next item; undefined when there is none, or none that the limit admits. */
  nextOrder(): number | undefined;
  /** Hands out the next item, which counts against the limit until `release`. */
  take(): T | undefined;
  release(group: string): void;
  /** To be called when the limit has changed. */
  limitChanged(): void;
}

interface Entry<T> {
  readonly item: T;
  readonly order: number;
}

/** Not ready any more, or ready again at another place. */
function hasLeft({ item, order }: Entry<Queueable>): boolean {
  return item.order !== order;
}

export function createReadyQueue<T extends Queueable>(limitOf: () => number): ReadyQueue<T> {
  const ready = createHeap<Entry<T>>(({ order }) => order);
  // What the limit holds back, by group: looked at again when one of the group comes back, not at every poll.
  const heldBack = new Map<string, Heap<Entry<T>>>();
  const outByGroup = new Map<string, number>();

  function next(): Entry<T> | undefined {
    for (let entry = ready.peek(); entry !== undefined; entry = ready.peek()) {
      const { group } = entry.item;
      const isStale = hasLeft(entry);
      if (!isStale && (outByGroup.get(group) ?? 0) < limitOf()) {
        return entry;
      }
      ready.pop();
      if (!isStale) {
        heldBackOf(group).push(entry);
      }
      // It may have been let in for a place that it now leaves to the next.
      else {
        letIn(group);
      }
    }
    return undefined;
  }

  function heldBackOf(group: string): Heap<Entry<T>> {
    const heap = heldBack.get(group) ?? createHeap<Entry<T>>(({ order }) => order);
    heldBack.set(group, heap);
    return heap;
  }

  function letIn(group: string): boolean {
    const heap = heldBack.get(group);
    for (let entry = heap?.pop(); entry !== undefined; entry = heap?.pop()) {
      if (hasLeft(entry)) {
        continue;
      }
      ready.push(entry);
      return true;
    }
    return false;
  }

  return {
    add(item) {
      ready.push({ item, order: item.order });
    },
    nextOrder: () => next()?.order,
    take() {
      const entry = next();
      if (entry === undefined) {
        return undefined;
      }
      ready.pop();
      const { item } = entry;
      item.order = 0;
      outByGroup.set(item.group, (outByGroup.get(item.group) ?? 0) + 1);
      return item;
    },
    release(group) {
      outByGroup.set(group, (outByGroup.get(group) ?? 1) - 1);
      letIn(group);
    },
    limitChanged() {
      for (const group of heldBack.keys()) {
        while (letIn(group)) {}
      }
    },
  };
}
