// Redirection stands after routing: only what a router sends outside passes it.
import { definePipeline } from "#app";

export const gate = definePipeline({
  registers: {},
  tables: {
    gate: { stage: "translate_out", miss: "next", about: "what a router sends outside goes to a gateway, and on from there", match: ["reg:router", "reg:net", "eth_type"] },
  },
});
