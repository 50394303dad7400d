// A folder of a test's own, which goes with it, pass or fail.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** Within a test, or what it calls. */
export function ownFolder(name: string): string {
  const dir = mkdtempSync(join(tmpdir(), `axion-${name}-`));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
