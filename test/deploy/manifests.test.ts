import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { parseConfig } from "../../src/config/parse-config.ts";
import { tlsPath } from "../support/use-gateway.ts";
import { readImage } from "./read-image.ts";
import { type Mode, modes } from "./render.ts";

// What the manifests promise. That they are what Kubernetes takes, and what the chart
// makes, is shown by npm run deploy-test, which needs Go.

interface Container {
  name: string;
  image: string;
  restartPolicy?: string;
  env: { name: string; value: string }[];
  lifecycle?: unknown;
  startupProbe?: { httpGet: { path: string; port: number } };
  livenessProbe?: { httpGet: { path: string } };
  readinessProbe?: { httpGet: { path: string } };
  securityContext: Record<string, unknown> & { runAsUser: number };
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
  resources?: { limits?: Record<string, string> };
}
interface Pod {
  terminationGracePeriodSeconds: number;
  automountServiceAccountToken: boolean;
  enableServiceLinks: boolean;
  securityContext: { runAsNonRoot: boolean; fsGroup: number; seccompProfile: { type: string } };
  initContainers?: Container[];
  containers: Container[];
  volumes: {
    name: string;
    emptyDir?: object;
    secret?: { defaultMode: number };
    persistentVolumeClaim?: object;
  }[];
}
interface Manifest {
  kind: string;
  spec: {
    template: { spec: Pod };
    replicas?: number;
    strategy?: { type: string };
    accessModes?: string[];
    policyTypes?: string[];
    egress?: object[];
  };
}

function read(mode: Mode) {
  const text = readFileSync(`deploy/kubernetes/${mode}.yaml`, "utf8");
  const manifests = parseAllDocuments(text, { version: "1.1" }).map(
    (document) => document.toJS() as Manifest,
  );
  const workload = manifests.find(({ kind }) => kind === "Job" || kind === "Deployment");
  const pod = workload?.spec.template.spec as Pod;
  const containers = [...(pod.initContainers ?? []), ...pod.containers];
  const gateway = containers.find(({ name }) => name === "taskgate") as Container;
  const worker = containers.find(({ name }) => name === "worker");
  const env = Object.fromEntries(gateway.env.map(({ name, value }) => [name, value]));
  return { text, manifests, workload, pod, containers, gateway, worker, env };
}

/** What the files of the Secrets hold. */
function contentOf(path: string): string {
  const pem = new Map([
    ["tls.crt", "server.pem"],
    ["tls.key", "server.key"],
  ]).get(basename(path));
  return pem === undefined ? `of-${basename(path)}` : readFileSync(tlsPath(pem), "utf8");
}

function configOf(env: Record<string, string>) {
  return parseConfig({ env, flags: {}, readFile: contentOf });
}

describe.for(modes)("the manifests of mode %s", (mode) => {
  const { text, pod, containers, gateway, env, manifests } = read(mode);

  test("set nothing that the gateway does not know or take", () => {
    expect(configOf(env)).toMatchObject({ config: { drainTimeoutMs: 25_000 } });
  });

  test("give a secret as a file, and to the gateway alone", () => {
    const secrets = pod.volumes.filter(({ secret }) => secret !== undefined);
    expect(secrets.map(({ secret }) => secret?.defaultMode)).toEqual(secrets.map(() => 0o440));
    for (const container of containers.filter(({ name }) => name !== "taskgate")) {
      expect(container.volumeMounts.map(({ name }) => name)).toEqual(["socket", "tmp"]);
    }
    const files = gateway.volumeMounts.map(({ mountPath }) => mountPath);
    for (const [name, value] of Object.entries(env)) {
      expect(name).not.toMatch(/(KEY|TOKEN|SECRET)$(?<!TLS_KEY)/);
      if (name.endsWith("_FILE")) {
        expect(files.some((path) => value.startsWith(`${path}/`))).toBe(true);
      }
    }
  });

  test("let every container do as little as it can", () => {
    expect(pod).toMatchObject({
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
    });
    for (const { securityContext } of containers) {
      expect(securityContext).toMatchObject({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      expect(securityContext.runAsUser).toBeGreaterThan(0);
    }
    expect(new Set(containers.map(({ securityContext }) => securityContext.runAsUser)).size).toBe(
      containers.length,
    );
    expect(`${gateway.securityContext.runAsUser}:${gateway.securityContext.runAsGroup}`).toBe(
      readImage().user,
    );
  });

  test("ask probes that need no upstream, at the pod's address, and have no hook", () => {
    expect(gateway.startupProbe?.httpGet).toEqual({ path: "/startupz", port: 7451 });
    expect(gateway.livenessProbe?.httpGet.path).toBe("/livez");
    expect(gateway.readinessProbe?.httpGet.path).toBe("/readyz");
    expect(env.TASKGATE_OPS_LISTEN).toBe("0.0.0.0:7451");
    expect(containers.map(({ lifecycle }) => lifecycle)).toEqual(containers.map(() => undefined));
  });

  test("write only to volumes, and never into memory", () => {
    const outbox = gateway.volumeMounts.find(({ name }) => name === "outbox");
    expect(env.TASKGATE_DATA_DIR).toBe(`${outbox?.mountPath}/outbox`);
    expect(text).not.toContain("medium: Memory");
    expect(gateway.volumeMounts.map(({ mountPath }) => mountPath)).not.toContain("/tmp");
  });

  test("keep memory below a limit, with the heap below that, and do not throttle", () => {
    const { limits } = gateway.resources ?? {};
    expect(limits).toEqual({ memory: "512Mi" });
    const [, heapMiB] = /--max-old-space-size=(\d+)/.exec(readImage().env.NODE_OPTIONS ?? "") ?? [];
    expect(Number(heapMiB)).toBeLessThanOrEqual(256);
  });

  test("refuse both ways what they do not name", () => {
    const policy = manifests.find(({ kind }) => kind === "NetworkPolicy");
    expect(policy?.spec.policyTypes).toEqual(["Ingress", "Egress"]);
    // Without names no upstream is found.
    expect(policy?.spec.egress?.[0]).toEqual({
      to: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } } }],
      ports: [
        { port: 53, protocol: "UDP" },
        { port: 53, protocol: "TCP" },
      ],
    });
    expect(text).toContain("169.254.0.0/16");
  });

  test("name an image by a version, and no digest that nobody made", () => {
    expect(gateway.image).toMatch(/:\d+\.\d+\.\d+$/);
    expect(text).not.toContain("sha256:");
  });
});

describe.for(["job", "worker"] as const)("the sidecar of mode %s", (mode) => {
  const { pod, gateway, worker, env } = read(mode);

  test("is a native one, so that it starts before the worker and ends behind it", () => {
    expect(pod.initContainers).toHaveLength(1);
    expect(gateway.restartPolicy).toBe("Always");
  });

  test("has time within the grace period after the worker had its own", () => {
    const drainSeconds = 25;
    const workerSeconds = 20;
    expect(env.TASKGATE_DRAIN_TIMEOUT).toBe(`${drainSeconds}s`);
    expect(pod.terminationGracePeriodSeconds).toBe(workerSeconds + drainSeconds + 5);
  });

  test("shares a socket with the worker, and its directory only to look into", () => {
    expect(env.TASKGATE_LISTEN).toBe("unix:/run/taskgate/taskgate.sock");
    expect(worker?.env).toContainEqual({ name: "TASKGATE_GATEWAY", value: env.TASKGATE_LISTEN });
    expect(worker?.volumeMounts[0]).toEqual({
      name: "socket",
      mountPath: "/run/taskgate",
      readOnly: true,
    });
  });
});

describe("the shared gateway", () => {
  const { workload, manifests, pod, env } = read("shared");

  test("is one at a time, on a volume that outlives it", () => {
    expect(workload?.spec).toMatchObject({ replicas: 1, strategy: { type: "Recreate" } });
    expect(pod.volumes.find(({ name }) => name === "outbox")?.persistentVolumeClaim).toBeDefined();
    const claim = manifests.find(({ kind }) => kind === "PersistentVolumeClaim");
    expect(claim?.spec.accessModes).toEqual(["ReadWriteOncePod"]);
    expect(pod.terminationGracePeriodSeconds).toBe(30);
  });

  test("is not served without TLS or without a token", () => {
    for (const name of ["TASKGATE_TLS_CERT", "TASKGATE_AUTH_TOKEN_FILE"]) {
      const { [name]: _, ...rest } = env;
      const result = configOf(
        name === "TASKGATE_AUTH_TOKEN_FILE" ? { ...rest, TASKGATE_ADMIN_TOKEN_FILE: "" } : rest,
      );
      expect(result).toHaveProperty("problems");
    }
  });
});

describe("the image", () => {
  const image = readImage();

  test("comes from one base, by an exact tag, which a digest may follow", () => {
    expect(image.base).toMatch(/^docker\.io\/library\/node:24\.\d+\.\d+-[a-z]+-slim(@sha256:[0-9a-f]{64})?$/);
    expect(image.stages).toEqual(["$NODE_IMAGE", "scratch"]);
  });

  test("is patched: its Node has none of the defects that doctor warns of", async () => {
    const { checkNode } = await import("../../src/doctor/check-node.ts");
    const [, version = ""] = /node:([\d.]+)-/.exec(image.base) ?? [];
    expect(checkNode(version).kind).toBe("ok");
  });

  test("runs as a user that is a number and not root, without a shell", () => {
    expect(image.user).toBe("65532:65532");
    expect(image.entrypoint).toEqual(["/usr/local/bin/node", "/app/bin/taskgate.js"]);
    expect(image.command).toEqual(["serve"]);
  });
});
