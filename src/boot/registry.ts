// The apps of this controller taken together: checked once at boot, so that a wrong manifest ends the start with one line.
import { chassisTable, vifTable, zonePool } from "../app/inventory.ts";
import { hostSessionsTable, observableColumns, observedTable } from "../app/observe.ts";
import { claimTable, poolNumberTable, type NumberKind, type Pool } from "../app/pools.ts";
import type { App } from "../app/contract.ts";
import type { AnySoftTable } from "../app/soft-table.ts";
import type { AnyTable } from "../app/table.ts";

const CORE_TABLES: readonly AnyTable[] = [chassisTable, vifTable, poolNumberTable, claimTable];

/** All tables: the core's inventory and the apps'. @throws Error naming both owners of a name. */
export function allTables(apps: readonly App[]): AnyTable[] {
  const owners = new Map<string, string>();
  const out: AnyTable[] = [];
  const add = (table: AnyTable, owner: string): void => {
    const other = owners.get(table.name);
    if (other !== undefined) throw new Error(`table ${table.name} is declared by ${other} and by ${owner}`);
    owners.set(table.name, owner);
    out.push(table);
  };
  for (const table of CORE_TABLES) add(table, "core");
  for (const app of apps) for (const table of app.tables ?? []) add(table, app.name);
  return out;
}

/** All soft tables: what hosts are observed to be, and the apps'. */
export const allSoftTables = (apps: readonly App[]): AnySoftTable[] => [observedTable, hostSessionsTable, ...apps.flatMap((app) => app.softTables ?? [])];

/** What else a manifest can get wrong. @throws Error naming the app and the entry. */
export function checkApps(apps: readonly App[]): void {
  const resources = new Map<string, string>();
  const softTables = new Map([[observedTable.name, "core"], [hostSessionsTable.name, "core"]]);
  const lists = new Map<string, string>();
  const tables = new Map(apps.flatMap((app) => (app.tables ?? []).map((t) => [t.name, app.name] as const)));
  for (const app of apps) {
    for (const r of app.resources ?? []) {
      const other = resources.get(r.name);
      if (other !== undefined) throw new Error(`resource ${r.name} is declared by ${other} and by ${app.name}`);
      resources.set(r.name, app.name);
    }
  }
  for (const app of apps) {
    for (const { resource } of app.extend ?? []) {
      const owner = resources.get(resource);
      if (owner === undefined) throw new Error(`app ${app.name} extends resource ${resource}, which no app declares`);
      if (owner !== app.name && app.requires?.includes(owner) !== true) throw new Error(`app ${app.name} extends resource ${resource} of ${owner}, which it does not require`);
    }
    for (const { name, counts } of app.rules ?? []) {
      if (counts === undefined) continue;
      const owner = resources.get(counts.resource);
      if (owner === undefined) throw new Error(`rule ${name} of ${app.name} counts for resource ${counts.resource}, which no app declares`);
      if (owner !== app.name && !reaches(app, owner, apps)) throw new Error(`rule ${name} of ${app.name} counts for resource ${counts.resource} of ${owner}, which it does not require`);
    }
    for (const table of Object.keys(app.packetIn ?? {})) {
      if (app.pipeline?.tables[table] === undefined) throw new Error(`app ${app.name} handles packets of table ${table}, which it does not declare`);
    }
    for (const table of app.heard ?? []) {
      if (app.pipeline?.tables[table] === undefined) throw new Error(`app ${app.name} hears packets of table ${table}, which it does not declare`);
    }
    for (const table of Object.keys(app.effects ?? {})) {
      if (app.pipeline?.tables[table] === undefined) throw new Error(`app ${app.name} has effects of table ${table}, which it does not declare`);
    }
    for (const { table, to } of app.references ?? []) {
      for (const { name, derived } of [table, to]) {
        const owner = tables.get(name);
        if (derived) throw new Error(`app ${app.name} has a reference of table ${name}, which is derived`);
        if (owner === undefined ? !CORE_TABLES.some((t) => t.name === name) : owner !== app.name && !reaches(app, owner, apps)) throw new Error(`app ${app.name} has a reference of table ${name}, which is not its own and of no app that it requires`);
      }
    }
    for (const { register } of app.portContext ?? []) {
      if (register !== undefined && app.pipeline?.registers?.[register] === undefined) throw new Error(`app ${app.name} loads register ${register}, which it does not declare`);
    }
    for (const soft of app.softTables ?? []) {
      const other = softTables.get(soft.name) ?? tables.get(soft.name);
      if (other !== undefined) throw new Error(`soft table ${soft.name} of ${app.name} has the name of a table of ${other}`);
      softTables.set(soft.name, app.name);
    }
    for (const [table, columns] of Object.entries(app.observe ?? {})) {
      const known = observableColumns as Readonly<Record<string, object>>;
      for (const column of columns) if (!Object.hasOwn(known, table) || !Object.hasOwn(known[table]!, column)) throw new Error(`app ${app.name} observes ${table}:${column}, which cannot be observed`);
    }
    for (const { path } of app.opsLists ?? []) {
      const other = lists.get(path);
      if (!/^[a-z][a-z-]*$/.test(path)) throw new Error(`app ${app.name} lists ${path}: a path is one word, of small letters and hyphens`);
      if (other !== undefined) throw new Error(`list ${path} of ${app.name} is declared by ${other} already`);
      lists.set(path, app.name);
    }
    const services = (app.services ?? []).map((s) => s.name);
    const again = services.find((n, i) => services.indexOf(n) !== i);
    if (again !== undefined) throw new Error(`app ${app.name} has two services named ${again}`);
    const names = [...(app.rules ?? []).map((r) => r.name), ...(app.derive ?? []).map((d) => d.name)];
    const twice = names.find((n, i) => names.indexOf(n) !== i);
    if (twice !== undefined) throw new Error(`app ${app.name} has two rules named ${twice}`);
  }
}

/** Whether an app requires another, at any distance. */
const reaches = (app: App, name: string, apps: readonly App[]): boolean =>
  (app.requires ?? []).some((r) => r === name || reaches(apps.find((a) => a.name === r) ?? { name: r, about: "" }, name, apps));

/** Pools of numbers, by name. @throws Error naming a pool that two declare, or two that overlap in what their numbers are of */
export function allPools(apps: readonly App[]): ReadonlyMap<string, Pool> {
  const pools = new Map([[zonePool.name, zonePool]]);
  for (const app of apps) {
    for (const pool of app.pools ?? []) {
      if (pools.has(pool.name)) throw new Error(`pool ${pool.name} of ${app.name} is declared already`);
      if (!Number.isSafeInteger(pool.min) || !Number.isSafeInteger(pool.max) || pool.min < 0 || pool.min > pool.max) throw new Error(`pool ${pool.name} of ${app.name} goes from ${pool.min} to ${pool.max}`);
      for (const other of pools.values()) {
        const kind = kindsOf(pool).find((k) => k !== "key" && kindsOf(other).includes(k));
        if (kind === undefined || pool.min > other.max || pool.max < other.min) continue;
        throw new Error(`pool ${pool.name} of ${app.name} has numbers of the pool ${other.name}: both are of ${kind}, ${pool.min}..${pool.max} and ${other.min}..${other.max}`);
      }
      pools.set(pool.name, pool);
    }
  }
  return pools;
}

const kindsOf = ({ of }: Pool): readonly NumberKind[] => (typeof of === "string" ? [of] : of);
