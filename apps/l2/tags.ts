// Tags of guests, on networks that are transparent to them: one passes, as the sender's MAC and addresses and the policies of both ports let a packet
// without it. The network itself answers nothing that has a tag, and no router takes it: what is behind a tag is another network of the guests.
// Where such a network is a VLAN the guest's tag goes inside its own, and a switch that reads two tags is needed: there a guest could send two.
import { callTable, chassisScope, core, defineScope, ethType, load, toStage, toTable, VLAN_NONE, type Emit, type FlowAction, type Outputs, type PortContext, type ReadView, type SharedRegister } from "#app";
import { chosenSegments, isNetworkPort, isTransparent, lanScope, portTable, type Attachment, type Network } from "./model.ts";
import { TAGGED } from "./model/tags.ts";
import { l2 } from "./tables.ts";

/** Hosts with a port of a network that is transparent; those where one is a VLAN. */
const taggedScope = defineScope("tagged");

/** Whether tags of guests go inside one of the network's own. */
const isInside = (view: ReadView, networkId: string): boolean => chosenSegments(view, networkId).some((s) => s.outer_tag !== undefined);

const ofSender = (register: string, holds: (view: ReadView, networkId: string) => boolean): PortContext => ({
  register,
  side: "sender",
  value(view, { port_id: id }): number {
    const port = view.get(portTable, id);
    return port !== undefined && holds(view, port.network_id) ? 1 : 0;
  },
});
export const portContext: readonly PortContext[] = [ofSender("tag_passes", isTransparent), ofSender("tag_unseen", isInside)];

/** Frames with a tag come in as those without. */
export function admitTags(at: Attachment, asSender: readonly FlowAction<never, SharedRegister>[], out: Outputs): void {
  out.into(core).flow(chassisScope(at.chassis), "classify", { priority: 90, match: { in_port: at.ofport, vlan_vid: TAGGED }, actions: asSender });
}

export function passTags(network: Network, view: ReadView, out: Emit<typeof l2>): void {
  const scope = taggedScope("any");
  out.include(lanScope(network.id), scope);
  if (isInside(view, network.id)) oneTag(network, out);
  out.flow(scope, "arp_nd", { priority: 190, match: { vlan_vid: TAGGED, eth_type: ethType.ip }, actions: [toStage("acl_out")] });
  for (const eth_type of [ethType.arp, ethType.ipv6]) out.flow(scope, "arp_nd", { priority: 190, match: { vlan_vid: TAGGED, eth_type }, actions: [toStage("forward")] });
  for (const port of view.by(portTable, "network", network.id)) {
    if (isNetworkPort(port)) out.flow(lanScope(network.id), "l2_lookup", { priority: 130, match: { "reg:net": network.key, vlan_vid: TAGGED, eth_dst: port.mac_address }, actions: [] });
  }
}

/** Of two tags no field shows the inner one: the outer is taken off to see whether there is one, and put back, as of 802.1Q whatever it was. */
function oneTag(network: Network, out: Emit<typeof l2>): void {
  const scope = taggedScope("inside");
  out.include(lanScope(network.id), scope);
  out.flow(scope, "port_security", {
    priority: 1001, match: { "reg:tag_unseen": 1, vlan_vid: TAGGED },
    actions: [load("tag_unseen", 0), { type: "stack_push", from: "vlan_tci" }, { type: "pop_vlan" }, callTable("inner_tag"), toTable("port_security")],
  });
  out.flow(scope, "inner_tag", { priority: 100, match: { vlan_vid: VLAN_NONE }, actions: [{ type: "push_vlan", ethertype: 0x8100 }, { type: "stack_pop", to: "vlan_tci" }] });
  out.flow(scope, "inner_tag", { priority: 100, match: { vlan_vid: TAGGED }, actions: [load("tag_passes", 0)] });
}
