import type { FailTaskRequest, SucceedTaskRequest } from "../../gen/taskgate/v1/executor_pb.ts";
import type { Attempt, TaskOutcome } from "../model/call-result.ts";
import type { JsonRules } from "../model/json-text.ts";
import type { Limits } from "../model/limits.ts";
import type { TaskProgress, WorkDefinitions } from "../model/work-pool.ts";
import { jsonText } from "./json-choice.ts";
import { assertSize, createRequestChecker, type RequestChecker } from "./request-checker.ts";
import { workflowActionsText } from "./workflow-actions.ts";

/** Adds what is wrong with the definitions that a worker takes. */
export function checkDefinitions(definitions: WorkDefinitions, checker: RequestChecker): void {
  if (definitions.taskDefinitions.length === 0 && definitions.workflowDefinitions.length === 0) {
    checker.add("task_definitions", "is required unless workflow_definitions is set");
  }
  definitions.taskDefinitions.forEach((name, index) => {
    checker.requireText(`task_definitions[${index}]`, name);
  });
  definitions.workflowDefinitions.forEach((name, index) => {
    checker.requireText(`workflow_definitions[${index}]`, name);
  });
}

/** Adds what is wrong with the name of an attempt. */
export function checkAttempt(attempt: Attempt, checker: RequestChecker): void {
  for (const [field, value] of [
    ["id", attempt.id],
    ["exec_id", attempt.execId],
  ] as const) {
    checker.requireText(field, value);
    checker.add(field, value.length > maxIdLength ? `has more than ${maxIdLength} characters` : undefined);
  }
}

// What is unknown is remembered for a while, too.
const maxIdLength = 1024;

/** Reads how far an attempt is, or throws what is wrong with it. */
export function checkProgress(
  request: Attempt & { current?: bigint | undefined; total?: bigint | undefined; unit: string },
  checker: RequestChecker = createRequestChecker(),
): TaskProgress {
  checkAttempt(request, checker);
  checker.add("current", request.current === undefined ? "is required" : undefined);
  checker.text("unit", request.unit);
  checker.throwIfInvalid();
  const { current = 0n, total, unit } = request;
  return { current, total, unit };
}

/** Reads a success, or throws what is wrong with it. */
export function successOutcome(
  request: Pick<SucceedTaskRequest, "id" | "execId" | "outcome">,
  limits: Limits,
  checker: RequestChecker = createRequestChecker(),
): TaskOutcome {
  const { outcome } = request;
  return readOutcome("success", "result", request, limits, checker, (rules) =>
    outcome.case === "actions"
      ? workflowActionsText(outcome.value, rules, checker)
      : jsonText(outcome, "", rules, checker),
  );
}

/** Reads a failure, or throws what is wrong with it. */
export function failOutcome(
  request: Pick<FailTaskRequest, "id" | "execId" | "reason">,
  limits: Limits,
  checker: RequestChecker = createRequestChecker(),
): TaskOutcome {
  return readOutcome("fail", "error", request, limits, checker, (rules) =>
    jsonText(request.reason, "", rules, checker),
  );
}

function readOutcome(
  verb: TaskOutcome["verb"],
  field: string,
  attempt: Attempt,
  { maxPayloadDepth, maxPayloadBytes }: Limits,
  checker: RequestChecker,
  textOf: (rules: JsonRules) => string | undefined,
): TaskOutcome {
  checkAttempt(attempt, checker);
  const json = textOf({ maxDepth: maxPayloadDepth });
  checker.throwIfInvalid();
  assertSize(field, json ?? "", maxPayloadBytes);
  return { verb, id: attempt.id, execId: attempt.execId, json };
}
