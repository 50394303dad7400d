// Tap as a service: copies of packets, for machines that look at them.
import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { copyTable, mirrorPorts, tapActiveTable, tapFlowTable, tapHostsTable, tapMirrorTable, tappedPortTable, tapPlaceTable, tapServiceTable } from "./model.ts";
import { observe, problems } from "./mirrors.ts";
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
  observe,
  problems,
  problemKinds: {
    mirror_to_host: { cause: "the machine that a tap mirror sends to has the address of a host's tunnels, which would take copies for packets of other hosts", cure: "give the host, or the machine that listens, another address; until then nothing is copied there" },
    mirror_unreached: {
      cause: "the host of a port that a tap mirror copies has no route to the machine that listens, or one by a link that is down, or, with the userspace datapath, by an interface that is no bridge of Open vSwitch",
      cure: "give the host a way there (`ip route get ADDRESS` on it). That the machine does not answer, or is not there, no switch can tell: look with tcpdump there",
    },
  },
} satisfies App;
