import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { reasonName } from "../model/failure.ts";
import type { Clock } from "./clock.ts";
import { createContact } from "./contact.ts";
import type { KeptOutput } from "./kept-output.ts";
import { keepLease } from "./lease.ts";
import type { OutputFile } from "./output-file.ts";
import { createReportQueue, type ReportResult } from "./report-queue.ts";
import type { Order, Outcome, Report, ReportTarget } from "./report-target.ts";

/** Tells the gateway of one command, from its begin to its end. */
export interface Reporter {
  /** A line for people, which the next one replaces. */
  message: (text: string) => void;
  /** Reports the end, and all that waits before it. Resolves when it is done or given up; both are told. */
  finish: (end: CommandReport) => Promise<void>;
  /** Ends `finish` now. */
  giveUp: () => void;
}

/** What a command leaves to be told. */
export interface CommandReport {
  outcome: Outcome;
  outputs: OutputFile;
  /** Undefined: no log. */
  log: { name: string; output: KeptOutput } | undefined;
}

export interface ReporterDeps {
  clock: Clock;
  /** From 0 to 1. */
  random: () => number;
  tell: (line: string) => void;
  /** How long `finish` may take. */
  reportTimeoutMs: number;
  /** The gateway says to stop the command; called once at most. */
  onCancel: (cause: string) => void;
}

// After these the gateway takes no outcome from us any more.
const endings: readonly ErrorReason[] = [
  ErrorReason.TASK_FINISHED,
  ErrorReason.TASK_CANCELLED,
  ErrorReason.LEASE_SUPERSEDED,
];

/** Begins to report: that the command runs, and its heartbeats. */
export function startReporter(target: ReportTarget, deps: ReporterDeps): Reporter {
  const { clock, random, tell } = deps;
  const contact = createContact(tell);
  let ending: string | undefined;
  let isCancelled = false;
  let isFinishing = false;
  let takesMessages = true;

  function obey({ directive, cause }: Order): void {
    if (directive !== Directive.CANCEL || isCancelled) {
      return;
    }
    isCancelled = true;
    const name = cause === ErrorReason.UNSPECIFIED ? "no cause is given" : reasonName(cause);
    ending = endings.includes(cause) ? name : undefined;
    if (!isFinishing) {
      deps.onCancel(name);
    }
  }

  const beat = target.beat;
  const lease = keepLease({ beat, clock, random, contact, tell, onCancel: obey });
  const queue = createReportQueue({
    clock,
    random,
    contact,
    sessionId: lease.sessionId,
    isPointless: () => ending !== undefined,
  });

  async function send(report: Report): Promise<ReportResult> {
    const result = await queue.add(report);
    if (result.kind === "sent" && result.answer.order !== undefined) {
      obey(result.answer.order);
    }
    const loud = report.kind === "outcome" ? "THE OUTCOME IS NOT REPORTED: " : "";
    if (result.kind === "refused") {
      tell(`${loud}${report.what} was refused: ${result.failure.message}`);
    }
    if (result.kind === "gaveUp") {
      const why = result.failure === undefined ? "" : `: ${result.failure.message}`;
      tell(`${loud}the gateway did not take ${report.what}${why}`);
    }
    return result;
  }

  const begin = target.begin();
  if (begin !== undefined) {
    void send(begin);
  }

  async function finish({ outcome, outputs, log }: CommandReport): Promise<void> {
    const outputReports = outputs.outputs.map(target.output).filter((report) => report !== undefined);
    outputReports.forEach(send);
    if (outputReports.length < outputs.outputs.length) {
      tell(`a callback has no place for outputs: ${outputs.outputs.length} in TASKGATE_OUTPUT is left out`);
    }
    const logReport = log && target.log(log.name, log.output);
    if (logReport !== undefined) {
      void send(logReport);
    }
    const report = target.outcome(outcome);
    const result = await send(report);
    if (result.kind === "dropped") {
      tell(`${report.what} is not reported: nobody waits for it any more (${ending})`);
    } else if (result.kind === "sent" && result.answer.isPending === true) {
      tell(`${report.what} is stored at the gateway, which delivers it; it was not delivered in time`);
    }
  }

  return {
    async message(text) {
      if (takesMessages) {
        const { kind } = await send(target.message(text));
        takesMessages = takesMessages && kind !== "refused";
      }
    },
    async finish(end) {
      isFinishing = true;
      queue.hurry(deps.reportTimeoutMs / 2, deps.reportTimeoutMs);
      const inTime = new AbortController();
      void clock.sleep(deps.reportTimeoutMs, inTime.signal).then(() => queue.giveUp());
      try {
        await finish(end);
      } finally {
        inTime.abort();
        queue.giveUp();
        lease.stop();
      }
    },
    giveUp: () => queue.giveUp(),
  };
}
