import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { onTestFinished } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";

/** One call as it arrived. */
export interface SeenCall {
  method: string;
  // biome-ignore lint/suspicious/noExplicitAny: each method has its own request.
  request: any;
  token: string | null;
}

export interface FakeGateway {
  /** `host:port`. */
  address: string;
  calls: SeenCall[];
  /** The calls but for heartbeats. */
  reports: () => SeenCall[];
}

/** What is answered beside the usual; throws what is to be refused. */
export type Answers = (call: SeenCall, index: number) => object | undefined | Promise<object | undefined>;

/**
 * Serves what `taskgate run` calls, on a free port or the given one, for the running
 * test. Everything is stored, beats come every 50 ms, a lease lasts 200 ms.
 */
export async function useFakeGateway(answers: Answers = () => undefined, port = 0): Promise<FakeGateway> {
  const calls: SeenCall[] = [];
  const receipt = { deliveryId: "1", state: DeliveryState.STORED };
  const beat = {
    directive: Directive.CONTINUE,
    sessionId: "session",
    leaseDuration: { seconds: 0n, nanos: 200e6 },
    nextHeartbeat: { seconds: 0n, nanos: 50e6 },
  };
  function method(name: string, usual: object) {
    return async (request: unknown, context: { requestHeader: Headers }) => {
      const call = { method: name, request, token: context.requestHeader.get("authorization") };
      calls.push(call);
      const index = calls.filter((other) => other.method === name).length - 1;
      return { ...usual, ...(await answers(call, index)) };
    };
  }
  const handler = connectNodeAdapter({
    routes(router) {
      router.service(TaskStatusService, {
        updateTask: method("updateTask", { receipt }),
        setOutput: method("setOutput", { receipt }),
        sendLog: method("sendLog", { receipt }),
        heartbeatRun: method("heartbeat", beat),
      });
      router.service(CallbackService, {
        completeCallback: method("completeCallback", { receipt }),
        reportCallbackProgress: method("progress", { directive: Directive.CONTINUE }),
        heartbeatCallback: method("heartbeat", beat),
      });
      router.service(GatewayService, { getInfo: method("getInfo", {}) });
    },
  });
  const server = http2.createServer(handler);
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session) => sessions.add(session));
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    for (const session of sessions) {
      session.destroy();
    }
  });
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    reports: () => calls.filter((call) => call.method !== "heartbeat" && call.method !== "getInfo"),
  };
}
