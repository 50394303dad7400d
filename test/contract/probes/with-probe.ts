// A cloud on real switches, or a harness, whose controller has one app more: a probe, copied in as a folder of its own.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { repositoryRoot } from "../../../lab/controller.ts";
import { Cloud, type CloudOptions } from "../../support/cloud.ts";
import { appsFolder, Harness } from "../../support/harness.ts";

const root = repositoryRoot();
const here = fileURLToPath(new URL(".", import.meta.url));
let made = 0;

/** Copies a probe's files, its imports of other apps as they are in apps/. */
function copyProbe(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const file of readdirSync(from)) {
    if (/\.[jt]s$/.test(file) && !/\.(test|d)\.ts$/.test(file)) writeFileSync(path.join(to, file), readFileSync(path.join(from, file), "utf8").replaceAll("../../../../apps/", "../"));
  }
}

export interface ProbeCloud {
  readonly cloud: Cloud;
  /** Takes the probe's folder away; the controller has to be restarted. */
  removeProbe(): void;
  destroy(): Promise<void>;
}

export async function cloudWith(probes: readonly string[], options: CloudOptions = {}): Promise<ProbeCloud> {
  const tree = path.join(root, ".lab", `probe-${process.pid}-${made++}`);
  mkdirSync(tree, { recursive: true });
  cpSync(path.join(root, "package.json"), path.join(tree, "package.json"));
  for (const part of ["src", "apps"]) cpSync(path.join(root, "dist", part), path.join(tree, "dist", part), { recursive: true });
  symlinkSync(path.join(root, "node_modules"), path.join(tree, "node_modules"));
  for (const probe of probes) copyProbe(path.join(root, "dist/test/contract/probes", probe), path.join(tree, "dist/apps", probe));
  const destroy = (): void => rmSync(tree, { recursive: true, force: true });
  try {
    const cloud = await Cloud.create({ ...options, main: path.join(tree, "dist/src/main.js") });
    return {
      cloud,
      removeProbe: () => probes.forEach((probe) => rmSync(path.join(tree, "dist/apps", probe), { recursive: true })),
      destroy: async () => {
        await cloud.destroy();
        destroy();
      },
    };
  } catch (error) {
    destroy();
    throw error;
  }
}

/** A harness with the apps and these probes. `close` removes what was copied. */
export async function harnessWith(probes: readonly string[]): Promise<{ readonly harness: Harness; close(): Promise<void> }> {
  const folder = path.join(root, ".lab", `probe-${process.pid}-${made++}`, "apps");
  mkdirSync(folder, { recursive: true });
  for (const app of readdirSync(appsFolder)) if (!app.startsWith("_")) symlinkSync(path.join(appsFolder, app), path.join(folder, app));
  for (const probe of probes) copyProbe(path.join(here, probe), path.join(folder, probe));
  const harness = await Harness.make([], folder);
  return {
    harness,
    close: async () => {
      await harness.close();
      rmSync(path.dirname(folder), { recursive: true, force: true });
    },
  };
}
