// What other apps may know of subnets and of who has addresses of them, and what they say to it.
export { assignDeferred } from "./allocate.ts";
export { firstPacket, UNKNOWN_MAC } from "./first-packet.ts";
export { placedSubnets } from "./placed.ts";
export { answeredMac, ledTo, ON_LINK, toldRoutes } from "./told.ts";
export * from "./subnets.ts";
