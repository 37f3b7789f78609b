import type { Job, Told } from "./messages.ts";

const form = document.querySelector("form") as HTMLFormElement;
const log = document.querySelector("pre") as HTMLPreElement;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { value: command } = event.submitter as HTMLButtonElement;
  const field = (name: string): string => String(new FormData(form).get(name));
  log.textContent = "";
  delete log.dataset.exitCode;

  // The timers of a page that nobody sees are slowed down to one a minute, and so would be
  // its heartbeats. Those of a worker are not.
  const background = new Worker("dist/background.js", { type: "module" });
  background.addEventListener("message", ({ data }: MessageEvent<Told>) => {
    if ("line" in data) {
      log.append(`${data.line}\n`);
    } else {
      log.dataset.exitCode = String(data.exitCode);
      background.terminate();
    }
  });
  const job: Job = {
    command,
    gateway: field("gateway"),
    token: field("token"),
    taskRunId: field("taskRunId"),
    callbackRoute: field("callbackRoute"),
    definition: field("definition"),
    taskCount: Number(field("taskCount")),
  };
  background.postMessage(job);
});
