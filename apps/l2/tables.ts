// l2's tables. From a VM: classify, port_security, then services (ARP, ND) or policy, l2_lookup, locate.
// From a tunnel: classify, l2_lookup, locate.
import type { PipelineDecl } from "#app";

export const pipeline = {
  tables: {
    classify: { stage: "classify", miss: "drop", about: "local port or VNI -> network and sender" },
    port_security: { stage: "admission", miss: "drop", about: "only the port's own MAC and addresses may send" },
    arp_nd: { stage: "services", miss: "next", about: "ARP requests and neighbour solicitations: look the target up" },
    arp_nd_reply: { stage: "services", miss: "drop", aside: true, about: "known target: answer on its behalf; unknown: flood the question" },
    nd_advertise: { stage: "services", miss: "drop", aside: true, about: "the rest of a neighbour advertisement" },
    l2_lookup: { stage: "forward", miss: "sibling", about: "destination MAC -> port and chassis; group addresses -> flood" },
    neighbour: { stage: "neighbour", miss: "drop", about: "address in a network -> MAC" },
    flood_remote: { stage: "flood", miss: "drop", about: "one copy to each other chassis with a port of the network" },
    flood_local: { stage: "flood", miss: "drop", aside: true, about: "one copy to each local port of the network" },
    locate: { stage: "locate", miss: "next", about: "local port: its policy and OpenFlow port; else on to the tunnels" },
  },
  registers: {
    flood_chunk: { bits: 8, about: "which part of a long list of local ports" },
  },
} as const satisfies PipelineDecl;
