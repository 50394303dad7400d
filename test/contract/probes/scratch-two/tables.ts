// two_pick copies the port's number into scratch, and two_check lets pass only what has it.
import { definePipeline } from "#app";

export const scratchTwo = definePipeline({
  registers: { two_value: { bits: 16, scratch: true, about: "number of the sending port, between two flows" } },
  tables: {
    two_pick: { stage: "ingress", after: ["one_check"], miss: "next", about: "copies into scratch", match: ["reg:in_port_key"] },
    two_check: { stage: "ingress", miss: "drop", aside: true, about: "passes what holds the port's number", match: ["reg:in_port_key", "reg:two_value"] },
  },
});
