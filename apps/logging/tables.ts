// Copies of packets that security groups decide of, of ports that are logged: on to the controller, so many a second of each port. Nothing passes these tables but such copies.
import { definePipeline } from "#app";

export const logging = definePipeline({
  registers: {},
  tables: {
    log_out_accepted: { stage: "acl_out", aside: true, copies: true, miss: "drop", match: ["reg:in_port_key"], about: "copies of what opens connections of logged ports, to the controller, metered for each port" },
    log_out_dropped: { stage: "acl_out", aside: true, miss: "drop", match: ["reg:in_port_key"], about: "copies of what no egress rule of logged ports allows, to the controller, metered for each port" },
    log_in_accepted: { stage: "acl_in", aside: true, copies: true, miss: "drop", match: ["reg:out_port_key"], about: "copies of what opens connections to logged ports, to the controller, metered for each port" },
    log_in_dropped: { stage: "acl_in", aside: true, miss: "drop", match: ["reg:out_port_key"], about: "copies of what no ingress rule of logged ports allows, to the controller, metered for each port" },
  },
});
export type LogTable = keyof (typeof logging)["tables"];
