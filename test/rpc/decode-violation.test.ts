import { type DescMessage, fromJsonString } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { LongPollTasksRequestSchema, SucceedTaskRequestSchema } from "../../gen/taskgate/v1/executor_pb.ts";
import { ListDeliveriesRequestSchema } from "../../gen/taskgate/v1/gateway_pb.ts";
import { TrackRunRequestSchema, UpdateTaskRequestSchema } from "../../gen/taskgate/v1/task_status_pb.ts";
import { decodeViolation } from "../../src/rpc/decode-violation.ts";

function refusalOf(input: DescMessage, json: string): string {
  try {
    fromJsonString(input, json, { ignoreUnknownFields: false });
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
  throw new Error(`${json} must not be decoded`);
}

test.for([
  [UpdateTaskRequestSchema, '{"waitFor":"ODD"}', "wait_for", 'is "ODD", which is not a member of the enum'],
  [UpdateTaskRequestSchema, '{"status":1.5}', "status", "is 1.5, which is not a member of the enum"],
  [
    ListDeliveriesRequestSchema,
    '{"states":["ODD"]}',
    "states",
    'is "ODD", which is not a member of the enum',
  ],
  [LongPollTasksRequestSchema, '{"timeout":"x"}', "timeout", 'is wrong: "x"'],
  [
    TrackRunRequestSchema,
    '{"finish":{"status":"ODD"}}',
    "update.status or finish.status",
    'is "ODD", which is not a member of the enum',
  ],
  [TrackRunRequestSchema, '{"log":{"nam\\"e":1}}', 'log.nam"e', "is unknown"],
  [TrackRunRequestSchema, '{"log":{"name":1}}', "log.name", "is wrong: expected string, got 1"],
  [SucceedTaskRequestSchema, '{"actions":{"odd":1}}', "actions.odd", "is unknown"],
] as const)("%s, %j: names %s", ([input, json, field, description]) => {
  expect(decodeViolation(refusalOf(input, json), input)).toEqual({ field, description });
});

test.each(["{", "[]", ""])("JSON that is none names no field: %j", (json) => {
  const input = UpdateTaskRequestSchema;
  expect(decodeViolation(refusalOf(input, json), input)).toBeUndefined();
});
