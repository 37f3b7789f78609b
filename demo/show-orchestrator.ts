import { createClient, type Transport } from "@connectrpc/connect";
import { CallbackService } from "../gen/taskgate/v1/callback_pb.ts";
import { ask, type Story } from "./story.ts";

interface Process {
  process_id: string;
  status: string;
  callback_route: string;
  callback_result: unknown;
  validations: number;
  accepted_callbacks: number;
  accepted_progress: number;
}

/** A process of the Workflow Orchestrator waits, and a job calls back. */
export async function showOrchestrator(
  transport: Transport,
  orchestrator: string,
  story: Story,
): Promise<void> {
  const callbacks = createClient(CallbackService, transport);
  story.title("Workflow Orchestrator: a job calls back");
  const { process_id, callback_route } = (await ask(
    `${orchestrator}/_sandbox/processes`,
    "POST",
    {},
  )) as Process;
  const target = { case: "callbackRoute", value: callback_route } as const;
  await story.step("progress, “3 of 10 hosts”", () =>
    callbacks.reportCallbackProgress({ target, progress: { case: "text", value: "3 of 10 hosts" } }),
  );
  await story.step("progress, an object", () =>
    callbacks.reportCallbackProgress({
      target,
      progress: { case: "object", value: { hosts: 10, done: 9 } },
    }),
  );
  await story.step("the result, return code 0", () =>
    callbacks.completeCallback({
      target,
      payload: {
        case: "result",
        value: { jobId: "playbook-7", output: ["10 hosts changed"], returnCode: 0, status: "successful" },
      },
    }),
  );

  const process = (await ask(`${orchestrator}/_sandbox/processes/${process_id}`)) as Process;
  story.check("the process is completed", process.status, "completed");
  story.check("it got the result", process.callback_result, {
    job_id: "playbook-7",
    output: ["10 hosts changed"],
    return_code: 0,
    status: "successful",
  });
  story.check(
    "once, validated once, after two progresses",
    [process.accepted_callbacks, process.validations, process.accepted_progress],
    [1, 1, 2],
  );
}
