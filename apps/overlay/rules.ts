// Tunnels. One flow-based tunnel port per encapsulation and chassis, with the same OpenFlow number everywhere; one flow
// per peer chassis. Which encapsulation two chassis use depends on what both have: chassis with the same list and
// underlay family form a profile, and a peer's flow is compiled once per profile.
import { chassisScope, chassisTable, copy, defineTable, derivation, each, rule, setField, type Chassis, type EncapType, type FlowAction, type Row } from "#app";
import { hostScope } from "../l2/model.ts";

/** OpenFlow port of each encapsulation's tunnel port, on every chassis. Ports end at 0xfeff. */
export const tunnelPort: Readonly<Record<EncapType, number>> = { geneve: 65_101, vxlan: 65_102, gre: 65_103 };
const portName: Readonly<Record<EncapType, string>> = { geneve: "axion-geneve", vxlan: "axion-vxlan", gre: "axion-gre" };

export interface Profile extends Row {
  readonly profile: string;
}
/** Encapsulation profile of each chassis: `geneve,vxlan/4`. `id` is the chassis'. */
export const profileTable = defineTable<Profile>()("encap_profile", { derived: true, pairs: { profiles: (p) => ["all", p.profile] } });

const profileOf = (c: Chassis): string | undefined => (c.encap_ip === "" || c.encap_types.length === 0 ? undefined : `${c.encap_types.join(",")}/${c.encap_ip.includes(":") ? 6 : 4}`);

export const derive = [
  derivation({
    name: "encap-profile",
    on: each(chassisTable),
    into: profileTable,
    derive: (c) => {
      const profile = profileOf(c);
      return profile === undefined ? undefined : { id: c.id, profile };
    },
  }),
];

/** The encapsulation two lists share, the same seen from either end: least sum of ranks, then by name. */
export function sharedEncap(a: readonly string[], b: readonly string[]): EncapType | undefined {
  const common = a.filter((t) => b.includes(t)).sort((x, y) => a.indexOf(x) + b.indexOf(x) - a.indexOf(y) - b.indexOf(y) || (x < y ? -1 : 1));
  return common[0] as EncapType | undefined;
}

const tunnelPorts = rule({
  name: "tunnel-ports",
  about: "the tunnel ports of a chassis, one for each of its encapsulations",
  on: each(chassisTable),
  emit(chassis, _view, out) {
    const profile = profileOf(chassis);
    if (profile === undefined) return;
    out.variant(chassis.id, profile);
    for (const type of chassis.encap_types) {
      out.ovsPort(chassisScope(chassis.id), { name: portName[type], type, options: { remote_ip: "flow", key: "flow" }, ofport: tunnelPort[type] });
    }
    // Broadcast goes to every member chassis of a network; the copy for oneself ends here.
    out.flow(chassisScope(chassis.id), "tunnel_out", { priority: 200, match: { "reg:out_host": chassis.key }, actions: [] });
  },
});

const peer = rule({
  name: "peer",
  about: "how other chassis reach this one",
  on: each(chassisTable),
  emit(chassis, view, out) {
    const own = profileOf(chassis);
    if (own === undefined) return;
    const family = own.slice(-2);
    for (const profile of view.pairKeys(profileTable, "profiles", "all")) {
      if (!profile.endsWith(family)) continue; // an IPv4 endpoint cannot reach an IPv6 one
      const type = sharedEncap(chassis.encap_types, profile.slice(0, -2).split(","));
      if (type === undefined) continue;
      const destination: FlowAction = family === "/6" ? setField("tun_ipv6_dst", chassis.encap_ip) : setField("tun_ipv4_dst", chassis.encap_ip);
      out.flow(hostScope(chassis.key) + profile, "tunnel_out", {
        priority: 100,
        match: { "reg:out_host": chassis.key },
        actions: [copy("reg:net", { field: "tunnel_id", ofs: 0, bits: 32 }), destination, { type: "output", port: tunnelPort[type] }],
      });
    }
  },
});

export const rules = [tunnelPorts, peer];
