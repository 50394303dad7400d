// A machine's packets to a Local IP are translated as they leave it, before its policy, and answers as they reach it, after its policy: all between sees the associated port's own
// address, members of groups for instance. Only ports of a network where such a port is on the same host pass these tables.
import { definePipeline } from "#app";

const TRACKED = ["ct_zone", "ct_state", "eth_type", "ipv4_dst", "ipv6_dst"] as const;

/** What comes after in `egress`: the machine's own address is to be seen by none of these. */
const BEHIND = ["pvlan_in", "qos_in", "qos_in_packets", "sampled_in", "tap_in", "push_tag"] as const;

// Each `next` of tables behind conntrack leads on from where they stand, so that nothing is passed twice.
export const localIp = definePipeline({
  registers: {},
  tables: {
    local_ip_out: { stage: "ingress", last: true, miss: "next", match: ["reg:net", "eth_dst", "eth_type", "ipv4_dst", "ipv6_dst"], about: "to a local IP: as its connection has it, to the port on this host that is associated with it" },
    local_ip_known: { stage: "ingress", last: true, after: ["local_ip_out"], aside: true, miss: "drop", match: TRACKED, about: "to a local IP, as conntrack has it: on, or a new connection is translated and remembered, so many a second" },
    local_ip_opened: { stage: "ingress", last: true, after: ["local_ip_out", "local_ip_known"], aside: true, miss: "drop", match: TRACKED, about: "what has opened a connection goes on, if it was translated" },
    local_ip_in: { stage: "egress", before: BEHIND, miss: "next", match: ["reg:in_port_key", "eth_type", "ipv4_src", "ipv6_src"], about: "from a port that is associated with a local IP: answers on connections to that have its address" },
    local_ip_back: { stage: "egress", after: ["local_ip_in"], before: BEHIND, aside: true, miss: "drop", match: ["ct_zone", "ct_state"], about: "as its connection has it, it goes on" },
  },
});
