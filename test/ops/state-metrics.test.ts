import { Registry } from "@prometheus-io/client";
import { expect, test } from "vitest";
import { createStateMetrics, type GatewayState, type Waiting } from "../../src/ops/state-metrics.ts";

function use(waiting: () => Promise<readonly Waiting[]>) {
  const registry = new Registry();
  const timers: (() => void)[] = [];
  const state: GatewayState = {
    waiting,
    lanes: () => [],
    leases: () => [],
    workers: () => 0,
    isReady: () => true,
    isDraining: () => false,
    maxWaiting: { rows: 1, bytes: 2 },
  };
  const refresh = createStateMetrics({
    registry,
    upstreams: ["orchestra", "aidbox"],
    state,
    now: () => 10_000,
    setTimer(run) {
      timers.push(run);
      return () => undefined;
    },
  });
  return {
    refresh,
    timeOut: () => timers.at(-1)?.(),
    lines: async () =>
      (await registry.metrics()).split("\n").filter((line) => line.startsWith("taskgate_outbox_")),
  };
}

const rows: Waiting[] = [
  { upstream: "orchestra", rows: 2, bytes: 20, oldestMs: 9000 },
  { upstream: "orchestra", rows: 1, bytes: 5, oldestMs: 4000 },
];

const up = [
  "taskgate_outbox_up 1",
  'taskgate_outbox_deliveries{upstream="orchestra"} 3',
  'taskgate_outbox_deliveries{upstream="aidbox"} 0',
  'taskgate_outbox_bytes{upstream="orchestra"} 25',
  'taskgate_outbox_bytes{upstream="aidbox"} 0',
  'taskgate_outbox_oldest_age_seconds{upstream="orchestra"} 6',
  'taskgate_outbox_oldest_age_seconds{upstream="aidbox"} 0',
  "taskgate_outbox_max_deliveries 1",
  "taskgate_outbox_max_bytes 2",
];
const down = ["taskgate_outbox_up 0", "taskgate_outbox_max_deliveries 1", "taskgate_outbox_max_bytes 2"];

test("what waits is summed up over the origins of an upstream, and the oldest of it counts", async () => {
  const { refresh, lines } = use(async () => rows);
  await refresh();
  expect(await lines()).toEqual(up);
});

test("of a store that fails nothing is said but that", async () => {
  let isBroken = false;
  const { refresh, lines } = use(async () => {
    if (isBroken) {
      throw new Error("no");
    }
    return rows;
  });
  await refresh();
  isBroken = true;
  await refresh();
  expect(await lines()).toEqual(down);
  isBroken = false;
  await refresh();
  expect((await lines()).toSorted()).toEqual(up.toSorted());
});

test("a store that does not answer keeps nobody waiting", async () => {
  const { refresh, lines, timeOut } = use(() => new Promise(() => undefined));
  const refreshed = refresh();
  timeOut();
  await refreshed;
  expect(await lines()).toEqual(down);
});
