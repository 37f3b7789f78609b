import http2 from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { TrackRunRequestSchema } from "../gen/taskgate/v1/task_status_pb.ts";
import { prefixMessage } from "./wire/prefix-message.ts";

// Tracks that many runs and beats for each at an interval, for as long as it lives.
// Arguments: host:port, how many, over how many connections, the interval in
// milliseconds. It says `open` when all are open, then, when asked, how many answers
// it has had.
const [, , address = "", count = "", connections = "", intervalMs = ""] = process.argv;

const sessions = Array.from({ length: Number(connections) }, () => http2.connect(`http://${address}`));
const beat = frameOf(create(TrackRunRequestSchema, { frame: { case: "heartbeat", value: {} } }));
let frames = 0;

const streams = await Promise.all(
  Array.from({ length: Number(count) }, (_, index) => {
    // A few hundred at a time, as clients that start together would come.
    return new Promise<http2.ClientHttp2Stream>((resolve) =>
      setTimeout(() => open(index, resolve), (index / 1000) * 400),
    );
  }),
);
process.send?.("open");
process.on("message", () => process.send?.(frames));
process.once("disconnect", () => process.exit());

// Spread evenly, as clients that know nothing of each other beat. None waits longer for
// its first beat than for another.
for (const [index, stream] of streams.entries()) {
  const interval = Number(intervalMs);
  const sendBeat = () => stream.write(beat);
  const beginBeats = () => {
    sendBeat();
    setInterval(sendBeat, interval);
  };
  setTimeout(beginBeats, (index / streams.length) * interval);
}

function open(index: number, resolve: (stream: http2.ClientHttp2Stream) => void): void {
  const session = sessions[index % sessions.length];
  if (session === undefined) {
    throw new Error("there must be a connection");
  }
  const stream = session.request({
    ":method": "POST",
    ":path": "/taskgate.v1.TaskStatusService/TrackRun",
    "content-type": "application/grpc",
    te: "trailers",
  });
  const taskRunId = `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`;
  stream.write(frameOf(create(TrackRunRequestSchema, { frame: { case: "open", value: { taskRunId } } })));
  stream.once("data", () => resolve(stream));
  stream.on("data", () => {
    frames += 1;
  });
  stream.on("end", () => fail(`the stream of run ${index} has ended`));
  stream.on("error", (error) => fail(error.message));
}

function fail(why: string): never {
  process.stderr.write(`${why}\n`);
  process.exit(1);
}

function frameOf(request: ReturnType<typeof create<typeof TrackRunRequestSchema>>): Buffer {
  return prefixMessage(toBinary(TrackRunRequestSchema, request));
}
