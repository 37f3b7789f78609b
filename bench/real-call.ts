import * as grpc from "@grpc/grpc-js";

/** Makes one unary call with grpc-js and returns the answer's message, encoded. Rejects when it fails. */
export function makeRealCall(
  address: string,
  { path, request }: { path: string; request: Uint8Array },
): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const client = new grpc.Client(address, grpc.credentials.createInsecure());
  client.makeUnaryRequest(
    path,
    Buffer.from,
    (bytes) => bytes,
    request,
    { deadline: Date.now() + 10_000 },
    (error, answer) => {
      client.close();
      if (error === null && answer !== undefined) {
        resolve(answer);
      } else {
        reject(new Error(`${path} at ${address} fails`, { cause: error }));
      }
    },
  );
  return promise;
}
