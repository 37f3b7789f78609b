import {
  create,
  type DescMessage,
  fromBinary,
  type JsonObject,
  type JsonValue,
  type Message,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ActivitySchema,
  GetWorkflowResponseSchema,
  TaskLogEntrySchema,
  TaskSchema,
  WorkflowSchema,
} from "../../gen/taskgate/v1/executor_pb.ts";
import {
  activityFromResource,
  logEntryFromResource,
  taskFromResource,
  timeMs,
  workflowFromResource,
} from "../../src/upstream/aidbox-resource.ts";
import { arbitraryJson, arbitraryText } from "../model/arbitrary-json.ts";

interface Reader {
  what: string;
  schema: DescMessage;
  read: (resourceJson: string) => Message;
}

const task: Reader = { what: "a task", schema: TaskSchema, read: taskFromResource };
const workflow: Reader = { what: "a workflow", schema: WorkflowSchema, read: workflowFromResource };
const activity: Reader = { what: "an activity", schema: ActivitySchema, read: activityFromResource };
const logEntry: Reader = { what: "a log entry", schema: TaskLogEntrySchema, read: logEntryFromResource };
const readers = [task, workflow, activity, logEntry];

/** The message as ProtoJSON, which leaves out what is unset or empty, without the resource's text. */
function shown({ schema, read }: Reader, resourceJson: string): JsonObject {
  const { resourceJson: text, ...fields } = toJson(schema, read(resourceJson)) as JsonObject;
  expect(text).toBe(resourceJson);
  return fields;
}

/** The same for a field of the resource. */
function shownField(reader: Reader, key: string, json: string): JsonObject {
  return shown(reader, `{"${key}":${json}}`);
}

function nested(times: number, open: string, close: string, inner = "1"): string {
  return open.repeat(times) + inner + close.repeat(times);
}

const common = {
  id: "x1",
  definition: "a/b",
  status: "done",
  outcome: "failed",
  outcomeReason: { type: "awf.task/failed-by-executor", message: "Failed by executor" },
  label: "a label",
  params: { date: "2021-10-25", n: [1, 2.5, true, null] },
  result: "text",
  error: [{ code: 7 }],
};

describe("the fields", () => {
  test("of a task are what its resource says", () => {
    const resource = {
      ...common,
      executeAt: "2023-05-04T15:30:43",
      execId: "e1",
      retryCount: 3,
      inProgressTimeoutAt: "2023-05-05T14:07:27.831Z",
      resourceType: "AidboxTask",
    };
    expect(shown(task, JSON.stringify(resource))).toEqual({
      ...common,
      executeTime: "2023-05-04T15:30:43",
      execId: "e1",
      retryCount: 3,
      leaseExpireTime: "2023-05-05T14:07:27.831Z",
    });
  });

  test("of a workflow are what its resource says, without what only tasks have", () => {
    const resource = {
      ...common,
      executeAt: "2023-05-04T15:30:43",
      execId: "e1",
      retryCount: 3,
      inProgressTimeoutAt: "2023-05-05T14:07:27.831Z",
      resourceType: "AidboxWorkflow",
    };
    expect(shown(workflow, JSON.stringify(resource))).toEqual({
      ...common,
      executeTime: "2023-05-04T15:30:43",
    });
  });

  test.each([task, workflow])("A-52 of $what keep words that nobody knows", (reader) => {
    const words = { status: "hibernating", outcome: "vanished", definition: "" };
    expect(shown(reader, JSON.stringify(words))).toEqual({ status: "hibernating", outcome: "vanished" });
  });

  test.each(["2023-05-04T15:30:43", "2023-05-04T15:30:43.1+02:00", "tomorrow", "0001-01-01", "99999"])(
    "A-54 of a task or a workflow keep the time %s as its creator wrote it",
    (executeTime) => {
      expect(shownField(task, "executeAt", JSON.stringify(executeTime))).toEqual({ executeTime });
      expect(shownField(workflow, "executeAt", JSON.stringify(executeTime))).toEqual({ executeTime });
    },
  );

  test.each(["7", "null", "true", '["x"]', '{"a":"x"}', "1e400"])(
    "A-52 that are texts are empty where the resource has %s",
    (json) => {
      const keys = ["id", "definition", "status", "outcome", "label", "executeAt", "execId"];
      const resource = `{${keys.map((key) => `"${key}":${json}`).join(",")}}`;
      expect(shown(task, resource)).toEqual({});
      expect(shown(workflow, resource)).toEqual({});
      const words = `{"action":${json},"status-before":${json},"status-after":${json}}`;
      expect(shown(logEntry, words)).toEqual({});
    },
  );

  test.each([
    ["0", undefined],
    ["3", 3],
    ["-3", -3],
    ["3.0", 3],
    ["2147483647", 2147483647],
    ["-2147483647", -2147483647],
    ["2147483648", undefined],
    ["-2147483649", undefined],
    ["1e400", undefined],
    ["1.5", undefined],
    ["-0", undefined],
    ["-2147483648", -2147483648],
    ['"3"', undefined],
    ["null", undefined],
    ["[3]", undefined],
  ])("A-52 that are counts of %s are %s: only what fits 32 bits is one", (json, retryCount) => {
    expect(shownField(task, "retryCount", json)).toEqual(retryCount === undefined ? {} : { retryCount });
  });
});

describe("what is in no field", () => {
  test.each([task, workflow, logEntry])(
    "A-52 A-53 is in the resource's text, with all digits and in its order: $what",
    (reader) => {
      const text =
        '{"z":1.50,"pool":"p","n":12345678901234567890.10,"meta":{"versionId":"17633"},"a":[1e400],"b":"\\u00e9"}';
      expect(reader.read(text)).toMatchObject({ resourceJson: text });
      expect(shown(reader, text)).toEqual({});
    },
  );

  test.each(readers)("is nothing for $what that is no object, and is kept all the same", (reader) => {
    for (const text of ["null", "1", '"id"', "true", "[]", '[{"id":"a","action":"b"}]']) {
      const message = toJson(reader.schema, reader.read(text));
      expect(message).toEqual(
        reader === activity ? { task: { resourceJson: text } } : { resourceJson: text },
      );
    }
  });

  test.each([
    '{"__proto__":{"id":"x","status":"y","resourceType":"AidboxWorkflow","action":"z"}}',
    '{"constructor":{"id":"x"},"toString":"x"}',
  ])("A-52 is a key that JavaScript gives a meaning: %s", (text) => {
    for (const reader of [task, workflow, logEntry]) {
      expect(shown(reader, text)).toEqual({});
    }
    expect(toJson(ActivitySchema, activityFromResource(text))).toEqual({ task: { resourceJson: text } });
  });
});

describe("a value", () => {
  const fields: readonly (readonly [reader: Reader, key: string, field: string])[] = [
    ...[task, workflow].flatMap((reader) =>
      ["params", "result", "error", "outcomeReason"].map((key) => [reader, key, key] as const),
    ),
    [logEntry, "action-params", "actionParams"],
  ];
  const table = fields.map(([reader, key, field]) => ({ what: reader.what, reader, key, field }));

  const deepest = [
    nested(30, "[", "]"),
    nested(30, '{"a":', "}"),
    nested(15, '[{"a":', "}]"),
    nested(15, '{"a":[1,', "]}"),
    nested(30, "[", "]", ""),
    nested(29, "[", "]", "{}"),
  ];

  test.each(table)("of any kind is in $field of $what", ({ reader, key, field }) => {
    const values = [0, -1.5, 1e300, "", "text", true, false, [], {}, [null], { a: null, b: [{}] }];
    for (const value of values) {
      expect(shownField(reader, key, JSON.stringify(value))).toEqual({ [field]: value });
    }
  });

  test.each(table)("that is null is not in $field of $what", ({ reader, key }) => {
    expect(shownField(reader, key, "null")).toEqual({});
  });

  test.each(table)(
    "of 30 levels is in $field of $what, and a deeper one is not",
    ({ reader, key, field }) => {
      for (const value of deepest) {
        expect(shownField(reader, key, value)).toEqual({ [field]: JSON.parse(value) });
        for (const deeper of [`[${value}]`, `{"a":${value}}`, `[1,{"a":[]},${value}]`]) {
          expect(shownField(reader, key, deeper)).toEqual({});
        }
      }
      expect(shownField(reader, key, nested(120, "[", "]"))).toEqual({});
    },
  );

  test("that is left out takes no other with it, and stays in the text", () => {
    const deep = nested(31, "[", "]");
    const text = `{"id":"t1","params":${deep},"result":{"a":1},"error":1e400,"status":"done"}`;
    expect(shown(task, text)).toEqual({ id: "t1", result: { a: 1 }, status: "done" });
  });

  test.each(deepest)("of 30 levels can be read in the deepest of all answers: %s", (value) => {
    const response = create(GetWorkflowResponseSchema, {
      activities: [activityFromResource(`{"params":${value}}`)],
    });
    const bytes = toBinary(GetWorkflowResponseSchema, response);
    expect(toJson(GetWorkflowResponseSchema, fromBinary(GetWorkflowResponseSchema, bytes))).toMatchObject({
      activities: [{ task: { params: JSON.parse(value) } }],
    });
  });

  test.each(table)("with an infinite number is not in $field of $what", ({ reader, key }) => {
    for (const value of ["1e400", "-1e400", "[1e400]", '{"a":{"b":[1,-1e400]}}', "9".repeat(400)]) {
      expect(shownField(reader, key, value)).toEqual({});
    }
  });

  test.each(["1.7976931348623157e308", "-1.7976931348623157e308", "1e-400", "5e-324"])(
    "with the number %s, which is finite, is there",
    (number) => {
      expect(shownField(task, "params", `[${number}]`)).toEqual({ params: [Number(number)] });
    },
  );

  test.each(['{"__proto__":{"a":1},"b":2}', '{"__proto__":null}', '{"constructor":1,"hasOwnProperty":[]}'])(
    "with a key that JavaScript gives a meaning is there: %s",
    (json) => {
      const { params } = fromBinary(TaskSchema, toBinary(TaskSchema, taskFromResource(`{"params":${json}}`)));
      expect(JSON.stringify(toJson(TaskSchema, create(TaskSchema, { params })))).toBe(`{"params":${json}}`);
    },
  );
});

describe("a lease", () => {
  const expired = (json: string) => shownField(task, "inProgressTimeoutAt", json).leaseExpireTime;

  test.each([
    ['"2023-05-05T14:07:27.831585Z"', "2023-05-05T14:07:27.831Z"],
    ['"2023-05-05T14:07:27Z"', "2023-05-05T14:07:27Z"],
    ['"2023-05-05T14:07:27+02:00"', "2023-05-05T12:07:27Z"],
    ['"1969-12-31T23:59:59.999Z"', "1969-12-31T23:59:59.999Z"],
    ['"0001-01-01T00:00:00Z"', "0001-01-01T00:00:00Z"],
    ['"9999-12-31T23:59:59.999Z"', "9999-12-31T23:59:59.999Z"],
    ["1683295647831", "2023-05-05T14:07:27.831Z"],
    ["1683295647831.0", "2023-05-05T14:07:27.831Z"],
    ["0", "1970-01-01T00:00:00Z"],
    ["-1", "1969-12-31T23:59:59.999Z"],
    ["-62135596800000", "0001-01-01T00:00:00Z"],
    ["253402300799999", "9999-12-31T23:59:59.999Z"],
  ])("A-51 that ends at %s ends at %s", (json, time) => {
    expect(expired(json)).toBe(time);
  });

  test.each([
    '"0000-12-31T23:59:59.999Z"',
    '"-000001-01-01T00:00:00Z"',
    '"+010000-01-01T00:00:00Z"',
    '"+275760-09-13T00:00:00Z"',
    '"+275760-09-13T00:00:00.001Z"',
    "-62135596800001",
    "253402300800000",
    "9007199254740993",
    "1e300",
    "1e400",
    "-1e400",
  ])("A-51 that ends at %s, beyond the years 1 to 9999, has no end", (json) => {
    expect(shownField(task, "inProgressTimeoutAt", json)).toEqual({});
  });

  test.each(['""', '"soon"', '"1683295647831"', "null", "true", "[0]", "{}", '["2023-05-05T14:07:27Z"]'])(
    "A-51 that ends at %s has no end",
    (json) => {
      expect(shownField(task, "inProgressTimeoutAt", json)).toEqual({});
    },
  );

  test.each(["1683295647.831585", "1683295647831.585", "0.0000001"])(
    "A-51 that ends at %s, within a millisecond, can be sent",
    (json) => {
      toBinary(TaskSchema, taskFromResource(`{"inProgressTimeoutAt":${json}}`));
    },
  );

  test("A-51 that the resource does not name has no end", () => {
    expect(shown(task, "{}")).toEqual({});
  });

  test.each([
    [-62135596800001, undefined],
    [-62135596800000, -62135596800000],
    [0, 0],
    [1.5, 1],
    [-0.5, -1],
    [253402300799999, 253402300799999],
    [253402300799999.5, 253402300799999],
    [253402300800000, undefined],
    [Number.POSITIVE_INFINITY, undefined],
    [Number.NEGATIVE_INFINITY, undefined],
    [Number.NaN, undefined],
    ["2023-05-05T14:07:27Z", 1683295647000],
    ["2023-05-05T14:07:27.8315Z", 1683295647831],
    ["2023-05-05T16:07:27+02:00", 1683295647000],
    ["2023-05-05T14:07Z", 1683295620000],
    ["2023-05-05T14:07:27", undefined],
    ["2023-13-05T14:07:27Z", undefined],
    ["2023-05-05", undefined],
    ["attempt 5", undefined],
    ["5", undefined],
  ])("A-51 at %s is the millisecond %s", (json, ms) => {
    expect(timeMs(json)).toBe(ms);
  });
});

describe("a decision", () => {
  const decisionTask = (fields: object) =>
    JSON.stringify({ definition: "awf.workflow/decision-task", ...fields });
  const requester = { id: "w1", resourceType: "AidboxWorkflow" };

  test.each<[event: string, params: object, decision: object]>([
    ["workflow-init", {}, {}],
    ["task-completed", { "task-id": "t0" }, { taskId: "t0" }],
    ["workflow-completed", { "workflow-id": "w0" }, { childWorkflowId: "w0" }],
    [
      "unheard-of",
      { "task-id": "t0", "workflow-id": "w0", more: 1 },
      { taskId: "t0", childWorkflowId: "w0" },
    ],
  ])("A-60 on %s names its workflow, the event and what has completed", (name, params, decision) => {
    const event = `awf.workflow.event/${name}`;
    const resource = decisionTask({
      "workflow-definition": "w/x",
      requester,
      params: { event, ...params },
    });
    expect(shown(task, resource)).toEqual({
      definition: "awf.workflow/decision-task",
      params: { event, ...params },
      decision: { workflowId: "w1", workflowDefinition: "w/x", event, ...decision },
    });
  });

  test.each<[what: string, fields: object]>([
    ["nothing", {}],
    ["nulls", { requester: null, params: null, "workflow-definition": null }],
    ["texts", { requester: "w1", params: "event", "workflow-definition": ["w/x"] }],
    ["lists", { requester: [requester], params: [{ event: "e" }] }],
    ["numbers", { requester: { id: 1 }, params: { event: 2, "task-id": 3, "workflow-id": {} } }],
  ])("A-60 of which the resource says %s is one that says nothing", (_, fields) => {
    expect(shown(task, decisionTask(fields)).decision).toEqual({});
  });

  test("A-60 says its event also where the parameters are too deep for a value", () => {
    const deep = nested(31, "[", "]");
    const resource = `{"definition":"awf.workflow/decision-task","params":{"event":"e","task-id":"t0","deep":${deep}}}`;
    expect(shown(task, resource)).toEqual({
      definition: "awf.workflow/decision-task",
      decision: { event: "e", taskId: "t0" },
    });
  });

  test.each(["a/b", "awf.workflow/decision-task2", "AWF.workflow/decision-task", ""])(
    "A-60 is not what a task of the definition %j is",
    (definition) => {
      const resource = { definition, requester, params: { event: "e" }, "workflow-definition": "w/x" };
      expect("decision" in shown(task, JSON.stringify(resource))).toBe(false);
    },
  );
});

describe("an activity", () => {
  test.each([
    ['{"id":"x","resourceType":"AidboxTask","execId":"e1"}', "task", { execId: "e1" }],
    ['{"id":"x","resourceType":"AidboxWorkflow","execId":"e1"}', "workflow", {}],
    ['{"id":"x","execId":"e1"}', "task", { execId: "e1" }],
    ['{"id":"x","resourceType":"Odd"}', "task", {}],
    ['{"id":"x","resourceType":["AidboxWorkflow"]}', "task", {}],
    ['{"id":"x","resourceType":null}', "task", {}],
  ])("A-23 like %s is a %s", (resourceJson, kind, fields) => {
    expect(toJson(ActivitySchema, activityFromResource(resourceJson))).toEqual({
      [kind]: { id: "x", resourceJson, ...fields },
    });
  });
});

describe("a log entry", () => {
  test("A-61 says what was done, with which parameters, and what it changed", () => {
    const resource = {
      action: "awf.task/notify",
      "action-params": { notification: "awf.task/progress", "progress-current": 7 },
      "status-before": "requested",
      "status-after": "in-progress",
      timestamp: "2023-05-05T14:07:27Z",
    };
    expect(shown(logEntry, JSON.stringify(resource))).toEqual({
      action: "awf.task/notify",
      actionParams: { notification: "awf.task/progress", "progress-current": 7 },
      statusBefore: "requested",
      statusAfter: "in-progress",
    });
  });

  test("A-61 reads no other spelling of its keys", () => {
    const resource = { actionParams: {}, statusBefore: "a", status_after: "b", Action: "c" };
    expect(shown(logEntry, JSON.stringify(resource))).toEqual({});
  });
});

describe("whatever a resource holds", () => {
  const known = fc.constantFrom(
    "id",
    "definition",
    "status",
    "executeAt",
    "execId",
    "retryCount",
    "outcomeReason",
    "params",
    "result",
    "error",
    "requester",
    "workflow-definition",
    "resourceType",
    "action",
    "action-params",
    "__proto__",
  );
  const number = fc.constantFrom("-0", "1e400", "-1e400", "1e-400", "12345678901234567890.10", "2147483648");
  const time = fc.oneof(
    fc.maxSafeInteger().map(String),
    fc.double({ min: -1e14, max: 1e15, noNaN: true }).map(String),
    fc.integer({ min: -62_135_596_800_000, max: 253_402_300_800_000 }).map(String),
    fc.date().map((date) => JSON.stringify(date)),
    arbitraryText.map((text) => JSON.stringify(text)),
  );
  const json = fc.oneof(
    arbitraryJson(arbitraryText).map((value) => JSON.stringify(value)),
    number,
    fc.constantFrom('"awf.workflow/decision-task"', '"AidboxWorkflow"', '"\\ud800"', '"\\u0000"'),
    fc
      .tuple(fc.nat(120), fc.constantFrom<[string, string]>(["[", "]"], ['{"a":', "}"]), number)
      .map(([count, [open, close], inner]) => nested(count, open, close, inner)),
  );
  const resource = fc
    .tuple(fc.array(fc.tuple(fc.oneof(known, arbitraryText), json)), fc.option(time))
    .map(([entries, at]) => {
      const pairs = entries.map(([key, value]) => `${JSON.stringify(key)}:${value}`);
      return `{${[...pairs, ...(at === null ? [] : [`"inProgressTimeoutAt":${at}`])].join(",")}}`;
    });

  test.each(readers)("$what can be read, sent and received", ({ schema, read }) => {
    fc.assert(
      fc.property(fc.oneof(resource, json), (text) => {
        const bytes = toBinary(schema, read(text));
        const received = toJson(schema, fromBinary(schema, bytes)) as Record<string, JsonValue>;
        expect(JSON.stringify(received)).toContain(JSON.stringify(text));
      }),
      { numRuns: 500 },
    );
  });
});
