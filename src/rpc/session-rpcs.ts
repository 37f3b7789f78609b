import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type GatewayService, type Session, SessionSchema } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { ListedSession } from "../model/listed-session.ts";
import { createRequestChecker } from "./request-checker.ts";

type SessionRpcs = Pick<ServiceImpl<typeof GatewayService>, "listSessions" | "drain">;

export interface SessionRpcDeps {
  sessions: () => ListedSession[];
  /** The names of the upstreams that there are. */
  upstreams: readonly string[];
  /** Takes no new work from now on. */
  drain: () => void;
  /** How many deliveries have not ended. */
  undelivered: () => Promise<number>;
}

const defaultPageSize = 100;
const maxPageSize = 1000;

/** The RPCs about who is alive, and about going away. */
export function createSessionRpcs({ sessions, upstreams, drain, undelivered }: SessionRpcDeps): SessionRpcs {
  return {
    listSessions({ upstream, pageSize, pageToken }) {
      const checker = createRequestChecker();
      if (upstream !== "" && !upstreams.includes(upstream)) {
        checker.add("upstream", `is none of ${upstreams.join(", ")}`);
      }
      checker.add("page_size", pageSize < 0 ? "must not be negative" : undefined);
      checker.add("page_token", isPlace(pageToken) ? undefined : "is not one that this gateway gave");
      checker.throwIfInvalid();
      const limit = Math.min(pageSize || defaultPageSize, maxPageSize);
      const found = sessions()
        .filter((session) => upstream === "" || session.upstream === upstream)
        .map((session) => ({ session, place: placeOf(session) }))
        .filter(({ place }) => place > pageToken)
        .sort((one, other) => (one.place < other.place ? -1 : 1));
      const page = found.slice(0, limit);
      return {
        sessions: page.map(({ session }) => sessionMessage(session)),
        nextPageToken: found.length > limit ? (page.at(-1)?.place ?? "") : "",
      };
    },

    async drain() {
      drain();
      return {
        sessionCount: BigInt(sessions().length),
        undeliveredCount: BigInt(await undelivered()),
      };
    },
  };
}

// Oldest first; a place stays one although the session that it names has gone.
function placeOf({ createMs, sessionId }: ListedSession): string {
  return `${String(createMs).padStart(16, "0")}-${sessionId}`;
}

function isPlace(token: string): boolean {
  return token === "" || /^\d{16}-[\w-]+$/.test(token);
}

function sessionMessage(session: ListedSession): Session {
  return create(SessionSchema, {
    sessionId: session.sessionId,
    upstream: session.upstream,
    caller: session.caller,
    worker: session.worker,
    createTime: timestampFromMs(session.createMs),
    lastHeartbeatTime: timestampFromMs(session.lastBeatMs),
    leaseExpireTime: timestampFromMs(session.leaseExpireMs),
    connected: session.isConnected,
    taskIds: [...session.taskIds],
  });
}
