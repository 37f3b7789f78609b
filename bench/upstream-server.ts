import http from "node:http";

// An upstream that takes every POST at once. Argument: none. It logs where it listens.
const server = http.createServer((request, response) => {
  request.resume();
  request.once("end", () => response.end());
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  process.stderr.write(`${JSON.stringify({ message: "listening", address: `127.0.0.1:${port}` })}\n`);
});
