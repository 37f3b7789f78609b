import { randomUUID } from "node:crypto";
import { createClient, type Transport } from "@connectrpc/connect";
import { TaskRunStatus, TaskStatusService } from "../gen/taskgate/v1/task_status_pb.ts";
import { ask, type Story } from "./story.ts";

/** One task run, reported to Orchestra from its beginning to its end. */
export async function showOrchestra(transport: Transport, orchestra: string, story: Story): Promise<void> {
  const tasks = createClient(TaskStatusService, transport);
  const taskRunId = randomUUID();
  story.title("Orchestra: a task run is reported");
  await story.step("RUNNING, “extract started”", () =>
    tasks.updateTask({ taskRunId, status: TaskRunStatus.RUNNING, message: "extract started" }),
  );
  await story.step("“half of the rows”, without a status", () =>
    tasks.updateTask({ taskRunId, message: "half of the rows" }),
  );
  await story.step("output row_count = 1200", () =>
    tasks.setOutput({ taskRunId, name: "row_count", output: { case: "valueJson", value: "1200" } }),
  );
  await story.step("SUCCEEDED", () => tasks.updateTask({ taskRunId, status: TaskRunStatus.SUCCEEDED }));
  await story.step("the log, behind the outcome", () =>
    tasks.sendLog({ taskRunId, name: "extract.log", data: "1200 rows\ndone\n" }),
  );

  const run = (await ask(`${orchestra}/_sandbox/task-runs/${taskRunId}`)) as {
    status: string;
    events: { event: { type: string; status?: string; message?: string } }[];
  };
  story.check("Orchestra shows the run as SUCCEEDED", run.status, "SUCCEEDED");
  story.check(
    "it got five events, in order",
    run.events.map(({ event }) => [event.type, event.status, event.message]),
    [
      ["UPDATE_STATUS", "RUNNING", "extract started"],
      ["UPDATE_STATUS", "RUNNING", "half of the rows"],
      ["SET_OUTPUT", undefined, undefined],
      ["UPDATE_STATUS", "SUCCEEDED", undefined],
      ["LOG", undefined, undefined],
    ],
  );
}
