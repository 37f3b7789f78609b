#!/usr/bin/env node
// Runs the source in a checkout and the build in the published package. Kept to
// what old versions of Node understand, so that they can say what is missing.
import { existsSync } from "node:fs";
import module from "node:module";
import { fileURLToPath } from "node:url";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 24 || (major === 24 && minor < 18)) {
  console.error(`taskgate needs Node 24.18.1 or newer; this is ${process.version}`);
  process.exit(1);
}
const source = new URL("../src/main.ts", import.meta.url);
const build = new URL("../dist/src/main.js", import.meta.url);
if (existsSync(source)) {
  // Stripping the types of all files anew takes a third of a start. The cache is
  // kept in the checkout, where nobody else can put something into it.
  module.enableCompileCache(fileURLToPath(new URL("../node_modules/.cache/taskgate", import.meta.url)));
  setTimeout(() => module.flushCompileCache(), 2000).unref();
  await import(source.href);
} else {
  await import(build.href);
}
