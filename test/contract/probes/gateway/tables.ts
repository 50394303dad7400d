// Redirection stands before routing, and only routers that have a gate pass it.
import { definePipeline } from "#app";

export const gateway = definePipeline({
  registers: {},
  tables: {
    gate: { stage: "translate", miss: "next", about: "what takes the default route of a router goes to a gateway", match: ["reg:router", "eth_type", "ipv4_dst"] },
  },
});
