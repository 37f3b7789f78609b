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
import { setStage } from "../stage.ts";

/**
 * Progress and results of many processes at once, while the Orchestrator reads,
 * waits and writes as the real one does: a progress that overlaps with the result
 * erases it, and two results that overlap are both taken (MEASURED).
 */
export const races: Scenario = {
  timeoutMs: 180_000,
  run: (context) => runRaces(context, 1000, true),
  control: (context) => runRaces(context, 200, false),
};

async function runRaces(context: Context, count: number, throughGateway: boolean): Promise<Verdict> {
  const { sandbox, client } = await setStage(context, { sandbox: { orchestrator: { raceWindowMs: 30 } } });
  const { processes, url } = sandbox.orchestrator;
  // The answer of some results is lost, so that they are sent again.
  sandbox.orchestrator.faults.set([
    {
      id: "lost",
      probability: 0.05,
      match: { path: "/callback/[^/]*$" },
      when: "after",
      action: { kind: "reset" },
    },
  ]);
  const started = Array.from({ length: count }, () => processes.start());
  const reports = started.map(({ process_id, callback_route }) =>
    callbackReport({ task: process_id, group: 1, waitFor: "WAIT_FOR_UNSPECIFIED" }, callback_route),
  );
  const answers = { progress: 0, finished: 0, refused: 0 };

  async function progress(route: string, text: string): Promise<void> {
    if (!throughGateway) {
      await post(`${url}${route}/progress`, JSON.stringify(text));
      return;
    }
    const request = { callbackRoute: route, text };
    const answer = await client.call("CallbackService", "ReportCallbackProgress", request, {
      timeoutMs: 60_000,
    });
    if (answer.kind === "error") {
      answers.refused += 1;
    } else {
      answers[answer.response.directive === "DIRECTIVE_CANCEL" ? "finished" : "progress"] += 1;
    }
  }
  async function complete(report: (typeof reports)[number]): Promise<void> {
    if (throughGateway) {
      await submit(client, report, { timeoutMs: 60_000 });
    } else {
      const post2 = () => post(url + String(report.request.callbackRoute), String(report.request.json));
      await Promise.all([post2(), post2()]);
    }
  }

  await Promise.all(
    started.flatMap(({ callback_route }, index) => {
      const report = reports[index];
      return [
        progress(callback_route, "one"),
        progress(callback_route, "two"),
        report === undefined ? undefined : complete(report),
        progress(callback_route, "three"),
      ];
    }),
  );
  await drained(client, 90_000);
  const deliveries = await listDeliveries(client);
  const { problems } = judge(
    {
      reports: throughGateway ? reports : [],
      deliveries,
      arrivals: throughGateway ? arrivalsAt(sandbox) : [],
    },
    { mayEnd: ({ state }) => state === "UNCONFIRMED" },
  );
  const notOnce = processesNotRunOnce(sandbox);
  if (notOnce.length > 0) {
    problems.push(`processes that did not run once: ${notOnce.length} (${notOnce.slice(0, 3).join("; ")})`);
  }
  const lost = processes.list().filter(({ results, process_id }) => {
    const report = reports.find(({ task }) => task === process_id);
    return results.length !== 1 || !JSON.stringify(results[0]).includes(report?.id ?? "?");
  });
  if (lost.length > 0) {
    problems.push(
      `results that were lost: ${lost.length} (${lost[0]?.process_id} ${lost[0]?.failed_reason})`,
    );
  }
  const overlapping = sandbox.orchestrator.requests.filter(({ concurrent }) => concurrent > 0).length;
  if (overlapping > 0) {
    problems.push(`requests for one callback that overlapped: ${overlapping}`);
  }
  const resets = sandbox.orchestrator.faults.fired("lost");
  if (throughGateway && (resets === 0 || answers.progress === 0)) {
    problems.push("no answer was lost, or no progress arrived: nothing is proved");
  }
  return {
    problems,
    figures: {
      processes: count,
      "progress sent": answers.progress,
      "progress after the result": answers.finished,
      "progress refused": answers.refused,
      "answers lost": resets,
      unconfirmed: deliveries.filter(({ state }) => state === "UNCONFIRMED").length,
    },
  };
}

async function post(url: string, body: string): Promise<void> {
  await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body }).catch(
    () => undefined,
  );
}
