// The flags that scripts give to node: those that its version does not know are left out, for one of them would end the start.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { repositoryRoot } from "../../lab/controller.ts";

const inLib = (commands: string): string => execFileSync("bash", ["-c", `source scripts/lib.sh; ${commands}`], { cwd: repositoryRoot(), encoding: "utf8" });

const PRINT_FLAGS = `-p 'process.execArgv.filter((flag) => flag.startsWith("--")).join(" ")'`;

test("a flag that node does not know is left out, and the others are given", () => {
  const flags = inLib(`NODE_FLAGS=(--enable-source-maps) TIERING_FLAGS=(--no-such-flag=1 --always-sparkplug --nor-this); run_node ${PRINT_FLAGS}`);
  expect(flags).toBe("--enable-source-maps --always-sparkplug\n");
});

test("with the flags as they are node starts, and optimises late", () => {
  expect(inLib(`run_node ${PRINT_FLAGS}`)).toMatch(/^--enable-source-maps .*--(interrupt-budget|invocation-count-for-turbofan)=\d+\n$/);
});

test("the controller and the benchmarks are run with them", () => {
  for (const script of ["start", "bench"]) expect(readFileSync(`${repositoryRoot()}/scripts/${script}.sh`, "utf8")).toMatch(/^run_node .*dist\//m);
});
