import { openSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";
import type { Synchronous } from "../../../src/outbox/open-database.ts";
import type { ResultOf, StoreOp } from "../../../src/outbox/store.ts";
import { openWorkerStore } from "../../../src/outbox/worker-store.ts";
import { createRandom, intBetween } from "../random.ts";
import { bodyOf } from "./judge-directory.ts";

// A process with a store, which writes down what was acknowledged, when it was:
// `stored SEQ ID INDEX`, `delivered SEQ`, and at the end `done` or `fatal`.

const { values } = parseArgs({
  options: {
    directory: { type: "string", default: "" },
    log: { type: "string", default: "" },
    synchronous: { type: "string", default: "FULL" },
    batches: { type: "string", default: "40" },
  },
});
const log = openSync(values.log, "a");
const write = (line: string) => writeSync(log, `${line}\n`);
const random = createRandom(1);
const nowMs = Date.UTC(2026, 0, 1);

let isFatal = false;
const store = await openWorkerStore({
  directory: values.directory,
  quota: { maxRows: 100_000, maxBytes: 1e9, outcomeReserve: 0.2 },
  synchronous: values.synchronous as Synchronous,
  onFatal() {
    isFatal = true;
    write("fatal");
  },
});

async function acknowledge<Op extends StoreOp>(op: Op, lineOf: (result: ResultOf<Op>) => string) {
  try {
    write(lineOf(await store.run(op)));
  } catch {
    // It was not promised.
  }
}

let made = 0;
const delivered: number[] = [];
for (let batch = 0; batch < Number(values.batches) && !isFatal; batch += 1) {
  const size = intBetween(random, 1, 8);
  const accepting = Array.from({ length: size }, () => {
    made += 1;
    const index = made;
    const key = `task-${index}/0`;
    const delivery = {
      upstream: "orchestra",
      lane: "orchestra",
      key,
      taskId: `task-${index}`,
      attempt: "0",
      kind: "output" as const,
      outcomeTag: "",
      target: "https://webhook.test/",
      body: bodyOf(index),
    };
    return acknowledge(
      {
        type: "accept",
        delivery,
        operation: "SetOutput",
        caller: "alice",
        isByGateway: false,
        requestId: `r${index}`,
        contentHash: "h",
        trace: null,
        nowMs,
        mayLeave: true,
      },
      (result) => {
        if (result.kind !== "stored") {
          throw new Error(`it is ${result.kind}`);
        }
        if (index % 5 === 0) {
          delivered.push(result.row.seq);
        }
        return `stored ${result.row.seq} ${result.row.id} ${index}`;
      },
    );
  });
  const settling = delivered.splice(0).map((seq) =>
    acknowledge(
      {
        type: "settle",
        seq,
        settlement: { kind: "delivered", answer: "" },
        nowMs,
        claimNext: false,
        supersede: false,
      },
      () => `delivered ${seq}`,
    ),
  );
  await Promise.all([...accepting, ...settling]);
}
if (!isFatal) {
  write("done");
}
// Not closed: only what is on the disk by now counts.
process.exit(isFatal ? 3 : 0);
