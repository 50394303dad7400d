// What the overlay adds to networks: each has a VNI from the moment it is made.
import { extendResource, giveBack, take } from "#app";
import { networkResource } from "../l2/model.ts";
import { vniPool } from "./model.ts";

const ofNetwork = extendResource(networkResource, {
  create(tx, network) {
    take(tx, vniPool, "", network.id, { prefer: network.key, claimed: true });
  },
  remove(tx, network) {
    giveBack(tx, vniPool, "", network.id);
  },
});

export const extend = [ofNetwork];
