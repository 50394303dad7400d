// Segments of networks, each a resource of its own, and networks that are routed between them.
import type { App } from "#app";
import { aliases, extend, mend, references, resources } from "./api.ts";
import { deferredAddresses } from "./deferred.ts";
import { networkSegmentTable, subnetSegmentTable } from "./model.ts";
import * as routed from "./routed.ts";

export default {
  name: "segments",
  about: "the segments that networks travel on, one by one: named, added and taken away, with subnets of their own",
  requires: ["l2", "ipam", "overlay", "provider"],
  partOf: "provider",
  tables: [networkSegmentTable, subnetSegmentTable],
  resources,
  extend: [...extend, ...routed.extend],
  references: [...references, ...routed.references],
  answers: routed.answers,
  services: [deferredAddresses],
  problems: routed.problems,
  problemKinds: {
    address_of_other_segment: { cause: "a port of a routed network is plugged at a host that is on no segment where its addresses are", cure: "plug it at a host of its segment, or give it addresses of the segment of that host" },
    no_address_at_segment: { cause: "a port of a routed network is plugged at a host on whose segment the network has no subnet, or none with a free address", cure: "make a subnet there, or plug the port elsewhere" },
  },
  mend,
  aliases,
} satisfies App;
