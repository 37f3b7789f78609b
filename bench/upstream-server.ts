import http from "node:http";

// An upstream that takes every POST at once. Argument: where to listen, as host:port.
// It logs where it listens. `GET` answers how many it took, how many of them tell of a
// failure, and how long it was from the first to the last, in milliseconds.
const { hostname, port } = new URL(`http://${process.argv[2]}`);
let count = 0;
let failed = 0;
let firstMs = 0;
let lastMs = 0;

const server = http.createServer((request, response) => {
  if (request.method === "GET") {
    response.end(JSON.stringify({ count, failed, elapsedMs: lastMs - firstMs }));
    return;
  }
  let isFailure = false;
  request.on("data", (chunk: Buffer) => {
    isFailure ||= chunk.includes('"FAILED"');
  });
  request.once("end", () => {
    lastMs = performance.now();
    firstMs ||= lastMs;
    count += 1;
    failed += isFailure ? 1 : 0;
    response.end();
  });
});
server.listen(Number(port), hostname, () => {
  const address = server.address();
  const bound = typeof address === "object" ? address?.port : undefined;
  process.stderr.write(`${JSON.stringify({ message: "listening", address: `${hostname}:${bound}` })}\n`);
});
