import { lstat, unlink } from "node:fs/promises";
import net from "node:net";

/**
 * Binds a server to a Unix socket that its owner and group may connect to
 * (0660). A socket that a dead process left behind is replaced; one that somebody
 * serves, and anything that is no socket, is left alone.
 */
export async function bindUnixSocket(server: net.Server, path: string): Promise<void> {
  await removeStaleSocket(path);
  // The mode must be right from the first moment, so it cannot be set afterwards.
  const umask = process.umask(0o117);
  try {
    const bound = new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ path, backlog: 1024 }, () => {
        server.off("error", reject);
        resolve();
      });
    });
    process.umask(umask);
    await bound;
  } finally {
    process.umask(umask);
  }
}

async function removeStaleSocket(path: string): Promise<void> {
  const stat = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") {
      return undefined;
    }
    throw error;
  });
  if (stat === undefined) {
    return;
  }
  if (!stat.isSocket()) {
    throw new Error(`${path} exists and is no socket`);
  }
  if (await isServed(path)) {
    throw new Error(`${path} is served by another process`);
  }
  await unlink(path);
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
