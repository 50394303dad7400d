// All of it is entered from l2's lookup, in networks where multicast is filtered: others pay nothing.
import { definePipeline } from "#app";
import { PART_BITS } from "../l2/model.ts";

/** So many groups are known of one port. What is beyond is not known: who joined it hears nothing of it there. */
const GROUPS_OF_PORT = 256;
/** And of one other chassis in one network: no port there uses all of it up for others. */
const GROUPS_OF_CHASSIS = 4 * GROUPS_OF_PORT;

export const multicast = definePipeline({
  tables: {
    multicast: {
      stage: "flood", miss: "drop", aside: true, about: "IP multicast: what ports say of groups, what goes to all, what goes to those that joined",
      match: [
        "reg:secured", "reg:from_tunnel", "reg:from_network", "reg:router", "eth_dst", "eth_type", "ip_proto", "ipv4_dst", "ipv6_dst", "icmpv6_type",
      ],
    },
    multicast_punted: { stage: "flood", miss: "drop", aside: true, about: "reports that a switch cannot read, metered for each port, to the controller: it says the same in reports that one can", match: ["reg:in_port_key"] },
    multicast_begin: { stage: "flood", miss: "drop", aside: true, about: "the controller has asked all ports, and they have had the time to answer: from now on multicast is filtered, for a while", match: ["reg:net"] },
    multicast_join: {
      stage: "flood", miss: "drop", aside: true, about: "reports: the port, or the other chassis, is learned to want the group, or not any more",
      match: ["reg:net", "reg:in_port_key", "reg:from_tunnel", "eth_type", "tun_ipv4_src", "tun_ipv6_src"],
    },
    multicast_relay: {
      stage: "flood", miss: "drop", aside: true, about: "reports go on to other chassis and to ports without port security, and to no others: who hears one says nothing itself",
      match: ["reg:from_tunnel", "reg:multicast_joins", "eth_type"],
    },
    multicast_hosts: { stage: "flood", miss: "drop", aside: true, about: "one copy to each other chassis that is to have it", match: ["reg:net"] },
    multicast_ports: { stage: "flood", miss: "drop", aside: true, about: "one copy to each local port that is to have it", match: ["reg:net", "reg:multicast_report"] },
    multicast_parts: { stage: "flood", miss: "drop", aside: true, about: "parts of these lists where they are long: up to 64 copies", match: ["reg:net", "reg:multicast_part"] },
    multicast_host: {
      stage: "flood", miss: "drop", aside: true, about: "chassis that have ports that joined a group", match: ["reg:net", "reg:out_host", "eth_type", "ipv4_dst", "ipv6_dst"], learned: { limit: GROUPS_OF_CHASSIS },
    },
    multicast_port: { stage: "flood", miss: "drop", aside: true, about: "ports that joined a group", match: ["reg:out_port_key", "eth_type", "ipv4_dst", "ipv6_dst"], learned: { limit: GROUPS_OF_PORT } },
    multicast_verdict: { stage: "flood", miss: "drop", aside: true, about: "copies to who joined go on, and all where it is not filtered", match: ["reg:multicast_wanted", "reg:multicast_filtered"] },
    multicast_filter: { stage: "flood", miss: "drop", aside: true, about: "networks where multicast is filtered", match: ["reg:net"], learned: { limit: 1 } },
  },
  registers: {
    multicast_filtered: { bits: 1, about: "it goes to those alone that joined its group" },
    multicast_wanted: { bits: 1, about: "whoever this copy is for joined its group" },
    multicast_report: { bits: 1, scratch: true, about: "the copies are of a report" },
    multicast_joins: { bits: 1, scratch: true, about: "of a report: its sender wants the group" },
    multicast_part: { bits: PART_BITS, scratch: true, about: "which part of a long list: of hosts, of local ports that hear reports, of local ports" },
  },
});
