// Who sends is known by the MAC, which port security sees to, and to whom it goes by the port, on the receiver's host: so nothing has to travel with the packet, and tunnels and physical networks are one.
// What asks for an address, or is sent to one by way of a router, is judged at its sender, before anybody answers for the address. Only ports that are kept apart enter these stages.
import { definePipeline } from "#app";

export const pvlan = definePipeline({
  registers: { pvlan_class: { bits: 16, scratch: true, about: "of the address that a packet is for, or of its sender: 1 isolated, above that its community; 0: of neither" } },
  tables: {
    pvlan_out: {
      stage: "ingress", miss: "next", about: "addresses of ports that are kept apart, asked for or sent to: of which community they are",
      match: ["reg:in_port_key", "reg:net", "eth_type", "arp_tpa", "ip_proto", "icmpv6_type", "ipv6_nd_target", "ipv4_dst", "ipv6_dst"],
    },
    pvlan_asked: { stage: "ingress", aside: true, after: ["pvlan_out"], miss: "next", about: "what a port that is kept apart sends to such an address goes on within its community alone", match: ["reg:in_port_key", "reg:pvlan_class"] },
    pvlan_in: { stage: "egress", before: ["push_tag"], miss: "next", about: "senders that are kept apart, by their MAC: of which community they are", match: ["reg:net", "eth_src"] },
    pvlan_heard: { stage: "egress", aside: true, after: ["pvlan_in"], before: ["push_tag"], miss: "next", about: "what they send gets to ports that are kept apart within their community alone", match: ["reg:out_port_key", "reg:pvlan_class"] },
  },
});
