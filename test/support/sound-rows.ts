// What holds of the stored rows whatever was asked: nothing names what is not there, what is allotted has one holder each way, and what is counted is the count.
import { expect } from "vitest";
import { chassisTable, poolNumberTable, vifTable, type AnyTable, type PoolNumber, type Row } from "#app";
import { subnetTable } from "../../apps/ipam/model.ts";
import { addressTable, networkTable, portTable } from "../../apps/l2/model.ts";
import { pooledSubnetTable, poolUseTable, subnetPoolTable } from "../../apps/subnet-pools/model.ts";
import { spaceTable } from "../../apps/subnet-pools/space.ts";
import { allTables } from "../../src/boot/registry.ts";
import { contains, parseCidr, parseIp } from "../../src/lib/address.ts";
import type { Harness } from "./harness.ts";

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
/** Columns that may say anything, or outlive what they name: a caller's text; where an address was taken from, which counts only while it is so. */
const FREE = new Set(["project_id", "device_id", "device_owner", "name", "description", "tags", "target_tenant", "owner_id", "iface_id", "metainfo", "device_profile"]);

const storedTables = (h: Harness): AnyTable[] => allTables(h.apps).filter((table) => !table.derived);
const rowsOf = (h: Harness, table: AnyTable): Iterable<Row> => h.model.view.all(table as never) as Iterable<Row>;

/** Ids that stored rows name, and that no stored row has. */
function dangling(h: Harness): string[] {
  const out: string[] = [];
  const there = new Set<string>();
  const tables = storedTables(h);
  for (const table of tables) for (const { id } of rowsOf(h, table)) there.add(id);
  for (const app of h.apps) {
    for (const reference of app.references ?? []) {
      const { table, to } = reference;
      for (const row of rowsOf(h, table)) for (const id of [reference.ids(row) ?? []].flat()) if (h.model.view.get(to, id) === undefined) out.push(`${table.name} ${row.id} names ${to.name} ${id} (a reference of ${app.name})`);
    }
  }
  for (const table of tables) {
    for (const row of rowsOf(h, table)) {
      // Held until a switch has forgotten what it knows by it, longer than its holder.
      if (table === poolNumberTable && (row as PoolNumber).releasing) continue;
      for (const [column, value] of Object.entries(row) as [string, unknown][]) {
        if (FREE.has(column)) continue;
        const texts = typeof value === "string" ? [value] : Array.isArray(value) ? value.filter((v): v is string => typeof v === "string") : [];
        for (const text of texts) for (const [id] of text.matchAll(UUID)) if (!there.has(id)) out.push(`${table.name} ${row.id}: ${column} names ${id}`);
      }
    }
  }
  return out;
}

function unsoundNumbers(h: Harness): string[] {
  const out: string[] = [];
  const held = new Set<string>();
  for (const { pool, part, n } of h.model.view.all(poolNumberTable)) {
    const text = `${n} of ${pool} ${part}`;
    if (held.has(text)) out.push(`${text} is held twice`);
    held.add(text);
  }
  for (const table of storedTables(h)) {
    const keys = new Map<unknown, string>();
    for (const row of rowsOf(h, table) as Iterable<Row & { readonly key?: string | number }>) {
      if (row.key === undefined) continue;
      if (keys.has(row.key)) out.push(`${table.name}s ${row.id} and ${keys.get(row.key)!} have the key ${row.key}`);
      keys.set(row.key, row.id);
    }
  }
  return out;
}

function unsoundAddresses(h: Harness): string[] {
  const { view } = h.model;
  const out: string[] = [];
  for (const { id, port_id, subnet_id, network_id, ip } of view.all(addressTable)) {
    const [port, subnet] = [view.get(portTable, port_id), view.get(subnetTable, subnet_id)];
    if (port?.network_id !== network_id || subnet?.network_id !== network_id || !contains(parseCidr(subnet.cidr)!, parseIp(ip)!)) out.push(`address ${id} of port ${port_id} and subnet ${subnet_id}`);
  }
  const macs = new Set<string>();
  for (const { network_id, mac_address } of view.all(portTable)) {
    if (macs.has(`${network_id} ${mac_address}`)) out.push(`${mac_address} is twice in network ${network_id}`);
    macs.add(`${network_id} ${mac_address}`);
  }
  return out;
}

/** Prefixes of pools: what is used is what subnets have. */
function unsoundPools(h: Harness): string[] {
  const { view } = h.model;
  const out: string[] = [];
  const used = new Map<string, bigint>();
  const leaves = new Set<string>();
  for (const { id, subnetpool_id, project_id, cidr } of view.all(pooledSubnetTable)) {
    const subnet = view.get(subnetTable, id);
    const pool = view.get(subnetPoolTable, subnetpool_id);
    if (subnet?.cidr !== cidr || subnet.project_id !== project_id || pool === undefined) {
      out.push(`pooled subnet ${id}`);
      continue;
    }
    const c = parseCidr(cidr)!;
    const key = `${subnetpool_id}/${project_id}`;
    used.set(key, (used.get(key) ?? 0n) + 2n ** BigInt((pool.ip_version === 4 ? 32 : 128) - c.prefix));
    leaves.add(`${subnetpool_id}/${c.network.toString(16)}/${c.prefix}`);
  }
  for (const { id, used: says } of view.all(poolUseTable)) if (BigInt(says) !== (used.get(id) ?? 0n)) out.push(`use ${id} is ${says}, and subnets have ${used.get(id) ?? 0n}`);
  for (const key of used.keys()) if (view.get(poolUseTable, key) === undefined) out.push(`no use ${key}`);
  const space = new Set([...view.all(spaceTable)].map(({ id }) => id));
  for (const leaf of leaves) if (!space.has(leaf)) out.push(`${leaf} is a subnet's and free`);
  for (const { id, room } of view.all(spaceTable)) {
    const [pool, network, prefix] = id.split("/") as [string, string, string];
    if (view.get(subnetPoolTable, pool) === undefined) out.push(`space ${id} of no pool`);
    const [from, length, width] = [BigInt(`0x${network}`), Number(prefix), view.get(subnetPoolTable, pool)?.ip_version === 6 ? 128 : 32];
    const holdsOne = [...leaves].some((leaf) => {
      const [of, at, l] = leaf.split("/") as [string, string, string];
      return of === pool && Number(l) >= length && BigInt(`0x${at}`) >> BigInt(width - length) === from >> BigInt(width - length);
    });
    if (!holdsOne) out.push(`space ${id} (room ${room}) has no subnet`);
  }
  return out;
}

/** What the API counts, against what it lists. */
async function expectCounts(h: Harness, projects: readonly string[]): Promise<void> {
  const paths = new Map(h.apps.flatMap((app) => app.resources ?? []).map((r) => [r.name, r.path ?? r.collection.replaceAll("_", "-")]));
  const counted = new Map<string, readonly { readonly project_id: string }[]>();
  for (const project of projects) {
    const { quota } = (await h.call("GET", `/v2.0/quotas/${project}/details`)).body as { quota: Record<string, { used: number }> };
    const { router_route: routes, ...rows } = quota;
    const { routers } = (await h.call("GET", "/v2.0/routers")).body as { routers: { project_id: string; routes: unknown[] }[] };
    expect(routes?.used ?? 0, `routes of a router of ${project}`).toBe(Math.max(0, ...routers.filter((r) => r.project_id === project).map((r) => r.routes.length)));
    for (const [resource, { used }] of Object.entries(rows)) {
      if (!counted.has(resource)) {
        const { status, body } = await h.call("GET", `/v2.0/${paths.get(resource)!}`);
        expect(status, `list of ${paths.get(resource)!}: ${JSON.stringify(body).slice(0, 500)}`).toBe(200);
        counted.set(resource, Object.values(body)[0] as never);
      }
      expect(used, `${resource}s of ${project}`).toBe(counted.get(resource)!.filter((row) => row.project_id === project).length);
    }
  }
  const { network_ip_availabilities: availabilities } = (await h.call("GET", "/v2.0/network-ip-availabilities")).body as { network_ip_availabilities: { network_id: string; used_ips: number }[] };
  const addresses = new Map<string, number>();
  for (const { network_id } of h.model.view.all(addressTable)) addresses.set(network_id, (addresses.get(network_id) ?? 0) + 1);
  expect(new Map(availabilities.map((a) => [a.network_id, a.used_ips]))).toEqual(new Map([...h.model.view.all(networkTable)].map(({ id }) => [id, addresses.get(id) ?? 0])));
}

/** Fails when stored rows disagree with each other, or what the API says with them. */
export async function expectSoundRows(h: Harness, projects: readonly string[]): Promise<void> {
  expect(h.complaints).toEqual([]);
  expect([...dangling(h), ...unsoundNumbers(h), ...unsoundAddresses(h), ...unsoundPools(h)]).toEqual([]);
  await expectCounts(h, projects);
}

/** Tables that have rows whatever tenants do, or keep where the next number is looked for. */
const LASTING = new Set([chassisTable.name, vifTable.name, "allocation", "default_security_group_rule", "default_rules_shipped", "agent"]);

/** What is configured is shown as rows that nobody can delete. */
const isConfigured = (row: Row): boolean => "default" in row && "minimum" in row && row.default === true;

/** Stored rows that are left, by table. */
export function leftOf(h: Harness): Record<string, readonly Row[]> {
  return Object.fromEntries(storedTables(h).filter((t) => !LASTING.has(t.name)).map((t) => [t.name, [...rowsOf(h, t)].filter((row) => !isConfigured(row))] as const).filter(([, rows]) => rows.length > 0));
}
