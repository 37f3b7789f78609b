import type { ServiceImpl } from "@connectrpc/connect";
import type { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { createClientRpcs } from "./executor-client.ts";
import type { ExecutorDeps } from "./executor-upstream.ts";
import { createWorkerRpcs } from "./executor-worker.ts";

/** Creates the service that does the work of Aidbox. */
export function createExecutorService(deps: ExecutorDeps): ServiceImpl<typeof ExecutorService> {
  return { ...createWorkerRpcs(deps), ...createClientRpcs(deps) };
}
