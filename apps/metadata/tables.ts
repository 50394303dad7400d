// metadata's one table: what port security hands over.
import { definePipeline } from "#app";

export const metadata = definePipeline({
  tables: {
    metadata_request: { stage: "services", miss: "drop", aside: true, about: "what ports send to the metadata service: the controller answers", match: ["reg:in_port_key"] },
  },
  registers: {},
});
