// Only ports that have a rate enter these stages: nobody else's packets pass one table more.
import { definePipeline } from "#app";

export const portMeters = definePipeline({
  registers: {},
  tables: {
    rate_out: { stage: "ingress", miss: "next", about: "what a port sends passes its meter", match: ["reg:in_port_key"] },
    rate_in: { stage: "egress", miss: "next", about: "what a port gets passes its meter", match: ["reg:out_port_key"] },
  },
});
