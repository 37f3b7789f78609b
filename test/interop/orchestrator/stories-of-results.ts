import { protoStruct } from "../support/taskgate.ts";
import {
  complete,
  good,
  goodValue,
  isSettled,
  reportProgress,
  requestsTo,
  type Setting,
  startAwaiting,
  summary,
  untilReceipt,
} from "./setting.ts";

/** Progress, the result, and what comes behind it. */
export async function completeACallback(setting: Setting): Promise<void> {
  const { stage, core, proxy, taskgate } = setting;
  const { processId, route } = await startAwaiting(setting, "one_callback");
  const waiting = await core.process(processId);
  stage.check("the process awaits its callback", waiting.current_state.callback_route, route);

  for (const [progress, seen] of [
    [{ text: "half way, 50 %" }, "half way, 50 %"],
    [{ object: protoStruct({ percent: 75 }) }, { percent: 75 }],
    [{ json: '{"percent":99}' }, { percent: 99 }],
  ] as const) {
    const answer = await reportProgress(setting, route, progress);
    const directive = answer.kind === "ok" ? answer.response.directive : answer;
    stage.check("progress is accepted", directive, "DIRECTIVE_CONTINUE");
    const { current_state: state } = await core.process(processId);
    stage.check("the process shows the progress", state.callback_progress, seen);
  }

  const receipt = await complete(setting, { callbackRoute: route, json: good });
  stage.check("the result is delivered", summary(receipt), "DELIVERED after 1");
  await core.reach(processId, "completed");
  const again = await complete(setting, { callbackRoute: route, json: good });
  stage.check("the same result again is answered with the first receipt", again, receipt);
  const other = await taskgate.call("CallbackService", "CompleteCallback", {
    callbackRoute: route,
    json: '{"return_code":1}',
  });
  stage.check("another result is refused", other, {
    kind: "error",
    code: "ALREADY_EXISTS",
    reason: "CONFLICTING_OUTCOME",
  });
  const late = await reportProgress(setting, route, { text: "late" });
  stage.check(
    "progress behind the result is told to stop",
    late.kind === "ok" ? [late.response.directive, late.response.cause] : late,
    ["DIRECTIVE_CANCEL", "ERROR_REASON_TASK_FINISHED"],
  );
  const end = await core.reach(processId, "completed");
  stage.check("the workflow ran on", end.current_state.ran_on, true);
  stage.check(
    "its steps",
    end.steps.map(({ name, status }) => `${name}: ${status}`),
    [
      "Start: success",
      "Remote job: awaiting_callback",
      "Remote job: success",
      "After the callback: success",
      "Done: complete",
    ],
  );
  stage.check("the process keeps the result", end.current_state.callback_result, goodValue);
  stage.check("the process got it exactly once", core.validations(processId), [
    { job: "first", result: goodValue },
  ]);
  stage.check("the Orchestrator got", requestsTo(proxy, route), [
    '/progress "half way, 50 %": 200',
    '/progress {"percent":75}: 200',
    '/progress {"percent":99}: 200',
    `${good}: 200`,
  ]);
}

/** The action step that submitted the job is still at work. */
export async function completeTooEarly(setting: Setting): Promise<void> {
  const { stage, core, jobs, proxy } = setting;
  const processId = await core.start("slow_submit");
  const route = await jobs.routeOf(processId);
  const early = await reportProgress(setting, route, { text: "early" });
  stage.check("progress that is too early is refused", early.kind, "error");
  const receipt = await complete(setting, { callbackRoute: route, json: good });
  stage.check(
    "a result that is too early is delivered in the end",
    receipt.state,
    "DELIVERY_STATE_DELIVERED",
  );
  await core.reach(processId, "completed");
  const [, ...results] = requestsTo(proxy, route);
  stage.check("it was tried before", results.length > 1 && results.length === receipt.attempts, true);
  stage.check(
    "the Orchestrator said 409 until it took it",
    results,
    results.map((_, at) => `${good}: ${at === results.length - 1 ? 200 : 409}`),
  );
  stage.check("the process got it exactly once", core.validations(processId).length, 1);
}

/** The operator retries: the job is submitted again, and its new callback is another task. */
export async function failTheValidation(setting: Setting): Promise<void> {
  const { stage, core, jobs, proxy } = setting;
  const { processId, route } = await startAwaiting(setting, "one_callback");
  const result = { jobId: "job-7", output: ["no such host"], returnCode: 1, status: "failed" };
  const receipt = await complete(setting, { callbackRoute: route, result });
  stage.check("a result that says failed is delivered", summary(receipt), "DELIVERED after 1");
  const end = await core.reach(processId, "failed");
  stage.check("and the workflow judges it", end.failed_reason, "the job failed");
  const sent = '{"job_id":"job-7","output":["no such host"],"return_code":1,"status":"failed"}';
  stage.check("the Orchestrator got", requestsTo(proxy, route), [`${sent}: 200`]);
  await core.resume(processId);
  const again = await jobs.routeOf(processId, "first", 2);
  stage.check("retried by the operator, it has another route", again !== route, true);
  await core.reach(processId, "awaiting_callback");
  const second = await complete(setting, { callbackRoute: again, json: good });
  stage.check("whose result is delivered", summary(second), "DELIVERED after 1");
  await core.reach(processId, "completed");
}

/** The operator has paused the engine. */
export async function lockTheEngine(setting: Setting): Promise<void> {
  const { stage, core, taskgate } = setting;
  const { processId, route } = await startAwaiting(setting, "one_callback");
  await core.lock(true);
  const stored = await complete(setting, {
    callbackRoute: route,
    object: protoStruct({ return_code: 0 }),
    waitFor: "WAIT_FOR_STORED",
  });
  const { deliveryId } = stored;
  stage.check("with the engine locked it is stored", stored.state, "DELIVERY_STATE_STORED");
  const refused = await untilReceipt(taskgate, deliveryId, ({ failure }) => failure !== null);
  stage.check("and the engine says why", refused.failure?.metadata.http_status, "503");
  await core.lock(false);
  const delivered = await untilReceipt(taskgate, deliveryId, isSettled);
  stage.check("unlocked, it is delivered", delivered.state, "DELIVERY_STATE_DELIVERED");
  await core.reach(processId, "completed");
  stage.check("the process got it exactly once", core.validations(processId), [
    { job: "first", result: { return_code: 0 } },
  ]);
}
