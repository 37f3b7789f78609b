import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import { createRoute, type Route } from "../model/route.ts";
import { createClientRpcs } from "./executor-client.ts";
import type { ExecutorDeps } from "./executor-upstream.ts";
import { createWorkerRpcs } from "./executor-worker.ts";

/** Creates the service that does the work of Aidbox. */
export function createExecutorRoute(deps: ExecutorDeps): Route {
  const clientRpcs = createClientRpcs(deps);
  const clientMethods = new Set(Object.keys(clientRpcs));
  return createRoute(ExecutorService, { ...createWorkerRpcs(deps), ...clientRpcs }, (method) =>
    clientMethods.has(method.charAt(0).toLowerCase() + method.slice(1)) ? Role.CLIENT : Role.WORKER,
  );
}
