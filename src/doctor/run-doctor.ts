import type { Config } from "../config/config.ts";
import { checkDisk } from "./check-disk.ts";
import { checkFiles } from "./check-files.ts";
import { checkNode } from "./check-node.ts";
import { checkUpstreams } from "./check-upstreams.ts";
import type { Finding } from "./finding.ts";

export interface DoctorDeps {
  config: Config;
  /** Files that hold secrets. */
  secretFiles: readonly string[];
  nodeVersion: string;
  /** The wall clock. */
  now: () => number;
}

/**
 * Looks at all that a gateway with this configuration needs, and changes nothing but for a
 * file that it writes beside the outbox and removes.
 */
export async function runDoctor({ config, secretFiles, nodeVersion, now }: DoctorDeps): Promise<Finding[]> {
  const { directory, maxBytes } = config.outbox;
  const upstreams = [config.orchestra, config.orchestrator, config.aidbox].filter(Boolean).length;
  return [
    checkNode(nodeVersion),
    ...checkFiles(secretFiles),
    ...checkDisk(directory, maxBytes * Math.max(1, upstreams)),
    ...(await checkUpstreams(config, now)),
  ];
}
