// Flow tables and registers, by name: ids and bits are allocated at boot. A table belongs to one app and one stage.
import { definePipeline } from "#app";

export const beaconPipeline = definePipeline({
  tables: {
    beacon_input: { stage: "forward", miss: "sibling", about: "pings of a beacon", match: ["reg:net", "eth_dst", "eth_type", "ip_proto", "icmpv4_type", "ipv4_dst"] },
    beacon_punt: { stage: "forward", miss: "drop", aside: true, about: "pings of beacons, metered for each sending port, to the controller", match: ["reg:in_port_key"] },
  },
  registers: {
    beacon_hit: { bits: 1, about: "the packet is a beacon's" },
  },
});
