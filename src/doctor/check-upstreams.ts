import dns from "node:dns";
import type { LookupFunction } from "node:net";
import type { Config } from "../config/config.ts";
import { addressProblem, networksOf } from "../model/upstream-networks.ts";
import type { UpstreamWay } from "../model/upstream-way.ts";
import { createDispatcher } from "../upstream/dispatcher.ts";
import { type Answer, ask, type Question } from "./ask.ts";
import { checkOrigin, type Reach } from "./check-origin.ts";
import type { Finding } from "./finding.ts";

/** What is asked of one upstream, and what the answer says of the credentials. */
interface Visit {
  reach: Reach;
  question: Question;
  judge: (answer: Answer) => Finding;
}

// A person waits for all of it.
const timeoutMs = 10_000;

/**
 * Looks at each upstream that is configured, all at once, and changes nothing there. It goes
 * the way that the gateway goes, and calls no address that the gateway would not.
 *
 * @param lookup finds the addresses of their names; default: the system's resolver
 */
export async function checkUpstreams(
  config: Config,
  now: () => number,
  lookup: LookupFunction = dns.lookup as LookupFunction,
): Promise<Finding[]> {
  const visits = visitsOf(config, now, lookup);
  if (visits.length === 0) {
    return [
      {
        kind: "warning",
        subject: "upstreams",
        words: "none is configured: every report will be refused",
        advice: "set ORCHESTRA_API_KEY, TASKGATE_ORCHESTRATOR_URL or TASKGATE_AIDBOX_URL",
      },
    ];
  }
  return (await Promise.all(visits.map(pay))).flat();
}

async function pay({ reach, question, judge }: Visit): Promise<Finding[]> {
  const { ca } = reach;
  const dispatcher = createDispatcher({
    ...reach,
    connections: 1,
    connectTimeoutMs: timeoutMs,
    ca: ca === undefined ? undefined : () => ca,
  });
  try {
    // Behind a proxy nothing of it can be seen from here but the answer.
    const path = reach.proxy === undefined ? await checkOrigin(reach) : [];
    // What does not resolve or shake hands is not asked as well.
    if (path.some(({ kind }) => kind === "problem")) {
      return path;
    }
    const { findings, answer } = await ask(reach, question, dispatcher);
    return [...path, ...findings, ...(answer === undefined ? [] : [judge(answer)])];
  } finally {
    await dispatcher.destroy();
  }
}

const straight: UpstreamWay = { ca: undefined, proxy: undefined };

function visitsOf(config: Config, now: () => number, lookup: LookupFunction): Visit[] {
  const { orchestra, orchestrator, aidbox, upstreamNetworks } = config;
  const problemOf = (origin: string) => {
    const networks = networksOf(origin, upstreamNetworks);
    return (address: string) => addressProblem(address, networks);
  };
  const reachOf = (upstream: string, origin: string, { ca, proxy }: UpstreamWay): Reach => ({
    upstream,
    origin,
    timeoutMs,
    now,
    addressProblem: problemOf(origin),
    lookup,
    ca: ca?.text(),
    proxy: proxy && {
      origin: proxy.origin,
      addressProblem: problemOf(proxy.origin),
      credentials: proxy.credentials?.text,
    },
  });
  const visits: Visit[] = [];
  if (orchestra !== undefined) {
    visits.push({
      reach: reachOf("orchestra", orchestra.origin, orchestra.way),
      // Without the key: what is not needed is not shown.
      question: { method: "HEAD", path: orchestra.webhookPath },
      judge: () => ({
        kind: "unknown",
        subject: "orchestra credentials",
        words: "the webhook has no call that changes nothing: a wrong key shows with the first report",
      }),
    });
  }
  const { bases = [], tokens, way = straight } = orchestrator ?? {};
  for (const [index, { origin, path }] of bases.entries()) {
    const token = tokens?.parse(tokens.text())?.[index];
    const name = bases.length === 1 ? "orchestrator" : `orchestrator ${origin}${path}`;
    visits.push({
      reach: reachOf(name, origin, way),
      question: {
        method: "GET",
        path: `${path}/api/processes/status-counts`,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      },
      judge: (answer) => judgeOrchestrator(name, answer),
    });
  }
  if (aidbox !== undefined) {
    const basic = Buffer.from(`${aidbox.clientId}:${aidbox.clientSecret.text()}`).toString("base64");
    visits.push({
      reach: reachOf("aidbox", aidbox.base.origin, aidbox.way),
      question: {
        method: "POST",
        path: `${aidbox.base.path}/rpc`,
        headers: { authorization: `Basic ${basic}`, "content-type": "text/yaml", accept: "text/yaml" },
        // A read, of a task that nobody has.
        body: JSON.stringify({ method: "awf.task/status", params: { id: "taskgate-doctor" } }),
      },
      judge: judgeAidbox,
    });
  }
  return visits;
}

function judgeOrchestrator(name: string, { status }: Answer): Finding {
  const subject = `${name} credentials`;
  if (status === 401 || status === 403) {
    return {
      kind: "problem",
      subject,
      words: `it refuses them (${status})`,
      advice: "set TASKGATE_ORCHESTRATOR_TOKEN_FILE to a token that may read and complete processes",
    };
  }
  return status === 200
    ? { kind: "ok", subject, words: "it takes them" }
    : strange(subject, status, "/api/processes");
}

function judgeAidbox({ status, body }: Answer): Finding {
  const subject = "aidbox credentials";
  if (status === 401 || status === 403) {
    return {
      kind: "problem",
      subject,
      words: `it refuses them (${status})`,
      advice:
        "check the client's id and secret, that its grant type is basic, and that an AccessPolicy lets it call awf.task methods, status among them",
    };
  }
  // A task that is not there is an error of the RPC, and so a sign that it may be called.
  return /^(result|error):|"(result|error)"/m.test(body) && status < 500
    ? { kind: "ok", subject, words: "it takes them" }
    : strange(subject, status, "/rpc");
}

function strange(subject: string, status: number, path: string): Finding {
  return {
    kind: status >= 500 ? "warning" : "problem",
    subject,
    words: `${path} answered ${status}, which says nothing of them`,
    advice: status >= 500 ? "see what is wrong there, and ask again" : "check the path of the URL",
  };
}
