// Neighbour discovery that no host has to believe, whoever sends it, a port without port security too: what the switch can see of it. It reads the
// first link-layer address option of 8 bytes of each kind; an option that is there twice makes it show neither options nor target.
import { baseScope, ethType, NO_MAC } from "#app";
import { advertisement, solicitation } from "./model/messages.ts";
import { l2 } from "./tables.ts";

/** nd_options_type, ovs-fields(7): the kind of the first link-layer address option, source or target. */
const LINK_LAYER_OPTIONS = [1, 2] as const;
/** NXM_NX_IP_FRAG, ovs-fields(7): a fragment, be it the first. */
const FRAGMENT = { value: 1, mask: 1 } as const;

export const staticFlows = l2.static((out) => {
  for (const message of [solicitation, advertisement]) {
    // Twice the same option, a target that is cut off, or another code than 0.
    out.flow(baseScope, "nd_source", { priority: 200, match: { ...message, ipv6_nd_target: "::" }, actions: [] });
  }
  for (const nd_options_type of LINK_LAYER_OPTIONS) {
    // An option that is there and holds no MAC, which would else pass for none.
    out.flow(baseScope, "nd_source", { priority: 200, match: { ...solicitation, nd_options_type, ipv6_nd_sll: NO_MAC }, actions: [] });
    out.flow(baseScope, "nd_source", { priority: 200, match: { ...advertisement, nd_options_type, ipv6_nd_tll: NO_MAC }, actions: [] });
  }
  // The rest of it, options too, would come unseen in the next fragment. RFC 6980 section 5
  out.flow(baseScope, "nd_source", { priority: 200, match: { eth_type: ethType.ipv6, ip_frag: FRAGMENT }, actions: [] });
  // From no address come solicitations as RFC 4861 sections 4.1 and 7.1.1 have them, which pass before this, and nothing else: a port that may
  // have any address may not have none.
  out.flow(baseScope, "nd_source", { priority: 105, match: { eth_type: ethType.ipv6, ipv6_src: "::" }, actions: [] });
});
