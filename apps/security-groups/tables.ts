// Policy, once at the sender and once at the receiver. IP packets come through conntrack in the port's zone; replies
// of allowed connections pass at once, everything else is checked against the rules packet by packet (the datapath's
// cache makes that cheap), so that taking a rule away stops established connections as well: they are marked in conntrack.
import type { PipelineDecl } from "#app";

export const pipeline = {
  tables: {
    sg_out: { stage: "acl_out", miss: "drop", conntrack: true, about: "egress rules of the sending port" },
    sg_out_verdict: { stage: "acl_out", miss: "drop", aside: true, about: "allowed: remember new connections, lift old marks" },
    sg_in: { stage: "acl_in", miss: "drop", conntrack: true, about: "ingress rules of the receiving port" },
    sg_in_verdict: { stage: "acl_in", miss: "drop", aside: true, about: "allowed: remember new connections, lift old marks" },
  },
  registers: {
    sg_policy: { bits: 32, about: "key of the port's set of security groups; 1 = no group" },
  },
} as const satisfies PipelineDecl;
