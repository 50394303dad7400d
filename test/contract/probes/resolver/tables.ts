// Questions leave the pipeline, counted out for each sender by its meter.
import { definePipeline } from "#app";

export const resolverPipeline = definePipeline({
  registers: {},
  tables: {
    resolver_input: { stage: "forward", miss: "sibling", about: "questions to resolvers", match: ["reg:net", "eth_dst", "eth_type", "ip_proto", "udp_dst", "ipv4_dst"] },
    resolver_punt: { stage: "forward", miss: "drop", aside: true, about: "questions, metered for each sending port, to the controller", match: ["reg:in_port_key"] },
  },
});
