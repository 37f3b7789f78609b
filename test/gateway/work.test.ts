import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { streamClients } from "../support/streams.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { work } = ExecutorService.method;

describe.each(streamClients)("Work over $name", (client) => {
  test("a task is pushed, begun, beaten for and ended on one stream", async () => {
    const { url, sandbox } = await useGatewayWithSandbox();
    const stream = client.open(url, work);
    stream.send({
      requestId: "1",
      frame: { case: "subscribe", value: { taskDefinitions: ["a/b"], maxInFlight: 2, worker: "w" } },
    });
    expect(await stream.next()).toMatchObject({
      requestId: "1",
      frame: { case: "ready", value: { resumed: false, capabilities: { pull: true } } },
    });
    sandbox.aidbox.tasks.create({ definition: "a/b", params: { n: 1 } });
    const pushed = await stream.nextOf("task");
    const { id, execId } = pushed.frame.value;
    expect(pushed.frame.value).toMatchObject({ definition: "a/b", status: "requested" });
    stream.send({ requestId: "2", frame: { case: "start", value: { id, execId } } });
    expect(await stream.next()).toMatchObject({
      requestId: "2",
      frame: { case: "ack", value: { id, execId, task: { status: "in-progress" } } },
    });
    stream.send({ requestId: "3", frame: { case: "heartbeat", value: { tasks: [{ id, execId }] } } });
    expect(await stream.next()).toMatchObject({
      requestId: "3",
      frame: { case: "directive", value: { directive: Directive.CONTINUE, taskId: "" } },
    });
    stream.send({
      requestId: "4",
      frame: { case: "progress", value: { id, execId, current: 1n, total: 2n, unit: "rows" } },
    });
    expect(await stream.next()).toMatchObject({
      requestId: "4",
      frame: { case: "ack", value: { id, execId } },
    });
    stream.send({
      requestId: "5",
      frame: { case: "succeed", value: { id, execId, outcome: { case: "resultJson", value: "[1]" } } },
    });
    expect(await stream.next()).toMatchObject({
      requestId: "5",
      frame: { case: "ack", value: { id, execId, receipt: { state: DeliveryState.STORED } } },
    });
    expect(await stream.next()).toMatchObject({
      requestId: "5",
      frame: {
        case: "ack",
        value: { id, execId, receipt: { state: DeliveryState.DELIVERED }, task: { status: "done" } },
      },
    });
    stream.halfClose();
    expect(await stream.next()).toBeUndefined();
    expect(sandbox.aidbox.tasks.get(id)?.resource).toMatchObject({ outcome: "succeeded", result: [1] });
    expect(ErrorReason.UNSPECIFIED + Code.Canceled).toBe(1);
  });
});
