// Finding the apps: every folder under apps/ that does not begin with "_" or "." and has an index. Order: requirements
// first, then by name, so that every controller with the same folders gets the same order.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { App } from "../app/contract.ts";
import { UsageError } from "../lib/usage-error.ts";

/**
 * Loads all apps of a folder but those that are disabled by name, of which nothing is loaded, and those that are part of these. @throws Error naming the app whose
 * manifest is missing, malformed or asks for what is not there; UsageError naming a disabled app that is not there or that others require.
 */
export async function discoverApps(folder: string, disabled: readonly string[] = []): Promise<App[]> {
  const found: App[] = [];
  const leftOut = new Set<string>();
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!(entry.isDirectory() || entry.isSymbolicLink()) || /^[_.]/.test(entry.name)) continue;
    const index = ["index.js", "index.ts"].map((f) => join(folder, entry.name, f)).find((f) => existsSync(f));
    if (index === undefined) continue;
    if (disabled.includes(entry.name)) {
      leftOut.add(entry.name);
      continue;
    }
    const module = (await import(pathToFileURL(index).href)) as { default?: App };
    const app = module.default;
    if (app?.name !== entry.name) throw new Error(`apps/${entry.name}/index must export an App named ${entry.name} as default, not ${app?.name ?? "nothing"}`);
    found.push(app);
  }
  const unknown = disabled.find((name) => !leftOut.has(name));
  if (unknown !== undefined) throw new UsageError(`--disable-app ${unknown}: there is no app of that name; there are ${[...leftOut, ...found.map((a) => a.name)].sort().join(", ")}`);
  for (let i = 0; i < found.length;) {
    const { name, partOf = [], requires } = found[i]!;
    const wholes = [partOf].flat();
    const stray = wholes.find((whole) => requires?.includes(whole) !== true);
    if (stray !== undefined) throw new Error(`app ${name} is part of ${stray}, which it does not require`);
    if (!wholes.some((whole) => leftOut.has(whole))) i++;
    else {
      leftOut.add(name);
      found.splice(i, 1);
      i = 0;
    }
  }
  for (const name of leftOut) {
    const needing = found.filter((app) => app.requires?.includes(name)).map((app) => app.name).sort();
    if (needing.length > 0) throw new UsageError(`--disable-app ${name}: ${needing.join(", ")} ${needing.length === 1 ? "requires" : "require"} it; disable ${needing.length === 1 ? "that" : "those"} as well`);
  }
  return orderApps(found);
}

/** Requirements first. @throws Error on a missing requirement or a circle. */
export function orderApps(apps: readonly App[]): App[] {
  const byName = new Map(apps.map((a) => [a.name, a]));
  const done = new Set<string>();
  const out: App[] = [];
  const visit = (app: App, path: readonly string[]): void => {
    if (done.has(app.name)) return;
    if (path.includes(app.name)) throw new Error(`apps require each other in a circle: ${[...path, app.name].join(" -> ")}`);
    for (const name of app.requires ?? []) {
      const needed = byName.get(name);
      if (needed === undefined) throw new Error(`app ${app.name} requires ${name}, which is not there`);
      visit(needed, [...path, app.name]);
    }
    done.add(app.name);
    out.push(app);
  };
  for (const app of [...apps].sort((a, b) => (a.name < b.name ? -1 : 1))) visit(app, []);
  return out;
}
