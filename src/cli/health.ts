import http from "node:http";
import type { Config } from "../config/config.ts";
import { parseDurationMs } from "../config/duration.ts";
import { messageOf } from "../model/error-message.ts";
import { formatListenAddress, type TcpAddress } from "../model/listen-address.ts";
import { type CliContext, exitCodes } from "./cli-context.ts";
import { readCommandLine } from "./read-config.ts";

const paths: ReadonlyMap<string, string> = new Map([
  ["startup", "/startupz"],
  ["live", "/livez"],
  ["ready", "/readyz"],
]);

const usage = `usage: taskgate health [--probe startup|live|ready] [--timeout 1s]
       taskgate health --service NAME [--timeout 1s]
`;

/**
 * `taskgate health`: asks a gateway on this machine how it is, for images that have no
 * shell and no curl. Ends with 0, or with 1 and the reason. It asks the ops port; where
 * that is off, or a service is named, gRPC's health service where the RPCs are, also on
 * a Unix socket and over TLS.
 */
export async function runHealth(context: CliContext): Promise<number> {
  const line = await readCommandLine(context, { flags: ["probe", "service", "timeout"] });
  if (line === undefined) {
    return exitCodes.unhealthy;
  }
  const { config, flags } = line;
  const { probe = "ready", service, timeout = "1s" } = flags;
  const path = paths.get(probe);
  const timeoutMs = parseDurationMs(timeout);
  if (path === undefined || timeoutMs === undefined || (flags.probe !== undefined && service !== undefined)) {
    context.printError(usage);
    return exitCodes.usage;
  }
  try {
    const problem =
      config.opsListen === undefined || service !== undefined
        ? await askService(config, service ?? "", probe === "live", timeoutMs)
        : await askProbe(config.opsListen, path, timeoutMs);
    if (problem === undefined) {
      context.print("ok\n");
      return exitCodes.ok;
    }
    context.printError(`taskgate: ${problem}\n`);
  } catch (error) {
    context.printError(`taskgate: the gateway does not answer: ${messageOf(error)}\n`);
  }
  return exitCodes.unhealthy;
}

// Undefined: all is well.
function askProbe(address: TcpAddress, path: string, timeoutMs: number): Promise<string | undefined> {
  const { host, port } = address;
  const isAny = host === "0.0.0.0" || host === "::";
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const request = http.get({ host: isAny ? "127.0.0.1" : host, port, path, signal }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("error", reject);
      response.on("end", () => {
        const { statusCode = 0 } = response;
        resolve(statusCode === 200 ? undefined : `${path} says ${statusCode}: ${text.trim()}`);
      });
    });
    request.on("error", (error) => {
      const late = new Error(`${formatListenAddress(address)} says nothing within ${timeoutMs} ms`);
      reject(signal.aborted ? late : error);
    });
  });
}

// What speaks gRPC takes longer to load than the rest of the command.
async function askService(
  config: Config,
  service: string,
  isAnyAnswerEnough: boolean,
  timeoutMs: number,
): Promise<string | undefined> {
  const [
    { createClient },
    { Health, HealthCheckResponse_ServingStatus: Status },
    { createGatewayTransport },
  ] = await Promise.all([
    import("@connectrpc/connect"),
    import("../../gen/grpc/health/v1/health_pb.ts"),
    import("./gateway-transport.ts"),
  ]);
  const { listen, tls } = config;
  const { transport, close } = createGatewayTransport({
    kind: "listen",
    listen,
    ...(tls && { cert: tls.cert.text(), key: tls.key.text(), clientCa: tls.clientCa?.text() }),
  });
  try {
    const { status } = await createClient(Health, transport).check({ service }, { timeoutMs });
    return isAnyAnswerEnough || status === Status.SERVING
      ? undefined
      : `${service === "" ? "the gateway" : service} is not serving`;
  } finally {
    close();
  }
}
