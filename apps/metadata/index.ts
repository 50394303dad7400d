// What machines are told of themselves: Nova's metadata, or the model's where there is no Nova. No process on hosts, no namespace, no address of the controller.
import { answer, type App } from "#app";
import { answeredMac } from "../ipam/model.ts";
import { addressesFor, metadataSettings, metadataTroubleTable, pools, servedNetworkTable, SERVICE, servingHostTable } from "./model.ts";
import { problems } from "./problems.ts";
import { derive, rules } from "./rules.ts";
import { metadataService, requestCounter } from "./service.ts";
import { metadata } from "./tables.ts";

export default {
  name: "metadata",
  about: "the metadata service that machines find at 169.254.169.254 and fe80::a9fe:a9fe",
  requires: ["l2", "ipam", "overlay", "dhcp"],
  partOf: "dhcp",
  tables: [servedNetworkTable, servingHostTable],
  softTables: [metadataTroubleTable],
  settings: metadataSettings,
  pools,
  answers: [answer(answeredMac, (view, networkId, ip) => (addressesFor(view, networkId).includes(ip) ? SERVICE.mac : undefined))],
  pipeline: metadata,
  derive,
  rules,
  services: [metadataService],
  counters: [requestCounter],
  problems,
  problemKinds: {
    nova_silent: { cause: "Nova's metadata API does not answer", cure: "look whether it runs, and whether --nova-metadata-url is its address" },
  },
} satisfies App;
