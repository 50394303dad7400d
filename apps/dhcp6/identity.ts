// Makes the server's identifier, once there is a subnet that needs one. It is never made again: a client that knows a server keeps to it.
import type { ServiceDecl } from "#app";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { dhcp6ServerTable, isServed, SERVER } from "./model.ts";

export const serverIdentity: ServiceDecl = {
  name: "server-identity",
  about: "makes the identifier as which all controllers answer DHCPv6, once",
  start(host) {
    const make = async (): Promise<void> => {
      if (!host.acts(SERVER) || host.view.get(dhcp6ServerTable, SERVER) !== undefined) return;
      const uuid = host.random.uuid();
      await host.transact("the identifier of the DHCPv6 server", (tx) => {
        if (tx.get(dhcp6ServerTable, SERVER) === undefined) tx.put(dhcp6ServerTable, { id: SERVER, uuid });
      });
    };
    const isWanted = (): boolean => host.view.get(dhcp6ServerTable, SERVER) === undefined && [...host.view.all(subnetTable)].some(isServed);
    host.onCommit([subnetTable], (changes) => (changes.some(({ after }) => after !== undefined && isServed(after as Subnet)) ? make() : undefined));
    host.onShare(() => (isWanted() ? make() : undefined));
    // Subnets of an edition, or of a time, without this app.
    if (isWanted()) host.after(0, make);
    return undefined;
  },
};
