// Flow tables and registers, by name: ids and bits are allocated at boot. A table belongs to one app and one stage.
import type { PipelineDecl } from "#app";

export const pipeline = {
  tables: {
    beacon_input: { stage: "forward", miss: "sibling", about: "pings of a beacon" },
    beacon_punt: { stage: "forward", miss: "drop", aside: true, about: "pings of beacons, metered for each sending port, to the controller" },
  },
  registers: {
    beacon_hit: { bits: 1, about: "the packet is a beacon's" },
  },
} as const satisfies PipelineDecl;
