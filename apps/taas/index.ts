// Tap as a service: copies of packets, for machines that look at them.
import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { copyTable, mirrorPorts, tapActiveTable, tapFlowTable, tapHostsTable, tapMirrorTable, tappedPortTable, tapPlaceTable, tapServiceTable } from "./model.ts";
import { problems } from "./mirrors.ts";
import { derive, portContext, rules } from "./rules.ts";
import { tapStatus } from "./status.ts";
import { taas } from "./tables.ts";

export default {
  name: "taas",
  about: "copies of what ports send and get, to other ports, and by GRE and ERSPAN to machines outside",
  requires: ["l2", "overlay"],
  tables: [tapServiceTable, tapFlowTable, tapMirrorTable, copyTable, tappedPortTable, tapPlaceTable, tapHostsTable, tapActiveTable],
  pools: [mirrorPorts],
  resources,
  extend,
  references,
  aliases,
  pipeline: taas,
  derive,
  rules,
  portContext,
  services: [tapStatus],
  problems,
  problemKinds: {
    mirror_to_host: { cause: "the machine that a tap mirror sends to has the address of a host's tunnels, which would take copies for packets of other hosts", cure: "give the host, or the machine that listens, another address; until then nothing is copied there" },
  },
} satisfies App;
