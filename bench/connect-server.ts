import http2 from "node:http2";
import { createRegistry, fromBinary } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { file_taskgate_v1_gateway } from "../gen/taskgate/v1/gateway_pb.ts";
import { file_taskgate_v1_task_status } from "../gen/taskgate/v1/task_status_pb.ts";

// The other process that taskgate is compared with: Connect's own adapter as its users
// start it, and nothing else. Arguments: the path of a unary method, and its answer as
// base64.
const [path = "", answer = ""] = process.argv.slice(2);
const [, serviceName = "", methodName = ""] = path.split("/");
const registry = createRegistry(file_taskgate_v1_task_status, file_taskgate_v1_gateway);
const method = registry.getService(serviceName)?.methods.find(({ name }) => name === methodName);
if (method === undefined || method.methodKind !== "unary") {
  throw new Error(`the contract has no ${path}`);
}
const { output } = method;
// Read once, and written anew for each call.
const message = fromBinary(output, Buffer.from(answer, "base64"));
// What TypeScript cannot know of a service that is chosen at run time.
const implementation: object = { [method.localName]: () => message };

const server = http2.createServer(
  connectNodeAdapter({
    routes: (router: ConnectRouter) => void router.service(method.parent, implementation),
  }),
);
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  console.error(JSON.stringify({ message: "listening", address: `127.0.0.1:${port}` }));
});
