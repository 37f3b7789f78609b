import { readFileSync, writeFileSync } from "node:fs";

// Writes the digest of the base image behind its tag, as a release does with the one that
// it was built with. Usage: node tools/pin-base-image.ts sha256:DIGEST

const path = "deploy/Dockerfile";
const digest = process.argv[2] ?? "";
if (!/^sha256:[0-9a-f]{64}$/.test(digest)) {
  throw new Error(`${digest} is no digest: docker buildx imagetools inspect says it of the tag in ${path}`);
}
const text = readFileSync(path, "utf8");
const pinned = text.replace(/^(ARG NODE_IMAGE=[^@\s]+)(@\S+)?$/m, `$1@${digest}`);
if (!pinned.includes(digest)) {
  throw new Error(`${path} has no line with the base image`);
}
writeFileSync(path, pinned);
