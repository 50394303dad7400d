// Copies of packets. One is made where its port is, and leaves at once: by the port of the tap service if that is on the same host, else by a tunnel with a VNI
// that is the service's alone. Nothing looks at it any more, neither there nor where it arrives: no policy, no learning, no other tap. So it comes to that
// port as it is, comes to nobody else, and cannot go round in circles.
import { chassisScope, claim, claimTable, derivation, each, eachPair, load, next, numberOf, poolNumberTable, setField, toEntrance, toTable, type Claim, type PortContext, type ReadView } from "#app";
import { activeAttachment, attachmentTable, fromScope, hostScope, type Attachment } from "../l2/model.ts";
import { receiveVni, sendVni, vniPool, vniRanges, withVni } from "../overlay/model.ts";
import { tapFlowTable, tapHostsTable, tappedPortTable, tapPlaceTable, tapScope, tapSendersScope, tapServiceTable, type Copy, type TapHosts, type TapPlace } from "./model.ts";
import { taas } from "./tables.ts";
import { parseVlans, partsOf, PRESENT } from "./vlans.ts";

/** Who holds the VNI of a tap service. */
const vniHolder = (service: string): string => `taas/${service}`;
const vniOf = (view: ReadView, service: string): number | undefined => numberOf(view, vniPool, "", vniHolder(service));

/** Copies of a port's packets, each way to a service once. */
function copiesOf(view: ReadView, port: string): Copy[] {
  return view.by(tapFlowTable, "source", port).toSorted((a, b) => (a.id < b.id ? -1 : 1)).flatMap(({ tap_service_id: service, direction, vlan_filter }) => {
    const vni = vniOf(view, service);
    return vni === undefined ? [] : [{ vni, service, direction, vlans: vlan_filter === null ? [] : parseVlans(vlan_filter) }];
  });
}

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
    name: "tapped-port", on: eachPair(tapFlowTable, "sources"), into: tappedPortTable, reads: [poolNumberTable],
    derive({ b: id }, view) {
      const copies = copiesOf(view, id);
      return copies.length === 0 ? undefined : { id, copies };
    },
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
];

/** A copy on its way; the packet itself goes on. */
const copyTo = (vni: number) => ({ type: "clone", actions: [setField("in_port", 0), load("net", vni), toTable("tap_deliver")] }) as const;

/** What of a direction is copied where to, by its tag. What several tap flows copy to one service goes there once. */
function parted(copies: readonly Copy[], direction: "IN" | "OUT") {
  const asked = copies.filter((c) => c.direction === direction || c.direction === "BOTH");
  return partsOf(asked.map((c) => c.vlans)).map(({ vlan_vid, among }) => ({
    priority: vlan_vid === undefined ? 100 : 110,
    tag: vlan_vid === undefined ? {} : { vlan_vid },
    actions: [...[...new Set(among.map((i) => asked[i]!.vni))].map(copyTo), next],
  }));
}

const tapped = taas.rule({
  name: "copied",
  about: "a port whose packets are copied, at each place where it is",
  on: each(tappedPortTable),
  emit({ id, copies }, view, out) {
    const [sent, got] = [parted(copies, "OUT"), parted(copies, "IN")];
    for (const at of view.by(attachmentTable, "port", id)) {
      const scope = chassisScope(at.chassis);
      for (const { service } of copies) {
        out.include(scope, tapScope(service));
        out.include(tapSendersScope(service), fromScope(at.chassis));
      }
      for (const { priority, tag, actions } of sent) out.flow(scope, "tap_out", { priority, match: { "reg:in_port_key": at.port_key, ...tag }, actions });
      for (const { priority, tag, actions } of got) out.flow(scope, "tap_in", { priority, match: { "reg:out_port_key": at.port_key, ...tag }, actions });
      if (got.length > 0) out.flow(scope, "tap_in", { priority: 200, match: { "reg:out_port_key": at.port_key, ...returning(at) }, actions: [next] });
    }
  },
});

/** A frame of the port that comes back to it, as a broadcast does: its switch does not send it out. */
const returning = (at: Attachment) => (at.vlan === null ? ({ in_port: at.ofport } as const) : ({ "reg:in_port_key": at.port_key, "reg:from_network": 0 } as const));

const delivered = taas.rule({
  name: "delivered",
  about: "copies for a tap service: out of its port, and to the host that has this",
  on: each(tapPlaceTable),
  emit({ id, vni, chassis, host_key, ofport, vlan }, _view, out) {
    const [here, elsewhere] = [chassisScope(chassis), tapScope(id)];
    const tag = vlan === null ? [] : [{ type: "push_vlan", ethertype: 0x8100 } as const, setField("vlan_vid", PRESENT | vlan)];
    out.flow(here, "tap_deliver", { priority: 110, match: { "reg:net": vni }, actions: [...tag, { type: "output", port: ofport }] });
    out.flow(elsewhere, "tap_deliver", { priority: 100, match: { "reg:net": vni }, actions: withVni(vni, host_key) });
    out.include(elsewhere, hostScope(host_key));
    sendVni(out, elsewhere, vni);
    receiveVni(out, here, vni, "any", [load("net", vni), toEntrance(taas.entrance("tap_deliver"))]);
    out.include(here, tapSendersScope(id));
  },
});

export const rules = [tapped, delivered];

export const portContext: readonly PortContext[] = [{
  ingress: (view, { port_id: id }) => copies(view, id, "OUT"),
  egress: (view, { port_id: id }) => copies(view, id, "IN"),
}];
const copies = (view: ReadView, port: string, direction: "IN" | "OUT"): boolean => view.get(tappedPortTable, port)?.copies.some((c) => c.direction === direction || c.direction === "BOTH") ?? false;
