// Random clouds through the API, and random packets that are near what their flows match.
import { fields, type FieldName, type Match, type MatchValue } from "node-openflow";
import fc from "fast-check";
import { numberOf, vifTable, type EncapType } from "#app";
import { vniHolder } from "../../apps/gateway/model.ts";
import { chosenSegments, networkTable } from "../../apps/l2/model.ts";
import { vniOf, vniPool } from "../../apps/overlay/model.ts";
import { SeededRandom } from "../../src/lib/random.ts";
import { ctState, Packet, TraceSwitch, type TracePort } from "../../src/trace/index.ts";
import type { Given } from "./trace/agreement.ts";
import { frameOf } from "./frame.ts";
import type { Harness } from "./harness.ts";

/** The chassis whose switch is looked at. */
export const HERE = "hv0";
const HOSTS = [HERE, "hv1", "hv2"];

export interface World {
  readonly sw: TraceSwitch;
  readonly ports: readonly (TracePort & { readonly type?: string })[];
  readonly vifs: readonly number[];
  readonly guests: readonly Guest[];
  readonly tunnels: readonly number[];
  /** To physical networks. */
  readonly patches: readonly number[];
  readonly macs: readonly string[];
  readonly v4: readonly string[];
  readonly v6: readonly string[];
  readonly vnis: readonly number[];
  readonly hosts: readonly string[];
}

/** Who has addresses on a network: a VM's port or a router's. */
interface Guest {
  /** Of its interface, if that is here. */
  readonly ofport: number | undefined;
  readonly network: string;
  readonly router: boolean;
  readonly vni: number;
  /** Of the network, on a physical one. */
  readonly vlan: number | undefined;
  readonly mac: string;
  readonly v4: readonly string[];
  readonly v6: readonly string[];
}

/** A tunnel port as the compiler desires it in the host's database. */
interface PortRow {
  readonly table: string;
  readonly columns: { readonly interface?: { readonly type?: string; readonly options?: Readonly<Record<string, string>>; readonly ofport_request?: number } };
}

/** Ids of what a world consists of. */
export interface Parts {
  readonly networks: readonly string[];
  readonly routers: readonly string[];
  readonly ports: readonly string[];
}

/** `also`: more through the API, before the flows are read. */
export async function randomWorld(h: Harness, seed: number, also?: (parts: Parts) => Promise<void>): Promise<World> {
  const random = new SeededRandom(seed);
  const n = (below: number): number => Math.floor(random.next() * below);
  const chance = (part: number): boolean => random.next() < part;
  const pick = <T>(list: readonly T[]): T => list[n(list.length)]!;
  const encaps: readonly (readonly EncapType[])[] = [["geneve"], ["vxlan", "geneve"], ["gre", "geneve"], ["geneve", "vxlan", "gre"]];
  for (const [i, host] of HOSTS.entries()) await h.addChassis(host, { key: i + 1, encap_types: [...pick(encaps)], bridge_mappings: { phys0: "br-phys0" }, gateway: true });

  const created = async (resource: string, values: Record<string, unknown>): Promise<{ readonly id: string } & Record<string, never>> => h.create(resource, { project_id: "p", ...values });
  const networks: string[] = [];
  const subnets: { readonly id: string; readonly network: string; readonly six: boolean }[] = [];
  for (let i = 0, count = 2 + n(2); i < count; i++) {
    const vlan = { "provider:network_type": "vlan", "provider:physical_network": "phys0", "provider:segmentation_id": 100 + i };
    const how = pick([{}, {}, vlan, { segments: [vlan, { "provider:network_type": "geneve" }] }, { "provider:network_type": "geneve", vlan_transparent: true }]);
    const network = (await created("network", { name: `net${i}`, ...how, ...(chance(0.4) ? { mtu: pick([1280, 1300, 1400]) } : {}) })).id;
    networks.push(network);
    subnets.push({ id: (await created("subnet", { network_id: network, ip_version: 4, cidr: `10.0.${i}.0/24`, ...(chance(0.2) ? { enable_dhcp: false } : {}) })).id, network, six: false });
    if (chance(0.7)) {
      const mode = pick(["slaac", "dhcpv6-stateful", "dhcpv6-stateless"]);
      subnets.push({ id: (await created("subnet", { network_id: network, ip_version: 6, cidr: `fd00:${i}::/64`, ipv6_ra_mode: mode, ipv6_address_mode: mode })).id, network, six: true });
    }
    if (chance(0.3)) subnets.push({ id: (await created("subnet", { network_id: network, ip_version: 4, cidr: `10.1.${i}.0/26` })).id, network, six: false });
  }
  const routers: string[] = [];
  for (let i = 0, count = 1 + n(2); i < count; i++) {
    routers.push((await created("router", { name: `r${i}` })).id);
    for (const subnet of subnets) if (chance(0.7)) await h.call("PUT", `/v2.0/routers/${routers[i]!}/add_router_interface`, { subnet_id: subnet.id });
  }
  const groups: string[] = [];
  for (let i = 0; i < 3; i++) groups.push((await created("security_group", { name: `g${i}` })).id);
  const rules = 6 + n(12);
  for (let i = 0; i < rules; i++) {
    const six = chance(0.3);
    const protocol = pick(["tcp", "tcp", "udp", "icmp", null, "132", "47"]);
    const from = pick([1, 22, 80, 443, 1000, n(60_000)]);
    const ports = protocol === "tcp" || protocol === "udp" || protocol === "132" ? (chance(0.8) ? { port_range_min: from, port_range_max: Math.min(65_535, from + pick([0, 0, 3, 100, 5000])) } : {})
      : protocol === "icmp" && chance(0.7) ? { port_range_min: pick([0, 3, 8, 128]), ...(chance(0.5) ? { port_range_max: pick([0, 1, 4]) } : {}) } : {};
    const remote = chance(0.4) ? { remote_group_id: pick(groups) } : chance(0.7) ? { remote_ip_prefix: six ? pick(["fd00:0::/64", "fd00::/16", "::/0"]) : pick(["10.0.0.0/24", "10.0.0.0/8", "10.0.1.128/25", "0.0.0.0/0", "10.0.0.5/32"]) } : {};
    await h.call("POST", "/v2.0/security-group-rules", {
      security_group_rule: { project_id: "p", security_group_id: pick(groups), direction: pick(["ingress", "egress"]), ethertype: six ? "IPv6" : "IPv4", protocol: protocol === "icmp" && six ? "ipv6-icmp" : protocol, ...ports, ...remote },
    });
  }
  const ports: string[] = [];
  const count = 6 + n(7);
  for (let i = 0; i < count; i++) {
    const secure = chance(0.8);
    const made = await created("port", {
      network_id: pick(networks),
      ...(secure ? { security_groups: groups.filter(() => chance(0.5)), ...(chance(0.3) ? { allowed_address_pairs: [pick([{ ip_address: `10.9.0.${n(9) + 1}` }, { ip_address: "10.8.0.0/24" }, { ip_address: "10.7.0.1", mac_address: "02:aa:00:00:00:01" }, { ip_address: "fd99::/64" }])] } : {}) }
        : { port_security_enabled: false, security_groups: [] }),
      ...(chance(0.1) ? { admin_state_up: false } : {}),
    });
    ports.push(made.id);
    if (chance(0.95)) await h.plug(i < 3 ? HERE : pick(HOSTS), made.id, 10 + i);
  }
  if (chance(0.5) && routers.length > 0) await h.call("PUT", `/v2.0/routers/${routers[0]!}`, { router: { routes: [{ destination: "192.168.5.0/24", nexthop: `10.0.0.${pick([5, 6, 7])}` }] } });
  await also?.({ networks, routers, ports });
  await h.settled();
  return worldOf(h, networks, Array.from({ length: count }, (_, i) => 10 + i));
}

/** The switch here as the controller would have it: set to show the ports of first fragments. */
export const switchOf = (h: Harness, ports: readonly TracePort[]): TraceSwitch => TraceSwitch.ofDesired(h.engine.flowsOf(HERE), h.engine.itemsOf(HERE), { ports, fragments: "nx-match" });

/** What switches of a cloud are told, and who is in it; `vifs`: interfaces here. */
export async function worldOf(h: Harness, networks: readonly string[], vifs: readonly number[]): Promise<World> {
  const tunnels = [...h.engine.rowsOf(HERE)].flatMap((row): (TracePort & { readonly type: string })[] => {
    const { type, options = {}, ofport_request } = (row as PortRow).columns.interface ?? {};
    if (type === undefined || ofport_request === undefined || options.remote_ip === undefined) return [];
    return [{ number: ofport_request, type, tunnel: { remote: options.remote_ip, key: options.key === "flow" ? "flow" : BigInt(options.key ?? 0), ...(options.local_ip === undefined ? {} : { local: options.local_ip }) } }];
  });
  const patches = [...h.engine.rowsOf(HERE)].flatMap((row) => {
    const { type, ofport_request: number } = (row as PortRow).columns.interface ?? {};
    return type === "patch" && number !== undefined ? [number] : [];
  });
  const ports = [...[...vifs, ...patches].map((number) => ({ number })), ...tunnels];
  const all = (await h.call("GET", "/v2.0/ports")).body as { readonly ports: readonly { readonly id: string; readonly network_id: string; readonly device_owner: string; readonly mac_address: string; readonly fixed_ips: readonly { readonly ip_address: string }[] }[] };
  const guests = all.ports.map((p): Guest => {
    const ips = p.fixed_ips.map((f) => f.ip_address);
    return {
      ofport: [...h.view.by(vifTable, "iface_id", p.id)].find((v) => v.chassis === HERE)?.ofport, network: p.network_id, router: p.device_owner.includes("router"), vni: vniOf(h.view, p.network_id) ?? 0, vlan: chosenSegments(h.view, p.network_id).find((s) => s.type === "vlan")?.segmentation_id ?? undefined, mac: p.mac_address,
      v4: ips.filter((a) => !a.includes(":")), v6: [...ips.filter((a) => a.includes(":")), linkLocal(p.mac_address)],
    };
  });
  const addresses = all.ports.flatMap((p) => p.fixed_ips.map((f) => f.ip_address));
  const macs = all.ports.map((p) => p.mac_address);
  return {
    sw: switchOf(h, ports), ports, vifs, guests, tunnels: tunnels.map((t) => t.number), patches, macs,
    v4: addresses.filter((a) => !a.includes(":")), v6: [...addresses.filter((a) => a.includes(":")), ...macs.map(linkLocal)],
    vnis: networks.flatMap((id) => [vniOf(h.view, id), h.view.get(networkTable, id)?.key, numberOf(h.view, vniPool, "", vniHolder(id))]).filter((v) => v !== undefined), hosts: ["172.31.0.1", "172.31.0.2", "172.31.0.3"],
  };
}

function linkLocal(mac: string): string {
  const b = mac.split(":").map((x) => parseInt(x, 16));
  const hex = (x: number, y: number): string => ((x << 8) | y).toString(16);
  return `fe80::${hex(b[0]! ^ 2, b[1]!)}:${hex(b[2]!, 0xff)}:${hex(0xfe, b[3]!)}:${hex(b[4]!, b[5]!)}`;
}

const STATES = [0x21, 0x21, 0x22, 0x2a, 0x24 | ctState.est, 0x30, 0x25] as const;

/** Packets for a world: mostly addresses, ports and protocols that mean something there. A part of the packet follows what some flow matches. */
export function packets(world: World): fc.Arbitrary<Given> {
  const of = <T>(list: readonly T[], ...more: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...list, ...more);
  const mac = of(world.macs, "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "33:33:ff:00:00:05", "01:00:5e:00:00:01", "02:de:ad:00:00:01", "02:aa:00:00:00:01", "00:00:00:00:00:00");
  const v4 = of(world.v4, "10.0.0.1", "10.0.1.1", "10.0.0.200", "10.0.0.255", "255.255.255.255", "0.0.0.0", "224.0.0.251", "169.254.169.254", "192.168.5.7", "8.8.8.8", "10.9.0.3", "10.8.0.77", "10.7.0.1");
  const v6 = of(world.v6, "fd00:0::1", "fd00:1::1", "ff02::1", "ff02::2", "ff02::1:2", "ff02::1:ff00:5", "fe80::1", "::", "2001:db8::1", "fd99::5");
  const l4 = fc.oneof(of([22, 67, 68, 80, 83, 443, 546, 547, 1000, 1100, 53, 0, 65_535]), fc.nat(65_535));
  const ttl = of([64, 64, 64, 255, 1, 0, 2]);
  const port = fc.oneof(
    { weight: 6, arbitrary: of(world.vifs).map((in_port): Match => ({ in_port })) },
    { weight: 3, arbitrary: fc.record({ in_port: of(world.tunnels), tunnel_id: of(world.vnis, 1, 999).map(BigInt), tun_ipv4_src: of(world.hosts, "172.31.0.77"), tun_ipv4_dst: fc.constant(world.hosts[0]!) }) },
    ...(world.patches.length === 0 ? [] : [{ weight: 2, arbitrary: fc.record({ in_port: of(world.patches), vlan_vid: of([0x1064, 0x1065, 0x1066]) }) as fc.Arbitrary<Match> }]),
    { weight: 1, arbitrary: of([5, 65_534]).map((n): Match => ({ in_port: n === 65_534 ? 0xffff_fffe : n })) },
  );
  const above = fc.oneof(
    { weight: 3, arbitrary: fc.record({ ip_proto: fc.constant(6), tcp_src: l4, tcp_dst: l4, tcp_flags: of([2, 0x12, 0x10, 4]) }) },
    { weight: 3, arbitrary: fc.record({ ip_proto: fc.constant(17), udp_src: l4, udp_dst: l4 }) },
    { weight: 1, arbitrary: fc.constantFrom({ ip_proto: 17, udp_src: 68, udp_dst: 67 }, { ip_proto: 17, udp_src: 546, udp_dst: 547 }, { ip_proto: 17, udp_src: 67, udp_dst: 68 }) },
    { weight: 1, arbitrary: fc.record({ ip_proto: of([132, 47, 2, 112, 89, 0]), sctp_src: l4, sctp_dst: l4 }) },
  ) as fc.Arbitrary<Match>;
  const icmp4 = fc.record({ ip_proto: fc.constant(1), icmpv4_type: of([0, 3, 8, 11, 5]), icmpv4_code: of([0, 1, 4]) }) as fc.Arbitrary<Match>;
  const icmp6 = fc.record({ ip_proto: fc.constant(58), icmpv6_type: of([128, 129, 133, 134, 135, 135, 136, 136, 143, 1, 2]), icmpv6_code: of([0, 0, 0, 1]), ipv6_nd_target: v6, ipv6_nd_sll: mac, ipv6_nd_tll: mac }) as fc.Arbitrary<Match>;
  const fragment = fc.oneof({ weight: 12, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: fc.constant({ ip_frag: 1 }) }, { weight: 1, arbitrary: fc.constant({ ip_frag: 3 }) }) as fc.Arbitrary<Match>;
  const merge = (...parts: readonly fc.Arbitrary<Match>[]): fc.Arbitrary<Match> => fc.tuple(...parts).map((list) => Object.assign({}, ...list) as Match);
  const network = fc.oneof(
    { weight: 3, arbitrary: fc.record({ eth_type: fc.constant(0x806), arp_op: of([1, 1, 2, 3]), arp_spa: v4, arp_tpa: v4, arp_sha: mac, arp_tha: mac }) },
    { weight: 6, arbitrary: merge(fc.record({ eth_type: fc.constant(0x800), ipv4_src: v4, ipv4_dst: v4, ip_ttl: ttl, ip_dscp: of([0, 46]), ip_ecn: of([0, 1]) }) as fc.Arbitrary<Match>, fc.oneof({ weight: 4, arbitrary: above }, { weight: 1, arbitrary: icmp4 }), fragment) },
    { weight: 5, arbitrary: merge(fc.record({ eth_type: fc.constant(0x86dd), ipv6_src: v6, ipv6_dst: v6, ip_ttl: ttl, ipv6_flabel: of([0, 5]) }) as fc.Arbitrary<Match>, fc.oneof({ weight: 2, arbitrary: above }, { weight: 2, arbitrary: icmp6 }), fragment) },
    { weight: 1, arbitrary: of([0x88cc, 0x8035, 0x8847, 0x5ff]).map((eth_type): Match => ({ eth_type })) },
  );
  const tag = fc.oneof({ weight: 10, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: fc.record({ vlan_vid: of([0x1000, 0x1064, 0x1065, 0x1005]), vlan_pcp: of([0, 3]) }) }) as fc.Arbitrary<Match>;
  const here = world.guests.filter((g) => g.ofport !== undefined);
  // One guest to another, as they would: from its own address, to the other's or by a router.
  const talk = fc.record({ from: of(here), to: of(world.guests), router: of(world.guests.filter((g) => g.router), world.guests[0]!), routed: fc.boolean(), n: fc.nat(3), inward: fc.boolean(), tunnel: of(world.tunnels), host: of(world.hosts.slice(1)) })
    .map(({ from, to, router, routed, n, inward, tunnel, host }): Match => {
      const some = (list: readonly string[]): string | undefined => list[n % Math.max(1, list.length)];
      const dst = routed && router.network === from.network ? router.mac : to.mac;
      const [a, b] = inward ? [to, from] : [from, to];
      const ways: Match = inward && from.vlan !== undefined && n < 2 && world.patches[0] !== undefined ? { in_port: world.patches[0], vlan_vid: 0x1000 | from.vlan } : inward ? { in_port: tunnel, tunnel_id: BigInt(from.vni), tun_ipv4_src: host, tun_ipv4_dst: world.hosts[0]! } : { in_port: from.ofport! };
      const said = { eth_src: a.mac, eth_dst: inward ? from.mac : dst, arp_sha: a.mac, arp_spa: some(a.v4), arp_tpa: some(b.v4), ipv4_src: some(a.v4), ipv4_dst: some(b.v4), ipv6_src: some(a.v6), ipv6_dst: some(b.v6) };
      return { ...ways, ...(Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)) as Match) };
    });
  const conversation = fc.option(talk, { freq: 4, nil: undefined });
  /** Which of what the conversation says the packet keeps: nearly always all. */
  const kept = fc.oneof({ weight: 4, arbitrary: fc.constant(0xffff) }, { weight: 1, arbitrary: fc.nat(0xffff) });
  const flows = [...world.sw.flows()];
  // ofproto/trace sends a frame through the datapath, but for its outputs; so where flows learn, frames would teach the switch.
  const learns = flows.some((f) => f.ops.some((op) => op.type === "learn"));
  const near = fc.option(fc.nat(flows.length - 1), { freq: 1, nil: undefined });
  return fc.record({ base: merge(port, fc.record({ eth_src: mac, eth_dst: mac }) as fc.Arbitrary<Match>, tag, network), conversation, kept, near, framed: fc.boolean(), ct: fc.array(of(STATES), { maxLength: 3 }) })
    .map(({ base, conversation: talked, kept: bits, near: index, framed, ct }): Given => {
      const said = Object.fromEntries(Object.entries(talked ?? {}).filter((_, i) => (bits >> i) & 1)) as Match;
      const { in_port, ...like } = index === undefined ? {} : likeFlow(flows[index]!.match);
      const wanted = whole({ ...base, ...like, ...(talked === undefined && in_port !== undefined ? { in_port } : {}), ...said });
      if (!framed || learns || wanted.eth_type === 0x8847) return { fields: wanted, ct };
      const metadata = Object.fromEntries(Object.entries(wanted).filter(([name]) => METADATA.has(name))) as Match;
      return { frame: frameOf(wanted), metadata, ct };
    });
}

const METADATA: ReadonlySet<string> = new Set(["in_port", "tunnel_id", "tun_ipv4_src", "tun_ipv4_dst"]);

/** What a flow matches of headers; of what it matches in part, those bits. */
function likeFlow(match: Match): Match {
  const out: Record<string, MatchValue> = {};
  for (const [name, value] of Object.entries(match) as [FieldName, MatchValue][]) {
    const { needs } = fields[name];
    if (name !== "in_port" && (needs === undefined || needs === "ct" || needs === "mpls" || needs === "nsh")) continue;
    out[name] = typeof value === "object" && "mask" in value ? value.value : value;
  }
  return out;
}

/** Without fields whose headers are not there: a fragment behind the first has nothing but its addresses, what has no outer destination no tunnel. */
function whole(given: Match): Match {
  const later = given.ip_frag === 3;
  const match = later && given.eth_type === 0x86dd ? { ...given, ip_proto: 44 } : given;
  const sorted = Object.entries(match).filter(([name, value]) => value !== undefined && (name !== "vlan_vid" || (Number(value) & 0x1000) !== 0) && (match.tun_ipv4_dst !== undefined || !name.startsWith("tun")) && !(later && TRANSPORT.has(fields[name as FieldName].needs ?? "")));
  const packet = Packet.of(Object.fromEntries(sorted));
  return Object.fromEntries(sorted.filter(([name]) => packet.has(name as FieldName)));
}

const TRANSPORT: ReadonlySet<string> = new Set(["tcp", "udp", "sctp", "icmpv4", "icmpv6", "nd", "nd_solicit", "nd_advert"]);
