import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import {
  ExecutorService,
  type Task,
  type WorkRequest,
  WorkRequestSchema,
  type WorkResponse,
  WorkResponseSchema,
} from "../gen/taskgate/v1/executor_pb.ts";
import { createWorkMeter } from "./work-meter.ts";
import type { WorkOptions, WorkRound } from "./work-options.ts";

// Workers over `Work`, on one connection: each starts what it is pushed and says at once
// that it is done. Argument: `WorkOptions` as JSON. Each message is a `WorkRound`, which is
// answered with how it went.
const options: WorkOptions = JSON.parse(process.argv[2] ?? "");
const client = new grpc.Client(options.address, grpc.credentials.createInsecure());
const meter = createWorkMeter((result) => process.send?.(result));
process.once("disconnect", () => process.exit());
process.on("message", ({ tasks }: WorkRound) => {
  meter.expect(tasks);
  process.send?.("ready");
});

for (let index = 0; index < options.workers; index += 1) {
  work(`w${index}`);
}

function work(worker: string): void {
  const { definition, limit } = options;
  const starting = new Map<string, Task>();
  const ending = new Set<string>();
  let made = 0;
  const stream = client.makeBidiStreamRequest<WorkRequest, WorkResponse>(
    `/${ExecutorService.typeName}/${ExecutorService.method.work.name}`,
    (request) => Buffer.from(toBinary(WorkRequestSchema, request)),
    (bytes) => fromBinary(WorkResponseSchema, bytes),
    new grpc.Metadata(),
  );
  stream.on("error", (error) => {
    throw error;
  });

  function say(frame: NonNullable<MessageInitShape<typeof WorkRequestSchema>["frame"]>): string {
    made += 1;
    const requestId = `${worker}-${made}`;
    stream.write(create(WorkRequestSchema, { requestId, frame }));
    return requestId;
  }

  stream.on("data", ({ requestId, frame }: WorkResponse) => {
    if (frame.case === "task") {
      const { id, execId, resourceJson } = frame.value;
      meter.begin(JSON.parse(resourceJson).params.readyMs);
      starting.set(say({ case: "start", value: { id, execId } }), frame.value);
    } else if (frame.case === "ack" && starting.has(requestId)) {
      const { id = "", execId = "" } = starting.get(requestId) ?? {};
      starting.delete(requestId);
      ending.add(
        say({ case: "succeed", value: { id, execId, outcome: { case: "resultJson", value: "{}" } } }),
      );
    } else if (frame.case === "ack" && ending.delete(requestId)) {
      meter.end();
    } else if (frame.case === "failure") {
      throw new Error(`${worker}: ${frame.value.message}`);
    }
  });
  say({
    case: "subscribe",
    value: { taskDefinitions: [definition], maxInFlight: limit, worker },
  });
  setInterval(() => say({ case: "heartbeat", value: {} }), 5000);
}
