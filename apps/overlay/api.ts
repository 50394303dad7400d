// What the overlay adds to networks: each has a VNI from the moment it is made, and an MTU that leaves room for the encapsulation.
import { extendResource, giveBack, invalidInput, take, type Alias, type Tx } from "#app";
import { networkResource, networkTable, type Network } from "../l2/model.ts";
import { tenantMtu, vniPool } from "./model.ts";

/** Stores a given MTU; 0 leaves the choice to the controller. */
function setMtu(tx: Tx, network: Network, given: unknown): void {
  if (given === undefined) return;
  const { mtu: before, ...rest } = network;
  if (given === 0) {
    if (before !== undefined) tx.put(networkTable, rest);
    return;
  }
  const most = tenantMtu(tx);
  if ((given as number) > most) throw invalidInput(`Requested MTU is too big, maximum is ${most}`);
  tx.put(networkTable, { ...rest, mtu: given as number });
}

const ofNetwork = extendResource(networkResource, {
  attributes: {
    mtu: { type: "integer", about: "Largest packet in bytes; 0 or absent on input: as large as the encapsulation leaves.", post: true, put: true, default: 0, check: { range: [0, 0x7fffffff] }, filter: true, sort: true, alias: "net-mtu" },
  },
  create(tx, network, input) {
    take(tx, vniPool, "", network.id, { prefer: network.key, claimed: true });
    setMtu(tx, network, input.mtu);
  },
  update(tx, network, changes) {
    setMtu(tx, network, changes.mtu);
  },
  remove(tx, network) {
    giveBack(tx, vniPool, "", network.id);
  },
  present: (view, network) => (network.mtu === undefined ? { mtu: tenantMtu(view) } : {}),
});

export const extend = [ofNetwork];
export const aliases: readonly Alias[] = [
  { alias: "net-mtu", name: "Network MTU", description: "Networks show the largest packet they carry.", updated: "2015-03-25T10:00:00-00:00" },
  { alias: "net-mtu-writable", name: "Network MTU (writable)", description: "The MTU of a network can be set.", updated: "2017-07-12T00:00:00-00:00" },
];
