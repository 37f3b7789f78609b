import { expect, test } from "vitest";
import { readFlags } from "../../src/cli/read-flags.ts";

const names = ["listen", "lease-duration"];

test("flags have values behind them or behind =, and the last one counts", () => {
  expect(readFlags(["--listen", "a", "word", "--lease-duration=-1", "--listen=b"], names)).toEqual({
    flags: { listen: "b", "lease-duration": "-1" },
    positionals: ["word"],
    problems: [],
  });
});

test("all that is wrong is told at once, and no value is shown", () => {
  const args = ["--lsten", "hush", "--Lease-Duration=hush", "-x", "--listen", "--lease-duration"];
  const { problems } = readFlags(args, names);
  expect(problems).toEqual([
    "there is no flag --lsten (did you mean --listen?)",
    "there is no flag --Lease-Duration (did you mean --lease-duration?)",
    "there is no flag -x",
    "--listen needs a value",
  ]);
});
