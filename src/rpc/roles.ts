import type { DescService } from "@bufbuild/protobuf";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import type { Role } from "./caller.ts";

const clientMethods = new Set([
  "CreateTask",
  "GetTask",
  "CancelTask",
  "ListTasks",
  "CreateWorkflow",
  "GetWorkflow",
  "CancelWorkflow",
  "ListWorkflows",
]);

const roles = new Map<string, Role | "nobody">([
  ...paths(TaskStatusService, () => "worker"),
  ...paths(CallbackService, () => "worker"),
  ...paths(ExecutorService, (method) => (clientMethods.has(method) ? "client" : "worker")),
  ...paths(GatewayService, (method) => (method === "GetInfo" ? undefined : "operator")),
  // A probe has no token, and learns nothing but whether the gateway serves.
  ...paths(Health, () => "nobody"),
]);

/** The role that an RPC needs, by its path; undefined: any role will do. */
export function roleOf(path: string): Role | "nobody" | undefined {
  return roles.get(path);
}

function paths(
  service: DescService,
  role: (method: string) => Role | "nobody" | undefined,
): [path: string, role: Role | "nobody"][] {
  return service.methods.flatMap(({ name }) => {
    const needed = role(name);
    return needed === undefined ? [] : [[`/${service.typeName}/${name}`, needed]];
  });
}
