// Copies of packets. One is made where its port is, and leaves at once: by the port of the tap service if that is on the same host, else by a tunnel with a VNI
// that is the service's alone. Nothing looks at it any more, neither there nor where it arrives: no policy, no learning, no other tap. So it comes to that
// port as it is, comes to nobody else, and cannot go round in circles.
import { chassisScope, claim, claimTable, derivation, each, eachPair, load, next, numberOf, poolNumberTable, setField, toEntrance, toTable, VLAN_PRESENT, type Claim, type PortContext, type ReadView } from "#app";
import { activeAttachment, attachmentTable, comesBack, fromScope, hostScope } from "../l2/model.ts";
import { receiveVni, sendVni, vniPool, vniRanges, withVni } from "../overlay/model.ts";
import { derive as mirrorDerive, rules as mirrorRules, tunnelKey } from "./mirrors.ts";
import {
  copyTable, mirrorPorts, tapFlowTable, tapHostsTable, tappedPortTable, tapPlaceTable, tapScope, tapSendersScope, tapServiceTable, type Copy, type TapHosts, type TapPlace, type TappedPort,
} from "./model.ts";
import { taas } from "./tables.ts";
import { parseVlans, partsOf } from "./vlans.ts";

/** Who holds the VNI of a tap service. */
const vniHolder = (service: string): string => `taas/${service}`;
const vniOf = (view: ReadView, service: string): number | undefined => numberOf(view, vniPool, "", vniHolder(service));

export const derive = [
  derivation({
    name: "tap-vni", on: each(tapServiceTable), into: claimTable, reads: [tapFlowTable],
    derive: ({ id }, view): Claim | undefined => (view.count(tapFlowTable, "service", id) === 0 ? undefined : claim("taas/vni", vniPool, "", vniHolder(id), { within: vniRanges(view) })),
  }),
  derivation({
    name: "tap-place", on: each(tapServiceTable), into: tapPlaceTable, reads: [poolNumberTable, attachmentTable],
    derive({ id, port_id }, view): TapPlace | undefined {
      const vni = vniOf(view, id);
      const at = activeAttachment(view, port_id);
      return vni === undefined || at === undefined ? undefined : { id, vni, chassis: at.chassis, host_key: at.host_key, ofport: at.ofport, vlan: at.vlan };
    },
  }),
  derivation({
    name: "tap-copy", on: each(tapFlowTable), into: copyTable, reads: [poolNumberTable],
    derive({ id, tap_service_id: service, source_port, direction, vlan_filter }, view): Copy | undefined {
      const vni = vniOf(view, service);
      return vni === undefined ? undefined : { id, port_id: source_port, direction, vlans: vlan_filter === null ? [] : parseVlans(vlan_filter), to: { service, vni } };
    },
  }),
  derivation({
    name: "tapped-port", on: eachPair(copyTable, "ports"), into: tappedPortTable, reads: [],
    derive: ({ b: id }, view): TappedPort => ({ id, copies: view.by(copyTable, "port", id).toSorted((a, b) => (a.id < b.id ? -1 : 1)) }),
  }),
  derivation({
    name: "tap-service-hosts", on: each(tapServiceTable), into: tapHostsTable, reads: [attachmentTable],
    derive({ id, port_id }, view): TapHosts | undefined {
      const at = activeAttachment(view, port_id);
      return at === undefined ? undefined : { id, hosts: [at.chassis] };
    },
  }),
  derivation({
    name: "tap-flow-hosts", on: each(tapFlowTable), into: tapHostsTable, reads: [attachmentTable, tapPlaceTable],
    derive({ id, source_port, tap_service_id }, view): TapHosts | undefined {
      const [source, tap] = [activeAttachment(view, source_port), view.get(tapPlaceTable, tap_service_id)];
      return source === undefined || tap === undefined ? undefined : { id, hosts: [...new Set([source.chassis, tap.chassis])] };
    },
  }),
  ...mirrorDerive,
];

/** A copy on its way; the packet itself goes on. `key`: of a tap service its VNI, else of a mirror's tunnel. */
const copyTo = (key: number) => ({ type: "clone", actions: [setField("in_port", 0), load("net", key), toTable("tap_deliver")] }) as const;

/** By which key a copy finds its way at a host; undefined: it has none yet. */
function keyAt(view: ReadView, { to }: Copy, chassis: string): number | undefined {
  if ("vni" in to) return to.vni;
  const port = numberOf(view, mirrorPorts, chassis, to.tunnel);
  return port === undefined ? undefined : tunnelKey(port);
}

/** What of a direction is copied where to, by its tag. What several tap flows copy to one service goes there once. */
function parted(view: ReadView, copies: readonly Copy[], direction: "IN" | "OUT", chassis: string) {
  const asked = copies.filter((c) => c.direction === direction || c.direction === "BOTH");
  return partsOf(asked.map((c) => c.vlans)).map(({ vlan_vid, among }) => ({
    priority: vlan_vid === undefined ? 100 : 110,
    tag: vlan_vid === undefined ? {} : { vlan_vid },
    actions: [...[...new Set(among.flatMap((i) => keyAt(view, asked[i]!, chassis) ?? []))].map(copyTo), next],
  }));
}

const tapped = taas.rule({
  name: "copied",
  about: "a port whose packets are copied, at each place where it is",
  on: each(tappedPortTable),
  emit({ id, copies }, view, out) {
    for (const at of view.by(attachmentTable, "port", id)) {
      const scope = chassisScope(at.chassis);
      for (const { to } of copies) {
        if (!("service" in to)) continue;
        out.include(scope, tapScope(to.service));
        out.include(tapSendersScope(to.service), fromScope(at.chassis));
      }
      for (const { priority, tag, actions } of parted(view, copies, "OUT", at.chassis)) out.flow(scope, "tap_out", { priority, match: { "reg:in_port_key": at.port_key, ...tag }, actions });
      const got = parted(view, copies, "IN", at.chassis);
      for (const { priority, tag, actions } of got) out.flow(scope, "tap_in", { priority, match: { "reg:out_port_key": at.port_key, ...tag }, actions });
      if (got.length > 0) out.flow(scope, "tap_in", { priority: 200, match: { "reg:out_port_key": at.port_key, ...comesBack(at) }, actions: [next] });
    }
  },
});

const delivered = taas.rule({
  name: "delivered",
  about: "copies for a tap service: out of its port, and to the host that has this",
  on: each(tapPlaceTable),
  emit({ id, vni, chassis, host_key, ofport, vlan }, _view, out) {
    const [here, elsewhere] = [chassisScope(chassis), tapScope(id)];
    const tag = vlan === null ? [] : [{ type: "push_vlan", ethertype: 0x8100 } as const, setField("vlan_vid", VLAN_PRESENT | vlan)];
    out.flow(here, "tap_deliver", { priority: 110, match: { "reg:net": vni }, actions: [...tag, { type: "output", port: ofport }] });
    out.flow(elsewhere, "tap_deliver", { priority: 100, match: { "reg:net": vni }, actions: withVni(vni, host_key) });
    out.include(elsewhere, hostScope(host_key));
    sendVni(out, elsewhere, vni);
    receiveVni(out, here, vni, "any", [load("net", vni), toEntrance(taas.entrance("tap_deliver"))]);
    out.include(here, tapSendersScope(id));
  },
});

export const rules = [tapped, delivered, ...mirrorRules];

export const portContext: readonly PortContext[] = [{
  ingress: (view, { port_id: id }) => copies(view, id, "OUT"),
  egress: (view, { port_id: id }) => copies(view, id, "IN"),
}];
const copies = (view: ReadView, port: string, direction: "IN" | "OUT"): boolean => view.get(tappedPortTable, port)?.copies.some((c) => c.direction === direction || c.direction === "BOTH") ?? false;
