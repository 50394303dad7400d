// The way out to other chassis.
import { definePipeline } from "#app";

export const overlay = definePipeline({
  tables: {
    tunnel_out: { stage: "locate", miss: "drop", about: "chassis -> encapsulation and tunnel endpoint", match: ["reg:net", "reg:out_host", "reg:vni_loaded"] },
  },
  registers: {
    vni_loaded: { bits: 1, about: "net holds the VNI of a network whose key is another" },
  },
});
