// Where probes of tunnels end.
import { definePipeline } from "#app";

export const tunnelWatch = definePipeline({
  registers: {},
  tables: {
    tunnel_probe: { stage: "locate", aside: true, after: ["tunnel_out"], miss: "drop", about: "probes of tunnels between hosts, to the controller, so many a second", match: ["eth_type"] },
  },
});
