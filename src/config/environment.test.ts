// Variables that nobody reads, and that every one which something here reads is known.
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { defineSettings } from "#app";
import { otherVariables, unknownVariables } from "./environment.ts";
import { allFlags, variableOf } from "./flags.ts";

describe("variables of the environment", () => {
  test("that nobody reads are told with the one that was probably meant", () => {
    const env = { PATH: "/bin", AXION_API: "x", AXION_NIGHTLY: "1", AXION_DATADIR: "/x", AXION_LOG_LEVLE: "debug", AXION_QQQQQQ: "1", axion_api: "x" };
    expect(unknownVariables(env, [])).toEqual([
      { variable: "AXION_DATADIR", meant: "AXION_DATA_DIR" },
      { variable: "AXION_LOG_LEVLE", meant: "AXION_LOG_LEVEL" },
      { variable: "AXION_QQQQQQ", meant: undefined },
    ]);
  });

  test("of an app's settings are known where the app is", () => {
    const app = { name: "a", settings: defineSettings({ "probe-size": { kind: { integer: [0, 9] }, fallback: "1", about: "" } }) };
    expect(unknownVariables({ AXION_PROBE_SIZE: "1" }, [app])).toEqual([]);
    expect(unknownVariables({ AXION_PROBE_SIZE: "1" }, [])).toHaveLength(1);
  });

  test("are told up to a number, and to a length", () => {
    const env = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`AXION_${"Z".repeat(5000)}${i}`, "1"]));
    const told = unknownVariables(env, []);
    expect([told.length, Math.max(...told.map(({ variable }) => variable.length))]).toEqual([20, 100]);
  });

  test("that anything of the project reads are known", () => {
    const read = execFileSync("git", ["grep", "-hoE", String.raw`(env|environ)(\.|\[["'])AXION_[A-Z_]+`, "--", "*.ts", "*.js", "*.py", "*.sh"], { encoding: "utf8" }).split("\n").filter((line) => line !== "");
    const names = [...new Set(read.map((line) => /AXION_\w+/.exec(line)![0]))];
    const known = [...[...allFlags([]).keys()].map(variableOf), ...otherVariables];
    expect(names).toContain("AXION_NIGHTLY");
    expect(names.filter((name) => !known.includes(name))).toEqual([]);
  });
});
