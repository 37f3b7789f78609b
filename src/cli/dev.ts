import { startGateway } from "../gateway.ts";
import { openGatewayStore } from "../gateway-store.ts";
import { messageOf } from "../model/error-message.ts";
import { formatListenAddress } from "../model/listen-address.ts";
import { type Sandbox, startSandbox } from "../sandbox/sandbox.ts";
import { sandboxSettings } from "../sandbox-settings.ts";
import { version } from "../version.ts";
import { type CliContext, exitCodes } from "./cli-context.ts";
import { createLog } from "./create-log.ts";
import { readConfig } from "./read-config.ts";
import { untilSignal } from "./until-signal.ts";
import { untilStopped } from "./until-stopped.ts";

// Where the sandbox listens, so that a command can be written down.
const usualPorts = { orchestra: 7461, orchestrator: 7462, aidbox: 7463 };

/**
 * `taskgate dev`: a gateway and, in the same process, a sandbox of the three
 * upstreams that it is configured with, whatever else is set. Nothing leaves this
 * machine.
 *
 * @param ports where the sandbox listens; 0: somewhere
 */
export async function runDev(context: CliContext, ports = usualPorts): Promise<number> {
  const asked = untilSignal(context);
  let sandbox: Sandbox;
  try {
    sandbox = await startSandbox({ ports });
  } catch (error) {
    context.printError(`taskgate: the sandbox could not start: ${messageOf(error)}\n`);
    return exitCodes.startFailed;
  }
  const dataDir = context.makeTemporaryDirectory();
  try {
    const config = await readConfig(context, { ...sandboxSettings(sandbox), dataDir: dataDir.path });
    if (config === undefined) {
      return exitCodes.startFailed;
    }
    const gatewayStore = openGatewayStore(config);
    const log = createLog(config, context);
    const gateway = await startGateway({ config, version, log, gatewayStore });
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
    return (await untilStopped(asked, gateway, gatewayStore)).exitCode;
  } catch (error) {
    context.printError(`taskgate: the gateway could not start: ${messageOf(error)}\n`);
    return exitCodes.startFailed;
  } finally {
    await sandbox.close();
    dataDir.remove();
  }
}
