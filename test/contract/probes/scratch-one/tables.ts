// one_pick puts a number into scratch, has it looked at in a call, puts it there anew, and one_check lets pass only what has it.
import { definePipeline } from "#app";

export const scratchOne = definePipeline({
  registers: { one_value: { bits: 32, scratch: true, about: "number of the sending port, between two flows" } },
  tables: {
    one_pick: { stage: "ingress", miss: "next", about: "loads scratch, calls, loads it again", match: ["reg:in_port_key"] },
    one_seen: { stage: "ingress", miss: "drop", aside: true, about: "called while scratch holds the first number", match: ["reg:one_value"] },
    one_check: { stage: "ingress", miss: "drop", aside: true, about: "passes what holds the second number", match: ["reg:in_port_key", "reg:one_value"] },
  },
});
