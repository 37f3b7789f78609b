import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";

// A bare grpc-js server of streams: it answers each frame of `TrackRun` with one of the
// same request id, and knows of no lease.
const definitions = protoLoader.loadSync("taskgate/v1/task_status.proto", {
  includeDirs: [fileURLToPath(new URL("../proto", import.meta.url))],
});
const service = definitions["taskgate.v1.TaskStatusService"] as grpc.ServiceDefinition | undefined;
if (service?.TrackRun === undefined) {
  throw new Error("the contract has no TrackRun");
}

const server = new grpc.Server();
server.addService(
  { TrackRun: service.TrackRun },
  {
    TrackRun(stream: grpc.ServerDuplexStream<{ requestId: string }, unknown>) {
      stream.on("data", ({ requestId }) => {
        stream.write({ requestId, directive: { directive: 1 } });
      });
      stream.on("end", () => stream.end());
      stream.on("error", () => undefined);
    },
  },
);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) {
    throw error;
  }
  console.error(JSON.stringify({ message: "listening", address: `127.0.0.1:${port}` }));
});
