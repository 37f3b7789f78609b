import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  CreateTaskRequestSchema,
  CreateWorkflowRequestSchema,
  GetTaskRequestSchema,
  GetWorkflowRequestSchema,
  ListOrder,
  ListTasksRequestSchema,
  ListWorkflowsRequestSchema,
  PollTasksRequestSchema,
} from "../../gen/taskgate/v1/executor_pb.ts";
import {
  attemptParams,
  createParams,
  failParams,
  getTaskParams,
  getWorkflowParams,
  heartbeatParams,
  idParams,
  listTasksParams,
  listWorkflowsParams,
  pollParams,
  progressParams,
  successParams,
} from "../../src/upstream/aidbox-params.ts";

const attempt = { id: "t1", execId: "e1" };

test.each([
  [
    "A-10 both kinds of definitions and a size",
    pollParams(
      create(PollTasksRequestSchema, {
        taskDefinitions: ["a/b", "c/d"],
        workflowDefinitions: ["w/x"],
        maxBatchSize: 7,
      }),
    ),
    '{"taskDefinitions":["a/b","c/d"],"workflowDefinitions":["w/x"],"maxBatchSize":7}',
  ],
  [
    "A-05 A-10 tasks only",
    pollParams(create(PollTasksRequestSchema, { taskDefinitions: ["a/b"] })),
    '{"taskDefinitions":["a/b"]}',
  ],
  [
    "A-05 A-10 workflows only",
    pollParams(create(PollTasksRequestSchema, { workflowDefinitions: ["w/x"] })),
    '{"workflowDefinitions":["w/x"]}',
  ],
  [
    "A-11 a long poll",
    pollParams(create(PollTasksRequestSchema, { taskDefinitions: ["a/b"] }), 30_000),
    '{"taskDefinitions":["a/b"],"timeout":30000}',
  ],
  [
    "A-11 a long poll that does not wait",
    pollParams(create(PollTasksRequestSchema, { taskDefinitions: ["a/b"] }), 0),
    '{"taskDefinitions":["a/b"],"timeout":0}',
  ],
  ["A-12 a start", attemptParams(attempt), '{"id":"t1","execId":"e1"}'],
  [
    "A-12 a start with more than it needs",
    attemptParams({ ...attempt, ...{ onLost: 1, $typeName: "x" } }),
    '{"id":"t1","execId":"e1"}',
  ],
  [
    "A-05 A-13 a heartbeat",
    heartbeatParams(attempt, "awf.task/heartbeat", ""),
    '{"id":"t1","execId":"e1","notification":"awf.task/heartbeat"}',
  ],
  [
    "A-13 a heartbeat with a message",
    heartbeatParams(attempt, "heartbeat", 'still "here"'),
    '{"id":"t1","execId":"e1","notification":"heartbeat","message":"still \\"here\\""}',
  ],
  [
    "A-04 A-14 a progress",
    progressParams(attempt, "awf.task/progress", { current: 3n, total: 10n, unit: "rows" }),
    '{"id":"t1","execId":"e1","notification":"awf.task/progress","progress-current":3,"progress-total":10,"progress-unit":"rows"}',
  ],
  [
    "A-05 A-14 a progress without a total and a unit",
    progressParams(attempt, "progress", { current: 0n, total: undefined, unit: "" }),
    '{"id":"t1","execId":"e1","notification":"progress","progress-current":0}',
  ],
  [
    "A-14 a progress of nothing, and in numbers beyond a double",
    progressParams(attempt, "progress", { current: 9223372036854775807n, total: 0n, unit: "%" }),
    '{"id":"t1","execId":"e1","notification":"progress","progress-current":9223372036854775807,"progress-total":0,"progress-unit":"%"}',
  ],
  ["A-05 A-15 a success without a result", successParams(attempt, undefined), '{"id":"t1","execId":"e1"}'],
  ["A-15 a success with null", successParams(attempt, "null"), '{"id":"t1","execId":"e1","result":null}'],
  [
    "A-15 a success with an object, as it is",
    successParams(attempt, '{"b" : 1.0}'),
    '{"id":"t1","execId":"e1","result":{"b" : 1.0}}',
  ],
  [
    "A-15 a success with a text",
    successParams(attempt, '"Finished"'),
    '{"id":"t1","execId":"e1","result":"Finished"}',
  ],
  [
    "A-16 a decision that does nothing",
    successParams(attempt, "[]"),
    '{"id":"t1","execId":"e1","result":[]}',
  ],
  [
    "A-16 A-26 a decision",
    successParams(attempt, '[{"action":"awf.workflow.action/do-nothing"}]'),
    '{"id":"t1","execId":"e1","result":[{"action":"awf.workflow.action/do-nothing"}]}',
  ],
  [
    "A-17 a failure, as error and not as result",
    failParams(attempt, '{"message":"broke"}'),
    '{"id":"t1","execId":"e1","error":{"message":"broke"}}',
  ],
  ["A-05 A-17 a failure without an error", failParams(attempt, undefined), '{"id":"t1","execId":"e1"}'],
  [
    "A-05 A-18 a new task",
    createParams(create(CreateTaskRequestSchema, { definition: "a/b" }), "t1", "{}"),
    '{"id":"t1","definition":"a/b","params":{}}',
  ],
  [
    "A-18 A-54 a new task with a label and a time without a zone",
    createParams(
      create(CreateTaskRequestSchema, {
        definition: "a/b",
        label: 'l"',
        executeTime: "2023-05-03T13:30:43",
        id: "other",
      }),
      "t1",
      '{"a":[1.0]}',
    ),
    '{"id":"t1","definition":"a/b","params":{"a":[1.0]},"label":"l\\"","executeAt":"2023-05-03T13:30:43"}',
  ],
  [
    "A-22 a new workflow",
    createParams(create(CreateWorkflowRequestSchema, { definition: "w/x", label: "l" }), "w1", '{"a":1}'),
    '{"id":"w1","definition":"w/x","params":{"a":1},"label":"l"}',
  ],
  ["A-20 A-24 a cancellation", idParams('t"1'), '{"id":"t\\"1"}'],
  ["A-05 A-19 a task", getTaskParams(create(GetTaskRequestSchema, { id: "t1" })), '{"id":"t1"}'],
  [
    "A-04 A-19 a task with its settings and its log",
    getTaskParams(create(GetTaskRequestSchema, { id: "t1", includeSettings: true, includeLog: true })),
    '{"id":"t1","include-settings?":true,"include-log?":true}',
  ],
  ["A-05 A-23 a workflow", getWorkflowParams(create(GetWorkflowRequestSchema, { id: "w1" })), '{"id":"w1"}'],
  [
    "A-04 A-23 a workflow with its activities and its decisions",
    getWorkflowParams(
      create(GetWorkflowRequestSchema, { id: "w1", includeActivities: true, includeDecisions: true }),
    ),
    '{"id":"w1","include-activities?":true,"include-decisions?":true}',
  ],
  ["A-05 A-21 all tasks", listTasksParams(create(ListTasksRequestSchema)), "{}"],
  [
    "A-21 some tasks in an order",
    listTasksParams(
      create(ListTasksRequestSchema, {
        includeDefinitions: ["a/b"],
        excludeDefinitions: ["c/d", "e/f"],
        status: "in-progress",
        outcome: "failed",
        ilike: "%x%",
        order: ListOrder.CREATE_TIME_DESC,
      }),
    ),
    '{"filter":{"includeDefinitions":["a/b"],"excludeDefinitions":["c/d","e/f"],"status":"in-progress","outcome":"failed","ilike":"%x%"},"sort":{"createdAt":"desc"}}',
  ],
  [
    "A-05 A-21 tasks by one filter",
    listTasksParams(create(ListTasksRequestSchema, { ilike: "x" })),
    '{"filter":{"ilike":"x"}}',
  ],
  ["A-05 A-25 all workflows", listWorkflowsParams(create(ListWorkflowsRequestSchema)), "{}"],
  [
    "A-25 some workflows in an order",
    listWorkflowsParams(
      create(ListWorkflowsRequestSchema, {
        status: "done",
        outcome: "canceled",
        ilike: "x",
        order: ListOrder.UPDATE_TIME_ASC,
      }),
    ),
    '{"filter":{"status":"done","outcome":"canceled","ilike":"x"},"sort":{"lastUpdated":"asc"}}',
  ],
])("%s is asked for with exactly its keys", (_, params, expected) => {
  expect(params).toBe(expected);
});

test.each([
  [ListOrder.UNSPECIFIED, "{}"],
  [ListOrder.CREATE_TIME_ASC, '{"sort":{"createdAt":"asc"}}'],
  [ListOrder.CREATE_TIME_DESC, '{"sort":{"createdAt":"desc"}}'],
  [ListOrder.UPDATE_TIME_ASC, '{"sort":{"lastUpdated":"asc"}}'],
  [ListOrder.UPDATE_TIME_DESC, '{"sort":{"lastUpdated":"desc"}}'],
])("A-21 A-25 the order %i is the same for tasks and workflows", (order, expected) => {
  expect(listTasksParams(create(ListTasksRequestSchema, { order }))).toBe(expected);
  expect(listWorkflowsParams(create(ListWorkflowsRequestSchema, { order }))).toBe(expected);
});

test("no text can add a parameter", () => {
  const evil = '","result":{},"x":"';
  const texts = [
    attemptParams({ id: evil, execId: evil }),
    heartbeatParams({ id: evil, execId: evil }, evil, evil),
    progressParams({ id: evil, execId: evil }, evil, { current: 1n, total: 1n, unit: evil }),
    successParams({ id: evil, execId: evil }, undefined),
    failParams({ id: evil, execId: evil }, undefined),
    createParams(
      create(CreateTaskRequestSchema, { definition: evil, label: evil, executeTime: evil }),
      evil,
      "{}",
    ),
    idParams(evil),
    pollParams(create(PollTasksRequestSchema, { taskDefinitions: [evil] })),
    listTasksParams(create(ListTasksRequestSchema, { status: evil })),
  ];
  for (const text of texts) {
    const params: Record<string, unknown> = JSON.parse(text);
    expect(Object.keys(params)).not.toContain("result");
    expect(Object.keys(params)).not.toContain("x");
  }
});
