// Small clouds whose rules split what their ports have: prefixes just around an address, ranges just around a port. And packets that are near a rule,
// on either side of its edges. Two networks and a router between them; ports here and at another host, which sends whatever it likes.
import { formatCidr, formatIp, lastIp, parseCidr, parseIp } from "../../src/lib/address.ts";
import { SeededRandom } from "../../src/lib/random.ts";
import type { Harness } from "../support/harness.ts";
import { HERE, worldOf, type World } from "../support/topology.ts";
import { within, type AddressGroup, type Group, type Intent, type Opening, type Port, type Rule, type Standing } from "./policy-model.ts";

const THERE = "hv1";

export interface Case {
  /** The interface here that sends it; undefined: it comes by a tunnel. */
  readonly from: Port | undefined;
  /** Who is meant; undefined: all of the sender's network. */
  readonly to: Port | undefined;
  readonly network: string;
  /** MACs of the frame where it is sent, and its source where a router sent it on to the receiver. */
  readonly sourceMac: string;
  readonly destinationMac: string;
  readonly routedMac?: string;
  readonly standing: Standing;
  /** What opened the connection, and the packet itself. */
  readonly opening: Opening;
  readonly packet: Opening;
  readonly sctpPorts: boolean;
  /** It is sent in two fragments. */
  readonly fragmented: boolean;
}

const PORTS = [1, 2, 22, 79, 80, 81, 443, 1000, 1023, 1024, 40_000, 65_534, 65_535] as const;
const NUMBERED = ["47", "gre", "112", "vrrp", "50", "89", "udplite", "dccp"] as const;
const GROUPS = 4;

export class PolicyWorld {
  readonly h: Harness;
  private readonly some: boolean;
  private readonly random: SeededRandom;
  private readonly networks: string[] = [];
  private readonly groups: string[] = [];
  private readonly addressGroups: string[] = [];
  private readonly here = new Map<string, number>();
  private readonly there = new Set<string>();
  private readonly vnis = new Map<string, number>();
  world!: World;
  intent!: Intent;
  /** Addresses that are somebody's, or at the edge of what somebody has or a rule says. */
  private interesting: string[] = [];

  private constructor(h: Harness, seed: number, some: boolean) {
    this.h = h;
    this.some = some;
    this.random = new SeededRandom(seed);
  }

  /** `some`: some groups are stateless. */
  static async make(h: Harness, seed: number, some: boolean): Promise<PolicyWorld> {
    const made = new PolicyWorld(h, seed, some);
    await made.build();
    await made.read();
    return made;
  }

  private below(n: number): number {
    return Math.floor(this.random.next() * n);
  }
  private chance(part: number): boolean {
    return this.random.next() < part;
  }
  private pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  private async build(): Promise<void> {
    const { h } = this;
    await h.addChassis(HERE, { key: 1 });
    await h.addChassis(THERE, { key: 2 });
    const router = (await h.create("router", { project_id: "p" })).id;
    for (let i = 0; i < 2; i++) {
      const network_id = (await h.create("network", { project_id: "p" })).id;
      this.networks.push(network_id);
      for (const [ip_version, cidr] of [[4, `10.0.${i}.0/24`], [6, `fd00:${i}::/64`]] as const) {
        const subnet_id = (await h.create("subnet", { project_id: "p", network_id, ip_version, cidr })).id;
        await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id });
      }
    }
    for (let i = 0; i < GROUPS; i++) {
      const group = (await h.create("security_group", { project_id: "p", name: `g${i}`, stateful: !this.stateless(i) })) as unknown as { id: string; security_group_rules: { id: string }[] };
      this.groups.push(group.id);
      // A new group lets everything out, which would hide what other rules do.
      if (i > 0) for (const { id } of group.security_group_rules) await h.call("DELETE", `/v2.0/security-group-rules/${id}`);
    }
    for (let i = 0, count = 8 + this.below(4); i < count; i++) await this.addPort(i);
    await this.readIntent();
    for (let i = 0; i < 2; i++) this.addressGroups.push((await h.create("address_group", { project_id: "p", addresses: [...new Set([this.network(false), this.network(false), this.network(true)])] })).id);
    for (let i = 0; i < 16; i++) await this.addRule();
  }

  /** All but one, so that ports have them alone and with others. */
  private stateless(i: number): boolean {
    return this.some && i > 0;
  }

  private async addPort(i: number): Promise<void> {
    const n = i < 6 ? 0 : this.below(2);
    const host = 10 + this.below(40);
    const secured = this.chance(0.85);
    const fixed = [{ ip_address: `10.0.${n}.${host}` }, ...(this.chance(0.8) ? [{ ip_address: `fd00:${n}::${host.toString(16)}` }] : [])];
    await this.readIntent();
    const made = await this.h.call("POST", "/v2.0/ports", {
      port: { project_id: "p", network_id: this.networks[n], fixed_ips: fixed, ...(secured ? { security_groups: this.someGroups(), allowed_address_pairs: this.somePairs(n, i) } : { port_security_enabled: false, security_groups: [] }) },
    });
    if (made.status !== 201) return; // somebody has the address
    const { id } = (made.body as { port: Port }).port;
    if (i < 3 || this.chance(0.6)) {
      this.here.set(id, 10 + i);
      await this.h.plug(HERE, id, 10 + i);
    } else {
      this.there.add(id);
      await this.h.plug(THERE, id, 10 + i);
    }
  }

  private someGroups(): string[] {
    return this.groups.filter(() => this.chance(0.4));
  }

  private somePairs(n: number, i: number): { ip_address: string; mac_address?: string }[] {
    const others = this.intent.ports.filter((p) => p.network_id === this.networks[n]);
    const ips = [`10.0.${n}.${60 + this.below(10)}`, `10.0.${n}.64/29`, `10.0.${n}.${70 + i}/32`, "10.9.0.0/16", "10.9.1.1", `fd00:${n}::${60 + this.below(10)}`, "fd99::/64", `fd00:${n}::40/122`, "0.0.0.0/0"];
    const fixed = [...others.flatMap((p) => p.fixed_ips.map((f) => f.ip_address)), "10.9.1.2"];
    const macs = [undefined, undefined, `02:aa:00:00:00:0${i % 10}`, this.pick(others).mac_address];
    const pairs = Array.from({ length: Math.max(0, this.below(5) - 1) }, () => ({ ip_address: this.pick(this.chance(0.7) ? ips : fixed), mac_address: this.pick(macs) }));
    return pairs.map(({ ip_address, mac_address }) => ({ ip_address, ...(mac_address === undefined ? {} : { mac_address }) })).filter((p, at, all) => all.findIndex((q) => q.ip_address === p.ip_address) === at);
  }

  /** What the API says there is. */
  private async readIntent(): Promise<void> {
    const all = async <T>(collection: string): Promise<T[]> => ((await this.h.call("GET", `/v2.0/${collection}`)).body as Record<string, T[]>)[collection.replaceAll("-", "_")]!;
    const groups = await all<Group>("security-groups");
    const [ports, rules, subnets, addressGroups] = [await all<Port>("ports"), await all<Rule>("security-group-rules"), await all<Intent["subnets"][number]>("subnets"), await all<AddressGroup>("address-groups")];
    this.intent = { ports, rules: rules.filter((r) => this.groups.includes(r.security_group_id)), subnets, addressGroups, groups };
    const own = ports.flatMap((p) => [...p.fixed_ips.map((f) => f.ip_address), ...p.allowed_address_pairs.flatMap((pair) => edges(pair.ip_address))]);
    this.interesting = [...new Set([...own, ...rules.flatMap((r) => (r.remote_ip_prefix === null ? [] : edges(r.remote_ip_prefix))), ...addressGroups.flatMap((g) => g.addresses.flatMap(edges))])];
  }

  /** And what the switch here would have for it. */
  async read(): Promise<void> {
    await this.h.settled();
    await this.readIntent();
    this.world = await worldOf(this.h, this.networks, [...this.here.values()]);
    for (const guest of this.world.guests) this.vnis.set(guest.network, guest.vni);
  }

  ofport(port: Port): number | undefined {
    return this.here.get(port.id);
  }
  vni(network: string): number {
    return this.vnis.get(network)!;
  }
  /** Those that a VM has, of a network. */
  guests(network: string): Port[] {
    return this.intent.ports.filter((p) => p.network_id === network && (this.here.has(p.id) || this.there.has(p.id)));
  }

  /** @returns its id; undefined: there is one like it */
  async addRule(): Promise<string | undefined> {
    const six = this.chance(0.35);
    const protocol = this.pick([null, "tcp", "6", "udp", "sctp", six ? "ipv6-icmp" : "icmp", "icmp", "icmp", this.pick(NUMBERED), ...(six ? ["ipv6-frag", "hopopt"] : ["ah"])]);
    const ported = ["tcp", "6", "udp", "sctp"].includes(protocol ?? "");
    const from = this.pick(PORTS);
    const shape = ported && this.chance(0.85) ? { port_range_min: from, port_range_max: this.pick([from, from, ...PORTS.filter((p) => p > from), Math.min(65_535, from + this.below(3000))]) }
      : protocol?.includes("icmp") === true && this.chance(0.8) ? { port_range_min: this.pick(six ? TYPES6 : TYPES4), ...(this.chance(0.5) ? { port_range_max: this.pick([0, 1]) } : {}) } : {};
    const remote = this.pick([() => ({}), () => ({ remote_ip_prefix: this.prefix(six) }), () => ({ remote_ip_prefix: this.prefix(six) }), () => ({ remote_group_id: this.pick(this.groups) }), () => ({ remote_group_id: this.pick(this.groups) }), () => ({ remote_address_group_id: this.pick(this.addressGroups) })])();
    const made = await this.h.call("POST", "/v2.0/security-group-rules", {
      security_group_rule: { project_id: "p", security_group_id: this.pick(this.groups), direction: this.pick(["ingress", "egress"]), ethertype: six ? "IPv6" : "IPv4", protocol, ...shape, ...remote },
    });
    if (made.status === 409) return undefined;
    if (made.status !== 201) throw new Error(JSON.stringify(made.body));
    return (made.body as { security_group_rule: Rule }).security_group_rule.id;
  }

  /** Around an address that somebody has, or just beside it. */
  private prefix(six: boolean): string {
    const ip = parseIp(this.pick(this.intent.ports.flatMap((p) => p.fixed_ips.map((f) => f.ip_address)).filter((a) => a.includes(":") === six)))!;
    const bits = six ? 128 : 32;
    const length = this.pick([bits, bits, bits - 1, bits - 2, bits - 3, bits - 4, bits - 6, six ? 64 : 24, six ? 32 : 8, 0]);
    const value = length > 0 && this.chance(0.4) ? ip.value ^ (1n << BigInt(bits - length)) : ip.value;
    return `${formatIp({ family: ip.family, value })}/${length}`;
  }

  /** Likewise, without host bits. */
  private network(six: boolean): string {
    return formatCidr(parseCidr(this.prefix(six))!);
  }

  /** An address more, or one less. */
  private async changeAddresses(): Promise<void> {
    const { id, addresses } = this.pick(this.intent.addressGroups!);
    const one = this.network(this.chance(0.4));
    const [action, which] = addresses.length > 2 && this.chance(0.5) ? ["remove_addresses", this.pick(addresses)] : addresses.includes(one) ? ["remove_addresses", one] : ["add_addresses", one];
    await this.h.call("PUT", `/v2.0/address-groups/${id}/${action}`, { addresses: [which] });
  }

  /** Something of what rules depend on changes. */
  async change(): Promise<void> {
    const { h } = this;
    const port = this.pick(this.intent.ports.filter((p) => this.here.has(p.id) || this.there.has(p.id)));
    const n = this.networks.indexOf(port.network_id);
    const what = this.below(5);
    if (what === 4) await this.changeAddresses();
    else if (what === 0) await this.addRule();
    else if (what === 1 && this.intent.rules.length > 0) await h.call("DELETE", `/v2.0/security-group-rules/${this.pick(this.intent.rules).id}`);
    else if (port.port_security_enabled) await h.call("PUT", `/v2.0/ports/${port.id}`, { port: what === 2 ? { security_groups: this.someGroups() } : { allowed_address_pairs: this.somePairs(n, this.below(10)) } });
    await this.read();
  }

  /** Mostly one that a test holds for. */
  private prefer<T>(list: readonly T[], test: (value: T) => boolean): T | undefined {
    const liked = this.chance(0.7) ? list.filter(test) : [];
    return liked.length > 0 ? this.pick(liked) : list.length > 0 ? this.pick(list) : undefined;
  }

  /** A packet near what some rule says, or near nothing. Undefined: the draw made none. */
  draw(): Case | undefined {
    const kind = this.pick(["local", "local", "local", "in", "in", "out", "routed", "all"]);
    const network = this.pick([this.networks[0]!, this.networks[0]!, this.networks[1]!]);
    const standing: Standing = this.pick(["new", "new", "new", "new", "established", "answer", "answer", "answer", "error", "error back", "invalid"]);
    const rule = this.intent.rules.length > 0 ? this.pick(this.intent.rules) : undefined;
    const sends = (rule?.direction === "egress") !== (standing === "answer" || standing === "error back");
    const [ruled, other] = [rule?.security_group_id, rule?.remote_group_id].map((group) => (port: Port): boolean => group == null || port.security_groups.includes(group)) as [(p: Port) => boolean, (p: Port) => boolean];
    const [sender, receiver] = sends ? [ruled, other] : [other, ruled];
    const guests = this.guests(network);
    const local = guests.filter((p) => this.here.has(p.id));
    const inward = kind === "in" || (kind === "all" && this.chance(0.5));
    const from = inward ? undefined : this.prefer(local, sender);
    const receivers = kind === "routed" ? this.networks.filter((n) => n !== network).flatMap((n) => this.guests(n)) : (kind === "out" ? guests.filter((p) => this.there.has(p.id)) : local).filter((p) => p.id !== from?.id);
    const to = kind === "all" ? undefined : this.prefer(receivers, receiver);
    // By a tunnel comes only what a host sends that has ports of the network.
    if (guests.length === 0 || (inward && !guests.some((p) => this.there.has(p.id))) || (!inward && from === undefined) || (kind !== "all" && to === undefined)) return undefined;
    const ethertype = rule !== undefined && this.chance(0.9) ? rule.ethertype : this.pick(["IPv4", "IPv6"] as const);
    const addresses = this.interesting.filter((a) => a.includes(":") === (ethertype === "IPv6"));
    const routed = kind === "routed";
    const mine = this.sourceOf(from, ethertype, routed, this.prefer(guests, sender)!, addresses, rule);
    const theirs = this.destinationOf(to, ethertype, routed, addresses, rule);
    if (mine === undefined || theirs === undefined) return undefined;
    const [sourceMac, source] = mine;
    const [mac, destination] = theirs;
    const error = standing === "error" || standing === "error back";
    const ends = standing === "answer" ? { source: destination, destination: source } : error ? { source: this.pick(addresses), destination: this.pick([...addresses, ...(rule?.remote_ip_prefix == null ? [] : edges(rule.remote_ip_prefix))]) } : { source, destination };
    if (ends.destination.includes(":") !== (ethertype === "IPv6")) return undefined;
    const opening = this.opening(rule, ethertype, ends);
    const packet = error ? { ethertype, protocol: ethertype === "IPv4" ? 1 : 58, source, destination, icmp: ethertype === "IPv4" ? { type: 3, code: this.pick([0, 1, 4]) } : { type: 1, code: 0 } } : standing === "answer" ? answerTo(opening) : opening;
    const router = routed ? [network, to!.network_id].map((n) => this.intent.ports.find((p) => p.network_id === n && p.device_owner.includes("router") && p.fixed_ips.some((f) => f.ip_address.includes(":") === (ethertype === "IPv6")))!.mac_address) : undefined;
    return {
      from, to, network, sourceMac, destinationMac: router?.[0] ?? mac, ...(router && { routedMac: router[1]! }), standing, opening, packet, sctpPorts: this.chance(0.4),
      fragmented: !error && standing !== "invalid" && this.chance(0.2),
    };
  }

  /** MAC and address that the sender may use: of a port with port security its own; who sends by a tunnel was looked at elsewhere. */
  private sourceOf(from: Port | undefined, ethertype: Opening["ethertype"], routed: boolean, like: Port, addresses: readonly string[], rule: Rule | undefined): readonly [mac: string, ip: string] | undefined {
    const six = ethertype === "IPv6";
    if (from === undefined || (!from.port_security_enabled && !routed)) {
      const macs = this.intent.ports.flatMap((p) => [p.mac_address, ...p.allowed_address_pairs.map((a) => a.mac_address)]);
      // As somebody who is there, mostly.
      const own = [...like.fixed_ips.map((f) => [like.mac_address, f.ip_address] as const), ...like.allowed_address_pairs.flatMap((a) => edges(a.ip_address).map((ip) => [a.mac_address, ip] as const))].filter(([, ip]) => ip.includes(":") === six);
      const members = this.intent.ports.filter((p) => rule?.remote_group_id != null && p.security_groups.includes(rule.remote_group_id));
      const single = members.flatMap((p) => p.allowed_address_pairs).filter((a) => !a.ip_address.includes("/") && a.ip_address.includes(":") === six);
      // From whatever MAC: of a pair of one address it is no matter.
      if (single.length > 0 && this.chance(0.4)) return [this.pick(macs), this.pick(single).ip_address];
      if (own.length === 0 || this.chance(0.3)) return [this.pick(macs), this.pick(addresses)];
      const [mac, ip] = this.pick(own);
      return [this.chance(0.3) ? this.pick(macs) : mac, ip];
    }
    const own = from.fixed_ips.map((f) => [from.mac_address, f.ip_address] as const);
    const pairs = routed ? [] : from.allowed_address_pairs.flatMap((a) => edges(a.ip_address).filter((ip) => within(ip, a.ip_address)).map((ip) => [a.mac_address, ip] as const));
    return this.pick([...own, ...pairs].filter(([, ip]) => ip.includes(":") === six));
  }

  /** MAC and address that are meant: through a router an address of the receiver, on a link any. */
  private destinationOf(to: Port | undefined, ethertype: Opening["ethertype"], routed: boolean, addresses: readonly string[], rule: Rule | undefined): readonly [mac: string, ip: string] | undefined {
    const six = ethertype === "IPv6";
    if (to === undefined) return six ? ["33:33:00:00:00:fb", "ff02::fb"] : ["ff:ff:ff:ff:ff:ff", "255.255.255.255"];
    const fixed = to.fixed_ips.map((f) => f.ip_address).filter((ip) => ip.includes(":") === six);
    if (routed) return fixed.length === 0 ? undefined : [to.mac_address, fixed[0]!];
    const members = rule?.remote_group_id == null ? [] : this.intent.ports.filter((p) => p.security_groups.includes(rule.remote_group_id!));
    const near = [...(rule?.remote_ip_prefix == null ? [] : [rule.remote_ip_prefix]), ...members.flatMap((p) => p.allowed_address_pairs.map((a) => a.ip_address))].flatMap(edges).filter((a) => a.includes(":") === six);
    const pairs = to.allowed_address_pairs.flatMap((a) => edges(a.ip_address).map((ip) => [this.leadsTo(a.mac_address, to) ? a.mac_address : to.mac_address, ip] as const)).filter(([, ip]) => ip.includes(":") === six);
    if (pairs.length > 0 && this.chance(0.5)) return this.pick(pairs);
    return [to.mac_address, this.pick([...fixed, ...fixed, ...near, this.pick(addresses)])];
  }

  /** Whether a pair's MAC is reached at its port: it is nobody else's. */
  private leadsTo(mac: string, to: Port): boolean {
    return !this.intent.ports.some((p) => p.id !== to.id && p.network_id === to.network_id && (p.mac_address === mac || p.allowed_address_pairs.some((a) => a.mac_address === mac)));
  }

  private opening(rule: Rule | undefined, ethertype: Opening["ethertype"], ends: { source: string; destination: string }): Opening {
    const six = ethertype === "IPv6";
    const icmp = six ? 58 : 1;
    const said = rule?.protocol == null ? undefined : ({ tcp: 6, udp: 17, sctp: 132, icmp, "ipv6-icmp": 58, gre: 47, vrrp: 112, udplite: 136, dccp: 33, "ipv6-frag": 132, hopopt: 17, ah: six ? 6 : 51 }[rule.protocol] ?? Number(rule.protocol));
    const protocol = said !== undefined && this.chance(0.85) && !(six && said === 1) ? said : this.pick([6, 17, 132, icmp, 47, 112, 50, 89, 136]);
    const common = { ethertype, protocol, ...ends };
    const { port_range_min: min = null, port_range_max: max = null } = rule?.ethertype === ethertype ? rule : {};
    if (protocol === icmp) return { ...common, icmp: { type: this.pick([...(min === null || min > 255 ? [] : [min, min]), ...(six ? TYPES6 : TYPES4)]), code: this.pick([0, 0, 1, 2]) } };
    if (protocol !== 6 && protocol !== 17 && protocol !== 132) return common;
    const near = min === null || max === null ? [] : [min, max, min - 1, max + 1, Math.floor((min + max) / 2)].filter((p) => p > 0 && p <= 65_535);
    const port = (): number => this.pick([...near, ...near, ...near, this.pick(PORTS), 1 + this.below(65_535)]);
    return { ...common, ports: { source: this.chance(0.3) ? port() : 40_000, destination: port() } };
  }
}

const TYPES4 = [8, 13, 3, 0] as const;
const TYPES6 = [128, 1, 2, 143] as const;

/** As whoever got it would: ports the other way round, the type of an answer. */
function answerTo({ source, destination, ports, icmp, ...rest }: Opening): Opening {
  return {
    ...rest, source: destination, destination: source, ...(ports && { ports: { source: ports.destination, destination: ports.source } }),
    ...(icmp && { icmp: { type: new Map([[8, 0], [13, 14], [128, 129]]).get(icmp.type) ?? icmp.type, code: icmp.code } }),
  };
}

/** First and last address of a prefix, the ones beside them, and the one that it is written with. */
export function edges(range: string): string[] {
  const cidr = parseCidr(range.includes("/") ? range : `${range}/${range.includes(":") ? 128 : 32}`)!;
  const top = (1n << (cidr.family === 4 ? 32n : 128n)) - 1n;
  const values = [cidr.network, lastIp(cidr), cidr.network - 1n, lastIp(cidr) + 1n, cidr.address].filter((v) => v > 0n && v < top);
  return [...new Set(values)].map((value) => formatIp({ family: cidr.family, value }));
}
