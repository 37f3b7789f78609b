import { startGateway } from "../gateway.ts";
import { formatListenAddress } from "../model/listen-address.ts";
import { createPinoLog } from "../ops/pino-log.ts";
import { startSandbox } from "../sandbox/sandbox.ts";
import { version } from "../version.ts";
import { type CliContext, exitCodes } from "./cli-context.ts";
import { readConfig } from "./read-config.ts";
import { untilSignal } from "./until-signal.ts";

/**
 * `taskgate dev`: a gateway and, in the same process, a sandbox of the three
 * upstreams that it is configured with. Nothing leaves this machine.
 */
export async function runDev(context: CliContext): Promise<number> {
  const sandbox = await startSandbox({ ports: { orchestra: 7461, orchestrator: 7462, aidbox: 7463 } });
  try {
    const config = readConfig({
      ...context,
      env: {
        ...context.env,
        ORCHESTRA_WEBHOOK_URL: sandbox.orchestra.webhookUrl,
        ORCHESTRA_API_KEY: sandbox.orchestra.apiKey,
        TASKGATE_ORCHESTRATOR_URL: sandbox.orchestrator.url,
        TASKGATE_AIDBOX_URL: sandbox.aidbox.url,
        TASKGATE_AIDBOX_CLIENT_ID: sandbox.aidbox.clientId,
        TASKGATE_AIDBOX_CLIENT_SECRET: sandbox.aidbox.clientSecret,
      },
    });
    if (config === undefined) {
      return exitCodes.startFailed;
    }
    const gateway = await startGateway({ config, version, log: createPinoLog(config.logLevel) });
    context.print(
      [
        `taskgate ${version} with a sandbox; stop it with Ctrl-C`,
        `  gateway       ${formatListenAddress(gateway.address)}  gRPC, gRPC-Web and Connect`,
        `  orchestra     ${sandbox.orchestra.url}/_sandbox/task-runs`,
        `  orchestrator  ${sandbox.orchestrator.url}/_sandbox/processes`,
        `  aidbox        ${sandbox.aidbox.url}/_sandbox/tasks`,
        "",
      ].join("\n"),
    );
    await untilSignal(context);
    await gateway.stop();
    return exitCodes.ok;
  } finally {
    await sandbox.close();
  }
}
