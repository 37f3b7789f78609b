import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Task, Workflow } from "../../gen/taskgate/v1/executor_pb.ts";
import type { Caller } from "../model/access.ts";
import { covers } from "../model/covers.ts";
import { createFailure } from "../model/failure.ts";
import type { WorkDefinitions } from "../model/work-pool.ts";
import { errorFromFailure } from "./errors.ts";

/** Throws NOT_PERMITTED where the caller is limited to other definitions than those that it asks for. */
export function assertDefinitions(caller: Caller, wanted: Partial<WorkDefinitions>): void {
  const { definitions } = caller;
  if (definitions === undefined) {
    return;
  }
  const [task] = (wanted.taskDefinitions ?? []).filter((name) => !definitions.taskDefinitions.includes(name));
  const [workflow] = (wanted.workflowDefinitions ?? []).filter(
    (name) => !definitions.workflowDefinitions.includes(name),
  );
  const name = task ?? workflow;
  if (name !== undefined) {
    const message = `the caller may not have to do with ${task === undefined ? "workflow" : "task"} definition ${name}`;
    throw errorFromFailure(createFailure(ErrorReason.NOT_PERMITTED, message));
  }
}

/** Whether the caller may see a task: one of other definitions does not exist for it. */
export function maySeeTask({ definitions }: Caller, task: Task): boolean {
  return definitions === undefined || covers(definitions, task);
}

/** Whether the caller may see a workflow, likewise. */
export function maySeeWorkflow({ definitions }: Caller, { definition }: Workflow): boolean {
  return definitions === undefined || definitions.workflowDefinitions.includes(definition);
}

/** Throws TASK_UNKNOWN where the caller may not see what has this id. */
export function assertSeen(maySee: boolean, id: string): void {
  if (!maySee) {
    const metadata = { upstream: "aidbox", task_id: id };
    throw errorFromFailure(createFailure(ErrorReason.TASK_UNKNOWN, `there is no ${id}`, { metadata }));
  }
}
