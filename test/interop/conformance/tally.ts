import type { RpcHandler } from "../../../src/listener/rpc-handler.ts";

/** By method, how many calls were served in the lanes, and how many by Connect's adapter. */
export type Tally = Record<string, { lane: number; adapter: number }>;

/** Serves as the handler does, and counts in the tally. */
export function countCalls(handler: RpcHandler, tally: Tally): RpcHandler {
  function count(path: string | undefined, by: "lane" | "adapter"): void {
    const method = path?.split("?", 1)[0]?.split("/").at(-1) ?? "";
    tally[method] ??= { lane: 0, adapter: 0 };
    tally[method][by] += 1;
  }
  return {
    onStream(stream, headers, onAdmitted) {
      const isTaken = handler.onStream(stream, headers, onAdmitted);
      if (isTaken) {
        count(headers[":path"], "lane");
      }
      return isTaken;
    },
    onRequest(request, response, onAdmitted) {
      count(request.url, "adapter");
      handler.onRequest(request, response, onAdmitted);
    },
  };
}

/** Adds up what several servers counted. */
export function addTallies(tallies: readonly Tally[]): Tally {
  const sum: Tally = {};
  for (const [method, { lane, adapter }] of tallies.flatMap((tally) => Object.entries(tally))) {
    sum[method] ??= { lane: 0, adapter: 0 };
    sum[method].lane += lane;
    sum[method].adapter += adapter;
  }
  return sum;
}
