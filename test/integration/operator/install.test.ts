// What install-deps.sh does on a machine that cannot reach npm's registry.
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";
import { Lab } from "../../../lab/lab.ts";

const dir = mkdtempSync(path.join(tmpdir(), "axion-install-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A clone of what npm needs, with nothing installed. */
function clone(): string {
  const root = repositoryRoot();
  const to = path.join(dir, "clone");
  for (const name of ["package.json", "package-lock.json", "scripts", "console/package.json"]) cpSync(path.join(root, name), path.join(to, name), { recursive: true });
  symlinkSync(path.join(root, "protocol"), path.join(to, "protocol"));
  return to;
}

test.skipIf(Lab.missing().length > 0)("without the registry and with nothing stored, installing ends soon and says why", async () => {
  const lab = await Lab.create();
  try {
    // A namespace has no way to the registry; npm would wait half a minute before it asks again.
    const env = { npm_config_cache: path.join(dir, "cache"), npm_config_fetch_retries: "0" };
    const { exitCode, stderr } = await lab.node.exec(["bash", "scripts/install-deps.sh", "npm"], { cwd: clone(), env, allowFailure: true, timeoutMs: 60_000 });
    expect(exitCode).toBe(1);
    expect(stderr).toContain("axion: the npm registry does not answer within a minute: what npm has stored is used\n");
    expect(stderr).toContain("axion: npm packages could not be installed; see above; when this machine reaches the registry (npm ping): npm ci\n");
    expect(existsSync(path.join(dir, "clone/node_modules/.axion-lock"))).toBe(false);
  } finally {
    await lab.destroy();
  }
}, 90_000);
