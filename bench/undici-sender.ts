import { Pool } from "undici";
import { updatePost } from "./update-post.ts";

// Sends POSTs as fast as they are answered, over 64 connections. Arguments: the
// upstream's origin, and how many. Says what it used of a processor for them.
const [origin = "", count = "0"] = process.argv.slice(2);
const connections = 64;
const pool = new Pool(origin, { connections, pipelining: 1 });
let left = Number(count);

async function sendEach(): Promise<void> {
  while (left > 0) {
    left -= 1;
    const answer = await pool.request(updatePost);
    await answer.body.dump();
  }
}

const startCpu = process.cpuUsage();
await Promise.all(Array.from({ length: connections }, sendEach));
const { user, system } = process.cpuUsage(startCpu);
await pool.close();
process.send?.((user + system) / 1000);
process.disconnect?.();
