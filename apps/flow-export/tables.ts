// Ports enter the stage for it only while there are collectors.
import { definePipeline } from "#app";

export const flowExport = definePipeline({
  registers: {},
  tables: {
    sampled_in: {
      stage: "egress", after: ["pvlan_heard", "qos_in", "qos_in_packets"], before: ["push_tag"], miss: "next", about: "what gets to a port: samples of it for collectors of IPFIX",
      match: ["reg:out_port_key", "reg:in_port_key", "reg:from_network", "in_port"],
    },
  },
});
