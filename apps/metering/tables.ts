// Traffic is counted where it crosses the edge, with the addresses that machines inside have: what leaves before it is translated, what comes in after. Nobody
// passes these tables but what crosses the edge: what leaves by gateways of routers with labels, and what comes in for these, or for routers that translate. A packet whose router has labels passes the rules of each of them, one after the other; what is counted is what a rule's flow matches.
import { definePipeline } from "#app";

export const metering = definePipeline({
  registers: { metering_label: { bits: 16, scratch: true, about: "key of the metering label whose rules are looked at" } },
  tables: {
    metering_in: { stage: "translate", last: true, miss: "next", about: "what came from outside for a router: labels that it is counted under", match: ["reg:router", "reg:net", "eth_type"] },
    metered_in: { stage: "translate", aside: true, miss: "drop", about: "rules of a label on what comes in: what matches is counted", match: ["reg:metering_label", "eth_type", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst"] },
    metering_out: { stage: "translate_out", aside: true, after: ["gateway_out", "gateway_here"], before: ["nat_out"], miss: "next", about: "what leaves a router by its gateway, on the host where it leaves: labels that it is counted under", match: ["reg:router", "reg:net", "eth_type"] },
    metered_out: { stage: "translate_out", aside: true, miss: "drop", about: "rules of a label on what leaves: what matches is counted", match: ["reg:metering_label", "eth_type", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst"] },
  },
});
