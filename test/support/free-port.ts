import { once } from "node:events";
import net from "node:net";

// Below those that the system gives to whoever asks for any, and no two test processes
// at once have the same: what is free stays so, also while a server of a test is down.
const portsEach = 2000;
const firstPort = 12_000 + (Number(process.env.VITEST_POOL_ID ?? 0) % 10) * portsEach;
// Another run of the tests on the same machine should not walk beside this one.
let next = process.pid % portsEach;

/** Finds a port that nothing listens on, and that nobody else is given. */
export async function findFreePort(): Promise<number> {
  for (;;) {
    const port = firstPort + next;
    next = (next + 1) % portsEach;
    const server = net.createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(
      () => true,
      () => false,
    );
    server.close();
    if (isFree) {
      await once(server, "close");
      return port;
    }
  }
}

/** Ports for a sandbox whose systems may be down for a while: nobody else is there meanwhile. */
export async function findSandboxPorts(): Promise<{
  orchestra: number;
  orchestrator: number;
  aidbox: number;
}> {
  return {
    orchestra: await findFreePort(),
    orchestrator: await findFreePort(),
    aidbox: await findFreePort(),
  };
}
