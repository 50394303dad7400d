// Translation of floating addresses, in the router's zone, on the chassis of the port alone.
import { definePipeline } from "#app";

export const floating = definePipeline({
  tables: {
    floating: {
      stage: "translate", miss: "next", about: "floating address -> address of its port",
      match: ["reg:router", "eth_type", "ipv4_dst"],
    },
    floating_out: {
      stage: "translate_out", miss: "next", about: "address of a port -> its floating address, on the way outside",
      match: ["reg:router", "reg:net", "eth_type", "ipv4_src"],
    },
  },
  registers: {},
});
