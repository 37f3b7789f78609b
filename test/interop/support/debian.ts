import { Skip, type Stage } from "./stage.ts";

const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };

/** Installs Debian's packages where that may be done: as root. Resolves with whether they are there now. */
export async function installDebianPackages(stage: Stage, ...packages: string[]): Promise<boolean> {
  if (process.getuid?.() !== 0) {
    return false;
  }
  stage.say(`        installing Debian's ${packages.join(", ")}`);
  const install = ["install", "--yes", "--no-install-recommends", ...packages];
  const first = await stage.run("apt-get", install, { env, timeoutMs: 300_000 });
  if (first.code === 0 || first.code === "not started") {
    return first.code === 0;
  }
  // A new machine may have no lists of packages yet.
  await stage.run("apt-get", ["update"], { env, timeoutMs: 300_000 });
  return (await stage.run("apt-get", install, { env, timeoutMs: 300_000 })).code === 0;
}

/**
 * What is found on this machine, if need be after Debian's packages with it were installed.
 *
 * @throws Skip with the packages, when it is not there and cannot be installed
 */
export async function installedOr<Found>(
  stage: Stage,
  packages: readonly string[],
  find: () => Promise<Found>,
): Promise<Found> {
  try {
    return await find();
  } catch (error) {
    if (!(error instanceof Skip)) {
      throw error;
    }
    if (!(await installDebianPackages(stage, ...packages))) {
      throw new Skip(`${error.message}; Debian has it in ${packages.join(" ")}`);
    }
  }
  return find();
}
