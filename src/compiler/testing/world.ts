// An engine with apps made for a test, on a model in memory. After every change the result is also compared with a compile from
// scratch, and with what a switch holds that did as it was told: every kind of output.
import { decodeInstructions, decodeMatch, FLOW_MOD_MATCH_OFFSET, formatInstructions, formatMatch } from "node-openflow";
import { afterEach, expect } from "vitest";
import {
  chassisScope, chassisTable, definePipeline, defineScope, defineTable, defineVariantScope, each,
  type App, type Chassis, type Emit, type Row, type Rule, type Tx,
} from "#app";
import { allTables } from "../../boot/registry.ts";
import { Model, type Commit } from "../../model/model.ts";
import { Layout } from "../../pipeline/layout.ts";
import { openMemory } from "../../store/memory.ts";
import type { ChassisDelta, Delta, Flow } from "../desired.ts";
import { Engine } from "../engine.ts";

export interface Port extends Row {
  readonly net: string;
  readonly host: string;
  readonly mac: string;
  readonly note?: string;
}
export interface Net extends Row {
  readonly vlan: number;
}
export interface Place extends Row {
  readonly port: string;
  readonly host: string;
}

export const nets = defineTable<Net>()("net", { resource: "network" });
export const ports = defineTable<Port>()("port", { resource: "port", indexes: { net: (p) => p.net }, pairs: { lan: (p) => [p.net, p.host] } });
export const places = defineTable<Place>()("place", { derived: true, indexes: { host: (p) => p.host } });
export const tables = [nets, ports, places];

export const pipeline = definePipeline({
  tables: { t_in: { stage: "classify", miss: "drop", about: "", match: ["eth_dst", "in_port", "eth_type", "ipv4_src"] }, t_fwd: { stage: "forward", miss: "drop", about: "", match: ["eth_dst", "eth_src", "ipv4_dst", "ipv4_src", "eth_type", "in_port", "conj_id"] } },
  registers: {},
});
export const rule: typeof pipeline.rule = (r) => pipeline.rule(r);
export type Out = Emit<typeof pipeline>;
export const netScope = defineScope("net");
export const toScope = defineVariantScope("to");
export const mac = (n: number): string => `02:00:00:00:00:0${n}`;
export const to = (dst: string, port: number, priority = 10) => ({ priority, match: { eth_dst: dst }, actions: [{ type: "output", port }] }) as const;

export class World {
  readonly engine: Engine;
  readonly layout: Layout;
  readonly logged: Record<string, unknown>[] = [];
  private readonly apps: readonly App[];
  private readonly model: Model;
  private readonly commits: Commit[] = [];
  private readonly notified = new Map<string, { flows: Map<string, string>; items: Map<string, string>; rows: string }>();

  private constructor(apps: readonly App[], model: Model) {
    this.apps = apps;
    this.model = model;
    this.layout = new Layout(apps);
    this.engine = new Engine({ apps, tables: allTables(apps), layout: this.layout, rows: model.layer, log: { error: (fields, msg) => this.logged.push({ ...fields, msg }) } });
    this.engine.compileAll(model.generation);
    model.onCommit((commit) => this.commits.push(commit));
    this.engine.onDelta((delta) => {
      for (const [id, d] of delta.chassis) this.apply(id, d);
    });
  }

  static async make(...apps: readonly (Partial<App> & { readonly name: string })[]): Promise<World> {
    const full = apps.map((a, i) => ({ about: "", ...(i === 0 ? { tables, pipeline } : {}), ...a }));
    const world = new World(full, await Model.open(openMemory(), allTables(full)));
    worlds.push(world);
    await world.change((tx) => ["h1", "h2"].forEach((h, i) => tx.put(chassisTable, chassis(h, i + 1))));
    return world;
  }

  /** Commits compiled as one batch; and everything that must hold after any. */
  async change(...fns: ((tx: Tx) => void)[]): Promise<Delta> {
    for (const fn of fns) await this.model.transact({ requestId: "r", call: "c" }, fn);
    const merged = { generation: this.model.generation, changes: this.commits.splice(0).flatMap((c) => c.changes) };
    const delta = this.engine.apply(merged);
    const fresh = new Engine({ apps: this.apps, tables: allTables(this.apps), layout: this.layout, rows: this.model.layer, log: { error: () => undefined } });
    fresh.compileAll(this.model.generation);
    for (const host of ["h1", "h2"]) {
      const now = this.flows(host);
      expect(now, `${host}: incremental equals from scratch`).toEqual(this.text(fresh.flowsOf(host)));
      expect(this.notified.get(host)?.flows ?? new Map(), `flows ${host} was told`).toEqual(new Map([...this.engine.flowsOf(host)].map((f) => [f.key, bytes(f)])));
      expect(this.items(host), `${host}: items incremental equal from scratch`).toEqual(items(fresh, host));
      expect(this.notified.get(host)?.items ?? new Map(), `items ${host} was notified of`).toEqual(this.items(host));
      expect(sorted(this.engine.rowsOf(host)), `${host}: rows incremental equal from scratch`).toEqual(sorted(fresh.rowsOf(host)));
      expect(sorted(this.engine.patchesOf(host)), `${host}: patches incremental equal from scratch`).toEqual(sorted(fresh.patchesOf(host)));
      expect(this.notified.get(host)?.rows ?? "[][]", `rows ${host} was notified of`).toBe(this.rows(host));
    }
    expect(sorted(this.engine.conflicts), "conflicts are those of now").toEqual(sorted(fresh.conflicts));
    return delta;
  }

  /** Rows as they would be; all is as before afterwards. */
  tries(...rows: readonly Port[]): void {
    const layer = this.model.layer;
    const changes = rows.map((after) => ({ table: ports, id: after.id, before: layer.row(ports, after.id), after }));
    this.engine.attempt({ changes, runs: 1000, follow: () => [], read: () => undefined, place: (those, as) => {
      for (const { table, id, before, after } of those) {
        const row = as === "after" ? after : before;
        if (row === undefined) layer.remove(table, id);
        else layer.put(table, row);
      }
    } });
  }

  /** What the change ran. */
  async runs(fn: (tx: Tx) => void): Promise<number> {
    const before = this.engine.stats.runs;
    await this.change(fn);
    return this.engine.stats.runs - before;
  }

  flows(host: string): string[] {
    return this.text(this.engine.flowsOf(host));
  }

  find(host: string, text: string): Flow {
    return [...this.engine.flowsOf(host)].find((f) => this.line(f).includes(text))!;
  }

  items(host: string): Map<string, string> {
    return items(this.engine, host);
  }

  rows(host: string): string {
    return JSON.stringify(sorted(this.engine.rowsOf(host))) + JSON.stringify(sorted(this.engine.patchesOf(host)));
  }

  private text(flows: Iterable<Flow>): string[] {
    return [...flows].map((f) => this.line(f)).sort();
  }

  private line(f: Flow): string {
    const at = f.off + FLOW_MOD_MATCH_OFFSET;
    const actions = formatInstructions(decodeInstructions(f.slab, at + f.matchLen, f.len - FLOW_MOD_MATCH_OFFSET - f.matchLen));
    return `${this.layout.tableById(f.table)!.name} ${formatMatch(decodeMatch(f.slab, at))} -> ${actions}`;
  }

  private apply(id: string, delta: ChassisDelta): void {
    let held = this.notified.get(id);
    if (held === undefined) this.notified.set(id, (held = { flows: new Map(), items: new Map(), rows: "[][]" }));
    const keys = [...delta.add, ...delta.remove].map((f) => f.key);
    expect(new Set(keys).size, `${id}: a key is told once`).toBe(keys.length);
    for (const f of delta.remove) expect(held.flows.delete(f.key), `${id} is told to remove what it has`).toBe(true);
    for (const f of delta.add) expect(delta.changed.has(f), `${id} is told what replaces a flow it has`).toBe(held.flows.has(f.key));
    for (const f of delta.add) held.flows.set(f.key, bytes(f));
    for (const i of delta.removeItems) expect(held.items.delete(`${i.kind} ${i.id}`), `${id} gives up the ${i.kind} it has`).toBe(true);
    for (const i of delta.addItems) held.items.set(`${i.kind} ${i.id}`, i.text);
    if (delta.rowsChanged) held.rows = this.rows(id);
  }

  close(): Promise<void> {
    return this.model.close();
  }
}

export const worlds: World[] = [];
afterEach(async () => {
  for (const w of worlds.splice(0)) await w.close();
});

export const sorted = (values: Iterable<object>): object[] => [...values].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
export const items = (engine: Engine, host: string): Map<string, string> => new Map([...engine.itemsOf(host)].map((i) => [`${i.kind} ${i.id}`, i.text]));

export const bytes = (f: Flow): string => f.slab.toString("hex", f.off, f.off + f.len);

export const chassis = (id: string, key: number): Chassis => ({
  id, key, hostname: id, bridge: "br-int", dpid: String(key), datapath_type: "system", encap_ip: "", encap_types: [], bridge_mappings: {}, gateway: false, ovs_version: "3",
});
export const port = (n: number, fields: Partial<Port> = {}): Port => ({ id: `p${n}`, net: "n1", host: "h1", mac: mac(n), ...fields });

export const onPort = (name: string, emit: Rule<Port>["emit"]): Rule => rule<Port>({ name, about: `about ${name}`, on: each(ports), emit });
export const forward = onPort("forward", (p, _view, out) => out.flow(chassisScope(p.host), "t_fwd", to(p.mac, 7)));

export const counts = (delta: Delta, host = "h1"): [add: number, remove: number] => [delta.chassis.get(host)?.add.length ?? 0, delta.chassis.get(host)?.remove.length ?? 0];
