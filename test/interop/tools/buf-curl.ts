import { randomUUID } from "node:crypto";
import type { Stage } from "../support/stage.ts";
import { toolVersion } from "../support/versions.ts";
import { type Door, eventsOf, services } from "./door.ts";

const buf = new URL("../../../node_modules/.bin/buf", import.meta.url).pathname;
const proto = new URL("../../../proto", import.meta.url).pathname;

// Its exit code is gRPC's, shifted.
const invalidArgument = 3 << 3;

/** `buf curl` lists by both reflections, and calls and reads an error in every protocol. */
export async function useBufCurl(stage: Stage, doors: readonly Door[]): Promise<void> {
  stage.say(`        buf ${await toolVersion(stage, buf, ["--version"])}`);
  for (const door of doors) {
    await reflect(door);
    for (const protocol of ["grpc", "grpcweb", "connect"]) {
      await call(door, `${protocol} by reflection`, ["--protocol", protocol]);
    }
    for (const protocol of ["grpcweb", "connect"]) {
      // Over plain text this is HTTP/1.1.
      await call(door, `${protocol} by the protos`, ["--protocol", protocol, "--schema", proto]);
    }
  }
}

/** Calls a method, as an operator where callers must show who they are. */
export async function bufCurl(
  door: Door,
  options: readonly string[],
  path = "",
): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const { hostPort, socketPath, tls, tokens, stage } = door;
  const url = `${tls === undefined ? "http" : "https"}://${hostPort ?? "localhost"}${path}`;
  return stage.run(buf, [
    "curl",
    ...(socketPath === undefined ? [] : ["--unix-socket", socketPath]),
    ...(tls === undefined ? [] : ["--cacert", tls.ca, "--cert", tls.cert, "--key", tls.key]),
    ...(tokens === undefined ? [] : ["--header", `authorization: Bearer ${tokens.admin}`]),
    // With the token, where the services are asked for.
    ...(tokens === undefined || options.includes("--schema") ? [] : ["--reflect-header", "*"]),
    ...options,
    url,
  ]);
}

async function reflect(door: Door): Promise<void> {
  for (const version of ["v1", "v1alpha"]) {
    const listed = await bufCurl(door, ["--list-services", "--reflect-protocol", `grpc-${version}`]);
    const names = listed.stdout.trim().split("\n");
    door.stage.check(`buf curl, ${door.name}: services by reflection ${version}`, names, services);
  }
}

async function call(door: Door, how: string, options: readonly string[]): Promise<void> {
  const { stage, name } = door;
  const method = "/taskgate.v1.TaskStatusService/UpdateTask";
  const runId = randomUUID();
  const request = { taskRunId: runId, status: "TASK_RUN_STATUS_SUCCEEDED", waitFor: "WAIT_FOR_DELIVERED" };
  const called = await bufCurl(door, [...options, "--data", JSON.stringify(request)], method);
  stage.check(
    `buf curl, ${name}, ${how}: call`,
    [called.code, called.stdout.match(/DELIVERY_STATE_\w+/)?.[0]],
    [0, "DELIVERY_STATE_DELIVERED"],
  );
  stage.check(`buf curl, ${name}, ${how}: what Orchestra got`, eventsOf(door, runId), ["SUCCEEDED: "]);
  const failed = await bufCurl(
    door,
    [...options, "--data", JSON.stringify({ ...request, taskRunId: "nonsense" })],
    method,
  );
  const shown = JSON.parse(failed.stderr || "{}") as {
    message?: string;
    details?: { type: string; value: string }[];
  };
  stage.check(
    `buf curl, ${name}, ${how}: an error with its details`,
    [failed.code, shown.message, shown.details?.map(({ type }) => type)],
    [invalidArgument, "task_run_id is not a UUID", ["google.rpc.ErrorInfo", "google.rpc.BadRequest"]],
  );
}
