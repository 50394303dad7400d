// Ways from and to physical networks. Only packets that come from one pass physical_in, only what routers send there the tables after it.
import { definePipeline } from "#app";

export const provider = definePipeline({
  tables: {
    physical_in: {
      stage: "ingress", miss: "drop", aside: true, about: "frames of a physical network, its own tag taken off: no further tag passes, and no MAC of a port that is here comes from there",
      match: ["reg:net", "eth_src", "eth_type", "vlan_vid", "ip_proto", "udp_src", "udp_dst"],
    },
    routed_out: { stage: "locate", miss: "drop", aside: true, about: "what a router sends to a physical network leaves with a MAC of the host", match: [] },
    physical_out: { stage: "locate", miss: "drop", aside: true, about: "network -> physical network, and its tag there", match: ["reg:net"] },
  },
  registers: {},
});
