// Which ports may ask, and what DHCP tells machines of it. What is answered no flow knows.
import { chassisScope, chassisTable, derivation, each, toEntrance } from "#app";
import { onLinkReads, onLinkRoute, subnetRouteTable } from "../dhcp/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { answerFor, attachmentTable, lanScope, networkTable, takeFromPort } from "../l2/model.ts";
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
    reads: onLinkReads,
    derive: (subnet, view) => (sourceOf(view) === undefined ? undefined : onLinkRoute(view, "metadata", subnet, SERVICE.ipv4)),
  }),
];

export const rules = [asked, found, taken];
