import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { TrackRunRequestSchema } from "../../gen/taskgate/v1/task_status_pb.ts";
import { weighMessage } from "../../src/rpc/weigh-message.ts";

test.each([0, 1, 1_000_000])(
  "a message with a text of %d characters weighs that and little more",
  (length) => {
    const value = { name: "a.log", data: "x".repeat(length) };
    const weight = weighMessage(create(TrackRunRequestSchema, { frame: { case: "log", value } }));
    expect(weight).toBeGreaterThanOrEqual(length);
    expect(weight).toBeLessThan(length + 300);
  },
);

test("what is nested counts, too", () => {
  expect(weighMessage({ a: [{ b: "x".repeat(1000) }, new Uint8Array(1000), 1n, null] })).toBeGreaterThan(
    2000,
  );
});
