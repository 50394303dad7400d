// Tunnels are watched.
import type { App } from "#app";
import { explains } from "./explain.ts";
import { forgedTable, probeMeters, tunnelSettings, tunnelTable } from "./model.ts";
import { problems } from "./problems.ts";
import { staticFlows } from "./rules.ts";
import { gauges, opsLists } from "./shown.ts";
import { tunnelWatch } from "./tables.ts";
import { tunnelWatch as service } from "./watch.ts";

export default {
  name: "tunnel-watch",
  about: "whether tunnels between hosts carry what they should: probes from host to host, one way each",
  requires: ["l2", "overlay"],
  partOf: "overlay",
  settings: tunnelSettings,
  softTables: [tunnelTable, forgedTable],
  pools: [probeMeters],
  pipeline: tunnelWatch,
  staticFlows,
  services: [service],
  heard: ["tunnel_probe"],
  problems,
  problemKinds: {
    forged_probes: { cause: "probes of tunnels arrive at a host that nobody sent: a host that may send to it was taken over, or sends what it should not", cure: "look which host sends them (frames of EtherType 0x88b5 in its tunnels)" },
    host_cut: { cause: "none of the tunnels of a host, with two others at least, carries anything, in one direction or both", cure: "see whether ovs-vswitchd answers there (`ovs-appctl -t ovs-vswitchd version`); look at the link that its tunnels run over, its address, and firewalls" },
    mtu_too_small: { cause: "small packets get through a tunnel, and packets of the size that `--mtu` names do not", cure: "make the MTU of the links, or switches, between the hosts what `--mtu` says, or `--mtu` what they have" },
    tunnel_down: { cause: "what one host sends to another by tunnel does not arrive, four probes in a row", cure: "look whether it reaches the other's address, and whether a firewall lets the tunnel pass" },
  },
  observe: { Interface: ["bfd_status"] },
  opsLists,
  gauges,
  explains,
} satisfies App;
