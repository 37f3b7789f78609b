import { type Core, startCore } from "./orchestrator-core/core.ts";
import { type JobService, startJobService } from "./support/job-service.ts";
import { parseExactly } from "./support/json.ts";
import { type LossyProxy, startLossyProxy } from "./support/lossy-proxy.ts";
import { runInterop, type Stage, until } from "./support/stage.ts";
import { type Message, protoStruct, type Receipt, startTaskgate, type Taskgate } from "./support/taskgate.ts";

/** All that stands: a workflow's process gets its callback from taskgate, through the proxy. */
interface Setting {
  stage: Stage;
  core: Core;
  jobs: JobService;
  proxy: LossyProxy;
  taskgate: Taskgate;
}

const good =
  '{"return_code":0,"status":"successful","output":["Grüße 🎉"],"big":9007199254740993,"z":1,"a":null}';
const goodValue = parseExactly(good);

async function completeACallback(setting: Setting): Promise<void> {
  const { stage, core, jobs, proxy, taskgate } = setting;
  const processId = await core.start("one_callback");
  const route = await jobs.routeOf(processId);
  const waiting = await core.reach(processId, "awaiting_callback");
  stage.check("the process awaits its callback", waiting.current_state.callback_route, route);

  for (const [progress, seen] of [
    [{ text: "half way, 50 %" }, "half way, 50 %"],
    [{ object: protoStruct({ percent: 75 }) }, { percent: 75 }],
    [{ json: '{"percent":99}' }, { percent: 99 }],
  ] as const) {
    const answer = await taskgate.call("CallbackService", "ReportCallbackProgress", {
      callbackRoute: route,
      ...progress,
    });
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
  const late = await taskgate.call("CallbackService", "ReportCallbackProgress", {
    callbackRoute: route,
    text: "late",
  });
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

async function completeTooEarly(setting: Setting): Promise<void> {
  const { stage, core, jobs, proxy, taskgate } = setting;
  const processId = await core.start("slow_submit");
  // The action step that submitted the job is still at work.
  const route = await jobs.routeOf(processId);
  const early = await taskgate.call("CallbackService", "ReportCallbackProgress", {
    callbackRoute: route,
    text: "early",
  });
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

async function loseTheAnswer(setting: Setting): Promise<void> {
  const { stage, core, jobs, proxy } = setting;
  const processId = await core.start("one_callback");
  const route = await jobs.routeOf(processId);
  await core.reach(processId, "awaiting_callback");
  proxy.lose("answer", route);
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

async function loseTheRequest(setting: Setting): Promise<void> {
  const { stage, core, jobs, proxy } = setting;
  const processId = await core.start("one_callback");
  const route = await jobs.routeOf(processId);
  await core.reach(processId, "awaiting_callback");
  proxy.lose("request", route);
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

async function loseTheAnswerBeforeAnotherCallback(setting: Setting): Promise<void> {
  const { stage, core, jobs, proxy } = setting;
  const processId = await core.start("two_callbacks");
  const first = await jobs.routeOf(processId);
  await core.reach(processId, "awaiting_callback");
  proxy.lose("answer", first);
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

async function failTheValidation(setting: Setting): Promise<void> {
  const { stage, core, jobs, proxy } = setting;
  const processId = await core.start("one_callback");
  const route = await jobs.routeOf(processId);
  await core.reach(processId, "awaiting_callback");
  const result = { jobId: "job-7", output: ["no such host"], returnCode: 1, status: "failed" };
  const receipt = await complete(setting, { callbackRoute: route, result });
  stage.check("a result that says failed is delivered", summary(receipt), "DELIVERED after 1");
  const end = await core.reach(processId, "failed");
  stage.check("and the workflow judges it", end.failed_reason, "the job failed");
  const sent = '{"job_id":"job-7","output":["no such host"],"return_code":1,"status":"failed"}';
  stage.check("the Orchestrator got", requestsTo(proxy, route), [`${sent}: 200`]);
}

async function lockTheEngine(setting: Setting): Promise<void> {
  const { stage, core, jobs, taskgate } = setting;
  const processId = await core.start("one_callback");
  const route = await jobs.routeOf(processId);
  await core.reach(processId, "awaiting_callback");
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
  const delivered = await untilReceipt(
    taskgate,
    deliveryId,
    ({ state }) => state !== "DELIVERY_STATE_STORED",
  );
  stage.check("unlocked, it is delivered", delivered.state, "DELIVERY_STATE_DELIVERED");
  await core.reach(processId, "completed");
  stage.check("the process got it exactly once", core.validations(processId), [
    { job: "first", result: { return_code: 0 } },
  ]);
}

function complete({ taskgate }: Setting, request: Message): Promise<Receipt> {
  return taskgate.accept("CallbackService", "CompleteCallback", request);
}

async function untilReceipt(
  taskgate: Taskgate,
  deliveryId: string,
  isIt: (receipt: Receipt) => boolean,
): Promise<Receipt> {
  return until(`delivery ${deliveryId}`, async () => {
    const answer = await taskgate.call("GatewayService", "GetDelivery", { deliveryId });
    const delivery = answer.kind === "ok" ? (answer.response.delivery as { receipt?: Receipt }) : undefined;
    return delivery?.receipt !== undefined && isIt(delivery.receipt) ? delivery.receipt : undefined;
  });
}

function summary({ state, attempts }: Receipt): string {
  return `${state.replace("DELIVERY_STATE_", "")} after ${attempts}`;
}

function requestsTo({ requests }: LossyProxy, route: string): string[] {
  return requests
    .filter(({ path }) => path.startsWith(route))
    .map(({ path, body, status, lost }) => {
      const suffix = path.slice(route.length);
      return `${suffix}${suffix && " "}${body}: ${status ?? "not asked"}${lost === undefined ? "" : `, ${lost} lost`}`;
    });
}

/** taskgate completes callbacks of workflows that a real orchestrator-core runs. */
await runInterop("orchestrator-core", async (stage) => {
  const jobs = await startJobService(stage);
  const core = await startCore(stage, jobs.url);
  stage.say(`        ${core.versions}`);
  const proxy = await startLossyProxy(stage, core.url);
  const taskgate = await startTaskgate(stage, { TASKGATE_ORCHESTRATOR_URL: proxy.url });
  const setting = { stage, core, jobs, proxy, taskgate };
  for (const scenario of [
    completeACallback,
    completeTooEarly,
    loseTheAnswer,
    loseTheRequest,
    loseTheAnswerBeforeAnotherCallback,
    failTheValidation,
    lockTheEngine,
  ]) {
    stage.say(`        ${scenario.name}`);
    await scenario(setting);
  }
  stage.check("no two requests of a callback overlapped", proxy.overlaps, []);
  stage.check("taskgate stops", await taskgate.stop(), 0);
  stage.check("taskgate logs no error", /"level":"error"/.test(taskgate.log()), false);
});
