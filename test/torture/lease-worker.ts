// A worker in a process of its own: it tracks one task, beats, and comes back by its
// session whenever its stream breaks or nobody answers. It says what happens to it on
// its standard output, a line of JSON each, and ends when it hears that it should, or
// when its standard input ends. Usage: node lease-worker.ts OPTIONS, of which `WorkerOptions` tells.
import { createGrpcClient, type Message } from "./grpc-client.ts";
import type { WorkerEvent, WorkerOptions } from "./worker-process.ts";

const options: WorkerOptions = JSON.parse(process.argv[2] ?? "");
const [service, method] =
  options.task.kind === "run"
    ? (["TaskStatusService", "TrackRun"] as const)
    : (["CallbackService", "TrackCallback"] as const);
const target =
  options.task.kind === "run"
    ? { taskRunId: options.task.taskRunId }
    : { callbackRoute: options.task.callbackRoute };

let sessionId = options.sessionId ?? "";
let cancels = 0;
let beats = 0;

function say(event: WorkerEvent): void {
  process.stdout.write(`${JSON.stringify({ ...event, atMs: Date.now() })}\n`);
}

function track(): void {
  const client = createGrpcClient(options.address, options.token);
  let beating: NodeJS.Timeout | undefined;
  let silence: NodeJS.Timeout | undefined;

  const stream = client.open(service, method, {
    onMessage(message) {
      listen();
      onFrame(message);
    },
    onEnd(error) {
      clearInterval(beating);
      clearTimeout(silence);
      client.close();
      say({ event: "ended", reason: error?.reason, message: error?.message });
      // A second cancel is that of a session that was shown again.
      if (cancels < 2) {
        setTimeout(track, 100);
      } else {
        process.exit(0);
      }
    },
  });

  // A worker that cannot reach its gateway tries another connection.
  function listen(): void {
    clearTimeout(silence);
    silence = setTimeout(() => stream.cancel(), options.patienceMs);
  }

  function onFrame(message: Message): void {
    const { frame } = message;
    if (frame === "ready") {
      const ready = message.ready as Message;
      sessionId = String(ready.sessionId);
      say({ event: "ready", sessionId, isResumed: ready.resumed === true });
      clearInterval(beating);
      beating = setInterval(beat, options.beatMs);
    } else if (frame === "directive") {
      const { directive, cause } = message.directive as Message;
      if (directive === "DIRECTIVE_CANCEL") {
        cancels += 1;
        say({ event: "cancelled", cause: String(cause) });
        stream.cancel();
      } else if (message.requestId !== "") {
        say({ event: "answered", beat: Number(message.requestId) });
      }
    }
  }

  function beat(): void {
    beats += 1;
    stream.write({ requestId: String(beats), heartbeat: {} });
    say({ event: "beat", beat: beats });
  }

  listen();
  stream.write({ requestId: "open", open: { ...target, onLost: options.onLost, sessionId } });
}

process.stdin.on("end", () => process.exit(0)).resume();
track();
