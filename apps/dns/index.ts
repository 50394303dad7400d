// Names of ports, and who answers for them.
import { answer, type App } from "#app";
import { answeredMac } from "../ipam/model.ts";
import { aliases, extend, references } from "./api.ts";
import { dnsSettings, nameServerTroubleTable, networkDomainTable, portNameTable, servedFamilies, SERVICE } from "./model.ts";
import { converters } from "./names.ts";
import { problems } from "./problems.ts";
import { derive, rules, staticFlows } from "./rules.ts";
import { nameService, questionCounter } from "./service.ts";
import { dns } from "./tables.ts";

export default {
  name: "dns",
  about: "names of ports, and the name service that machines ask",
  requires: ["l2", "ipam", "l3", "dhcp"],
  partOf: "dhcp",
  tables: [portNameTable, networkDomainTable],
  softTables: [nameServerTroubleTable],
  settings: dnsSettings,
  extend,
  references,
  answers: [answer(answeredMac, (view, networkId, ip) => {
    const { ipv4, ipv6 } = servedFamilies(view, networkId);
    return (ipv4 && ip === SERVICE.ipv4) || (ipv6 && ip === SERVICE.ipv6) ? SERVICE.mac : undefined;
  })],
  converters,
  aliases,
  pipeline: dns,
  derive,
  rules,
  staticFlows,
  services: [nameService],
  counters: [questionCounter],
  problems,
  problemKinds: {
    name_server_silent: { cause: "name servers outside do not answer", cure: "look whether they run, and whether --dns-forwarders names them" },
  },
} satisfies App;
