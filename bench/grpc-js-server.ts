import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";

// The process that taskgate is compared with: `@grpc/grpc-js` as its users start it,
// and nothing else. Arguments: the path of a unary method, and its answer as base64.
const [path = "", answer = ""] = process.argv.slice(2);
const [, serviceName = "", methodName = ""] = path.split("/");
const definitions = protoLoader.loadSync(
  ["task_status", "callback", "executor", "gateway"].map((name) => `taskgate/v1/${name}.proto`),
  { includeDirs: [fileURLToPath(new URL("../proto", import.meta.url))] },
);
const method = (definitions[serviceName] as grpc.ServiceDefinition | undefined)?.[methodName];
if (method === undefined) {
  throw new Error(`the contract has no ${path}`);
}
// Read once, and written anew for each call.
const message = method.responseDeserialize(Buffer.from(answer, "base64"));

const server = new grpc.Server();
server.addService(
  { [methodName]: method },
  {
    [methodName]: (_: unknown, callback: grpc.sendUnaryData<unknown>) => callback(null, message),
  },
);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) {
    throw error;
  }
  console.error(JSON.stringify({ message: "listening", address: `127.0.0.1:${port}` }));
});
