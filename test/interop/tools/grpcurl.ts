import { randomUUID } from "node:crypto";
import { buildGoTool, goToolVersion } from "../support/go.ts";
import type { Stage } from "../support/stage.ts";
import { type Door, eventsOf, services } from "./door.ts";

type Outcome = Awaited<ReturnType<Stage["run"]>>;
/** Runs grpcurl on a door; `rest` is what comes behind the address. */
type Grpcurl = (options: readonly string[], rest: readonly string[], stdin?: string) => Promise<Outcome>;

// Its exit code is this and gRPC's.
const callFailed = 64;
const invalidArgument = 3;

/** grpcurl lists, describes, calls, streams, reads an error, and asks by the old reflection. */
export async function useGrpcurl(stage: Stage, doors: readonly Door[]): Promise<void> {
  const binary = await buildGoTool(stage, {
    module: "github.com/fullstorydev/grpcurl",
    version: "v1.9.4",
    command: "cmd/grpcurl",
  });
  stage.say(`        ${await goToolVersion(stage, binary)}`);
  for (const door of doors) {
    const { tokens } = door;
    const authorization = tokens === undefined ? [] : ["-H", `authorization: Bearer ${tokens.worker}`];
    const grpcurl: Grpcurl = (options, rest, stdin = "") =>
      stage.run(binary, [...addressed(door, [...authorization, ...options]), ...rest], { stdin });
    await reflect(door, grpcurl);
    await call(door, grpcurl);
    await track(door, grpcurl);
    await fail(door, grpcurl);
    if (tokens !== undefined) {
      const { code, stderr } = await stage.run(binary, [...addressed(door, []), "list"]);
      stage.check(`grpcurl, ${door.name}: without a token nothing is listed`, code, 1);
      stage.check(
        `grpcurl, ${door.name}: and it is said why`,
        stderr.trim(),
        "Failed to list services: rpc error: code = Unauthenticated desc = a bearer token is required",
      );
    }
  }
}

function addressed({ hostPort, socketPath, tls }: Door, options: readonly string[]): string[] {
  const security =
    tls === undefined ? ["-plaintext"] : ["-cacert", tls.ca, "-cert", tls.cert, "-key", tls.key];
  return [
    ...security,
    ...(socketPath === undefined ? [] : ["-unix"]),
    ...options,
    socketPath ?? hostPort ?? "",
  ];
}

async function reflect({ name, stage }: Door, grpcurl: Grpcurl): Promise<void> {
  const listed = await grpcurl([], ["list"]);
  stage.check(`grpcurl, ${name}: list`, listed.stdout.trim().split("\n"), services);
  const methods = await grpcurl([], ["list", "taskgate.v1.TaskStatusService"]);
  stage.check(
    `grpcurl, ${name}: list a service`,
    methods.stdout.trim().replaceAll("taskgate.v1.TaskStatusService.", "").split("\n"),
    ["HeartbeatRun", "SendLog", "SetOutput", "TrackRun", "UpdateTask"],
  );
  const method = await grpcurl([], ["describe", "taskgate.v1.TaskStatusService.TrackRun"]);
  stage.check(
    `grpcurl, ${name}: describe a method`,
    method.stdout.trim().split("\n").at(-1),
    "rpc TrackRun ( stream .taskgate.v1.TrackRunRequest ) returns ( stream .taskgate.v1.TrackRunResponse );",
  );
  const message = await grpcurl([], ["describe", ".taskgate.v1.UpdateTaskRequest"]);
  stage.check(
    `grpcurl, ${name}: describe a message`,
    message.stdout.includes("\n  optional int32 attempt = 2;\n"),
    true,
  );
  const old = await grpcurl(
    ["-d", '{"list_services":"*"}'],
    ["grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"],
  );
  const { listServicesResponse } = read(old.stdout) as {
    listServicesResponse?: { service: { name: string }[] };
  };
  stage.check(
    `grpcurl, ${name}: reflection v1alpha`,
    listServicesResponse?.service.map((service) => service.name).sort(),
    services,
  );
}

async function call(door: Door, grpcurl: Grpcurl): Promise<void> {
  const runId = randomUUID();
  const request = {
    task_run_id: runId,
    status: "TASK_RUN_STATUS_SUCCEEDED",
    message: "well done",
    wait_for: "WAIT_FOR_DELIVERED",
  };
  const called = await grpcurl(["-d", JSON.stringify(request)], ["taskgate.v1.TaskStatusService/UpdateTask"]);
  const { receipt } = read(called.stdout) as { receipt?: { state: string } };
  door.stage.check(`grpcurl, ${door.name}: call`, receipt?.state, "DELIVERY_STATE_DELIVERED");
  door.stage.check(`grpcurl, ${door.name}: what Orchestra got`, eventsOf(door, runId), [
    "SUCCEEDED: well done",
  ]);
}

async function track(door: Door, grpcurl: Grpcurl): Promise<void> {
  const runId = randomUUID();
  const frames = [
    { open: { task_run_id: runId } },
    { request_id: "a", update: { message: "half way" } },
    { request_id: "b", finish: { status: "TASK_RUN_STATUS_SUCCEEDED" } },
  ];
  const tracked = await grpcurl(
    ["-d", "@"],
    ["taskgate.v1.TaskStatusService/TrackRun"],
    frames.map((frame) => JSON.stringify(frame)).join("\n"),
  );
  const answers = read(`[${tracked.stdout.replaceAll("\n}\n{", "\n},\n{")}]`) as {
    ready?: unknown;
    requestId?: string;
    receipt?: { state: string };
  }[];
  const shown = answers.map(({ ready, requestId, receipt }) =>
    ready === undefined ? `${requestId ?? "open"} ${receipt?.state.replace("DELIVERY_STATE_", "")}` : "ready",
  );
  door.stage.check(`grpcurl, ${door.name}: a stream both ways`, shown, [
    "ready",
    "open STORED",
    "a STORED",
    "b STORED",
    "b DELIVERED",
  ]);
  door.stage.check(`grpcurl, ${door.name}: what Orchestra got of it`, eventsOf(door, runId), [
    "RUNNING: ",
    "RUNNING: half way",
    "SUCCEEDED: ",
  ]);
}

async function fail({ name, stage }: Door, grpcurl: Grpcurl): Promise<void> {
  const failed = await grpcurl(
    ["-format-error", "-d", '{"task_run_id":"nonsense","status":"TASK_RUN_STATUS_RUNNING"}'],
    ["taskgate.v1.TaskStatusService/UpdateTask"],
  );
  stage.check(`grpcurl, ${name}: the code of an error`, failed.code, callFailed + invalidArgument);
  stage.check(`grpcurl, ${name}: its details`, read(failed.stderr), {
    code: invalidArgument,
    message: "task_run_id is not a UUID",
    details: [
      { "@type": "type.googleapis.com/google.rpc.ErrorInfo", domain: "taskgate", reason: "INVALID_REQUEST" },
      {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        fieldViolations: [{ field: "task_run_id", description: "is not a UUID" }],
      },
    ],
  });
}

// What is no JSON shows as itself where it is compared.
function read(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return { text };
  }
}
