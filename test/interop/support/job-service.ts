import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { type Stage, until } from "./stage.ts";

/** The remote service that gets jobs from workflows, each with the route of its callback. */
export interface JobService {
  url: string;
  /** The callback's route of a process's job, once it was submitted so many times. */
  routeOf(processId: string, job?: string, times?: number): Promise<string>;
}

export async function startJobService(stage: Stage): Promise<JobService> {
  const jobs: { callback_route: string; job: string }[] = [];
  const server = http.createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) {
      body += chunk;
    }
    jobs.push(JSON.parse(body) as { callback_route: string; job: string });
    response.writeHead(201).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stage.onEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    routeOf: (processId, job = "first", times = 1) =>
      until(
        `the ${job} job of ${processId}`,
        () =>
          jobs.filter((each) => each.job === job && each.callback_route.includes(processId))[times - 1]
            ?.callback_route,
      ),
  };
}
