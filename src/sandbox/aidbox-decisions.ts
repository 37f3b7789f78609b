import { parseInstant } from "./aidbox-resource.ts";
import type { TaskRequest } from "./aidbox-tasks.ts";
import { isJsonObject, type Json } from "./json.ts";

/** FACT: the definition of every decision task. */
export const decisionDefinition = "awf.workflow/decision-task";

/** FACT: what a decision task's result is a list of. */
export type WorkflowAction =
  | { readonly action: "schedule-task" | "schedule-workflow"; readonly request: TaskRequest }
  | { readonly action: "do-nothing" | "unknown-error" }
  | { readonly action: "complete-workflow"; readonly result: Json | undefined }
  | { readonly action: "fail"; readonly error: Json | undefined };

/** Reads a decision task's result; a text says what is wrong with it. INFERENCE: no result is an empty list. */
export function readActions(result: Json | undefined): WorkflowAction[] | string {
  if (result === undefined) {
    return [];
  }
  if (!Array.isArray(result)) {
    return "the result of a decision task is a list of actions";
  }
  const actions: WorkflowAction[] = [];
  for (const item of result) {
    const action = readAction(item);
    if (typeof action === "string") {
      return action;
    }
    actions.push(action);
  }
  return actions;
}

function readAction(item: Json): WorkflowAction | string {
  if (!isJsonObject(item) || typeof item.action !== "string") {
    return "an action has a string :action";
  }
  const name = item.action.replace(/^awf\.workflow\.action\//, "");
  // A name without its namespace is none.
  switch (name === item.action ? "" : name) {
    case "schedule-task":
      return readSchedule("schedule-task", item["task-request"]);
    case "schedule-workflow":
      // FACT: the table says task-request. The prose speaks of a workflow request.
      return readSchedule("schedule-workflow", item["task-request"] ?? item["workflow-request"]);
    case "do-nothing":
      return { action: "do-nothing" };
    case "unknown-error":
      return { action: "unknown-error" };
    case "complete-workflow":
      return { action: "complete-workflow", result: item.result };
    case "fail":
      return { action: "fail", error: item.error };
    default:
      return `unknown action: ${item.action}`;
  }
}

function readSchedule(
  action: "schedule-task" | "schedule-workflow",
  request: Json | undefined,
): WorkflowAction | string {
  if (!isJsonObject(request)) {
    return `${action} has a task-request`;
  }
  const { definition, params = {}, label, id, executeAt } = request;
  if (typeof definition !== "string") {
    return "a task-request has a string :definition";
  }
  if (!isJsonObject(params)) {
    return "the params of a task-request are an object";
  }
  const texts: { id?: string; label?: string; executeAt?: string } = {};
  for (const [name, value] of Object.entries({ id, label, executeAt })) {
    if (value === undefined) {
      continue;
    }
    if (typeof value !== "string") {
      return `the ${name} of a task-request is a string`;
    }
    texts[name as keyof typeof texts] = value;
  }
  if (texts.executeAt !== undefined && parseInstant(texts.executeAt) === undefined) {
    return "the executeAt of a task-request is a date and time";
  }
  return { action, request: { definition, params, ...texts } };
}
