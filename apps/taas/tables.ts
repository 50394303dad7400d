// Only ports whose packets are copied enter the first two, and they do first and last of all: a frame is copied as the machine sent it, and as it gets it.
import { definePipeline } from "#app";

export const taas = definePipeline({
  registers: {},
  tables: {
    tap_out: { stage: "ingress", before: ["pvlan_out", "mac_source", "qos_out", "qos_out_packets"], miss: "next", about: "what a port sends: copies of it, before anything is judged or limited", match: ["reg:in_port_key", "vlan_vid"] },
    tap_in: {
      stage: "egress", after: ["pvlan_heard", "qos_in", "qos_in_packets"], before: ["push_tag"], miss: "next", about: "what gets to a port, whatever it is and whoever sent it: copies of it",
      match: ["reg:out_port_key", "reg:in_port_key", "reg:from_network", "in_port", "vlan_vid"],
    },
    tap_deliver: { stage: "egress", miss: "drop", aside: true, copies: true, about: "a copy: out of the port or the tunnel that it is for, or to the host that has the port; which one is in net", match: ["reg:net"] },
  },
});
