// Where packets cross the edge of the cloud: what leaves before it is translated, what comes in as it comes. Only packets of gateways where something is limited pass these tables, and come
// back from them. A flow has one meter (OpenFlow 1.3.5 section 5.9), so bits and packets have a table each.
import { definePipeline } from "#app";

export const qosExternal = definePipeline({
  registers: {},
  tables: {
    qos_enters: { stage: "translate", aside: true, miss: "drop", about: "how many bits may come in for a floating IP, or for the rest of a router by its gateway", match: ["reg:router", "reg:net", "eth_dst", "eth_type", "ipv4_dst"] },
    qos_enters_packets: { stage: "translate", aside: true, miss: "drop", about: "how many packets may come in likewise", match: ["reg:router", "reg:net", "eth_dst", "eth_type", "ipv4_dst"] },
    qos_leaves: {
      stage: "translate_out", aside: true, miss: "drop", about: "how many bits may leave from where a floating IP leads, or from the rest of a router by its gateway",
      match: ["reg:router", "reg:net", "eth_src", "eth_type", "ipv4_src", "ip_proto", "tcp_src", "udp_src"],
    },
    qos_leaves_packets: { stage: "translate_out", aside: true, miss: "drop", about: "how many packets may leave likewise", match: ["reg:router", "reg:net", "eth_src", "eth_type", "ipv4_src", "ip_proto", "tcp_src", "udp_src"] },
  },
});
