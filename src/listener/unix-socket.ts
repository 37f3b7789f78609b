import { chmod, lchown, lstat, unlink } from "node:fs/promises";
import net from "node:net";
import type { SocketAccess } from "../model/listen-address.ts";

/**
 * Binds a server to a Unix socket that only those may connect to whom `access` names.
 * A socket that a dead process left behind is replaced; one that somebody serves, and
 * anything that is no socket, a link to one included, is left alone.
 */
export async function bindUnixSocket(
  server: net.Server,
  path: string,
  { mode, gid }: SocketAccess,
): Promise<void> {
  await removeStaleSocket(path);
  // It must not be open to anybody else for a moment: not before it has its mode, and
  // where it gets another group, not to the process's own.
  const umask = process.umask(0o777 & ~(gid === undefined ? mode : 0o600));
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
    if (gid !== undefined) {
      await giveToGroup(path, gid);
      await chmod(path, mode);
    }
  } catch (error) {
    server.close();
    throw error;
  } finally {
    process.umask(umask);
  }
}

async function giveToGroup(path: string, gid: number): Promise<void> {
  try {
    const { uid } = await lstat(path);
    await lchown(path, uid, gid);
  } catch (error) {
    throw new Error(`${path} cannot be given to group ${gid}: the process must be in that group`, {
      cause: error,
    });
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
