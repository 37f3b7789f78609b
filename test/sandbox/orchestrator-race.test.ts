import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Sandbox, startSandbox } from "../../src/sandbox/sandbox.ts";
import { post, until } from "./http-client.ts";

const good = { return_code: 0 };
const rounds = 25;

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterEach(async () => {
  await sandbox.orchestrator.reset();
});
afterAll(async () => {
  await sandbox.close();
});

/** Runs so many processes at once, each with three POSTs of progress started together with its result. */
async function raceProgress() {
  const { processes, url } = sandbox.orchestrator;
  const started = Array.from({ length: rounds }, () => processes.start());
  await Promise.all(
    started.map(async ({ callback_route }) => {
      const route = url + callback_route;
      await Promise.all([post(route, good), ...[1, 2, 3].map((n) => post(`${route}/progress`, { n }))]);
    }),
  );
  await until(() => processes.list().every(({ status }) => status === "completed" || status === "failed"));
  return processes.list();
}

test("with the race on, progress beside a result erases some results, all of them answered 200", async () => {
  sandbox.orchestrator.switches.raceWindowMs = 20;
  const processes = await raceProgress();
  const lost = processes.filter(({ status }) => status === "failed");
  expect(processes.every(({ accepted_callbacks }) => accepted_callbacks === 1)).toBe(true);
  expect(lost.length).toBeGreaterThan(0);
  for (const { failed_reason } of lost) {
    expect(failed_reason).toContain("Could not find key 'callback_result' in state");
  }
  expect(sandbox.orchestrator.requests.some(({ concurrent }) => concurrent > 0)).toBe(true);
});

test("with the race off, the same traffic loses nothing", async () => {
  const processes = await raceProgress();
  expect(processes.map(({ status }) => status)).toEqual(Array(rounds).fill("completed"));
});

test("with the race on, eight equal results at once are validated more than once", async () => {
  const { processes, url, switches } = sandbox.orchestrator;
  switches.raceWindowMs = 20;
  const { callback_route, process_id } = processes.start();
  const answers = await Promise.all(Array.from({ length: 8 }, () => post(url + callback_route, good)));
  const accepted = answers.filter(({ status }) => status === 200).length;
  expect(accepted).toBeGreaterThan(1);
  await until(() => processes.get(process_id)?.validations === accepted);
});

test("with the race off, eight equal results at once are validated once", async () => {
  const { processes, url } = sandbox.orchestrator;
  const { callback_route, process_id } = processes.start();
  const answers = await Promise.all(Array.from({ length: 8 }, () => post(url + callback_route, good)));
  expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(409)]);
  expect(processes.get(process_id)).toMatchObject({ validations: 1, accepted_callbacks: 1 });
});
