// Policy, once at the sender and once at the receiver. IP packets come through conntrack in the port's zone. Every packet is checked
// against the rules (the datapath's cache makes that cheap), answers too: by those of the direction in which the connection was opened. So
// there is nothing to remember of what was allowed, and taking a rule away ends what it allowed, whoever speaks.
import { definePipeline } from "#app";

const POLICY = [
  "reg:sg_policy", "reg:secured", "reg:egress", "reg:from_network", "reg:net", "eth_src", "eth_dst", "eth_type", "ip_proto", "ip_frag", "ip_ttl", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst", "tcp_dst", "udp_dst", "sctp_dst",
  "icmpv4_type", "icmpv4_code", "icmpv6_type", "icmpv6_code", "ct_state", "ct_label", "conj_id",
] as const;
const CONNECTION = [
  "reg:sg_policy", "reg:net", "eth_src", "eth_dst", "eth_type", "ct_state", "ct_nw_proto", "ct_nw_src", "ct_nw_dst", "ct_ipv6_src", "ct_ipv6_dst", "ct_tp_src", "ct_tp_dst", "ip_proto", "sctp_src", "conj_id",
] as const;
/** Nothing of conntrack: what was asked of it for another port of the host is no matter here. */
const STATELESS = POLICY.filter((field) => field !== "ct_state" && field !== "ct_label") as readonly Exclude<(typeof POLICY)[number], "ct_state" | "ct_label">[];
const LOOK = ["eth_type", "ip_frag", "ct_state"] as const;
const VERDICT = ["reg:egress", ...LOOK] as const;
const SENDER = ["reg:in_port_key", ...VERDICT] as const;
const RECEIVER = ["reg:out_port_key", ...VERDICT] as const;

export const securityGroups = definePipeline({
  tables: {
    sg_out: { stage: "acl_out", miss: "drop", conntrack: true, match: [...POLICY, "reg:in_port_key"], about: "egress rules of the sending port" },
    sg_out_connection: { stage: "acl_out", miss: "drop", aside: true, match: CONNECTION, about: "connections that the port opened, by its egress rules: answers, errors" },
    sg_out_verdict: { stage: "acl_out", miss: "drop", aside: true, match: SENDER, about: "allowed by an egress rule: remember new connections, as many as the port may open" },
    sg_out_remembered: { stage: "acl_out", miss: "drop", aside: true, match: LOOK, about: "a new connection that is remembered: no fragments that conntrack held of others" },
    sg_out_new_fragment: { stage: "acl_out", miss: "drop", aside: true, match: ["reg:in_port_key"], about: "fragments that open a connection pass the meter of their port" },
    sg_out_join: { stage: "acl_out", miss: "drop", aside: true, match: ["reg:in_port_key", "eth_type", "ct_zone", "ct_state"], about: "fragments of the port wait in conntrack until all of their packet are there" },
    sg_out_fragment: { stage: "acl_out", miss: "drop", aside: true, match: ["reg:in_port_key", "ct_zone", "ct_state", "ct_mark"], about: "fragments of an allowed packet, once conntrack has seen all of them" },
    sg_out_stateless: { stage: "acl_out", miss: "drop", aside: true, match: [...STATELESS, "reg:in_port_key"], about: "egress rules of the sending port, where all of its groups are stateless" },
    sg_in: { stage: "acl_in", miss: "drop", conntrack: true, match: [...POLICY, "reg:out_port_key", "tcp_flags"], about: "ingress rules of the receiving port" },
    sg_in_connection: { stage: "acl_in", miss: "drop", aside: true, match: CONNECTION, about: "connections that others opened to the port, by its ingress rules: answers, errors" },
    sg_in_verdict: { stage: "acl_in", miss: "drop", aside: true, match: RECEIVER, about: "allowed by an ingress rule: remember new connections, as many as the port may be sent" },
    sg_in_remembered: { stage: "acl_in", miss: "drop", aside: true, match: ["reg:egress", ...LOOK], about: "a new connection that is remembered: no fragments that conntrack held of others" },
    sg_in_join: { stage: "acl_in", miss: "drop", aside: true, match: ["reg:out_port_key", "eth_type", "ct_zone", "ct_state"], about: "fragments to the port wait in conntrack until all of their packet are there" },
    sg_in_fragment: { stage: "acl_in", miss: "drop", aside: true, match: ["reg:out_port_key", "ct_zone", "reg:egress", "ct_state", "ct_mark"], about: "fragments of an allowed packet, once conntrack has seen all of them" },
    sg_in_stateless: { stage: "acl_in", miss: "drop", aside: true, match: [...STATELESS, "reg:out_port_key"], about: "ingress rules of the receiving port, where all of its groups are stateless" },
    sg_in_allowed: { stage: "acl_in", miss: "drop", aside: true, match: ["reg:egress"], about: "allowed by an ingress rule of a stateless group: on" },
    sg_out_denied: { stage: "acl_out", miss: "drop", aside: true, match: ["reg:in_port_key"], about: "what no egress rule of the sender allows, where it is told: copies to the controller, metered for each port" },
    sg_in_denied: { stage: "acl_in", miss: "drop", aside: true, match: ["reg:out_port_key"], about: "what no ingress rule of the receiver allows, where the sender is told: copies to the controller, metered for each port" },
  },
  registers: {
    denied: { bits: 1, scratch: true, about: "what is denied came to the port" },
    sg_policy: { bits: 32, about: "key of the port's set of security groups; 1 = no group" },
  },
});
