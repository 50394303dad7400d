// Steps of random histories, and what has been made so far. They go through the real API; a refused call is part of it.
import fc from "fast-check";
import { expect } from "vitest";
import type { Harness } from "../support/harness.ts";

export type Step =
  | { readonly do: "network" | "router" | "group" | "chassis" | "unchassis"; readonly n: number }
  | { readonly do: "subnet" | "port" | "interface" | "uninterface" | "rule" | "plug" | "unplug" | "groups" | "pairs" | "security" | "admin" | "route" | "delete" | "encap" | "mapping" | "external" | "gateway" | "gateways" | "floating" | "float" | "forward" | "proxy" | "helper" | "attach" | "vif" | "bind" | "activate" | "segment"; readonly n: number; readonly m: number };

const small = fc.nat(5);
/** Of networks with these numbers: how they travel. */
const SEGMENTS: Readonly<Record<number, Readonly<Record<string, unknown>>>> = {
  2: { "provider:network_type": "vxlan" },
  3: { "provider:network_type": "flat", "provider:physical_network": "phys1" },
  4: { "provider:network_type": "vlan", "provider:physical_network": "phys0", "provider:segmentation_id": 100 },
  5: { segments: [{ "provider:network_type": "vlan", "provider:physical_network": "phys0", "provider:segmentation_id": 101 }, { "provider:network_type": "geneve" }] },
};
const MAPPINGS = { phys0: "br-phys0", phys1: "br-phys1" };
export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("network", "router", "group", "chassis", "unchassis"), n: small }) },
  { weight: 9, arbitrary: fc.record({ do: fc.constantFrom("subnet", "port", "port", "interface", "uninterface", "rule", "rule", "plug", "plug", "plug", "unplug", "groups", "pairs", "security", "admin", "route", "delete", "encap", "mapping", "external", "gateway", "gateway", "gateways", "gateways", "floating", "float", "forward", "proxy", "helper", "attach", "vif", "vif", "bind", "bind", "activate", "segment"), n: small, m: small }) },
);

/** Live ids by kind; steps pick from them by number. */
export class History {
  readonly ids: Record<string, string[]> = { network: [], subnet: [], port: [], router: [], security_group: [], security_group_rule: [], floatingip: [] };
  private ofport = 10;
  /** The controller that is there now. */
  h: Harness;

  constructor(h: Harness) {
    this.h = h;
  }

  protected pick(kind: string, n: number): string | undefined {
    const list = this.ids[kind]!;
    return list.length === 0 ? undefined : list[n % list.length];
  }

  protected async post(kind: string, collection: string, values: Record<string, unknown>): Promise<void> {
    const answer = await this.h.call("POST", `/v2.0/${collection}`, { [kind]: { project_id: "p", ...values } });
    if (answer.status === 201) this.ids[kind]!.push((answer.body as Record<string, { id: string }>)[kind]!.id);
    else expect(answer.status).toBeLessThan(500);
  }

  protected async put(path: string, body: unknown): Promise<void> {
    const answer = await this.h.call("PUT", path, body);
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(500);
  }

  async run(s: Step): Promise<void> {
    const m = "m" in s ? s.m : 0;
    const network = this.pick("network", s.n);
    const port = this.pick("port", s.n);
    const router = this.pick("router", s.n);
    const host = `hv${s.n % 4}`;
    switch (s.do) {
      case "network":
        return this.post("network", "networks", { name: `n${s.n}`, ...SEGMENTS[s.n] });
      case "segment": {
        const its = ((await this.h.call("GET", `/v2.0/segments?network_id=${network}`)).body as { segments?: { id: string }[] }).segments ?? [];
        const answer = m > 3
          ? await this.h.call("DELETE", `/v2.0/segments/${its[s.n % Math.max(1, its.length)]?.id}`)
          : await this.h.call("POST", "/v2.0/segments", { segment: { network_id: network, ...(m === 3 ? { network_type: "geneve" } : { network_type: "vlan", physical_network: `phys${m % 2}`, segmentation_id: 102 + m }) } });
        expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(500);
        return;
      }
      case "router":
        return this.post("router", "routers", { name: `r${s.n}` });
      case "group":
        return this.post("security_group", "security-groups", { name: `g${s.n}`, stateful: s.n % 3 !== 0, "axion:keep_established": s.n % 2 === 0, "axion:deny": s.n % 4 === 1 ? "reject" : "drop" });
      case "chassis":
        return this.h.addChassis(host, { key: (s.n % 4) + 1, bridge_mappings: MAPPINGS, gateway: s.n % 4 !== 0 });
      case "encap":
        return this.h.addChassis(host, { key: (s.n % 4) + 1, bridge_mappings: MAPPINGS, encap_types: m % 2 === 0 ? ["vxlan", "geneve"] : ["geneve"], gateway: s.n % 4 !== 0 });
      case "mapping":
        return this.h.addChassis(host, { key: (s.n % 4) + 1, bridge_mappings: m % 2 === 0 ? {} : MAPPINGS, gateway: s.n % 4 !== 0 });
      case "unchassis":
        return; // chassis rows stay: removing a host for good is an operator's act, tested apart
      case "subnet":
        return this.post("subnet", "subnets", m % 3 === 2
          ? { network_id: network, ip_version: 6, cidr: `fd00:${s.n}:${m}::/64`, ...(m === 5 && { ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" }) }
          : { network_id: network, ip_version: 4, cidr: `10.${s.n}.${m}.0/24` });
      case "port":
        return this.post("port", "ports", { network_id: network, ...(m === 0 ? { port_security_enabled: false } : {}) });
      case "interface":
        return this.put(`/v2.0/routers/${router}/add_router_interface`, { subnet_id: this.pick("subnet", m) });
      case "uninterface":
        return this.put(`/v2.0/routers/${router}/remove_router_interface`, { subnet_id: this.pick("subnet", m) });
      case "rule":
        return this.post("security_group_rule", "security-group-rules", {
          security_group_id: this.pick("security_group", s.n), direction: m % 2 === 0 ? "ingress" : "egress", protocol: m > 2 ? "tcp" : null,
          ...(m > 2 ? { port_range_min: 80, port_range_max: 80 + s.n } : {}), ...(s.n % 2 === 0 ? { remote_group_id: this.pick("security_group", m) } : { remote_ip_prefix: `10.${m}.0.0/16` }),
        });
      case "plug":
        return port === undefined ? undefined : this.h.plug(`hv${m % 4}`, port, ++this.ofport);
      // Interfaces with ids of their own: a few, that ports take from each other.
      case "attach":
        return port === undefined ? undefined : this.put(`/v2.0/ports/${port}`, { port: { "quantum:attachment": m === 0 ? null : `vif-${m % 3}` } });
      case "vif":
        return m === 5 ? this.h.unplug(`hv${m % 4}`, `vif-${s.n % 3}`) : this.h.plug(`hv${m % 4}`, `vif-${s.n % 3}`, ++this.ofport);
      // Several bindings of a server's port, of which one is active, or none.
      case "bind": {
        if (port === undefined) return;
        if (m === 4) await this.put(`/v2.0/ports/${port}`, { port: { "binding:host_id": s.n % 2 === 0 ? "" : host, "binding:profile": { migrating_to: `hv${(s.n + 1) % 4}` } } });
        const at = `/v2.0/ports/${port}/bindings`;
        await this.put(`/v2.0/ports/${port}`, { port: { device_owner: "compute:nova" } });
        const answer = m === 5 ? await this.h.call("DELETE", `${at}/hv${s.n % 4}`) : await this.h.call("POST", at, { binding: { host: `hv${m % 4}` } });
        expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(500);
        return;
      }
      case "activate":
        return this.put(`/v2.0/ports/${port}/bindings/hv${m % 4}/activate`, {});
      case "unplug":
        return port === undefined ? undefined : this.h.unplug(`hv${m % 4}`, port);
      case "groups":
        return this.put(`/v2.0/ports/${port}`, { port: { security_groups: this.ids.security_group!.slice(0, m) } });
      case "pairs":
        return this.put(`/v2.0/ports/${port}`, { port: { allowed_address_pairs: m === 0 ? [] : [{ ip_address: m % 3 === 0 ? `10.99.0.${m & ~1}/31` : `10.99.0.${m}`, ...(m % 2 === 0 ? {} : { mac_address: `00:00:5e:00:01:0${m % 4}` }) }] } });
      case "security":
        return this.put(`/v2.0/ports/${port}`, { port: m % 2 === 0 ? { port_security_enabled: false, security_groups: [], allowed_address_pairs: [] } : { port_security_enabled: true } });
      case "admin":
        return this.put(m % 2 === 0 ? `/v2.0/ports/${port}` : `/v2.0/networks/${network}`, { [m % 2 === 0 ? "port" : "network"]: { admin_state_up: s.n % 2 === 0 } });
      case "route":
        return this.put(`/v2.0/routers/${router}`, { router: { routes: m === 0 ? [] : [9, 10].slice(0, 1 + (m % 2)).map((last) => ({ destination: `192.168.${m}.0/24`, nexthop: `10.${s.n}.${m}.${last}` })) } });
      case "external":
        return this.put(`/v2.0/networks/${network}`, { network: { "router:external": m % 3 !== 0 } });
      case "gateway":
        return this.put(`/v2.0/routers/${router}`, { router: { external_gateway_info: m === 0 ? null : { network_id: this.pick("network", m), enable_snat: m % 2 === 0 } } });
      case "gateways": {
        const external_gateways = [m, m + 1, m + 2].slice(0, 1 + (s.n % 3)).map((i) => ({ network_id: this.pick("network", i) }));
        await this.put(`/v2.0/routers/${router}/${["add", "update", "remove"][m % 3]!}_external_gateways`, { router: { external_gateways } });
        return this.put(`/v2.0/routers/${router}`, { router: { enable_default_route_ecmp: m % 2 === 0, enable_default_route_bfd: m % 3 === 0 } });
      }
      case "floating":
        return this.post("floatingip", "floatingips", { floating_network_id: network, ...(m % 2 === 0 && { port_id: this.pick("port", m) ?? null }) });
      case "float":
        return this.put(`/v2.0/floatingips/${this.pick("floatingip", s.n)}`, { floatingip: { port_id: m === 0 ? null : (this.pick("port", m) ?? null) } });
      case "forward": {
        const at = this.pick("port", m);
        const shown = at === undefined ? undefined : ((await this.h.call("GET", `/v2.0/ports/${at}`)).body as { port?: { fixed_ips?: { ip_address: string }[] } }).port;
        const forwarding = { internal_port_id: at, internal_ip_address: shown?.fixed_ips?.[0]?.ip_address ?? "10.0.0.9", protocol: m % 2 === 0 ? "tcp" : "udp", external_port_range: `${1000 + m}:${1000 + m + s.n}`, internal_port_range: `${m < 3 ? 1000 + m : 2000}:${(m < 3 ? 1000 + m : 2000) + s.n}` };
        const answer = await this.h.call("POST", `/v2.0/floatingips/${this.pick("floatingip", s.n)}/port_forwardings`, { port_forwarding: forwarding });
        expect(answer.status).toBeLessThan(500);
        return;
      }
      case "proxy": {
        await this.put(`/v2.0/routers/${router}`, { router: { enable_ndp_proxy: m % 3 !== 0 } });
        if (m === 0) return this.removeAll("/v2.0/ndp_proxies");
        const made = await this.h.call("POST", "/v2.0/ndp_proxies", { ndp_proxy: { router_id: router, port_id: this.pick("port", m) } });
        expect(made.status, JSON.stringify(made.body)).toBeLessThan(500);
        return;
      }
      case "helper": {
        const path = `/v2.0/routers/${router}/conntrack_helpers`;
        if (m === 0) return this.removeAll(path);
        const made = await this.h.call("POST", path, { conntrack_helper: m % 2 === 0 ? { protocol: "tcp", port: 21, helper: "ftp" } : { protocol: "udp", port: 69 + m, helper: "tftp" } });
        expect(made.status, JSON.stringify(made.body)).toBeLessThan(500);
        return;
      }
      case "delete": {
        const kinds = Object.keys(this.ids);
        const kind = kinds[m % kinds.length]!;
        const id = this.pick(kind, s.n);
        if (id === undefined) return;
        const answer = await this.h.call("DELETE", `/v2.0/${kind.replaceAll("_", "-")}s/${id}`);
        expect(answer.status).toBeLessThan(500);
        if (answer.status === 204) this.ids[kind] = this.ids[kind]!.filter((x) => x !== id);
        for (const other of Object.keys(this.ids)) await this.forgetGone(other);
        return;
      }
    }
  }

  private async removeAll(path: string): Promise<void> {
    const listed = (await this.h.call("GET", path)) as { readonly body: unknown };
    for (const { id } of (listed.body as Record<string, readonly { readonly id: string }[] | undefined>)[path.slice(path.lastIndexOf("/") + 1)] ?? []) expect((await this.h.call("DELETE", `${path}/${id}`)).status).toBe(204);
  }

  /** Things that went with something else. */
  protected async forgetGone(kind: string): Promise<void> {
    const listed = await this.h.call("GET", `/v2.0/${kind.replaceAll("_", "-")}s`);
    if (listed.status !== 200) return; // of an app that is not there now
    const alive = new Set(((listed.body as Record<string, { id: string }[]>)[`${kind}s`] ?? []).map((r) => r.id));
    this.ids[kind] = this.ids[kind]!.filter((id) => alive.has(id));
  }
}
