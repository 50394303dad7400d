// Tap mirrors: copies leave by a tunnel, GRE or ERSPAN, from the host of the port that is copied to a machine outside. What comes in by such a tunnel is
// dropped: no flow knows it. Mirrors of several projects with one id to one machine leave a host by one tunnel: a switch could not tell two apart, nor
// could the machine.
import { chassisScope, chassisTable, claim, claimTable, derivation, each, isIpv6, numberOf, type AppProblem, type Claim, type LiveView, type ReadView } from "#app";
import { attachmentTable } from "../l2/model.ts";
import { copyTable, mirrorPorts, tapMirrorTable, tunnelHolder, type Copy, type Direction, type TapMirror } from "./model.ts";
import { taas } from "./tables.ts";

/** What says in tap_deliver that a copy goes by the tunnel with this OpenFlow port: above all VNIs. */
export const tunnelKey = (port: number): number => 2 ** 24 + port;

const directionsOf = ({ directions }: TapMirror): readonly (readonly [Direction, number])[] => Object.entries(directions) as [Direction, number][];

/**
 * Whether an address is where a host's tunnels end. A copy that came there by GRE with the right key would be taken for a packet of another host, in whatever
 * network has that VNI: nobody may send one.
 */
export const isEndpoint = (view: ReadView, ip: string): boolean => view.count(chassisTable, "endpoint", ip) > 0;

export const derive = [
  derivation({
    name: "mirror-ports", on: each(tapMirrorTable), into: claimTable, reads: [attachmentTable],
    derive: (mirror, view): Claim[] => view.by(attachmentTable, "port", mirror.port_id).flatMap(({ chassis }) => directionsOf(mirror).map(([, id]) => claim(`taas/mirror/${mirror.id}`, mirrorPorts, chassis, tunnelHolder(mirror, id)))),
  }),
  derivation({
    name: "mirror-copies", on: each(tapMirrorTable), into: copyTable, reads: [chassisTable],
    derive(mirror, view): Copy[] {
      if (isEndpoint(view, mirror.remote_ip)) return [];
      return directionsOf(mirror).map(([direction, id]) => ({ id: `${mirror.id}/${direction}`, port_id: mirror.port_id, direction, vlans: [], to: { tunnel: tunnelHolder(mirror, id) } }));
    },
  }),
];

const tunnels = taas.rule({
  name: "mirrored",
  about: "the tunnels by which copies leave for machines outside, at the hosts of the port that is copied",
  on: each(tapMirrorTable),
  emit(mirror, view, out) {
    const { remote_ip, mirror_type } = mirror;
    if (isEndpoint(view, remote_ip)) return;
    for (const { chassis } of view.by(attachmentTable, "port", mirror.port_id)) {
      const local = view.get(chassisTable, chassis)?.encap_ip ?? "";
      for (const [, id] of directionsOf(mirror)) {
        const port = numberOf(view, mirrorPorts, chassis, tunnelHolder(mirror, id));
        if (port === undefined) continue;
        out.row(chassisScope(chassis), "Port", `axion-tap-${port}`, {
          interface: {
            type: mirror_type === "gre" ? "gre" : "erspan",
            options: { remote_ip, key: String(id), ...(local !== "" && isIpv6(local) === isIpv6(remote_ip) && { local_ip: local }), ...(mirror_type === "erspanv1" && { erspan_ver: "1", erspan_idx: "0" }) },
            ofport_request: port,
          },
        });
        out.flow(chassisScope(chassis), "tap_deliver", { priority: 100, match: { "reg:net": tunnelKey(port) }, actions: [{ type: "output", port }] });
      }
    }
  },
});

export const rules = [tunnels];

export function problems(view: LiveView): AppProblem[] {
  return [...view.all(tapMirrorTable)].filter((m) => isEndpoint(view, m.remote_ip)).map((m): AppProblem => ({
    kind: "mirror_to_host", severity: "error", resources: [{ type: "tap_mirror", id: m.id, name: m.name }], switches: view.by(chassisTable, "endpoint", m.remote_ip).map((c) => c.id),
    text: `tap mirror ${m.id} sends to ${m.remote_ip}, where tunnels of a host end: nothing is copied there`,
    cure: { text: `give the host another axion-encap-ip, or the machine that listens another address than ${m.remote_ip} and make the tap mirror anew` },
  }));
}
