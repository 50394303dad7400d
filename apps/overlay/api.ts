// What the overlay adds to networks: each that nobody wants elsewhere has a VNI from the moment it is made, and all an MTU that leaves room
// for the encapsulation.
import { extendResource, invalidInput, type Alias, type Tx } from "#app";
import { networkResource, networkTable, type Network } from "../l2/model.ts";
import { drawVni, giveBackVni, isTunnelled, networkMtu } from "./model.ts";

/** Stores a given MTU; 0 leaves the choice to the controller. */
function setMtu(tx: Tx, network: Network, given: unknown): void {
  if (given === undefined) return;
  const { mtu: before, ...rest } = network;
  if (given === 0) {
    if (before !== undefined) tx.put(networkTable, rest);
    return;
  }
  const most = networkMtu(tx, network.id);
  if ((given as number) > most) throw invalidInput(`Requested MTU is too big, maximum is ${most}`);
  tx.put(networkTable, { ...rest, mtu: given as number });
}

const ofNetwork = extendResource(networkResource, {
  attributes: {
    mtu: { type: "integer", about: "Largest packet in bytes; 0 or absent on input: as large as the encapsulation leaves.", post: true, put: true, default: 0, check: { range: [0, 0x7fffffff] }, filter: true, sort: true, alias: "net-mtu" },
  },
  // Which segments it has is known when all had their say.
  completed(tx, done) {
    for (const { row, given } of done) {
      if (isTunnelled(tx, row.id)) drawVni(tx, row.id, row.key);
      setMtu(tx, row, given.mtu);
    }
  },
  remove(tx, network) {
    giveBackVni(tx, network.id);
  },
  present: (view, network) => (network.mtu === undefined ? { mtu: networkMtu(view, network.id) } : {}),
});

export const extend = [ofNetwork];
export const aliases: readonly Alias[] = [
  { alias: "net-mtu", name: "Network MTU", description: "Networks show the largest packet they carry.", updated: "2015-03-25T10:00:00-00:00" },
  { alias: "net-mtu-writable", name: "Network MTU (writable)", description: "The MTU of a network can be set.", updated: "2017-07-12T00:00:00-00:00" },
];
