import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { type Delivery, GatewayService, Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { Config } from "../config/config.ts";
import type { DeliveryDesk, DeliveryFilter, DeliveryMove } from "../model/delivery-desk.ts";
import { formatListenAddress } from "../model/listen-address.ts";
import { createDeliveryDesk } from "../outbox/delivery-desk.ts";
import { databaseName } from "../outbox/open-database.ts";
import { openWorkerStore } from "../outbox/worker-store.ts";
import { createGatewayTransport } from "./gateway-transport.ts";

/** What the command line does with an outbox, wherever it is. */
export interface OutboxAccess {
  /** What an operator must be told of the directory. */
  readonly damage: string | undefined;
  list(filter: DeliveryFilter, token: string): Promise<{ deliveries: Delivery[]; nextToken: string }>;
  retry(id: string): Promise<DeliveryMove>;
  discard(id: string): Promise<DeliveryMove>;
  close(): Promise<void>;
}

const pageSize = 500;

/** Goes through the gateway that runs; when none does, opens its directory. */
export async function openOutboxAccess(config: Config): Promise<OutboxAccess> {
  const { listen } = config;
  const tls = config.tls && {
    cert: config.tls.cert.text(),
    key: config.tls.key.text(),
    clientCa: config.tls.clientCa?.text(),
  };
  const { transport, close } = createGatewayTransport({ kind: "listen", listen, ...tls });
  const client = createClient(GatewayService, transport);
  const headers = bearer(config);
  try {
    await client.getInfo({}, { headers, timeoutMs: 5000 });
  } catch (error) {
    close();
    const { code, metadata, rawMessage, cause } = ConnectError.from(error);
    if (code === Code.Unavailable && isNobodyThere(cause)) {
      return openDirectory(config);
    }
    throw metadata.has("taskgate-reason")
      ? error
      : new Error(notConnected(config, rawMessage), { cause: error });
  }
  return throughGateway(client, headers, close);
}

function throughGateway(
  client: Client<typeof GatewayService>,
  headers: HeadersInit,
  close: () => void,
): OutboxAccess {
  async function moved(call: Promise<{ delivery?: unknown }>): Promise<DeliveryMove> {
    try {
      const { delivery } = await call;
      return { kind: "moved", delivery } as DeliveryMove;
    } catch (error) {
      const { code, rawMessage } = ConnectError.from(error);
      if (code === Code.NotFound) {
        return { kind: "unknown" };
      }
      if (code === Code.FailedPrecondition) {
        return { kind: "refused", why: rawMessage };
      }
      throw error;
    }
  }
  return {
    damage: undefined,
    async list({ upstream = "", states = [], taskId = "" }, pageToken) {
      const request = { upstream, states: [...states], taskId, pageSize, pageToken };
      const { deliveries, nextPageToken } = await client.listDeliveries(request, { headers });
      return { deliveries, nextToken: nextPageToken };
    },
    retry: (deliveryId) => moved(client.retryDelivery({ deliveryId }, { headers })),
    discard: (deliveryId) => moved(client.discardDelivery({ deliveryId }, { headers })),
    close: async () => close(),
  };
}

async function openDirectory(config: Config): Promise<OutboxAccess> {
  const { directory, maxRows, maxBytes } = config.outbox;
  if (!existsSync(join(directory, databaseName))) {
    throw new Error(`no gateway answers, and there is no outbox in ${directory}`);
  }
  const store = await openWorkerStore({
    directory,
    quota: { maxRows, maxBytes, outcomeReserve: 0 },
    isVisit: true,
    onFatal: () => undefined,
  });
  // Nothing is sent from here: a retry is due when a gateway runs again.
  const idle = { moved: () => undefined, waitFor: async <Row>(row: Row) => row };
  const clock = { now: Date.now, setTimer: () => () => undefined };
  const desk: DeliveryDesk = createDeliveryDesk(store, () => idle, clock);
  return {
    damage: store.damage,
    async list(filter, token) {
      return (await desk.list(filter, token, pageSize)) ?? { deliveries: [], nextToken: "" };
    },
    retry: desk.retry,
    discard: desk.discard,
    close: () => store.close(),
  };
}

function isNobodyThere(cause: unknown): boolean {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return ["ECONNREFUSED", "ENOENT", "ENOTFOUND", "EADDRNOTAVAIL"].includes(String(code));
}

// How the refusal of a client's certificate looks depends on who closes first.
function notConnected({ tls, listen }: Config, message: string): string {
  const isRefused = tls?.clientCa !== undefined && /alert|closed|hang up|reset/i.test(message);
  const why = isRefused
    ? "it wants a client certificate, and does not take its own for one"
    : message.split("\n", 1)[0];
  return `the gateway at ${formatListenAddress(listen)} cannot be asked: ${why}`;
}

// An operator's, where there is one: only they may ask.
function bearer({ callers }: Config): HeadersInit {
  const caller = callers.find(({ roles }) => roles.includes(Role.OPERATOR)) ?? callers[0];
  const secret = caller?.tokens[0];
  const token = secret?.parse(secret.text())?.[0];
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}
