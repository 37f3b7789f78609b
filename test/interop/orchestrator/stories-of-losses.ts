import type { Loss } from "../support/lossy-proxy.ts";
import { startTaskgate } from "../support/taskgate.ts";
import {
  complete,
  good,
  goodValue,
  isSettled,
  requestsTo,
  type Setting,
  startAwaiting,
  summary,
  untilReceipt,
} from "./setting.ts";

/** The Orchestrator took the result, and nobody heard of it. */
export async function loseTheAnswer(setting: Setting): Promise<void> {
  const { stage, core, proxy } = setting;
  const { processId, route } = await startAwaiting(setting, "one_callback");
  void proxy.lose("answer", route);
  const receipt = await complete(setting, { callbackRoute: route, json: good });
  stage.check("taken, its answer lost: nothing settles it", summary(receipt), "UNCONFIRMED after 2");
  stage.check("its failure says so", receipt.failure?.reason, "ERROR_REASON_UPSTREAM_UNCERTAIN");
  await core.reach(processId, "completed");
  stage.check("the process got it exactly once", core.validations(processId), [
    { job: "first", result: goodValue },
  ]);
  stage.check("the Orchestrator got", requestsTo(proxy, route), [
    `${good}: 200, answer lost`,
    `${good}: 409`,
  ]);
}

/** The result was sent, and the Orchestrator never got it. */
export async function loseTheRequest(setting: Setting): Promise<void> {
  const { stage, core, proxy } = setting;
  const { processId, route } = await startAwaiting(setting, "one_callback");
  void proxy.lose("request", route);
  const receipt = await complete(setting, { callbackRoute: route, json: good });
  stage.check("sent and not taken: the repetition is", summary(receipt), "DELIVERED after 2");
  await core.reach(processId, "completed");
  stage.check("the process got it exactly once", core.validations(processId), [
    { job: "first", result: goodValue },
  ]);
  stage.check("the Orchestrator got", requestsTo(proxy, route), [
    `${good}: not asked, request lost`,
    `${good}: 200`,
  ]);
}

/** By the time of the repetition the process awaits its next callback. */
export async function loseTheAnswerBeforeAnotherCallback(setting: Setting): Promise<void> {
  const { stage, core, jobs, proxy } = setting;
  const { processId, route: first } = await startAwaiting(setting, "two_callbacks");
  void proxy.lose("answer", first);
  const receipt = await complete(setting, { callbackRoute: first, json: good });
  const second = await jobs.routeOf(processId, "second");
  stage.check("taken, and another callback awaits", summary(receipt), "UNCONFIRMED after 2");
  stage.check("the Orchestrator got", requestsTo(proxy, first), [
    `${good}: 200, answer lost`,
    `${good}: 404`,
  ]);
  await core.reach(processId, "awaiting_callback");
  const other = await complete(setting, { callbackUrl: `${proxy.url}${second}`, json: good });
  stage.check("the other callback is delivered, by its URL", summary(other), "DELIVERED after 1");
  await core.reach(processId, "completed");
  stage.check("the process got each exactly once", core.validations(processId), [
    { job: "first", result: goodValue },
    { job: "second", result: goodValue },
  ]);
}

/** The gateway is killed between sending a result and hearing of it, and starts again where it was. */
export async function killTheGateway(setting: Setting): Promise<void> {
  await killWhileWaiting(setting, "answer", "UNCONFIRMED after 2", 409);
  await killWhileWaiting(setting, "request", "DELIVERED after 2", 200);
}

async function killWhileWaiting(
  setting: Setting,
  lost: Loss,
  expected: string,
  secondStatus: number,
): Promise<void> {
  const { stage, core, proxy } = setting;
  const { processId, route } = await startAwaiting(setting, "one_callback");
  const env = { TASKGATE_ORCHESTRATOR_URL: proxy.url, TASKGATE_DATA_DIR: stage.directory() };
  const killed = await startTaskgate(stage, env);
  const isLost = proxy.lose(lost, route, "silence");
  const stored = await complete(
    { taskgate: killed },
    { callbackRoute: route, json: good, waitFor: "WAIT_FOR_STORED" },
  );
  await isLost;
  stage.check(`the gateway is killed, its ${lost} lost`, await killed.kill(), "SIGKILL");
  const taskgate = await startTaskgate(stage, env);
  const receipt = await untilReceipt(taskgate, stored.deliveryId, isSettled);
  stage.check("started again, it settles what it had sent", summary(receipt), expected);
  await core.reach(processId, "completed");
  stage.check("the process got it exactly once", core.validations(processId), [
    { job: "first", result: goodValue },
  ]);
  stage.check("the Orchestrator got", requestsTo(proxy, route), [
    `${good}: ${lost === "answer" ? 200 : "not asked"}, ${lost} lost`,
    `${good}: ${secondStatus}`,
  ]);
  stage.check("it stops", await taskgate.stop(), 0);
}
