import { createClient } from "@connectrpc/connect";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import type { RunConfig } from "../config/parse-run-config.ts";
import { createCallbackTarget } from "../run/callback-target.ts";
import { createLimitsReader } from "../run/read-answer.ts";
import { type Reporter, type ReporterDeps, startReporter } from "../run/reporter.ts";
import { createRunTarget } from "../run/run-target.ts";
import { createGatewayTransport } from "./gateway-transport.ts";

/** Begins to report a command to the gateway that the configuration names. */
export function connectReporter(
  { gateway, token, subject, onLost, waitFor, reportTimeoutMs }: RunConfig,
  deps: Omit<ReporterDeps, "reportTimeoutMs"> & {
    /** Tells this run from all others: with it a report that is sent again is known. */
    runId: string;
  },
): { reporter: Reporter; close: () => void } {
  const { transport, close } = createGatewayTransport(gateway);
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  let reports = 0;
  const common = {
    headers,
    onLost,
    waitFor,
    limits: createLimitsReader(createClient(GatewayService, transport), headers),
    makeRequestId() {
      reports += 1;
      return `${deps.runId}-${reports}`;
    },
  };
  const target =
    subject.kind === "run"
      ? createRunTarget({ ...common, ...subject, client: createClient(TaskStatusService, transport) })
      : createCallbackTarget({ ...common, ...subject, client: createClient(CallbackService, transport) });
  return { reporter: startReporter(target, { ...deps, reportTimeoutMs }), close };
}
