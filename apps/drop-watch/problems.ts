// Packets of ports that are dropped all the time, and what helps.
import { vifTable, type AppProblem, type LiveView } from "#app";
import { portTable } from "../l2/model.ts";
import { dropTable, type DropSeen } from "./model.ts";

/** Ports that are named of a kind, those that lose most; others are counted. */
const NAMED = 30;

interface Kind {
  readonly kind: string;
  readonly severity: "warning" | "info";
  readonly what: string;
  readonly cure: (view: LiveView, drop: Readonly<DropSeen>) => string;
}

/** Where to look at what a port sends and is sent. */
function interfaceOf(view: LiveView, { port_id: port, switch: at }: Readonly<DropSeen>): string {
  const name = view.by(vifTable, "iface_id", port).find((vif) => vif.chassis === at)?.name;
  return name === undefined ? `at ${at}` : `on ${at}, tcpdump -eni ${name}`;
}

const KINDS: Readonly<Record<string, Kind>> = {
  port_security: {
    kind: "spoofing_dropped", severity: "warning", what: "that it sent as what it is not: from a MAC or IP address that is not its own, or frames that are neither IP nor ARP",
    cure: (view, drop) => `look what its machine sends (${interfaceOf(view, drop)}); if it is to send so, allow the address: PUT /v2.0/ports/${drop.port_id} with allowed_address_pairs`,
  },
  unknown_vlan: {
    kind: "unknown_vlan_dropped", severity: "warning", what: "that it sent with a VLAN tag of no sub-port of its trunk",
    cure: (view, drop) => `look with which tag (${interfaceOf(view, drop)} vlan); if it is to be one, put a port with it into the trunk: PUT /v2.0/trunks/ID/add_subports, with the ID in trunk_details of GET /v2.0/ports/${drop.port_id}`,
  },
  security_group_egress: {
    kind: "egress_denied", severity: "info", what: "that it sent and no egress rule of its security groups allows",
    cure: (view, drop) => `look what its machine sends (${interfaceOf(view, drop)}); axion trace ${drop.port_id} ADDRESS --protocol P --port N says which rule would let it pass`,
  },
  security_group_ingress: {
    kind: "ingress_denied", severity: "info", what: "that were sent to it and no ingress rule of its security groups allows",
    cure: (view, drop) => `nothing, if they are unwanted; who sends them: axion flows --switch ${drop.switch} --table sg_in --rate 5, and ${interfaceOf(view, drop)} at the sender's side; axion trace FROM ${drop.port_id} --protocol P --port N says which rule would let it pass`,
  },
};

export function problems(view: LiveView): AppProblem[] {
  return Object.entries(KINDS).flatMap(([reason, kind]) => {
    const drops = view.factsBy(dropTable, "persistent", reason).toSorted((a, b) => b.last_minute - a.last_minute || (a.id < b.id ? -1 : 1));
    const more = drops.slice(NAMED);
    const named = drops.slice(0, NAMED).map((drop) => problemOf(view, kind, drop));
    if (more.length === 0) return named;
    return [...named, {
      kind: kind.kind, severity: kind.severity, since: more.reduce((first, d) => (d.persistent_since! < first ? d.persistent_since! : first), more[0]!.persistent_since!),
      text: `and ${more.length} ports more`, cure: { text: `axion drops --reason ${reason} lists them all` },
    }];
  });
}

function problemOf(view: LiveView, { kind, severity, what, cure }: Kind, drop: Readonly<DropSeen>): AppProblem {
  const name = view.get(portTable, drop.port_id)?.name ?? "";
  return {
    kind, severity, since: drop.persistent_since!, switches: [drop.switch], resources: [{ type: "port", id: drop.port_id, ...(name !== "" && { name }) }],
    text: `${drop.switch} drops packets of port ${name === "" ? drop.port_id : `${name} (${drop.port_id})`} ${what}: ${drop.last_minute} in the last minute`,
    cure: { text: cure(view, drop) },
  };
}
