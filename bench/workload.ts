// The standard workload: T tenants, each with K networks of one /24 (a /20 from 251 ports on), one router on all of them,
// one security group (egress all, ingress from the same group, ingress tcp/22 from anywhere), P ports a network, spread
// round robin over H hosts. Rows are written as the API would have left them, so that loading is not what is measured.
import { chassisTable, numberId, poolNumberTable, vifTable, type Row, type StandardRow, type Tx } from "#app";
import { subnetTable, type Subnet } from "../apps/ipam/model.ts";
import { addressId, addressTable, deviceOwner, networkTable, portTable, type Network, type Port } from "../apps/l2/model.ts";
import { routerInterfaceTable, routerTable } from "../apps/l3/model.ts";
import { vniPool } from "../apps/overlay/model.ts";
import { groupTable, policyTable, portGroupsTable, remoteUseId, remoteUseTable, ruleTable, type SecurityGroupRule } from "../apps/security-groups/model.ts";
import type { Model } from "../src/model/model.ts";

export interface Workload {
  readonly tenants: number;
  readonly networks: number;
  readonly ports: number;
  readonly hosts: number;
}

const NOW = "2026-01-01T00:00:00Z";
const standard = (id: string, project: string, name: string): StandardRow => ({
  id, project_id: project, name, description: "", created_at: NOW, updated_at: NOW, revision_number: 1, tags: [],
});

/** A UUID that says what it is: kind, tenant, network, port. */
export const benchId = (kind: number, a: number, b = 0, c = 0): string =>
  `${(0xa0000000 + kind).toString(16)}-0000-4000-8000-${a.toString(16).padStart(5, "0")}${b.toString(16).padStart(3, "0")}${c.toString(16).padStart(4, "0")}`;
export const hostName = (h: number): string => `hv${h}`;
export const projectId = (t: number): string => benchId(9, t);

const mac = (n: number): string => `fa:16:3e:${[n >> 16, n >> 8, n].map((b) => (b & 0xff).toString(16).padStart(2, "0")).join(":")}`;

/** All chassis. */
export function putHosts(tx: Tx, hosts: number): void {
  for (let h = 0; h < hosts; h++) {
    tx.put(chassisTable, {
      id: hostName(h), hostname: hostName(h), key: h + 1, bridge: "br-int", dpid: (h + 1).toString(16).padStart(16, "0"), datapath_type: "netdev",
      encap_ip: `192.168.${h >> 8}.${h & 255}`, encap_types: ["geneve"], bridge_mappings: {}, gateway: false, ovs_version: "3.1.0",
    });
  }
}

/** One tenant with everything it has. `slots` counts the ports of each host. */
export function putTenant(tx: Tx, w: Workload, t: number, slots: number[]): void {
  const project = projectId(t);
  const perNetwork = w.ports + 1;
  const wide = w.ports > 250;
  const prefix = wide ? 20 : 24;
  const group = benchId(1, t);
  tx.put(groupTable, { ...standard(group, project, "app") });
  const rules: [Partial<SecurityGroupRule> & Pick<SecurityGroupRule, "direction">][] = [
    [{ direction: "egress" }],
    [{ direction: "ingress", remote_group_id: group }],
    [{ direction: "ingress", protocol: "tcp", port_range_min: 22, port_range_max: 22 }],
  ];
  rules.forEach(([r], i) =>
    tx.put(ruleTable, {
      ...standard(benchId(2, t, i), project, ""), security_group_id: group, ethertype: "IPv4", protocol: null, port_range_min: null, port_range_max: null,
      remote_ip_prefix: null, remote_group_id: null, ...r,
    }));
  tx.put(policyTable, { id: group, key: t + 2, groups: [group] });
  const use = remoteUseId(group, group, "ingress", "IPv4");
  tx.put(remoteUseTable, { id: use, key: t + 1, group, remote: group, direction: "ingress", ethertype: "IPv4" });
  const router = benchId(3, t);
  tx.put(routerTable, { ...standard(router, project, "router"), key: t + 1, admin_state_up: true, routes: [] });
  for (let k = 0; k < w.networks; k++) {
    const n = t * w.networks + k;
    const network: Network = { ...standard(benchId(4, t, k), project, `net${k}`), key: n + 1, admin_state_up: true, shared: false, port_security_enabled: true };
    tx.put(networkTable, network);
    tx.put(poolNumberTable, { id: numberId(vniPool.name, "", network.id), pool: vniPool.name, part: "", holder: network.id, n: network.key, claimed: true, releasing: false });
    const base = `10.${k}`;
    const ip = (i: number): string => `${base}.${i >> 8}.${i & 255}`;
    const subnet: Subnet = {
      ...standard(benchId(5, t, k), project, `subnet${k}`), network_id: network.id, ip_version: 4, cidr: `${base}.0.0/${prefix}`, gateway_ip: ip(1),
      allocation_pools: [{ start: ip(2), end: wide ? ip(4094) : ip(254) }], dns_nameservers: [], host_routes: [], enable_dhcp: true, ipv6_ra_mode: null, ipv6_address_mode: null,
    };
    tx.put(subnetTable, subnet);
    const addPort = (p: number, fields: Partial<Port>, address: string): Port => {
      const port: Port = {
        ...standard(benchId(6, t, k, p), project, ""), key: n * perNetwork + p + 1, network_id: network.id, mac_address: mac(k * 0x10000 + p), admin_state_up: true,
        device_id: "", device_owner: "compute:nova", port_security_enabled: true, allowed_address_pairs: [], ...fields,
      };
      tx.put(portTable, port);
      tx.put(addressTable, { id: addressId(network.id, address), network_id: network.id, port_id: port.id, subnet_id: subnet.id, ip: address, family: 4, position: 0 });
      return port;
    };
    const gateway = addPort(w.ports, { device_owner: deviceOwner.routerInterface, device_id: router, port_security_enabled: false }, ip(1));
    tx.put(routerInterfaceTable, { id: gateway.id, router_id: router, network_id: network.id });
    for (let p = 0; p < w.ports; p++) {
      const port = addPort(p, { device_id: benchId(7, t, k, p) }, ip(p + 2));
      tx.put(portGroupsTable, { id: port.id, groups: [group], policy: group });
      const h = (n * w.ports + p) % w.hosts;
      slots[h] = (slots[h] ?? 0) + 1;
      tx.put(vifTable, { id: `${hostName(h)}/tap${port.id}`, chassis: hostName(h), iface_id: port.id, name: `tap${port.id}`, ofport: slots[h], slot: slots[h] });
    }
  }
}

/** Rows straight into a model's tables, for benchmarks that measure only the compiler. */
export function directTx(put: (table: never, row: Row) => void): Tx {
  return { put } as unknown as Tx;
}

/** The whole of it, a transaction for the hosts and one a tenant; answers how many ports each host has. `call`: what made it, as flows tell. */
export async function putWorkload(model: Model, w: Workload, call: string): Promise<number[]> {
  const cause = { requestId: "bench", call };
  await model.transact(cause, (tx) => putHosts(tx, w.hosts));
  const slots: number[] = [];
  for (let t = 0; t < w.tenants; t++) {
    // A transaction may run again, so the slot counters are set back first.
    const before = [...slots];
    await model.transact(cause, (tx) => {
      slots.splice(0, slots.length, ...before);
      putTenant(tx, w, t, slots);
    });
  }
  return slots;
}
