// A host that uses a gate has one tunnel port to each gateway, with BFD at both ends, and one fast-failover group over them: which
// gateway is alive is the switch's own knowledge, and no flow changes when one dies. At a gateway the packet is known by (network,
// reserved MAC), and is routed as if it came from there; gateways are no users of a gate, so that it is redirected once.
import { chassisScope, chassisTable, claim, claimTable, derivation, each, ethType, numberOf, setField, type Bucket, type Chassis, type Claim, type Outputs } from "#app";
import { subnetTable } from "../../../../apps/ipam/model.ts";
import { answerFor, attachmentTable, holdMac, neighbour, networkTable } from "../../../../apps/l2/model.ts";
import { enterRouter, legTable, routerInterfaceTable, routerTable, routeTable, type Leg, type Onward, type Route } from "../../../../apps/l3/model.ts";
import { sharedEncap, vniOf } from "../../../../apps/overlay/model.ts";
import { cidrOf, gateTable, groupPool, listOf, portNameTo, portPool, usersOf } from "./model.ts";
import { gate as pipeline } from "./tables.ts";

/** A tenant's packet cannot pass for BFD: the key has to be 0 (CVE-2024-2182). Three lost in a row: dead after 300 ms. */
const BFD = { enable: "true", min_rx: "100", min_tx: "100", check_tnl_key: "true" } as const;

/** What leaves by the leg outside passes the table that redirects. */
const REDIRECT: Onward = { table: pipeline.entrance("gate") };

export const derive = [
  derivation({
    name: "gate-leg",
    on: each(gateTable),
    into: legTable,
    reads: [subnetTable],
    derive(gate, view): Leg | undefined {
      const cidr = cidrOf(gate, view);
      return cidr === undefined ? undefined : { id: `gate/${gate.id}`, router_id: gate.router_id, network_id: gate.outside_id, mac: gate.mac, addresses: [{ ip: gate.address, cidr }], enter: false, onward: REDIRECT };
    },
  }),
  derivation({
    name: "gate-route",
    on: each(gateTable),
    into: routeTable,
    reads: [],
    derive: ({ id, router_id, outside_id, nexthop }): Route => ({ id: `gate/${id}`, router_id, destination: "0.0.0.0/0", via: outside_id, nexthop, source: "gate", metric: 0, onward: REDIRECT }),
  }),
  derivation({
    name: "gate-numbers",
    on: each(gateTable),
    into: claimTable,
    reads: [routerInterfaceTable, attachmentTable],
    derive(gate, view): Claim[] {
      const by = `gate/gate-numbers/${gate.id}`;
      const pairs = usersOf(gate, view).flatMap((user) => gate.hosts.map((host) => [user, host] as const));
      return [claim(by, groupPool, "", listOf(gate)), ...pairs.flatMap(([user, host]) => [claim(by, portPool, user, host), claim(by, portPool, host, user)])];
    },
  }),
];

/** The end at `at` of the tunnel between two chassis. */
function tunnel(out: Outputs, at: Chassis, peer: Chassis, type: string, ofport: number): void {
  out.row(chassisScope(at.id), "Port", portNameTo(peer.key), {
    interface: { type, options: { remote_ip: peer.encap_ip, key: "flow", local_ip: at.encap_ip }, ofport_request: ofport, bfd: BFD },
  });
}

const redirect = pipeline.rule({
  name: "redirect",
  about: "tunnels to gateways, the group that chooses one, what goes to it, and its arrival there",
  on: each(gateTable),
  emit(gate, view, out) {
    const router = view.get(routerTable, gate.router_id);
    const outside = view.get(networkTable, gate.outside_id);
    const vni = vniOf(view, gate.outside_id);
    if (router === undefined || outside === undefined || vni === undefined) return;
    const gateways = gate.hosts.flatMap((id) => view.get(chassisTable, id) ?? []);
    const [first] = gateways;
    if (first === undefined) return;
    neighbour(out, outside, gate.address, gate.mac);
    holdMac(out, outside, gate.mac, { chassis: first.id, host_key: first.key });
    for (const { id } of gateways) {
      enterRouter(out, id, outside, gate.mac, router, "route");
      answerFor(out, chassisScope(id), outside, gate.address, gate.mac, { arp: true, ping: true });
    }
    const group = numberOf(view, groupPool, "", listOf(gate));
    for (const userId of usersOf(gate, view)) {
      const user = view.get(chassisTable, userId);
      if (user === undefined) continue;
      const scope = chassisScope(user.id);
      const buckets: Bucket[] = [];
      for (const host of gateways) {
        const [there, back] = [numberOf(view, portPool, user.id, host.id), numberOf(view, portPool, host.id, user.id)];
        const type = sharedEncap(user.encap_types, host.encap_types);
        if (there === undefined || back === undefined || type === undefined || user.encap_ip === "" || host.encap_ip === "") continue;
        tunnel(out, user, host, type, there);
        tunnel(out, host, user, type, back);
        buckets.push({ watchPort: there, actions: [{ type: "output", port: there }] });
      }
      if (group === undefined || buckets.length === 0) continue;
      out.item(scope, "group", group, { type: "ff", buckets });
      out.flow(scope, "gate", {
        priority: 100, match: { "reg:router": router.key, "reg:net": outside.key, eth_type: ethType.ip },
        actions: [setField("tunnel_id", vni), setField("eth_dst", gate.mac), { type: "group", id: group }],
      });
    }
  },
});

export const rules = [redirect];
