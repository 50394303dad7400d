// An app is its folder: taken away, nothing of it runs, also where it was compiled before. The compiler leaves what it once wrote.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { repositoryRoot } from "../../lab/controller.ts";

test("what was compiled of a folder that is gone goes with the next build", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "axion-removed-"));
  try {
    const write = (file: string): void => {
      mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
      writeFileSync(path.join(folder, file), "");
    };
    for (const file of ["apps/kept/index.ts", "apps/emptied/model.ts", "dist/kept/index.js", "dist/emptied/index.js", "dist/gone/index.js", "dist/gone/api.js"]) write(file);
    const script = path.join(repositoryRoot(), "scripts/lib.sh");
    execFileSync("bash", ["-c", 'source "$1"; forget_removed "$2/apps" "$2/dist"', "-", script, folder]);
    expect(["kept", "emptied", "gone"].map((name) => existsSync(path.join(folder, "dist", name)))).toEqual([true, false, false]);
    execFileSync("bash", ["-c", 'source "$1"; forget_removed "$2/apps" "$2/nowhere"', "-", script, folder]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("every build does so", () => {
  expect(execFileSync("bash", ["-c", 'source scripts/lib.sh; declare -f build'], { cwd: repositoryRoot(), encoding: "utf8" })).toContain("forget_removed apps dist/apps");
});
