import type { WorkflowAction, WorkflowActions } from "../../gen/taskgate/v1/executor_pb.ts";
import type { JsonRules } from "../model/json-text.ts";
import { jsonText, paramsText } from "./json-choice.ts";
import type { RequestChecker } from "./request-checker.ts";

/**
 * Writes a decision as the array of actions that Aidbox takes as the result of a
 * decision task (FACT), adding what is wrong with it to the checker.
 */
export function workflowActionsText(
  actions: WorkflowActions,
  rules: JsonRules,
  checker: RequestChecker,
): string {
  const texts = actions.actions.map((action, index) =>
    actionText(action, `actions.actions[${index}]`, rules, checker),
  );
  return `[${texts.join(",")}]`;
}

function actionText(
  { action }: WorkflowAction,
  field: string,
  rules: JsonRules,
  checker: RequestChecker,
): string {
  switch (action.case) {
    case "scheduleTask":
      return scheduleText("schedule-task", action.value, `${field}.schedule_task`, rules, checker);
    case "scheduleWorkflow":
      return scheduleText("schedule-workflow", action.value, `${field}.schedule_workflow`, rules, checker);
    case "doNothing":
      return named("do-nothing");
    case "completeWorkflow":
      return named(
        "complete-workflow",
        member("result", jsonText(action.value.outcome, `${field}.complete_workflow.`, rules, checker)),
      );
    case "failWorkflow":
      return named(
        "fail",
        member("error", jsonText(action.value.reason, `${field}.fail_workflow.`, rules, checker)),
      );
    case "unknownError":
      return named("unknown-error");
    case undefined:
      checker.add(field, "has no action");
      return "{}";
    default:
      return action satisfies never;
  }
}

// FACT: the table and the SDK write `task-request` for workflows, too.
function scheduleText(
  name: string,
  schedule: { definition: string; label: string; input: Parameters<typeof paramsText>[0] },
  field: string,
  rules: JsonRules,
  checker: RequestChecker,
): string {
  checker.requireText(`${field}.definition`, schedule.definition);
  checker.text(`${field}.label`, schedule.label);
  const label = schedule.label === "" ? "" : `,"label":${JSON.stringify(schedule.label)}`;
  const params = paramsText(schedule.input, `${field}.`, rules, checker);
  return named(
    name,
    `,"task-request":{"definition":${JSON.stringify(schedule.definition)}${label},"params":${params}}`,
  );
}

function named(name: string, members = ""): string {
  return `{"action":"awf.workflow.action/${name}"${members}}`;
}

function member(key: string, json: string | undefined): string {
  return json === undefined ? "" : `,"${key}":${json}`;
}
