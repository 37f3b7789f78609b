import { create, toBinary } from "@bufbuild/protobuf";
import { TaskRunStatus, TaskStatusService } from "../gen/taskgate/v1/task_status_pb.ts";

const method = TaskStatusService.method.updateTask;

/** `UpdateTask` as it is on the wire. */
export const updatePath = `/${TaskStatusService.typeName}/${method.name}`;

/** An update of one of many runs, encoded. */
export function updateOf(index: number): Uint8Array {
  const taskRunId = `1d876307-8c0a-42a1-8299-${index.toString(16).padStart(12, "0")}`;
  return toBinary(
    method.input,
    create(method.input, { taskRunId, status: TaskRunStatus.RUNNING, message: "half of the rows" }),
  );
}

/** An update of each of so many runs. */
export function updatesOf(runs: number): Uint8Array[] {
  return Array.from({ length: runs }, (_, index) => updateOf(index));
}
