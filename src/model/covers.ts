import type { Task } from "../../gen/taskgate/v1/executor_pb.ts";
import type { WorkDefinitions } from "./work-pool.ts";

/** Whether these definitions are the ones of the task: of a decision, its workflow's. */
export function covers({ taskDefinitions, workflowDefinitions }: WorkDefinitions, task: Task): boolean {
  return task.decision === undefined
    ? taskDefinitions.includes(task.definition)
    : workflowDefinitions.includes(task.decision.workflowDefinition);
}
