import { type Message, protoValue } from "../support/taskgate.ts";
import type { Ability, Generation } from "./versions.ts";

/** A call of the SDK, for perform.py. */
export type SdkStep =
  | { call: "update_task"; status?: string; message?: string }
  | { call: "set_output"; name: string; value_json: string }
  | { call: "run"; error?: string; log?: string };

/** A call of taskgate, without the task run. */
export type TaskgateStep = [method: "UpdateTask" | "SetOutput" | "SendLog", request: Message];

/** The same, once with the SDK and once with taskgate. */
export interface Scenario {
  name: string;
  /** Versions without it are not asked. */
  needs?: Ability;
  sdk: readonly SdkStep[];
  taskgate: readonly TaskgateStep[];
  /** What each call of the SDK comes to. Default: it returns True. */
  sdkResults?: (generation: Generation) => readonly string[];
  /** The reason for which taskgate refuses the first call. */
  refused?: string;
  /** The deliberate differences, beyond those of every request. */
  differences?: (generation: Generation) => readonly string[];
}

const text = 'Grüße, "世界" 🎉 \\ / \u2028 <&> \u007f\ntwo lines\t';

const running = "TASK_RUN_STATUS_RUNNING";
const rowsWritten =
  '{"rows":9007199254740993,"rate":1.0,"z":{"b":[],"a":{}},"none":null,"a":[true,-0.5,1e-07]}';

export const scenarios: readonly Scenario[] = [
  {
    name: "RUNNING without a message",
    needs: "update",
    sdk: [{ call: "update_task", status: "RUNNING" }],
    taskgate: [["UpdateTask", { status: running }]],
  },
  {
    name: "RUNNING with an empty message",
    needs: "update",
    sdk: [{ call: "update_task", status: "RUNNING", message: "" }],
    taskgate: [["UpdateTask", { status: running, message: "" }]],
  },
  {
    name: "RUNNING with a message",
    needs: "update",
    sdk: [{ call: "update_task", status: "RUNNING", message: text }],
    taskgate: [["UpdateTask", { status: running, message: text }]],
  },
  {
    name: "a message alone",
    needs: "update",
    sdk: [{ call: "update_task", message: "half way" }],
    taskgate: [["UpdateTask", { message: "half way" }]],
    sdkResults: (generation) => [sendsMessageAlone(generation) ? "returned True" : "raised TypeError"],
    differences: (generation) => [
      sendsMessageAlone(generation)
        ? 'body.status: none by the SDK, "RUNNING" by taskgate'
        : "only taskgate sends it: UPDATE_STATUS with RUNNING",
    ],
  },
  {
    name: "neither a status nor a message",
    needs: "message alone",
    sdk: [{ call: "update_task" }],
    taskgate: [["UpdateTask", {}]],
    sdkResults: () => ["returned False"],
    refused: "INVALID_REQUEST",
  },
  ...["SUCCEEDED", "FAILED"].flatMap((status): Scenario[] => [
    {
      name: `${status} without a message`,
      needs: "update",
      sdk: [{ call: "update_task", status }],
      taskgate: [["UpdateTask", { status: `TASK_RUN_STATUS_${status}` }]],
    },
    {
      name: `RUNNING, then ${status} with a message`,
      needs: "update",
      sdk: [
        { call: "update_task", status: "RUNNING" },
        { call: "update_task", status, message: text },
      ],
      taskgate: [
        ["UpdateTask", { status: running }],
        ["UpdateTask", { status: `TASK_RUN_STATUS_${status}`, message: text }],
      ],
    },
  ]),
  ...["WARNING", "CANCELLED"].map(
    (status): Scenario => ({
      name: `${status} with a message`,
      needs: "all statuses",
      sdk: [{ call: "update_task", status, message: "look at it" }],
      taskgate: [["UpdateTask", { status: `TASK_RUN_STATUS_${status}`, message: "look at it" }]],
    }),
  ),
  ...[text, "", 0, 42, -1.5, 1e22, true, false, null, [], [1, "two", [null]], {}, { one: 1 }].map(
    (value): Scenario => ({
      name: `an output as value: ${JSON.stringify(value).replace("\u2028", "\\u2028")}`,
      needs: "outputs",
      sdk: [{ call: "set_output", name: "Row_count-x", value_json: JSON.stringify(value) }],
      taskgate: [["SetOutput", { name: "Row_count-x", value: protoValue(value) }]],
    }),
  ),
  ...[rowsWritten, "9007199254740993", "1.0", '"12"', "1e-07"].map(
    (valueJson): Scenario => ({
      name: `an output as value_json: ${valueJson}`,
      needs: "outputs",
      sdk: [{ call: "set_output", name: "rows", value_json: valueJson }],
      taskgate: [["SetOutput", { name: "rows", valueJson }]],
    }),
  ),
  {
    name: "an output's name with a digit",
    needs: "outputs",
    sdk: [{ call: "set_output", name: "row1", value_json: "1" }],
    taskgate: [["SetOutput", { name: "row1", valueJson: "1" }]],
    refused: "INVALID_REQUEST",
    differences: () => ["only the SDK sends it: SET_OUTPUT"],
  },
  {
    name: "the decorator, and its log behind the outcome",
    needs: "logs",
    sdk: [{ call: "run", log: `first line\n${text}` }],
    taskgate: [
      ["UpdateTask", { status: running, message: "work started." }],
      ["UpdateTask", { status: "TASK_RUN_STATUS_SUCCEEDED", message: "work succeeded." }],
      ["SendLog", { name: "orchestra.log", data: `first line\n${text}` }],
    ],
    sdkResults: () => ["returned None"],
  },
  {
    name: "the decorator, an empty log",
    needs: "logs",
    sdk: [{ call: "run", log: "" }],
    taskgate: [
      ["UpdateTask", { status: running, message: "work started." }],
      ["UpdateTask", { status: "TASK_RUN_STATUS_SUCCEEDED", message: "work succeeded." }],
      ["SendLog", { name: "orchestra.log", data: "" }],
    ],
    sdkResults: () => ["returned None"],
  },
  {
    name: "the decorator",
    sdk: [{ call: "run" }],
    taskgate: [
      ["UpdateTask", { status: running, message: "work started." }],
      ["UpdateTask", { status: "TASK_RUN_STATUS_SUCCEEDED", message: "work succeeded." }],
    ],
    sdkResults: () => ["returned None"],
  },
  {
    name: "the decorator around an error",
    sdk: [{ call: "run", error: text }],
    taskgate: [
      ["UpdateTask", { status: running, message: "work started." }],
      ["UpdateTask", { status: "TASK_RUN_STATUS_FAILED", message: `work failed. Error: ${text}` }],
    ],
    sdkResults: () => ["returned None"],
  },
];

function sendsMessageAlone({ abilities }: Generation): boolean {
  return abilities.includes("message alone");
}
