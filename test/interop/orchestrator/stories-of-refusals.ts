import { randomUUID } from "node:crypto";
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

const otherToken = "T0k3n-0f-an0ther-callback-abcdefghijklmnopq";
// The gateway takes "not awaiting" for "too early" for a minute.
const settleMs = 150_000;

/** The process awaits another callback than that. */
export async function completeWithTheWrongToken(setting: Setting): Promise<void> {
  const { stage, core, proxy, taskgate } = setting;
  const { processId, route } = await startAwaiting(setting, "one_callback");
  const wrong = route.replace(/[^/]+$/, otherToken);
  const progress = await reportProgress(setting, wrong, { text: "half" });
  stage.check(
    "progress with a wrong token is refused",
    progress.kind === "ok" ? progress : progress.reason,
    "UPSTREAM_REJECTED",
  );
  const answer = await taskgate.call("CallbackService", "CompleteCallback", {
    callbackRoute: wrong,
    json: good,
  });
  stage.check("a wrong token is refused", answer, refused);
  stage.check("after one request each", requestsTo(proxy, wrong), ['/progress "half": 404', `${good}: 404`]);
  const receipt = await complete(setting, { callbackRoute: route, json: good });
  stage.check("the right one is delivered", summary(receipt), "DELIVERED after 1");
  await core.reach(processId, "completed");
}

/** Nobody ever started that process. */
export async function completeAnUnknownProcess({ stage, proxy, taskgate }: Setting): Promise<void> {
  const route = `/api/processes/${randomUUID()}/callback/${otherToken}`;
  const answer = await taskgate.call("CallbackService", "CompleteCallback", {
    callbackRoute: route,
    json: good,
  });
  stage.check("an unknown process is refused", answer, refused);
  stage.check("after one request", requestsTo(proxy, route), [`${good}: 404`]);
}

const refused = { kind: "error", code: "FAILED_PRECONDITION", reason: "UPSTREAM_REJECTED" };

/** The operator aborts a process whose job is at work: its progress learns of it. */
export async function abortTheProcess(setting: Setting): Promise<() => Promise<void>> {
  const { stage, core, taskgate } = setting;
  const { processId, route } = await startAwaiting(setting, "one_callback");
  await reportProgress(setting, route, { text: "half" });
  await core.abort(processId);
  await core.reach(processId, "aborted");
  const progress = await reportProgress(setting, route, { text: "more" });
  stage.check(
    "progress behind an abort is told to stop",
    progress.kind === "ok" ? [progress.response.directive, progress.response.cause] : progress,
    ["DIRECTIVE_CANCEL", "ERROR_REASON_TASK_CANCELLED"],
  );
  const { deliveryId } = await complete(setting, {
    callbackRoute: route,
    json: good,
    waitFor: "WAIT_FOR_STORED",
  });
  return async () => {
    const receipt = await untilReceipt(taskgate, deliveryId, isSettled, settleMs);
    stage.check(
      "the result of an aborted process is refused in the end",
      receipt.state,
      "DELIVERY_STATE_REJECTED",
    );
    stage.check("with the Orchestrator's 409", receipt.failure?.metadata.http_status, "409");
    stage.check("and the process stays aborted", (await core.process(processId)).last_status, "aborted");
    stage.check("without a validation", core.validations(processId), []);
  };
}

/** Somebody else was there first. */
export async function completeASecondTime(setting: Setting): Promise<() => Promise<void>> {
  const { stage, core, taskgate } = setting;
  const { processId, route } = await startAwaiting(setting, "one_callback");
  const first = await fetch(core.url + route, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: good,
  });
  stage.check("somebody else's result is taken", first.status, 200);
  await core.reach(processId, "completed");
  const { deliveryId } = await complete(setting, {
    callbackRoute: route,
    json: '{"return_code":1}',
    waitFor: "WAIT_FOR_STORED",
  });
  return async () => {
    const receipt = await untilReceipt(taskgate, deliveryId, isSettled, settleMs);
    stage.check("a second completion is refused in the end", receipt.state, "DELIVERY_STATE_REJECTED");
    stage.check("with the Orchestrator's 409", receipt.failure?.metadata.http_status, "409");
    stage.check("and changed nothing", core.validations(processId), [{ job: "first", result: goodValue }]);
  };
}
