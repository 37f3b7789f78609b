import { postTogether } from "./naive-client.ts";
import { complete, good, reportProgress, type Setting, startAwaiting } from "./setting.ts";

const lostResult = "Could not find key 'callback_result' in state";
const luck = "a naive client was lucky each time; see the line above";
// A naive client may be lucky; through the gateway luck must not be needed.
const maxNaiveTries = 12;
const gatewayTries = 10;
const progresses = [1, 2, 3];

/** Two equal results at once: the Orchestrator takes both, and runs the rest of the workflow twice. */
export async function raceTwoResults(setting: Setting): Promise<void> {
  const { stage, core } = setting;
  let tries = 0;
  let validations = 0;
  while (tries < maxNaiveTries && validations < 2) {
    const { processId, route } = await startAwaiting(setting, "one_callback");
    const statuses = await postTogether(core.url, [
      { path: route, body: good },
      { path: route, body: good },
    ]);
    tries += 1;
    await core.reach(processId, "completed", "failed");
    validations = core.validations(processId).length;
    stage.say(`        two results at once: ${statuses.join(" and ")}, validated ${validations} times`);
  }
  if (validations < 2) {
    stage.skip("reproducing the race of two results", luck);
  }

  for (let at = 0; at < gatewayTries; at++) {
    const { processId, route } = await startAwaiting(setting, "one_callback");
    const receipts = await Promise.all(
      [1, 2].map(() => complete(setting, { callbackRoute: route, json: good })),
    );
    await core.reach(processId, "completed");
    stage.check(
      "through taskgate both calls have the same receipt, and the process one result",
      [
        new Set(receipts.map(({ deliveryId }) => deliveryId)).size,
        receipts.map(({ state }) => state),
        core.validations(processId).length,
      ],
      [1, ["DELIVERY_STATE_DELIVERED", "DELIVERY_STATE_DELIVERED"], 1],
    );
  }
}

/** Progress together with the result: the progress may erase the result. */
export async function raceProgressWithTheResult(setting: Setting): Promise<void> {
  const { stage, core } = setting;
  let tries = 0;
  let lost = 0;
  while (tries < maxNaiveTries && lost < 3) {
    const { processId, route } = await startAwaiting(setting, "one_callback");
    const statuses = await postTogether(core.url, [
      { path: route, body: good },
      ...progresses.map((n) => ({ path: `${route}/progress`, body: `{"n":${n}}` })),
    ]);
    tries += 1;
    const { failed_reason: reason } = await core.reach(processId, "completed", "failed");
    if (statuses[0] === 200 && reason?.includes(lostResult) === true) {
      lost += 1;
    }
  }
  stage.say(`        progress beside the result: ${lost} of ${tries} results lost, each answered 200`);
  // With threads nobody has seen it.
  if (lost === 0 && core.executor === "celery") {
    stage.skip("reproducing the race of progress and result", luck);
  }

  for (let at = 0; at < gatewayTries; at++) {
    const { processId, route } = await startAwaiting(setting, "one_callback");
    const [receipt] = await Promise.all([
      complete(setting, { callbackRoute: route, json: good }),
      ...progresses.map((n) => reportProgress(setting, route, { json: `{"n":${n}}` })),
    ]);
    const { last_status: status } = await core.reach(processId, "completed", "failed");
    stage.check(
      "through taskgate the result is delivered and kept",
      [receipt.state, status, core.validations(processId).length],
      ["DELIVERY_STATE_DELIVERED", "completed", 1],
    );
  }
}
