import type { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { createRecentMap } from "../model/recent-map.ts";

/** Tasks of which their upstream has said that they are over: nothing of it is stored. */
export interface GoneTasks {
  /** Why a caller's task is over; undefined: it is not known to be. */
  causeOf(name: string, caller: string): ErrorReason | undefined;
  add(name: string, caller: string, cause: ErrorReason): void;
  delete(name: string): void;
}

/** Creates an empty list that remembers the last `maxTasks`. */
export function createGoneTasks(maxTasks: number): GoneTasks {
  const gone = createRecentMap<string, { caller: string; cause: ErrorReason }>(maxTasks);
  return {
    causeOf(name, caller) {
      const found = gone.get(name);
      return found?.caller === caller ? found.cause : undefined;
    },
    add: (name, caller, cause) => gone.set(name, { caller, cause }),
    delete: gone.delete,
  };
}
