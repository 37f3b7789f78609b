import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { TaskRunStatus, TaskStatusService } from "../gen/taskgate/v1/task_status_pb.ts";

const method = TaskStatusService.method.updateTask;

/** `UpdateTask` as it is on the wire. */
export const updatePath = `/${TaskStatusService.typeName}/${method.name}`;

/** What an update may say. */
export type UpdateFields = Pick<MessageInitShape<typeof method.input>, "message" | "waitFor">;

/** The id of one of many runs. */
export function taskRunIdOf(index: number): string {
  return `1d876307-8c0a-42a1-8299-${index.toString(16).padStart(12, "0")}`;
}

/** An update of one of many runs, encoded. */
export function updateOf(index: number, fields: UpdateFields = {}): Uint8Array {
  return toBinary(
    method.input,
    create(method.input, {
      taskRunId: taskRunIdOf(index),
      status: TaskRunStatus.RUNNING,
      message: "half of the rows",
      ...fields,
    }),
  );
}

/** An update of each of so many runs. */
export function updatesOf(runs: number, fields: UpdateFields = {}): Uint8Array[] {
  return Array.from({ length: runs }, (_, index) => updateOf(index, fields));
}
