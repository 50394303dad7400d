// Only ports with a policy enter these stages: nobody else's packets pass a table more. A flow has one meter (OpenFlow 1.3.5 section 5.9), so bits and packets
// have a table each.
import { definePipeline } from "#app";

export const qos = definePipeline({
  registers: {},
  tables: {
    qos_out: { stage: "ingress", miss: "next", about: "how many bits a port may send, and the mark of what it sends", match: ["reg:in_port_key", "eth_type"] },
    qos_out_packets: { stage: "ingress", miss: "next", about: "how many packets a port may send", match: ["reg:in_port_key"] },
    qos_in: { stage: "egress", miss: "next", about: "how many bits a port may get", match: ["reg:out_port_key"] },
    qos_in_packets: { stage: "egress", miss: "next", about: "how many packets a port may get", match: ["reg:out_port_key"] },
  },
});
