import { judge, type Verdict } from "../judge.ts";
import {
  arrivalsAt,
  callbackReport,
  drained,
  listDeliveries,
  processesNotRunOnce,
  submit,
} from "../ledger.ts";
import type { Context, Scenario } from "../scenario.ts";
import { setStage, sleep } from "../stage.ts";

/**
 * `kill -9` while the Orchestrator works on a result for longer than a restart
 * takes. Two requests for one callback that overlap are both taken (MEASURED), so
 * the gateway must let the first one end before it sends the second.
 */
export const slowCallback: Scenario = {
  timeoutMs: 90_000,
  run: (context) => runSlowCallbacks(context, false),
  control: (context) => runSlowCallbacks(context, true),
};

async function runSlowCallbacks(context: Context, sendsTwice: boolean): Promise<Verdict> {
  const { sandbox, client, gateway, start } = await setStage(context, {
    sandbox: { orchestrator: { raceWindowMs: 1200 } },
  });
  const reports = Array.from({ length: 20 }, () => {
    const { process_id, callback_route } = sandbox.orchestrator.processes.start();
    return callbackReport({ task: process_id, group: 1 }, callback_route);
  });
  await Promise.all(reports.map((report) => submit(client, report)));
  await sleep(100);
  await gateway().kill();
  if (sendsTwice) {
    // What a client does that does not wait.
    await Promise.all(
      reports.map(({ request }) =>
        fetch(sandbox.orchestrator.url + String(request.callbackRoute), {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: String(request.json),
        }),
      ),
    );
  }
  const underWay = sandbox.orchestrator.requests.filter(({ status }) => status === null).length;
  const startMs = await start();
  await drained(client, 60_000);
  await sleep(4000);
  const deliveries = await listDeliveries(client);
  const { problems, duplicates } = judge(
    { reports, deliveries, arrivals: arrivalsAt(sandbox) },
    { mayEnd: ({ state }) => state === "UNCONFIRMED" },
  );
  const twice = processesNotRunOnce(sandbox);
  if (twice.length > 0) {
    problems.push(`processes that did not run once: ${twice.length} (${twice[0]})`);
  }
  const overlapping = sandbox.orchestrator.requests.filter(({ concurrent }) => concurrent > 0).length;
  if (overlapping > 0) {
    problems.push(`requests for one callback that overlapped: ${overlapping}`);
  }
  if (underWay === 0) {
    problems.push("nothing was under way at the kill: nothing is proved");
  }
  return {
    problems,
    figures: {
      callbacks: reports.length,
      underWay,
      duplicates,
      overlapping,
      "restart ms": startMs.toFixed(0),
    },
  };
}
