// Which ports may ask, and what DHCP tells machines of it. What is answered no flow knows.
import { chassisScope, chassisTable, derivation, each, toEntrance } from "#app";
import { subnetRouteTable, type SubnetRoute } from "../dhcp/model.ts";
import { ON_LINK, subnetTable } from "../ipam/model.ts";
import { addressId, addressTable, answerFor, attachmentTable, deviceOwner, lanScope, networkTable, portTable, takeFromPort } from "../l2/model.ts";
import { addressesFor, requestMeter, REQUESTS, servedNetworkTable, SERVICE, servingHostTable, sourceOf, type ServedNetwork, type ServingHost } from "./model.ts";
import { metadata } from "./tables.ts";

const asked = metadata.rule({
  name: "asked",
  about: "what an attached port sends to the metadata service",
  on: each(attachmentTable),
  emit(at, view, out) {
    const served = view.get(servedNetworkTable, at.network_id);
    if (served === undefined) return;
    const meter = requestMeter(at.slot);
    out.item(chassisScope(at.chassis), "meter", meter, REQUESTS);
    for (const ip of served.addresses) takeFromPort(out, at, ip, { tcp: SERVICE.port }, [toEntrance(metadata.entrance("metadata_request"))], meter);
  },
});

const found = metadata.rule({
  name: "found",
  about: "the MAC of the metadata service, for machines that find it on their link",
  on: each(servedNetworkTable),
  emit({ id, addresses }, view, out) {
    const network = view.get(networkTable, id);
    if (network === undefined) return;
    const scope = lanScope(id);
    for (const ip of addresses) answerFor(out, scope, network, ip, SERVICE.mac, { arp: "here" });
  },
});

const taken = metadata.rule({
  name: "taken",
  about: "what is sent to the metadata service goes up, where there is somebody who answers",
  on: each(servingHostTable),
  emit({ id }, _view, out) {
    out.flow(chassisScope(id), "metadata_request", { priority: 100, match: {}, actions: [{ type: "punt" }] });
  },
});

export const derive = [
  derivation({
    name: "serving",
    on: each(chassisTable),
    into: servingHostTable,
    reads: [],
    derive: ({ id }, view): ServingHost | undefined => (sourceOf(view) === undefined ? undefined : { id }),
  }),
  derivation({
    name: "served",
    on: each(networkTable),
    into: servedNetworkTable,
    reads: [subnetTable],
    derive({ id }, view): ServedNetwork | undefined {
      const addresses = addressesFor(view, id);
      return addresses.length === 0 ? undefined : { id, addresses };
    },
  }),
  derivation({
    name: "on-link",
    on: each(subnetTable),
    into: subnetRouteTable,
    reads: [addressTable, portTable],
    derive({ id, network_id, ip_version, gateway_ip }, view): SubnetRoute | undefined {
      if (ip_version !== 4 || sourceOf(view) === undefined) return undefined;
      const router = gateway_ip === null ? undefined : view.get(addressTable, addressId(network_id, gateway_ip));
      // By a router a machine finds it without being told: what it sends there is taken off before.
      if (router !== undefined && view.get(portTable, router.port_id)?.device_owner === deviceOwner.routerInterface) return undefined;
      return { id: `metadata/${id}`, subnet_id: id, destination: `${SERVICE.ipv4}/32`, nexthop: ON_LINK };
    },
  }),
];

export const rules = [asked, found, taken];
