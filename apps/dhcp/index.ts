// dhcp: ports learn their configuration from the controller, out of the model: DHCPv4 and IPv6 router advertisements.
// No agent, no lease files, nothing on the network to reach: the request never leaves the hypervisor's switch.
import { answer, type App } from "#app";
import { toldRoutes } from "../ipam/model.ts";
import { declinedAddressTable, dhcpSettings, portDhcpOptsTable, portOfferTable, relayRefusalTable, routesBeside, subnetOfferTable, subnetRouteTable } from "./model.ts";
import { explains } from "./explain.ts";
import { converters, portExtension, references } from "./options.ts";
import { dhcpRequest, requestCounter } from "./packet-in.ts";
import { problems } from "./problems.ts";
import { routerAdvertisements } from "./ra-service.ts";
import { rules, staticFlows } from "./rules.ts";
import { dhcp } from "./tables.ts";

export default {
  name: "dhcp",
  about: "answers DHCPv4 requests and router solicitations from the model",
  requires: ["l2", "ipam", "overlay", "l3"],
  tables: [portDhcpOptsTable, subnetOfferTable, subnetRouteTable, portOfferTable],
  softTables: [declinedAddressTable, relayRefusalTable],
  settings: dhcpSettings,
  references,
  answers: [answer(toldRoutes, (view, subnet) => (subnet.enable_dhcp && subnet.ip_version === 4 ? routesBeside(view, subnet) : []))],
  extend: [portExtension],
  converters,
  aliases: [
    {
      alias: "extra_dhcp_opt",
      name: "Neutron Extra DHCP options",
      description: "Extra options configuration for DHCP. For example PXE boot options to DHCP clients can be specified (e.g. tftp-server, server-ip-address, bootfile-name)",
      updated: "2013-03-17T12:00:00-00:00",
    },
  ],
  pipeline: dhcp,
  rules,
  staticFlows,
  packetIn: { dhcp_request: dhcpRequest },
  services: [routerAdvertisements],
  counters: [requestCounter],
  problems,
  explains,
  problemKinds: {
    address_declined: {
      cause: "a machine does not take an address of its port by DHCP: it found that somebody else uses it", cure: "find who does: ports without port security and machines on a physical network can. Or give the port another address",
    },
    relay_refused: {
      cause: "a relay agent at a port asks for a client in vain: from an address that its port has not, for a subnet without DHCP, or for a client that has no port of its project in its network",
      cure: "what the problem says: an address pair for the relay, a port with the client's MAC, or one that is up and has an address of the subnet. It goes when the client is answered, or ten minutes after it asked last",
    },
    option_not_sent: { cause: "a port has DHCP options that no server may send, or with values of another type", cure: "correct `extra_dhcp_opts` of the port" },
  },
} satisfies App;
