import { once } from "node:events";
import http2 from "node:http2";
import { Worker } from "node:worker_threads";
import "@bufbuild/protobuf";
import "@bufbuild/protobuf/codegenv2";
import "@bufbuild/protobuf/reflect";
import "@bufbuild/protobuf/wire";
import "@bufbuild/protobuf/wkt";
import "@connectrpc/connect";
import "@connectrpc/connect-node";
import "@connectrpc/connect/protocol";
import "@connectrpc/connect/protocol-connect";
import "@connectrpc/connect/protocol-grpc";
import "@connectrpc/connect/protocol-grpc-web";
import "js-yaml";
import "pino";
import "undici";

// The process that taskgate's start is compared with: it loads the libraries that
// `taskgate serve` loads, opens a database on a thread of its own and nothing else,
// and answers whatever is called with an empty message. Arguments: where to listen,
// as host:port, a directory for the database, and libraries that some configurations load.
const { hostname, port } = new URL(`http://${process.argv[2]}`);
await Promise.all(process.argv.slice(4).map((library) => import(library)));
// So that it leaves behind what was compiled, where a directory for that is named.
process.once("SIGTERM", () => process.exit());
const emptyMessage = Buffer.alloc(5);

const openDatabase = `
  const { parentPort, workerData } = require("node:worker_threads");
  const { DatabaseSync } = require("node:sqlite");
  const db = new DatabaseSync(workerData);
  db.exec("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t (a); INSERT INTO t VALUES (1)");
  parentPort.on("message", () => db.close());
  parentPort.postMessage("opened");
`;
const worker = new Worker(openDatabase, { eval: true, workerData: `${process.argv[3]}/skeleton.db` });
await once(worker, "message");

const server = http2.createServer();
server.on("stream", (stream) => {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(emptyMessage);
});
server.listen({ host: hostname, port: Number(port) });
