import http2 from "node:http2";
import "@bufbuild/protobuf";
import "@bufbuild/protobuf/codegenv2";
import "@bufbuild/protobuf/reflect";
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
// `taskgate serve` loads and nothing else, and answers whatever is called with an
// empty message. Argument: where to listen, as host:port.
const { hostname, port } = new URL(`http://${process.argv[2]}`);
const emptyMessage = Buffer.alloc(5);

const server = http2.createServer();
server.on("stream", (stream) => {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(emptyMessage);
});
server.listen({ host: hostname, port: Number(port) });
