// Nothing remembers hosts and ports that are gone, but what remembers so much of the past and no more: the heap is looked through for their names, whoever holds them.
import { text } from "node:stream/consumers";
import { getHeapSnapshot } from "node:v8";
import { expect, test } from "vitest";
import { chassisTable, forgetPart, hostSessionsTable, learned, vifTable, zonePool } from "#app";
import { Harness } from "../support/harness.ts";

const HOSTS = 24;
/**
 * Bounded by number, bytes or time: the log of commits, and what shows it to those that come late; the last batches; what took rows away; memory of flows that is used again;
 * names of scopes. What this test has at hand is on the stack.
 */
const PAST = /#log|#kept|batches < Late|latest < Receipts|removals < Model|slab < FlowEncoder|next < OwnedFlow|Context\.previous|Array\.\[\] < \(Stack roots\)/;

/** V8's heap snapshots: https://nodejs.org/api/v8.html#v8getheapsnapshotoptions, in the form that DevTools reads. */
interface HeapSnapshot {
  readonly snapshot: { readonly meta: { readonly node_fields: readonly string[]; readonly node_types: readonly [readonly string[]]; readonly edge_types: readonly [readonly string[]] } };
  readonly nodes: readonly number[];
  readonly edges: readonly number[];
  readonly strings: readonly string[];
}

/** Ways from what is never collected to strings with one of these names, each with those that are held so. `names` is asked when it has been looked. */
async function holders(names: () => readonly string[]): Promise<Map<string, Set<string>>> {
  const { snapshot: { meta }, nodes, edges, strings } = JSON.parse(await text(getHeapSnapshot())) as HeapSnapshot;
  const width = meta.node_fields.length;
  const at = (field: string): number => meta.node_fields.indexOf(field);
  const [TYPE, NAME, EDGES] = [at("type"), at("name"), at("edge_count")];
  const count = nodes.length / width;
  const first = new Uint32Array(count + 1);
  for (let n = 0; n < count; n++) first[n + 1] = first[n]! + nodes[n * width + EDGES]!;
  const nameOf = (n: number): string => strings[nodes[n * width + NAME]!]!;
  // The shortest way to each, by what is no weak reference.
  const from = new Int32Array(count).fill(-1);
  const by = new Int32Array(count).fill(-1);
  const queue = [0];
  from[0] = 0;
  const pattern = new RegExp(names().join("|"));
  const found = new Map<number, string>();
  for (let n = 0; n < count; n++) {
    if (!/string/.test(meta.node_types[0][nodes[n * width + TYPE]!]!)) continue;
    const name = pattern.exec(nameOf(n))?.[0];
    if (name !== undefined) found.set(n, name);
  }
  const direct: { readonly holder: number; readonly edge: number; readonly name: string }[] = [];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    for (let edge = first[next]!; edge < first[next + 1]!; edge++) {
      if (meta.edge_types[0][edges[edge * 3]!] === "weak") continue;
      const to = edges[edge * 3 + 2]! / width;
      const name = found.get(to);
      if (name !== undefined) direct.push({ holder: next, edge, name });
      if (from[to]! >= 0) continue;
      from[to] = next;
      by[to] = edge;
      queue.push(to);
    }
  }
  const edgeName = (edge: number): string => (/element|hidden/.test(meta.edge_types[0][edges[edge * 3]!]!) ? "[]" : strings[edges[edge * 3 + 1]!]!.replace(/^\d+$/, "[]"));
  const out = new Map<string, Set<string>>();
  for (const { holder, edge, name } of direct) {
    const way = [edgeName(edge)];
    for (let n = holder; n !== 0 && way.length < 40; n = from[n]!) way.push(`${nameOf(n).slice(0, 40)}.${edgeName(by[n]!)}`);
    const key = way.join(" < ");
    if (!PAST.test(key)) out.set(key, (out.get(key) ?? new Set()).add(name));
  }
  return out;
}

test("of hosts and ports that are gone no map and no list has the names", { timeout: 120_000 }, async () => {
  const h = await Harness.make();
  const { id: network } = await h.create("network", {});
  const { id: router } = await h.create("router", {});
  const v6 = { ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" };
  for (const values of [{ ip_version: 4, cidr: "10.0.0.0/16" }, { ip_version: 6, cidr: "2001:db8::/64", ...v6 }]) {
    const { id: subnet_id } = await h.create("subnet", { network_id: network, ...values });
    await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id });
  }
  // This test has no list of them: their names are made, and ids of ports are kept in another spelling. V8 keeps texts that are put together of more than 12 characters as their parts.
  const hosts = (): string[] => Array.from({ length: HOSTS }, (_, n) => `gone${n}x`);
  const spelled: string[] = [];
  const ports = (): string[] => spelled.map((id) => id.replaceAll("_", "-"));
  for (const [n, host] of hosts().entries()) {
    await h.addChassis(host, { key: n + 10, gateway: n % 2 === 0 });
    h.facts.learn(learned(hostSessionsTable, host, { id: host, openflow: true, ovsdb: true, startedAt: "2026-01-01T00:00:00Z", lostAt: undefined }));
    const { id } = await h.create("port", { network_id: network });
    spelled.push(id.replaceAll("-", "_"));
    await h.plug(host, id, 10);
  }
  const pass = async (seconds: number, there = (): string[] => []): Promise<void> => {
    for (let t = 0; t < seconds; t++) {
      await h.clock.run(1000);
      await h.settled();
      for (const host of there()) h.confirm(host);
    }
  };
  await pass(45, hosts);
  for (const id of ports()) {
    await h.call("GET", `/v2.0/ports/${id}?fields=id&fields=axion:statistics`);
    await h.call("DELETE", `/v2.0/ports/${id}`);
  }
  // As the southbound layer does it (src/southbound/ovsdb/inventory.ts), which is not here.
  await h.model.transact({ requestId: "req-gone", call: "hosts are gone" }, (tx) => {
    for (const host of hosts()) {
      for (const { id } of tx.by(vifTable, "chassis", host)) tx.delete(vifTable, id);
      forgetPart(tx, zonePool, host);
      tx.delete(chassisTable, host);
    }
  });
  await h.settled();
  for (const host of hosts()) {
    h.switches.delete(host);
    h.facts.forget(hostSessionsTable, host);
  }
  await pass(120);
  h.sent.splice(0);
  Object.assign(globalThis, { heldByTest: new Map(hosts().map((host) => [host, true])) });
  const held = async (): Promise<string[]> => [...(await holders(() => [...hosts(), ...ports()]))].filter(([, those]) => those.size > HOSTS / 2).map(([way, those]) => `${those.size} by ${way}`);
  const isMine = (way: string): boolean => way.includes("heldByTest");
  let many = await held();
  expect(many.some(isMine), "what this test holds is found").toBe(true);
  // What is under way at a moment is no more a little later.
  for (let n = 0; n < 2 && !many.every(isMine); n++) {
    await pass(30);
    many = await held();
  }
  expect(many.filter((way) => !isMine(way))).toEqual([]);
  Object.assign(globalThis, { heldByTest: undefined });
  await h.close();
});
