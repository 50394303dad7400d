// The way out to other chassis.
import { definePipeline } from "#app";

export const overlay = definePipeline({
  tables: {
    tunnel_out: { stage: "locate", miss: "drop", about: "chassis -> encapsulation and tunnel endpoint", match: ["reg:net", "reg:out_host", "reg:vni_loaded", "reg:router", "reg:from_tunnel"] },
  },
  registers: {
    vni_loaded: { bits: 8, about: "net holds the VNI; 1: it goes by any encapsulation, above that by a certain one: see apps/overlay/model.ts" },
  },
});
