// Policy, once at the sender and once at the receiver. IP packets come through conntrack in the port's zone; replies
// of allowed connections pass at once, everything else is checked against the rules packet by packet (the datapath's
// cache makes that cheap), so that taking a rule away stops established connections as well: they are marked in conntrack.
import { definePipeline } from "#app";

const POLICY = [
  "reg:sg_policy", "reg:egress", "reg:from_network", "reg:net", "eth_src", "eth_dst", "eth_type", "ip_proto", "ip_ttl", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst", "tcp_dst", "udp_dst", "sctp_dst", "icmpv4_type", "icmpv4_code",
  "icmpv6_type", "icmpv6_code", "ct_state", "ct_mark", "conj_id",
] as const;
const VERDICT = ["reg:egress", "eth_type", "ct_state", "ct_mark"] as const;

export const securityGroups = definePipeline({
  tables: {
    sg_out: { stage: "acl_out", miss: "drop", conntrack: true, match: POLICY, about: "egress rules of the sending port" },
    sg_out_verdict: { stage: "acl_out", miss: "drop", aside: true, match: VERDICT, about: "allowed: remember new connections, lift old marks" },
    sg_in: { stage: "acl_in", miss: "drop", conntrack: true, match: POLICY, about: "ingress rules of the receiving port" },
    sg_in_verdict: { stage: "acl_in", miss: "drop", aside: true, match: VERDICT, about: "allowed: remember new connections, lift old marks" },
  },
  registers: {
    sg_policy: { bits: 32, about: "key of the port's set of security groups; 1 = no group" },
  },
});
