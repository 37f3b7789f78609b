// Runs before each script, on whatever Node there is: kept to what old versions
// understand.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 24 || (major === 24 && minor < 18)) {
  console.error(
    `this needs Node 24.18.1 or newer, and ${process.version} runs it: npm ci brings one on Linux and on Intel Macs; elsewhere install it`,
  );
  process.exit(1);
}
