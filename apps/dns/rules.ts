// Which ports may ask, and what DHCP and routers tell machines of it. What is answered no flow knows.
import { baseScope, derivation, each, toEntrance } from "#app";
import { dnsPort } from "packet-codec";
import { answerFor, attachmentTable, lanScope, networkTable, takeFromPort } from "../l2/model.ts";
import { onLinkReads, onLinkRoute, portOfferTable, subnetOfferTable, subnetRouteTable, type SubnetOffer } from "../dhcp/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { bare, domainOf, isServed, networkDomainTable, portNameTable, servedFamilies, SERVICE } from "./model.ts";
import { dns } from "./tables.ts";

const asked = dns.rule({
  name: "asked",
  about: "questions of an attached port on a network whose machines are told of the service",
  on: each(attachmentTable),
  emit(at, view, out) {
    const { ipv4, ipv6 } = servedFamilies(view, at.network_id);
    for (const ip of [...(ipv4 ? [SERVICE.ipv4] : []), ...(ipv6 ? [SERVICE.ipv6] : [])]) {
      for (const by of [{ udp: dnsPort }, { tcp: dnsPort }]) takeFromPort(out, at, ip, by, [toEntrance(dns.entrance("dns_request"))]);
    }
  },
});

const found = dns.rule({
  name: "found",
  about: "the MAC of the service, for machines that find it on their link",
  on: each(networkTable),
  emit(network, view, out) {
    const { ipv4, ipv6 } = servedFamilies(view, network.id);
    const scope = lanScope(network.id);
    if (ipv4) answerFor(out, scope, network, SERVICE.ipv4, SERVICE.mac, { arp: "here" });
    if (ipv6) answerFor(out, scope, network, SERVICE.ipv6, SERVICE.mac, { arp: "here" });
  },
});

export const derive = [
  derivation({
    name: "subnet-offer",
    on: each(subnetTable),
    into: subnetOfferTable,
    reads: [networkDomainTable],
    derive(subnet, view): SubnetOffer {
      const { id, network_id, ip_version } = subnet;
      return { id: `dns/${id}`, subnet_id: id, domain: domainOf(view, network_id), name_servers: isServed(subnet) ? [ip_version === 4 ? SERVICE.ipv4 : SERVICE.ipv6] : [] };
    },
  }),
  derivation({
    name: "on-link",
    on: each(subnetTable),
    into: subnetRouteTable,
    reads: onLinkReads,
    derive: (subnet, view) => (isServed(subnet) ? onLinkRoute(view, "dns", subnet, SERVICE.ipv4) : undefined),
  }),
  derivation({
    name: "port-offer",
    on: each(portNameTable),
    into: portOfferTable,
    reads: [],
    derive: ({ id, host }) => (host === "" ? undefined : { id: `dns/${id}`, port_id: id, host_name: bare(host) }),
  }),
];

export const rules = [asked, found];

/** What port security hands over. */
export const staticFlows = dns.static((out) => out.flow(baseScope, "dns_request", { priority: 100, match: {}, actions: [{ type: "punt" }] }));
