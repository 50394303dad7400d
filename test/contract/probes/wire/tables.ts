// Only packets of ports that have a wire come here.
import { definePipeline } from "#app";

export const wire = definePipeline({
  registers: {},
  tables: {
    wires: { stage: "ingress", miss: "next", about: "what wired ports send goes to their physical network", match: ["in_port", "eth_type", "ipv6_dst"] },
  },
});
