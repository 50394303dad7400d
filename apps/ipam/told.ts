// What machines of a subnet know beside its own row: by which ways they send, and who answers where no port has the address. Other apps say so.
import { defineQuestion, type ReadView } from "#app";
import type { HostRoute, Subnet } from "./subnets.ts";

/** As next hop: the destination is on the link. */
export const ON_LINK = "0.0.0.0";

/** Routes that its machines are told of beside the subnet's own. */
export const toldRoutes = defineQuestion<(view: ReadView, subnet: Subnet) => readonly HostRoute[]>("told_routes");

/** Which MAC is answered to machines of a network that ask for an address, of those that no port has. */
export const answeredMac = defineQuestion<(view: ReadView, networkId: string, ip: string) => string | undefined>("answered_mac");

/** Id of the port that gets what is sent to an address of a network from a host, where that is not whoever has the address. */
export const ledTo = defineQuestion<(view: ReadView, networkId: string, address: string, chassis: string) => string | undefined>("led_to");
