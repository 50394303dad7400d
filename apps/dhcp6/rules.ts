// Which ports' requests come to the controller. Answers depend on much more (packet-in.ts), but flows do not.
import { baseScope, each, toEntrance } from "#app";
import { dhcp6Ports } from "packet-codec";
import { attachmentTable, takeFromPort } from "../l2/model.ts";
import { servedAddresses } from "./model.ts";
import { dhcp6 } from "./tables.ts";

/** One prefix for ff02::1:2 and ff05::1:3, so that both are one flow of a port; what of it is neither is sent to no DHCPv6 server (RFC 8415 section 7.1). */
const GROUPS = "ff00::/13";

const asked = dhcp6.rule({
  name: "asked",
  about: "requests of an attached port that has an address of a subnet with DHCPv6",
  on: each(attachmentTable),
  emit(at, view, out) {
    // Clients ask everybody on the link, relay agents all servers of the site: what goes to one server is that one's.
    if (servedAddresses(view, at.port_id).length > 0) takeFromPort(out, at, GROUPS, { udp: dhcp6Ports.server }, [toEntrance(dhcp6.entrance("dhcp6_request"))]);
  },
});

export const rules = [asked];

/** What port security hands over, by each port's meter. */
export const staticFlows = dhcp6.static((out) => out.flow(baseScope, "dhcp6_request", { priority: 100, match: {}, actions: [{ type: "punt" }] }));
