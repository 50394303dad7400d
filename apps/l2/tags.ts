// Tags of guests, on networks that are transparent to them: one passes, as the sender's MAC and addresses and the policies of both ports let a packet
// without it. The network itself answers nothing that has a tag, and no router takes it: what is behind a tag is another network of the guests.
import { chassisScope, core, defineScope, ethType, toStage, type Emit, type FlowAction, type Outputs, type PortContext, type ReadView, type SharedRegister } from "#app";
import { isRouterPort, lanScope, networkTable, portTable, type Attachment, type Network } from "./model.ts";
import { l2 } from "./tables.ts";

/** OFPVID_PRESENT, OpenFlow 1.3.5 section 7.2.3.7: any tag. */
const TAGGED = { value: 0x1000, mask: 0x1000 } as const;

/** Hosts with a port of a network that is transparent. */
const taggedScope = defineScope("tagged");

export const isTransparent = (view: ReadView, networkId: string): boolean => view.count(networkTable, "transparent", networkId) > 0;

export const portContext: readonly PortContext[] = [
  {
    register: "tag_passes",
    side: "sender",
    value(view, { port_id: id }): number {
      const port = view.get(portTable, id);
      return port !== undefined && isTransparent(view, port.network_id) ? 1 : 0;
    },
  },
];

/** Frames with a tag come in as those without. */
export function admitTags(at: Attachment, asSender: readonly FlowAction<never, SharedRegister>[], out: Outputs): void {
  out.into(core).flow(chassisScope(at.chassis), "classify", { priority: 90, match: { in_port: at.ofport, vlan_vid: TAGGED }, actions: asSender });
}

export function passTags(network: Network, view: ReadView, out: Emit<typeof l2>): void {
  const scope = taggedScope("any");
  out.include(lanScope(network.id), scope);
  out.flow(scope, "arp_nd", { priority: 190, match: { vlan_vid: TAGGED, eth_type: ethType.ip }, actions: [toStage("acl_out")] });
  for (const eth_type of [ethType.arp, ethType.ipv6]) out.flow(scope, "arp_nd", { priority: 190, match: { vlan_vid: TAGGED, eth_type }, actions: [toStage("forward")] });
  for (const port of view.by(portTable, "network", network.id)) {
    if (isRouterPort(port)) out.flow(lanScope(network.id), "l2_lookup", { priority: 130, match: { "reg:net": network.key, vlan_vid: TAGGED, eth_dst: port.mac_address }, actions: [] });
  }
}
