import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { TaskStatusService, TrackRunRequestSchema } from "../gen/taskgate/v1/task_status_pb.ts";
import type { StreamLoad, StreamLoadResult } from "./streams.ts";
import { taskRunIdOf } from "./update-call.ts";
import { encodeHeaderBlock } from "./wire/header-block.ts";
import { prefixMessage } from "./wire/prefix-message.ts";
import { exchangeMessages } from "./wire/stream-connection.ts";

// Beats on streams as fast as they are answered. Each message asks for some time of that,
// and is answered with what came of it.
process.on("message", async ({ address, streams, durationMs }: StreamLoad) => {
  const { hostname: host, port } = new URL(`http://${address}`);
  let messages = 0;
  let cpu: NodeJS.CpuUsage | undefined;
  let endMs = 0;
  const elapsedMs = await exchangeMessages({
    host,
    port: Number(port),
    streams,
    headers: encodeHeaderBlock([
      [":method", "POST"],
      [":scheme", "http"],
      [":path", `/${TaskStatusService.typeName}/${TaskStatusService.method.trackRun.name}`],
      [":authority", address],
      ["content-type", "application/grpc"],
      ["te", "trailers"],
    ]),
    firstOf: (index) => prefixed({ case: "open", value: { taskRunId: taskRunIdOf(index) } }),
    next: prefixed({ case: "heartbeat", value: {} }),
    wantsMessage() {
      cpu ??= process.cpuUsage();
      endMs ||= performance.now() + durationMs;
      messages += 1;
      return performance.now() < endMs;
    },
  });
  const { user, system } = process.cpuUsage(cpu);
  process.send?.({ messages, elapsedMs, clientCpuMs: (user + system) / 1000 } satisfies StreamLoadResult);
});
process.once("disconnect", () => process.exit());

function prefixed(frame: MessageInitShape<typeof TrackRunRequestSchema>["frame"] & object): Buffer {
  return prefixMessage(
    toBinary(TrackRunRequestSchema, create(TrackRunRequestSchema, { requestId: "1", frame })),
  );
}
