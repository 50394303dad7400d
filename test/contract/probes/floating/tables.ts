// Translation of floating addresses, in the router's zone, on the chassis of the port alone.
import { definePipeline } from "#app";

export const floating = definePipeline({
  tables: {
    floating: {
      stage: "translate", miss: "next", about: "floating address <-> address of its port",
      match: ["reg:router", "eth_type", "ipv4_src", "ipv4_dst"],
    },
  },
  registers: {},
});
