// Histories in which the controller is restarted now and then with other apps over the same store, while switches keep what they were
// told. What a started controller tells a switch is exactly the difference between what that holds and what it should; what an absent
// app has stored stays as it is, and lives again when the app is back, but for what it refers to and is gone.
import { decodeMatch, FLOW_MOD_MATCH_OFFSET } from "node-openflow";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { poolNumberTable, vifTable, zonePool, type App } from "#app";
import { networkTable, portTable } from "../../apps/l2/model.ts";
import { routerTable } from "../../apps/l3/model.ts";
import { discoverApps } from "../../src/boot/discover.ts";
import { allPools } from "../../src/boot/registry.ts";
import { namedMatch } from "../../src/pipeline/naming.ts";
import { allProbes, Probes } from "../contract/probes/support.ts";
import { compare } from "../support/from-scratch.ts";
import { bytesOf, type Harness } from "../support/harness.ts";
import { collectionOf } from "../support/process.ts";
import { rowsOf } from "../support/told-switch.ts";
import { History, step, type Step } from "./history.ts";

const probes = new Probes(...allProbes());
afterAll(() => probes.delete());
const every: readonly App[] = await discoverApps(probes.appsFolder());
/** Without these no other is there. */
const BASIC = ["l2"];
const optional = every.map((a) => a.name).filter((name) => !BASIC.includes(name));
const HOSTS = ["hv0", "hv1", "hv2", "hv3"];

type Kind = "floating" | "listener" | "rate" | "uplink_policy" | "badge_one" | "badge_two" | "wan_route" | "sub_port" | "wire";
const KINDS: readonly Kind[] = ["floating", "listener", "rate", "uplink_policy", "badge_one", "badge_two", "wan_route", "sub_port", "wire"];

type AppStep =
  | Step
  | { readonly do: "add" | "alter" | "remove"; readonly kind: Kind; readonly n: number; readonly m: number }
  /** A thing that others stand on, whoever is there to see to that; a leg is a port of a router. */
  | { readonly do: "drop"; readonly kind: "port" | "network" | "subnet" | "router" | "leg"; readonly n: number }
  | { readonly do: "flush" }
  /** Without settling before it, the controller was killed between a commit and what follows from it. `absent` undefined: the same apps. */
  | { readonly do: "restart"; readonly absent: readonly string[] | undefined; readonly settled: boolean };

const small = fc.nat(5);
const restart: fc.Arbitrary<AppStep> = fc.record({
  do: fc.constant("restart" as const),
  absent: fc.oneof({ weight: 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.constant([]) }, { weight: 3, arbitrary: fc.subarray(optional, { minLength: 1, maxLength: 5 }) }),
  settled: fc.boolean(),
});
const appStep: fc.Arbitrary<AppStep> = fc.oneof(
  { weight: 4, arbitrary: step },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("add" as const, "add" as const, "add" as const, "alter" as const, "remove" as const), kind: fc.constantFrom(...KINDS), n: small, m: small }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("drop" as const), kind: fc.constantFrom("port" as const, "network" as const, "subnet" as const, "router" as const, "leg" as const), n: small }) },
  { weight: 1, arbitrary: fc.constant({ do: "flush" as const }) },
  { weight: 2, arbitrary: restart },
);

/** Those that are asked for, and those that require one of them. */
function leftOut(absent: readonly string[]): string[] {
  const out = new Set(absent);
  for (let before = -1; before !== out.size; ) {
    before = out.size;
    for (const app of every) if (app.requires?.some((name) => out.has(name))) out.add(app.name);
  }
  return [...out].sort();
}

class AppsHistory extends History {
  private absent: readonly string[] = [];
  /** Stored records that nobody here knows, as they were when their app went. */
  private kept = new Map<string, string>();
  readonly seen = new Set<string>();

  constructor(h: Harness) {
    super(h);
    for (const kind of KINDS) this.ids[kind] = [];
  }

  async step(s: AppStep): Promise<void> {
    switch (s.do) {
      case "add":
        return this.add(s.kind, s.n, s.m);
      case "alter":
        return this.put(`/v2.0/${collectionOf(s.kind)}/${this.pick(s.kind, s.n)}`, { [s.kind]: this.changed(s.kind, s.m) });
      case "remove": {
        const id = this.pick(s.kind, s.n);
        if (id === undefined) return;
        const { status } = await this.h.call("DELETE", `/v2.0/${collectionOf(s.kind)}/${id}`);
        expect(status).toBeLessThan(500);
        if (status === 204) this.ids[s.kind] = this.ids[s.kind]!.filter((x) => x !== id);
        return;
      }
      case "drop":
        return this.drop(s.kind, s.n);
      case "flush":
        return this.h.zonesFlushed();
      case "restart":
        return this.restart(s.absent ?? this.absent, s.settled);
      default:
        return this.run(s);
    }
  }

  /** A network goes with its ports. */
  private async drop(kind: "port" | "network" | "subnet" | "router" | "leg", n: number): Promise<void> {
    const gone = async (path: string): Promise<void> => expect((await this.h.call("DELETE", `/v2.0/${path}`)).status).toBeLessThan(500);
    const ports = (await this.h.call("GET", "/v2.0/ports")).body.ports as { id: string; network_id: string; device_owner: string }[];
    if (kind === "leg") {
      const legs = ports.filter((p) => p.device_owner === "network:router_interface").map((p) => p.id).sort();
      if (legs.length > 0) await gone(`ports/${legs[n % legs.length]!}`);
      return;
    }
    const id = this.pick(kind, n);
    if (id === undefined) return;
    if (kind === "network") for (const p of ports) if (p.network_id === id) await gone(`ports/${p.id}`);
    await gone(`${kind}s/${id}`);
    for (const other of Object.keys(this.ids)) await this.forgetGone(other);
  }

  private add(kind: Kind, n: number, m: number): Promise<void> {
    const [network, port, router] = [this.pick("network", m), this.pick("port", n), this.pick("router", 0)];
    const of: Record<Kind, Record<string, unknown>> = {
      floating: { router_id: router, outside_id: network, port_id: port, address: `192.0.2.${100 + n}` },
      listener: { network_id: network },
      rate: { port_id: port, kbps: 1000 * (m + 1) },
      uplink_policy: { host: `hv${n % 4}`, uplink: "uplink", kbps: 1000 * (m + 1), collector: "192.0.2.1:4739" },
      badge_one: { port_id: port },
      badge_two: { port_id: port },
      sub_port: { port_id: port, parent_id: this.pick("port", m) ?? "none", vlan: 100 + n },
      wan_route: { router_id: router, destination: `192.168.${n}.0/24`, via: network, nexthop: `10.${m % 2}.0.${20 + n}`, metric: m },
      wire: { port_id: port, physical_network: `phys${m % 2}`, blocked: n < 3 ? ["2001:db8::/32"] : [] },
    };
    return this.post(kind, collectionOf(kind), of[kind]);
  }

  private changed(kind: Kind, m: number): Record<string, unknown> {
    switch (kind) {
      case "wan_route":
        return { metric: m };
      case "sub_port":
        return { parent_id: this.pick("port", m) ?? "none" };
      case "wire":
        return { blocked: m < 3 ? [] : [`2001:db8:${m}::/48`] };
      default:
        return { kbps: 500 * (m + 1) };
    }
  }

  private async restart(absent: readonly string[], settled: boolean): Promise<void> {
    if (settled) await this.h.settled();
    else {
      // Nothing is on its way to the store: what was answered is what the next one finds.
      await new Promise((done) => setImmediate(done));
    }
    const disabled = leftOut(absent);
    const same = String(disabled) === String(this.absent);
    const went = this.absent;
    this.absent = disabled;
    const { fingerprint } = this.h.layout;
    const held = new Map(HOSTS.map((host) => [host, new Map(this.h.switches.get(host)?.flows)]));
    this.h = await this.h.restart(disabled);
    for (const app of this.h.apps) this.seen.add(app.name);
    for (const [host, told] of this.h.toldAtStart) {
      const before = held.get(host)!;
      const wanted = new Map([...this.h.engine.flowsOf(host)].map((f) => [f.key, bytesOf(f)]));
      const exact = {
        missing: new Set([...wanted.keys()].filter((key) => !before.has(key))),
        changed: new Set([...wanted].filter(([key, bytes]) => before.has(key) && before.get(key) !== bytes).map(([key]) => key)),
        foreign: new Set([...before.keys()].filter((key) => !wanted.has(key))),
      };
      expect({ missing: told.missing, changed: told.changed, foreign: told.foreign }).toEqual(exact);
      expect(this.h.switches.get(host)!.flows).toEqual(wanted);
      expect(this.h.switches.get(host)!.rows).toEqual(rowsOf(this.h.engine, host));
      expect(told.relayout === undefined).toBe(fingerprint === this.h.layout.fingerprint || before.size === 0);
      // Nothing changed but the places of tables and registers: what an app does is the same, and no connection is to be forgotten.
      if (settled && this.h.takenBack.length === 0 && ![...went, ...disabled].includes("floating")) expect(told.relayout?.withdrawn ?? []).toEqual([]);
      if (before.size > 0 && told.relayout !== undefined && this.ids.floating!.length > 0) this.relayouts++;
      if (same && settled) expect(["missing", "changed", "foreign", "set", "removed", "rowsAdded", "rowsRemoved"].map((k) => (told[k as "set"]).size), `told ${host} after a restart with nothing changed`).toEqual([0, 0, 0, 0, 0, 0, 0]);
    }
    const before = same && settled ? new Map(HOSTS.map((host) => [host, new Map(this.h.switches.get(host)?.flows)])) : undefined;
    await this.h.settled();
    if (before !== undefined) for (const host of HOSTS) expect(new Map(this.h.switches.get(host)?.flows), "told later").toEqual(before.get(host));
    await this.expectKept();
    this.expectNamed();
    await this.expectAnswers();
  }

  /** What absent apps have stored is as it was. */
  private async expectKept(): Promise<void> {
    const here = new Set(["allocation", "chassis", "vif", "pool_number", ...this.h.apps.flatMap((a) => a.tables ?? []).map((t) => t.name)]);
    const pools = allPools(this.h.apps);
    const foreign = ([key, value]: [string, string]): boolean => {
      const table = key.split("/")[1]!;
      return !here.has(table) || (table === "pool_number" && !pools.has((JSON.parse(value) as { row: { pool: string } }).row.pool));
    };
    const stored = await this.h.stored();
    const now = new Map([...stored].filter(foreign));
    for (const [key, value] of this.kept) if (foreign([key, value])) expect(now.get(key), key).toBe(value);
    this.kept = now;
  }

  /** A row that names what is gone is one that somebody is told of. */
  private expectNamed(): void {
    const said = this.h.dangling().join("\n");
    const { view } = this.h.model;
    const here = new Map(this.h.apps.flatMap((a) => a.tables ?? []).map((t) => [t.name, t]));
    const targets: Readonly<Record<string, string>> = { port_id: "port", network_id: "network", outside_id: "network", via: "network", router_id: "router", subnet_id: "subnet" };
    const sides: Readonly<Record<string, string>> = { port_groups: "port", router_interface: "port", port_dhcp_opts: "port", port_binding: "port", port_status: "port", ip_cursor: "subnet" };
    for (const table of here.values()) {
      // Addresses are ipam's to free, whoever has the table.
      if (table.derived || (table.name === "address" && !here.has("subnet"))) continue;
      for (const row of view.all(table) as Iterable<Record<string, string | null> & { id: string }>) {
        for (const [column, target] of [...Object.entries(targets), ["id", sides[table.name]] as const]) {
          const to = target === undefined ? undefined : here.get(target);
          const id = row[column];
          if (to === undefined || id === undefined || id === null || view.get(to, id) !== undefined) continue;
          expect(said, `${table.name} ${row.id} names ${target} ${id}`).toContain(`${row.id} of `);
          this.named++;
        }
      }
    }
    this.takenBack += this.h.takenBack.length;
  }
  named = 0;
  relayouts = 0;
  takenBack = 0;

  /** Whatever refers to what is gone: everything can be listed and shown. */
  private async expectAnswers(): Promise<void> {
    for (const resource of this.h.apps.flatMap((a) => a.resources ?? [])) {
      const listed = await this.h.call("GET", `/v2.0/${collectionOf(resource.name)}`);
      if (listed.status === 404) continue; // its path is another
      expect(listed.status, `${resource.name}: ${JSON.stringify(listed.body)}`).toBe(200);
      // Pools of floating IPs are listed alone: they are no objects.
      const rows = (Object.values(listed.body as object) as { id?: string }[][])[0]!.flatMap(({ id }) => (id === undefined ? [] : [{ id }]));
      for (const { id } of rows) expect((await this.h.call("GET", `/v2.0/${collectionOf(resource.name)}/${id}`)).status, `${resource.name} ${id}`).toBe(200);
      this.ids[resource.name] = rows.map((r) => r.id).filter((id) => this.ids[resource.name]?.includes(id) ?? false);
    }
  }
}

/** No flow speaks of a port, network or router that is not there, and no number is held twice. */
function expectSound(h: Harness): void {
  const { view } = h.model;
  const routers = h.apps.some((a) => a.name === "l3");
  for (const host of HOSTS) {
    for (const f of h.engine.flowsOf(host)) {
      const named = namedMatch(h.layout, h.layout.tableById(f.table)!, decodeMatch(f.slab, f.off + FLOW_MOD_MATCH_OFFSET));
      const { "reg:net": net, "reg:in_port_key": from, "reg:out_port_key": to, "reg:router": router } = named;
      const about = (): string => `${h.layout.tableById(f.table)!.name} ${JSON.stringify(named)} of ${JSON.stringify(h.engine.provenance(f))}`;
      // 0 is none: probes of tunnels are in no network.
      if (net !== undefined && net !== 0) expect(view.count(networkTable, "key", String(net)), about()).toBe(1);
      for (const key of [from, to]) if (key !== undefined && key !== 0) expect(view.count(portTable, "key", String(key)), about()).toBe(1);
      // 0 is none: what ports send. Probes say other things there.
      if (router !== undefined && router !== 0 && net !== 0 && routers) expect(view.count(routerTable, "key", String(router)), about()).toBe(1);
    }
  }
  const numbers = new Set<string>();
  for (const { pool, part, n } of view.all(poolNumberTable)) {
    expect(numbers.has(`${pool}/${part}|${n}`), `${n} of ${pool} ${part} is held twice`).toBe(false);
    numbers.add(`${pool}/${part}|${n}`);
  }
  for (const { chassis, slot } of view.all(vifTable)) {
    expect(numbers.has(`${zonePool.name}/${chassis}|${slot}`), `zone ${slot} of ${chassis} is a port's and somebody else's`).toBe(false);
    numbers.add(`${zonePool.name}/${chassis}|${slot}`);
  }
}

/** A history that reaches all that random ones should: of those, few do, and every so often none of a run. */
const telling: readonly AppStep[] = [
  ...KINDS.flatMap((kind): AppStep[] => [{ do: "add", kind, n: 0, m: 1 }, { do: "add", kind, n: 1, m: 0 }]),
  { do: "restart", absent: ["dhcp"], settled: true },
  { do: "restart", absent: optional, settled: true },
  { do: "drop", kind: "port", n: 0 },
  { do: "drop", kind: "network", n: 0 },
  { do: "restart", absent: ["ipam"], settled: true },
];

const nightly = process.env.AXION_NIGHTLY === "1";
for (const { runs, ...stage } of [{ runs: 4 }, { runs: nightly ? 1000 : 12, tags: "long" }]) test(`a restart with other apps tells the exact difference, and what was told adds up, after every step of ${runs} random histories`, { ...stage, timeout: nightly ? 1_800_000 : 120_000 }, async () => {
  const seen = new Set<string>();
  let [named, takenBack, relayouts] = [0, 0, 0];
  await fc.assert(
    fc.asyncProperty(fc.array(appStep, { minLength: 15, maxLength: 45 }), async (steps) => {
      const history = new AppsHistory(await probes.harness());
      try {
        for (const n of [0, 1, 2]) await history.step({ do: "chassis", n });
        for (const n of [0, 1]) {
          await history.step({ do: "network", n });
          await history.step({ do: "subnet", n, m: 0 });
          for (const m of [1, 1]) await history.step({ do: "port", n, m });
        }
        await history.step({ do: "router", n: 0 });
        for (const m of [0, 1]) await history.step({ do: "interface", n: 0, m });
        for (const n of [0, 1, 2, 3]) await history.step({ do: "plug", n, m: n });
        for (const s of steps) {
          await history.step(s);
          await history.h.settled();
          compare(history.h, HOSTS);
          expectSound(history.h);
        }
        // With all of them back, everything comes to life that still can.
        await history.step({ do: "restart", absent: [], settled: true });
        compare(history.h, HOSTS);
        expectSound(history.h);
        for (const name of history.seen) seen.add(name);
        named += history.named;
        takenBack += history.takenBack;
        relayouts += history.relayouts;
      } finally {
        await history.h.close();
      }
    }),
    { numRuns: runs, examples: [[[...telling]]] },
  );
  if (runs < 12) return; // few reach all of it
  expect(Math.min(named, takenBack), "the histories reach rows that name what is gone").toBeGreaterThan(0);
  expect(relayouts, "the histories reach switches with effects under another layout").toBeGreaterThan(0);
  expect([...seen].sort()).toEqual(every.map((a) => a.name).sort());
});
