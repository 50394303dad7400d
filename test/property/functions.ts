// Steps of histories with functions that rest on ports and routers, on the same few ports: QoS, private VLANs, local IPs, taps, logs, trunks, multicast, DHCPv6 and prefixes, metering, what hosts export,
// bindings at two hosts. Hosts come and go, and the controller starts again, with other settings and without some functions. Calls that are refused are part of it; those that are done are counted.
import fc from "fast-check";
import { expect } from "vitest";
import { chassisTable, poolNumberTable, vifTable, zonePool } from "#app";
import { SeededRandom } from "../../src/lib/random.ts";
import { discoverApps } from "../../src/boot/discover.ts";
import { allPools } from "../../src/boot/registry.ts";
import { appsFolder, bytesOf, Harness, withDependents } from "../support/harness.ts";
import { rowsOf } from "../support/told-switch.ts";
import { History, type Step } from "./history.ts";
import type { Planned } from "./planned.ts";

export const HOSTS = ["hv0", "hv1", "hv2", "hv3"] as const;
/** What newer functions do, of which random steps are made. */
const DOES = [
  "local IP", "associate", "log", "private VLAN", "kept apart", "policy", "limit", "use", "tap", "copy", "mirror", "trunk", "sub-port", "readdress", "pool", "pooled", "prefix", "stateful", "label", "count", "migrate", "removed", "host gone",
  "clear network", "queues", "confirm", "time", "restart", "settings", "without",
] as const;
export interface Further {
  readonly do: (typeof DOES)[number];
  readonly n: number;
  readonly m: number;
}
const small = fc.nat(5);
export const isFurther = (s: Step | Further): s is Further => (DOES as readonly string[]).includes(s.do);
/** What takes several steps, or meets its ports seldom, comes more often. */
export const further: fc.Arbitrary<Further> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom(...DOES), n: small, m: small }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("migrate" as const, "migrate" as const, "use" as const, "limit" as const, "copy" as const, "sub-port" as const, "associate" as const, "kept apart" as const), n: small, m: small }) },
);

export const every = await discoverApps(appsFolder);
/** Functions that are left out now and then, with those that need them: newer ones more often. */
export const NEWER = ["qos", "pvlan", "local-ip", "taas", "trunks", "logging", "multicast", "dhcp6", "prefix-delegation", "metering", "metadata", "flow-export", "port-bindings", "statistics", "qos-external"];
const OPTIONAL = [...NEWER, ...every.map((a) => a.name).filter((name) => name !== "l2")];

const LIMITS: readonly (readonly [type: string, values: Readonly<Record<string, unknown>>, changed: Readonly<Record<string, unknown>>])[] = [
  ["bandwidth_limit", { max_kbps: 1000 }, { max_kbps: 3000 }], ["bandwidth_limit", { max_kbps: 2000, direction: "ingress" }, { max_burst_kbps: 100 }], ["packet_rate_limit", { max_kpps: 1 }, { max_kpps: 3 }],
  ["packet_rate_limit", { max_kpps: 2, direction: "ingress" }, { max_kpps: 4 }], ["dscp_marking", { dscp_mark: 8 }, { dscp_mark: 10 }], ["minimum_bandwidth", { min_kbps: 100 }, { min_kbps: 50 }],
];
/** What is deleted in the end, whatever stands on what. */
const COLLECTIONS = [
  "taas/tap_flows", "taas/tap_services", "taas/tap_mirrors", "log/logs", "local_ips", "trunks", "metering/metering-label-rules", "metering/metering-labels", "ndp_proxies", "floatingips", "ports", "routers", "subnets", "networks",
  "subnetpools", "security-groups", "qos/policies",
] as const;

/** What stays: who hosts are, where numbers go on, what is there once for all. */
const LASTING = ["chassis", "agent", "allocation", "dhcp6_server", "default_rules_shipped", "default_security_group_rule"];

/** No step takes a tenth of it. */
const LATE_MS = 60_000;

interface Port {
  readonly id: string;
  readonly network_id: string;
  readonly device_owner: string;
  /** Of an app that is left out at times. */
  readonly fixed_ips?: readonly { readonly subnet_id: string; readonly ip_address: string }[];
}
interface Binding {
  readonly host: string;
  readonly status: "ACTIVE" | "INACTIVE";
}

export class FunctionsHistory extends History {
  /** Calls that were done, by method, path and, of changes, attribute. */
  readonly done = new Map<string, number>();
  private nextOfport = 1000;
  private settings: ReadonlyMap<string, Readonly<Record<string, unknown>>> = new Map();
  private absent: readonly string[] = [];
  /** Undefined: nothing is planned. */
  private readonly planned: Planned | undefined;

  constructor(h: Harness, planned?: Planned) {
    super(h);
    this.planned = planned;
    planned?.of(h);
  }

  /** Refused or done: nothing else. */
  private async ask(method: "DELETE" | "GET" | "POST" | "PUT", path: string, body?: Readonly<Record<string, unknown>>): Promise<unknown> {
    const answer = await this.h.call(method, `/v2.0/${path}`, body);
    expect(answer.status, `${method} ${path} ${JSON.stringify(body)}: ${JSON.stringify(answer.body)}`).toBeLessThan(500);
    if (answer.status >= 300) return undefined;
    if (method !== "GET") {
      const [inner] = Object.values(body ?? {});
      const what = `${method} ${path.replace(/\/[0-9a-f-]{36}/g, "/*").replace(/hv\d/, "*")}${method === "PUT" && typeof inner === "object" ? ` ${Object.keys(inner!).sort().join()}` : ""}`;
      this.done.set(what, (this.done.get(what) ?? 0) + 1);
    }
    return answer.body;
  }

  /** None: of an app that is not there. */
  private async rows<R = { readonly id: string }>(path: string): Promise<readonly R[]> {
    const [rows = []] = Object.values(((await this.ask("GET", path)) ?? {}) as Record<string, readonly R[]>);
    return rows;
  }
  private async one(path: string, n: number): Promise<string | undefined> {
    const rows = await this.rows(path);
    return rows[n % Math.max(1, rows.length)]?.id;
  }
  private make(path: string, kind: string, values: Readonly<Record<string, unknown>>): Promise<unknown> {
    return this.ask("POST", path, { [kind]: { project_id: "p", ...values } });
  }
  /** Of what other steps pick from as well. */
  private async makeOf(kind: string, values: Readonly<Record<string, unknown>>): Promise<void> {
    const made = (await this.make(`${kind}s`, kind, values)) as Record<string, { readonly id: string }> | undefined;
    if (made !== undefined) this.ids[kind]!.push(made[kind]!.id);
  }
  private change(kind: string, id: string | undefined, values: Readonly<Record<string, unknown>>): Promise<unknown> {
    return this.ask("PUT", `${kind}s/${id}`, { [kind]: values });
  }

  /** A step, and what follows from it. @throws Error when that does not come to an end */
  async step(s: Step | Further): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => (timer = setTimeout(() => {
      reject(new Error(`${JSON.stringify(s)} does not come to an end: at generation ${this.h.model.generation}, of which ${this.h.engine.generation} is compiled`));
    }, LATE_MS)));
    try {
      await Promise.race([late, (isFurther(s) ? this.further(s) : this.run(s)).then(() => this.h.settled())]);
    } finally {
      clearTimeout(timer);
    }
  }

  private async further({ do: what, n, m }: Further): Promise<unknown> {
    const [port, network, host] = [this.pick("port", n), this.pick("network", n), HOSTS[m % 4]!];
    switch (what) {
      case "local IP": {
        const id = await this.one("local-ips", n);
        if (m > 0 || id === undefined) return this.make("local-ips", "local_ip", { ip_mode: m % 3 === 1 ? "passthrough" : "translate", ...(m % 2 === 0 ? { network_id: network } : { local_port_id: port }) });
        for (const { fixed_port_id } of await this.rows<{ readonly fixed_port_id: string }>(`local_ips/${id}/port_associations`)) await this.ask("DELETE", `local_ips/${id}/port_associations/${fixed_port_id}`);
        return this.ask("DELETE", `local-ips/${id}`);
      }
      case "associate": {
        const its = (await this.rows<Port>("ports")).find((p) => p.id === port);
        const local = (await this.rows<{ readonly id: string; readonly network_id: string }>("local-ips")).filter((l) => l.network_id === its?.network_id);
        const at = `local_ips/${local[m % Math.max(1, local.length)]?.id}/port_associations`;
        const [first] = n === 5 ? await this.rows<{ readonly fixed_port_id: string }>(at) : [];
        return first !== undefined ? this.ask("DELETE", `${at}/${first.fixed_port_id}`) : this.ask("POST", at, { port_association: { fixed_port_id: port, fixed_ip: its?.fixed_ips?.find((f) => !f.ip_address.includes(":"))?.ip_address } });
      }
      case "log": {
        const id = await this.one("log/logs", n);
        if (m === 0 && id !== undefined) return this.ask("DELETE", `log/logs/${id}`);
        if (m === 1 && id !== undefined) return this.ask("PUT", `log/logs/${id}`, { log: { enabled: n % 2 === 0 } });
        return this.make("log/logs", "log", { resource_type: "security_group", event: ["ALL", "ACCEPT", "DROP"][n % 3], ...(m % 2 === 0 && { resource_id: this.pick("security_group", n) }), ...(m === 3 && { target_id: port }) });
      }
      case "private VLAN":
        return this.change("network", network, { pvlan: m > 0 });
      case "kept apart":
        return this.change("port", port, m > 3 ? { pvlan_type: "community", pvlan_community: `c${m}` } : { pvlan_type: ["isolated", "promiscuous", null, "isolated"][m] });
      case "policy": {
        const id = await this.one("qos/policies", n);
        return m === 0 && id !== undefined ? this.ask("DELETE", `qos/policies/${id}`) : this.make("qos/policies", "policy", { name: `q${n}`, is_default: m === 5 });
      }
      case "limit": {
        const [type, values, changed] = LIMITS[m]!;
        const at = `qos/policies/${await this.one("qos/policies", n)}/${type}_rules`;
        const [rule] = n < 2 ? await this.rows(at) : [];
        if (rule === undefined) return this.ask("POST", at, { [`${type}_rule`]: values });
        return n === 0 ? this.ask("DELETE", `${at}/${rule.id}`) : this.ask("PUT", `${at}/${rule.id}`, { [`${type}_rule`]: changed });
      }
      case "use": {
        const qos_policy_id = m === 0 ? null : ((await this.one("qos/policies", m)) ?? null);
        if (n < 2) return this.change("port", port, { qos_policy_id });
        if (n === 2) return this.change("network", network, { qos_policy_id });
        if (n === 3) return this.change("floatingip", this.pick("floatingip", m), { qos_policy_id });
        const router = this.pick("router", m);
        const its = ((await this.ask("GET", `routers/${router}`)) as { readonly router: { readonly external_gateway_info: { readonly network_id: string } | null } } | undefined)?.router.external_gateway_info;
        return this.change("router", router, { external_gateway_info: its === undefined || its === null ? { network_id: this.pick("network", 2), qos_policy_id } : { network_id: its.network_id, qos_policy_id } });
      }
      case "tap": {
        const id = await this.one("taas/tap_services", n);
        return m === 0 && id !== undefined ? this.ask("DELETE", `taas/tap_services/${id}`) : this.make("taas/tap_services", "tap_service", { name: "t", port_id: port });
      }
      case "copy": {
        const id = await this.one("taas/tap_flows", n);
        if (m === 0 && id !== undefined) return this.ask("DELETE", `taas/tap_flows/${id}`);
        return this.make("taas/tap_flows", "tap_flow", { name: "f", tap_service_id: await this.one("taas/tap_services", m), source_port: port, direction: ["IN", "OUT", "BOTH"][m % 3], ...(m > 3 && { vlan_filter: `${m},10-${20 + n}` }) });
      }
      case "mirror": {
        const id = await this.one("taas/tap_mirrors", n);
        if (m === 0 && id !== undefined) return this.ask("DELETE", `taas/tap_mirrors/${id}`);
        // An address of a host, now and then, that may be there or not.
        return this.make("taas/tap_mirrors", "tap_mirror", { name: "m", port_id: port, remote_ip: m === 5 ? `172.31.0.${n}` : "198.51.100.7", mirror_type: m % 2 === 0 ? "gre" : "erspanv1", directions: n % 2 === 0 ? { IN: n, OUT: n + 100 } : { BOTH: 200 + m } });
      }
      case "trunk":
        return this.trunk(n, m);
      case "sub-port": {
        const trunk = await this.one("trunks", m);
        const [first] = n > 3 ? ((await this.ask("GET", `trunks/${trunk}/get_subports`)) as { readonly sub_ports: readonly { readonly port_id: string }[] } | undefined)?.sub_ports ?? [] : [];
        if (first !== undefined) return this.ask("PUT", `trunks/${trunk}/remove_subports`, { sub_ports: [{ port_id: first.port_id }] });
        if (m > 2) await this.post("port", "ports", { network_id: network });
        return this.ask("PUT", `trunks/${trunk}/add_subports`, { sub_ports: [{ port_id: m > 2 ? this.ids.port!.at(-1) : port, segmentation_type: "vlan", segmentation_id: 7 + n }] });
      }
      case "readdress":
        return this.change("port", port, m % 2 === 0 ? { mac_address: `02:00:00:00:0${n}:0${m}` } : { fixed_ips: [{ ip_address: `10.${n % 2}.0.${100 + m}` }] });
      case "pool": {
        const id = await this.one("subnetpools", n);
        return m === 0 && id !== undefined ? this.ask("DELETE", `subnetpools/${id}`) : this.make("subnetpools", "subnetpool", { name: "pool", prefixes: [`2001:db8:${n}::/48`], min_prefixlen: 56, default_prefixlen: 64 });
      }
      case "pooled": {
        // Of one pool are all of a network, so that one is made for it.
        if (m > 2) await this.post("network", "networks", { name: "pooled" });
        const its = m > 2 ? this.ids.network!.at(-1) : network;
        await this.makeOf("subnet", { network_id: its, ip_version: 6, subnetpool_id: await this.one("subnetpools", m), ipv6_ra_mode: "dhcpv6-stateful", ipv6_address_mode: "dhcpv6-stateful" });
        return m > 2 ? this.post("port", "ports", { network_id: its }) : undefined;
      }
      case "prefix": {
        const its = ((await this.ask("GET", `ports/${port}`)) as { readonly port: Port } | undefined)?.port;
        const pooled = (await this.rows<{ readonly id: string; readonly network_id: string; readonly subnetpool_id: string | null }>("subnets")).find((s) => s.network_id === its?.network_id && s.subnetpool_id !== null);
        if (pooled !== undefined && its?.fixed_ips?.every((f) => f.subnet_id !== pooled.id) === true) await this.change("port", port, { fixed_ips: [...its.fixed_ips, { subnet_id: pooled.id }] });
        return this.change("port", port, { extra_dhcp_opts: [{ opt_name: "ia-pd", opt_value: m === 0 ? null : m % 2 === 0 ? "60" : "64", ip_version: 6 }] });
      }
      case "stateful":
        return this.makeOf("subnet", { network_id: network, ip_version: 6, cidr: `fd01:${n}:${m}::/64`, ...(m % 2 === 0 ? { ipv6_ra_mode: "dhcpv6-stateful", ipv6_address_mode: "dhcpv6-stateful" } : { ipv6_ra_mode: "dhcpv6-stateless", ipv6_address_mode: "dhcpv6-stateless" }) });
      case "label": {
        const id = await this.one("metering/metering-labels", n);
        return m === 0 && id !== undefined ? this.ask("DELETE", `metering/metering-labels/${id}`) : this.make("metering/metering-labels", "metering_label", { name: "l", shared: m === 5 });
      }
      case "count": {
        const id = await this.one("metering/metering-label-rules", n);
        if (m === 0 && id !== undefined) return this.ask("DELETE", `metering/metering-label-rules/${id}`);
        return this.ask("POST", "metering/metering-label-rules", { metering_label_rule: { metering_label_id: await this.one("metering/metering-labels", m), direction: m % 2 === 0 ? "ingress" : "egress", excluded: m === 5, source_ip_prefix: n % 2 === 0 ? "0.0.0.0/0" : `10.${n}.0.0/16`, ...(m > 2 && { destination_ip_prefix: `198.51.${n}.0/24` }) } });
      }
      case "migrate":
        // Of few ports, so that one comes to an end.
        return this.ids.port!.length === 0 ? undefined : this.migrate(this.pick("port", n % 2)!, host, n);
      case "removed":
        return this.ask("DELETE", `ports/${port}`).then(() => this.forgetGone("port"));
      case "host gone":
        return this.hostGone(HOSTS[n % 4]!);
      case "clear network":
        return m > 2 || network === undefined ? undefined : this.clearNetwork(network);
      case "queues":
        return this.h.addChassis(host, { key: HOSTS.indexOf(host) + 1, bridge_mappings: { phys0: "br-phys0", phys1: "br-phys1" }, gateway: host !== "hv0", ...(n === 5 && { drain: true }), ...(n > 1 && { uplink_queues: [{ physical_network: "phys0", queue: 1, min_kbps: 120 }, { physical_network: "phys1", queue: 2, min_kbps: 500 }] }) });
      case "confirm":
        for (const { chassis, iface_id } of [...this.h.view.all(vifTable)]) await this.h.installed(chassis, iface_id);
        for (const id of HOSTS) if (this.h.view.get(chassisTable, id) !== undefined) this.h.confirm(id);
        return;
      case "time":
        return this.h.clock.run(1000 * (1 + 5 * n));
      case "restart":
        return this.restart();
      case "settings":
        return this.restart({
          settings: new Map<string, Readonly<Record<string, unknown>>>([
            ...(n % 2 === 0 ? [["multicast", { "multicast-snooping": true }] as const] : []), ...(m % 2 === 0 ? [["metadata", { "metadata-file": Buffer.from("{}") }] as const] : []),
            ...(m < 3 ? [["flow-export", { "ipfix-collectors": [{ address: "192.0.2.9", port: 4739 }], "sflow-collectors": n < 3 ? [{ address: "192.0.2.8", port: 6343 }] : [] }] as const] : []),
          ]),
        });
      case "without":
        return this.restart({ absent: n > 3 ? [] : [...new Set([n + 4 * m, 7 * n + 11 * m].flatMap((i) => withDependents(every, OPTIONAL[i % OPTIONAL.length]!)))] });
    }
  }

  /** Of ports that are made for it, or of those that there are. The parent is plugged afterwards. */
  private async trunk(n: number, m: number): Promise<unknown> {
    const id = await this.one("trunks", n);
    if (m === 0 && id !== undefined) return this.ask("DELETE", `trunks/${id}`);
    if (m > 2) for (const i of [0, 1]) await this.post("port", "ports", { network_id: this.pick("network", n + i), ...(m === 4 && { port_security_enabled: false }) });
    const [parent, child] = m > 2 ? this.ids.port!.slice(-2) : [this.pick("port", n), this.pick("port", m)];
    const made = await this.make("trunks", "trunk", { port_id: parent, sub_ports: child === undefined ? [] : [{ port_id: child, segmentation_type: "vlan", segmentation_id: 7 + m }] });
    if (made !== undefined && parent !== undefined) await this.h.plug(HOSTS[n % 4]!, parent, ++this.nextOfport);
    return made;
  }

  /** The next step of a live migration. */
  private async migrate(port: string, host: string, n: number): Promise<unknown> {
    const bindings = await this.rows<Binding>(`ports/${port}/bindings`);
    const active = bindings.find((b) => b.status === "ACTIVE");
    const other = bindings.find((b) => b.status === "INACTIVE");
    if (active === undefined) {
      await this.h.plug(host, port, ++this.nextOfport);
      return this.change("port", port, { device_owner: "compute:nova", "binding:host_id": host });
    }
    if (other === undefined) {
      await this.change("port", port, { device_owner: "compute:nova" });
      await this.h.plug(host, port, ++this.nextOfport);
      return this.ask("POST", `ports/${port}/bindings`, { binding: { host } });
    }
    if (n === 0) return this.ask("DELETE", `ports/${port}/bindings/${other.host}`);
    const done = await this.ask("PUT", `ports/${port}/bindings/${other.host}/activate`, {});
    if (n > 2) await this.h.unplug(active.host, port);
    return done;
  }

  private async hostGone(host: string): Promise<void> {
    for (const vif of [...this.h.view.all(vifTable)]) if (vif.chassis === host) await this.h.unplug(host, vif.iface_id);
    await this.h.model.transact({ requestId: "test", call: "host is gone" }, (tx) => {
      for (const { id } of tx.by(poolNumberTable, "part", `${zonePool.name}/${host}`)) tx.delete(poolNumberTable, id);
      if (tx.get(chassisTable, host) !== undefined) tx.delete(chassisTable, host);
    });
    await this.h.settled();
    const pools = allPools(this.h.apps);
    expect([...this.h.view.all(poolNumberTable)].filter((n) => n.part === host && pools.has(n.pool)), `numbers of ${host}, which is gone`).toEqual([]);
    // Nobody tells it any more; another one that comes by its name has nothing.
    this.h.switches.delete(host);
  }

  private async clearNetwork(network: string): Promise<void> {
    for (const { id, device_owner, fixed_ips = [] } of (await this.rows<Port>("ports")).filter((p) => p.network_id === network)) {
      if (device_owner === "network:router_interface") for (const router of this.ids.router!) for (const { subnet_id } of fixed_ips) await this.ask("PUT", `routers/${router}/remove_router_interface`, { subnet_id });
      else await this.ask("DELETE", `ports/${id}`);
    }
    await this.ask("DELETE", `networks/${network}`);
    for (const kind of Object.keys(this.ids)) await this.forgetGone(kind);
  }

  /** With nothing changed, switches are told nothing. */
  async restart({ absent = this.absent, settings = this.settings }: { readonly absent?: readonly string[]; readonly settings?: ReadonlyMap<string, Readonly<Record<string, unknown>>> } = {}): Promise<void> {
    await this.h.settled();
    const same = absent === this.absent && settings === this.settings;
    [this.absent, this.settings] = [absent, settings];
    this.h = await this.h.restart(absent, settings);
    this.planned?.of(this.h);
    if (same) for (const [host, { missing, changed, foreign, set, removed, rowsAdded, rowsRemoved }] of this.h.toldAtStart) expect([...missing, ...changed, ...foreign, ...set, ...removed, ...rowsAdded, ...rowsRemoved], `${host} after a restart`).toEqual([]);
    await this.h.settled();
    for (const kind of Object.keys(this.ids)) await this.forgetGone(kind);
  }

  /** In an order of chance, or what stands on others first. What cannot be deleted is left. */
  async deleteAll(seed?: number): Promise<readonly string[]> {
    const random = seed === undefined ? undefined : new SeededRandom(seed);
    let left: string[] = [];
    for (const { chassis, iface_id } of [...this.h.view.all(vifTable)]) await this.h.unplug(chassis, iface_id);
    for (let round = 0; round < 12; round++) {
      left = [];
      for (const path of COLLECTIONS) left.push(...(await this.rows(path)).map(({ id }) => `${path}/${id}`));
      if (left.length === 0) break;
      for (const path of left.map((at, i) => [random?.next() ?? i, at] as const).sort((a, b) => a[0] - b[0]).map(([, at]) => at)) {
        if (path.startsWith("routers/")) await this.emptyRouter(path);
        // The parent of a trunk is let go of by its host first.
        else if (path.startsWith("ports/")) await this.ask("PUT", path, { port: { "binding:host_id": "" } });
        if (path.startsWith("trunks/")) await this.ask("PUT", path, { trunk: { admin_state_up: true } });
        await this.ask("DELETE", path);
      }
    }
    return left;
  }

  /** Deletes all; then it is as if nothing had ever been. */
  async end(seed?: number): Promise<void> {
    await this.restart({ absent: [] });
    const left = await this.deleteAll(seed);
    expect(left, "what cannot be deleted").toEqual([]);
    await this.h.settled();
    await this.h.clock.run(10_000);
    await this.h.zonesFlushed();
    await this.h.settled();
    const stored = [...(await this.h.stored())].filter(([key]) => !LASTING.includes(key.split("/")[1]!));
    expect(stored, "rows that are left").toEqual([]);
    const never = await Harness.make([], undefined, { settings: this.settings });
    try {
      for (const row of this.h.view.all(chassisTable)) await never.addChassis(row.id, row);
      await never.settled();
      for (const host of HOSTS) {
        const flows = (h: Harness): Map<string, string> => new Map([...h.engine.flowsOf(host)].map((f) => [f.key, bytesOf(f)]));
        expect(flows(this.h), `flows of ${host}`).toEqual(flows(never));
        expect(rowsOf(this.h.engine, host), `rows of ${host}`).toEqual(rowsOf(never.engine, host));
        expect([...this.h.engine.itemsOf(host)].map((i) => i.text), `items of ${host}`).toEqual([...never.engine.itemsOf(host)].map((i) => i.text));
      }
    } finally {
      await never.close();
    }
  }

  private async emptyRouter(path: string): Promise<void> {
    const id = path.slice("routers/".length);
    await this.ask("PUT", path, { router: { routes: [], external_gateway_info: null } });
    for (const port of await this.rows<Port & { readonly device_id: string }>("ports")) if (port.device_id === id && port.device_owner === "network:router_interface") await this.ask("PUT", `${path}/remove_router_interface`, { port_id: port.id });
  }
}

/** Three hosts, two networks with ports on a router, one outside, and what newer functions rest on. */
export const begin: readonly Step[] = [
  ...[0, 1, 2].map((n): Step => ({ do: "chassis", n })),
  ...[0, 1].flatMap((n): Step[] => [{ do: "network", n }, { do: "subnet", n, m: 0 }, ...[1, 1, 1].map((m): Step => ({ do: "port", n, m })), { do: "group", n }, { do: "rule", n, m: n }]),
  { do: "router", n: 0 }, { do: "interface", n: 0, m: 0 }, { do: "interface", n: 0, m: 1 },
  ...[0, 1, 2, 3, 4].map((n): Step => ({ do: "plug", n, m: n })),
  { do: "network", n: 2 }, { do: "subnet", n: 2, m: 0 }, { do: "external", n: 2, m: 1 }, { do: "gateway", n: 0, m: 2 }, { do: "floating", n: 2, m: 0 },
];
/** Each call of newer functions is done once, and something of each function is there then, where ports are plugged. */
export const first: readonly Further[] = ([
  ["local IP", 0, 2], ["local IP", 1, 2], ["associate", 1, 0], ["associate", 5, 0], ["associate", 5, 0], ["log", 0, 5], ["log", 0, 1], ["log", 1, 2], ["private VLAN", 0, 1], ["kept apart", 0, 0], ["kept apart", 1, 4],
  ["policy", 0, 1], ["queues", 2, 1], ...[0, 1, 2, 3, 4, 5].flatMap((m): [Further["do"], number, number][] => [["limit", 2, m], ["limit", 1, m], ["limit", 0, m]]), ["limit", 2, 0], ["limit", 2, 3], ["limit", 2, 4],
  ["use", 1, 1], ["use", 2, 1], ["use", 3, 1], ["use", 4, 3], ["tap", 2, 2], ["copy", 0, 2], ["copy", 1, 4], ["copy", 0, 0], ["mirror", 1, 1], ["trunk", 0, 4], ["sub-port", 1, 3], ["sub-port", 4, 0],
  ["pool", 0, 1], ["pooled", 1, 0], ["prefix", 4, 2], ["pooled", 0, 4], ["stateful", 0, 0], ["readdress", 5, 0], ["readdress", 5, 1], ["label", 0, 1], ["count", 0, 0], ["count", 0, 1], ["count", 0, 0],
  ["migrate", 0, 0], ["migrate", 0, 1], ["migrate", 2, 1], ["migrate", 0, 2], ["confirm", 0, 0], ["time", 0, 0], ["settings", 0, 0],
] as const).map(([what, n, m]) => ({ do: what, n, m }));
