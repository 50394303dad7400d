// Answers are heard where they are sent; what was heard is asked when nobody knows a neighbour.
import { definePipeline } from "#app";

export const learnedNeighbour = definePipeline({
  registers: {},
  tables: {
    arp_heard: { stage: "ingress", miss: "next", about: "answers of ARP, whose senders are learned", match: ["reg:net", "eth_type", "arp_op"] },
    learned_neighbour: {
      stage: "neighbour", after: ["neighbour"], before: ["neighbour_learned"], miss: "sibling", about: "neighbours that answers of ARP told of", match: ["reg:net", "reg:nexthop"], learned: { limit: 3 },
    },
  },
});
