import { buildGoTool, goToolVersion } from "../support/go.ts";
import type { Stage } from "../support/stage.ts";
import { bufCurl } from "./buf-curl.ts";
import type { Door } from "./door.ts";

/**
 * grpc_health_probe asks for the server and for its services, without a token; at last while
 * the gateways drain, as which they stay.
 */
export async function useHealthProbe(stage: Stage, doors: readonly Door[]): Promise<void> {
  const binary = await buildGoTool(stage, {
    module: "github.com/grpc-ecosystem/grpc-health-probe",
    version: "v0.4.52",
    command: "",
  });
  stage.say(`        ${await goToolVersion(stage, binary)}`);
  async function probe(door: Door, ...more: string[]): Promise<[code: number | string, said: string]> {
    const { code, stdout, stderr } = await stage.run(binary, [...addressOf(door), ...more]);
    return [code, `${stdout}${stderr}`.trim()];
  }
  const serving = [0, "status: SERVING"];
  for (const door of doors) {
    stage.check(`grpc_health_probe, ${door.name}: the server`, await probe(door), serving);
    for (const service of ["TaskStatusService", "CallbackService", "ExecutorService", "GatewayService"]) {
      const answer = await probe(door, "-service", `taskgate.v1.${service}`);
      stage.check(`grpc_health_probe, ${door.name}: ${service}`, answer, serving);
    }
    stage.check(
      `grpc_health_probe, ${door.name}: a service that there is not`,
      await probe(door, "-service", "nothing"),
      [3, "error: health rpc failed: rpc error: code = NotFound desc = unknown service nothing"],
    );
  }
  for (const door of doors) {
    await bufCurl(door, ["--data", "{}"], "/taskgate.v1.GatewayService/Drain");
    stage.check(`grpc_health_probe, ${door.name}: while it drains`, await probe(door), [
      4,
      'service unhealthy (responded with "NOT_SERVING")',
    ]);
  }
}

function addressOf({ hostPort, socketPath, tls }: Door): string[] {
  return [
    ...["-addr", hostPort ?? `unix:${socketPath}`],
    ...(tls === undefined
      ? []
      : ["-tls", "-tls-ca-cert", tls.ca, "-tls-client-cert", tls.cert, "-tls-client-key", tls.key]),
  ];
}
