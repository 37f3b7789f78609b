import { expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptResult } from "../../src/model/attempt-result.ts";
import type { DeliveryKind } from "../../src/model/delivery.ts";
import type { Submission } from "../../src/model/submission.ts";
import { createOutbox } from "../../src/outbox/outbox.ts";
import type { ResultOf, Store, StoreOp } from "../../src/outbox/store.ts";
import { settle, useFakeClock } from "./fake-clock.ts";
import { newReport, useStore } from "./use-store.ts";

/** An outbox with one place per origin, on a store in memory, and an upstream that never answers. */
function useOutbox() {
  const rows = useStore();
  const sent: string[] = [];
  const errors: unknown[] = [];
  const failing = new Set<StoreOp["type"]>();
  const store: Store = {
    salt: 1234,
    async run<Op extends StoreOp>(op: Op): Promise<ResultOf<Op>> {
      if (failing.has(op.type)) {
        throw new Error(`the store cannot ${op.type}`);
      }
      return rows.run(op);
    },
    close: () => Promise.resolve(),
  };
  const outbox = createOutbox({
    store,
    upstreams: new Map([
      [
        "orchestra",
        {
          send({ body }) {
            sent.push(body);
            return new Promise<AttemptResult>(() => undefined);
          },
        },
      ],
    ]),
    clock: useFakeClock(),
    random: () => 0,
    concurrency: 1,
    maxWaitMs: 1000,
    onAlarm: () => undefined,
    onWarning: () => undefined,
    onUnexpectedError: (error) => errors.push(error),
  });
  function submit(kind: DeliveryKind, key: string, body: string): Promise<Submission> {
    return outbox.submit(newReport(kind, key, body), {
      operation: "UpdateTask",
      caller: "alice",
      requestId: "",
      sessionId: "",
      waitFor: "stored",
      timeoutMs: () => 1000,
      signal: new AbortController().signal,
    });
  }
  return { rows, sent, errors, failing, submit };
}

test("an outcome that comes too late is refused also when it cannot be kept, and gives its place back once", async () => {
  const { rows, sent, errors, failing, submit } = useOutbox();
  rows.accept(newReport("outcome", "lost", "gateway's"), { isByGateway: true, mayLeave: true });
  failing.add("keepRefused");
  expect(await submit("outcome", "lost", "worker's")).toMatchObject({
    kind: "failed",
    failure: { reason: ErrorReason.CONFLICTING_OUTCOME, metadata: { outcome_by: "gateway" } },
  });
  expect(errors).toMatchObject([{ message: "the store cannot keepRefused" }]);
  for (const task of ["a", "b", "c"]) {
    expect(await submit("status", task, task)).toMatchObject({
      kind: "accepted",
      receipt: { state: DeliveryState.STORED },
    });
  }
  await settle();
  expect(sent).toEqual(["a"]);
});

test("a report that cannot be stored is an error that can be repeated, and gives its place back", async () => {
  const { sent, failing, submit } = useOutbox();
  failing.add("accept");
  expect(await submit("status", "a", "a")).toMatchObject({
    kind: "failed",
    failure: { message: "the report could not be stored" },
  });
  failing.clear();
  await submit("status", "a", "a");
  expect(sent).toEqual(["a"]);
});
