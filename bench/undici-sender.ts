import { Pool } from "undici";

// Sends POSTs as fast as they are answered, over 64 connections. Arguments: the
// upstream's origin, and how many.
const [origin = "", count = "0"] = process.argv.slice(2);
const connections = 64;
const body = JSON.stringify({
  event_type: "UPDATE_STATUS",
  metadata: {},
  task_run_id: "1d876307-8c0a-42a1-8299-af0516223652",
  status: "RUNNING",
  message: "half of the rows",
});
const headers = { authorization: "Bearer key-of-the-benchmark", "content-type": "application/json" };
const pool = new Pool(origin, { connections, pipelining: 1 });
let left = Number(count);

async function sendEach(): Promise<void> {
  while (left > 0) {
    left -= 1;
    const answer = await pool.request({ path: "/", method: "POST", headers, body });
    await answer.body.dump();
  }
}

await Promise.all(Array.from({ length: connections }, sendEach));
await pool.close();
