// dns's one table: what port security hands over.
import { definePipeline } from "#app";

export const dns = definePipeline({
  tables: {
    dns_request: { stage: "services", miss: "drop", aside: true, about: "questions of ports for the name service, by UDP and TCP: the controller answers", match: ["reg:in_port_key"] },
  },
  registers: {},
});
