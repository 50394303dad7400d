// What security group rules allow passes, and nothing else does: random clouds and changes of them, and packets on either side of every edge that a rule
// has, by the interpreter beside a plain model (policy-model.ts). Known to turn red when the flows ignore a rule's prefix, its direction, its protocol, the type
// or code of ICMP, the remote group or the MAC that a member is bound to, of packets or of connections; when ranges are off by one at either end; when answers or errors
// go by the wrong rules; when pieces leave without their first.
import type { Match } from "node-openflow";
import { expect, test } from "vitest";
import { ctState, everyTrace, Packet, type Conntrack } from "../../src/trace/index.ts";
import { Harness } from "../support/harness.ts";
import { allows, rulesFor, stateless, type Opening, type Port, type Rule, type Sight, type Standing } from "./policy-model.ts";
import { PolicyWorld, type Case } from "./policy-world.ts";

const nightly = process.env.AXION_NIGHTLY === "1";
/** How many worlds, and how many more with stateless groups: few, and as many as it takes to reach all that a rule may say. */
const FORMS = [{ worlds: 5, stateless: 2 }, { worlds: nightly ? 60 : 16, stateless: nightly ? 20 : 4, tags: "long" }];
const ROUNDS = nightly ? 20 : 8;
const PACKETS = nightly ? 1000 : 400;

const STATES: Readonly<Record<Standing, number>> = {
  new: ctState.trk | ctState.new, established: ctState.trk | ctState.est, answer: ctState.trk | ctState.est | ctState.rpl,
  error: ctState.trk | ctState.rel, "error back": ctState.trk | ctState.rel | ctState.rpl, invalid: ctState.trk | ctState.inv,
};
/** ct_mark of fragments that were all seen. */
const WHOLE = 2;

type Piece = "whole" | "first" | "later";

/** What the switch reads of a packet or a piece of it. */
function fieldsOf(world: PolicyWorld, c: Case, piece: Piece): Match {
  const { ethertype, protocol, source, destination, ports, icmp } = c.packet;
  const six = ethertype === "IPv6";
  const way: Match = c.from === undefined
    ? { in_port: world.world.tunnels[0]!, tunnel_id: BigInt(world.vni(c.network)), tun_ipv4_src: "172.31.0.2", tun_ipv4_dst: "172.31.0.1" }
    : { in_port: world.ofport(c.from)! };
  const later = piece === "later";
  const head = {
    ...way, eth_src: c.sourceMac, eth_dst: c.destinationMac, eth_type: six ? 0x86dd : 0x800, ip_ttl: 64, ip_frag: { whole: 0, first: 1, later: 3 }[piece],
    ip_proto: later && six ? 44 : protocol, ...(six ? { ipv6_src: source, ipv6_dst: destination } : { ipv4_src: source, ipv4_dst: destination }),
  };
  if (later) return head;
  const name = { 6: "tcp", 17: "udp", 132: "sctp" }[protocol];
  return {
    ...head, ...(ports && name !== undefined && { [`${name}_src`]: ports.source, [`${name}_dst`]: ports.destination }),
    ...(icmp && (six ? { icmpv6_type: icmp.type, icmpv6_code: icmp.code } : { icmpv4_type: icmp.type, icmpv4_code: icmp.code })),
  };
}

/** The connection's tuple as conntrack shows it: of later fragments without ports. */
function tupleOf({ ethertype, protocol, source, destination, ports, icmp }: Opening, blind: boolean): Packet {
  const [from, to] = blind ? [0, 0] : [ports?.source ?? icmp?.type ?? 0, ports?.destination ?? icmp?.code ?? 0];
  const ends = ethertype === "IPv6" ? { ct_ipv6_src: source, ct_ipv6_dst: destination } : { ct_nw_src: source, ct_nw_dst: destination };
  return Packet.of({ eth_type: ethertype === "IPv6" ? 0x86dd : 0x800, ct_state: ctState.trk, ct_nw_proto: protocol, ct_tp_src: from, ct_tp_dst: to, ...ends });
}
const TUPLE = ["ct_nw_proto", "ct_nw_src", "ct_nw_dst", "ct_ipv6_src", "ct_ipv6_dst", "ct_tp_src", "ct_tp_dst"] as const;

/** Where a piece goes. Fragments come together where a first one is in `joined`; a first one leaves its zones there. */
function sent(world: PolicyWorld, c: Case, piece: Piece, joined = new Set<number>()): string[][] {
  const tuple = tupleOf(c.opening, piece === "later" || (c.opening.protocol === 132 && !c.sctpPorts));
  const conntrack: Conntrack = ({ zone, mark }) => {
    if (mark === WHOLE && piece === "first") joined.add(zone);
    return {
      state: STATES[c.standing], mark: mark === WHOLE && joined.has(zone) ? WHOLE : 0,
      change: (packet): void => {
        if (c.standing !== "invalid") for (const name of TUPLE) packet.set(name, tuple.get(name));
      },
    };
  };
  const { traces } = everyTrace(world.world.sw, Packet.of(fieldsOf(world, c, piece)), { conntrack: () => conntrack });
  return traces.map(({ outputs, error }) => (error === undefined ? outputs.map((o) => (world.world.tunnels.includes(o.port) ? "tunnel" : String(o.port))).sort() : [error.text]));
}

/** Who judges the packet, and how it looks there: its sender here, and each receiver here. */
function sights(world: PolicyWorld, c: Case): { readonly out: Sight; readonly receivers: readonly Port[]; readonly in: Sight } {
  const common = { standing: c.standing, opening: c.opening, packet: c.packet, sctpPorts: c.sctpPorts };
  return {
    out: { ...common, way: "egress", otherMac: c.destinationMac },
    receivers: c.to === undefined ? world.guests(c.network).filter((p) => p.id !== c.from?.id) : [c.to],
    in: { ...common, way: "ingress", otherMac: c.routedMac ?? c.sourceMac },
  };
}

/** Where the model says that it goes. Ports without an address of IPv6 get none. `judged`: what policy says, of those that have any. */
function expected(world: PolicyWorld, c: Case, judged: (port: Port, sight: Sight) => boolean): string[] {
  const { out, receivers, in: arrival } = sights(world, c);
  if (c.from !== undefined && !judged(c.from, out)) return [];
  const to = receivers.flatMap((port) => {
    const ofport = world.ofport(port);
    if (ofport === undefined) return c.from === undefined ? [] : ["tunnel"];
    const reached = !port.port_security_enabled || c.packet.ethertype === "IPv4" || [...port.fixed_ips, ...port.allowed_address_pairs].some((a) => a.ip_address.includes(":"));
    return reached && judged(port, arrival) ? [String(ofport)] : [];
  });
  return [...new Set(to)].sort();
}

/** What it takes of a rule to name the packet, where no other rule does. */
function* aspects(rule: Rule, port: Port, sight: Sight, world: PolicyWorld): Iterable<string> {
  yield `${rule.direction} ${sight.standing}`;
  if (rule.remote_ip_prefix !== null && !rule.remote_ip_prefix.endsWith("/0")) yield `prefix ${rule.direction} ${rule.ethertype}`;
  if (rule.port_range_min !== null) yield sight.opening.icmp === undefined ? `ports ${sight.opening.protocol}` : rule.port_range_max === null ? "type" : "code";
  else if (rule.protocol !== null && sight.opening.ports === undefined && sight.opening.icmp === undefined) yield "number";
  if (rule.remote_address_group_id != null) yield `address group ${rule.direction}`;
  if (rule.remote_group_id === null) return;
  const remote = rule.direction === "ingress" ? sight.opening.source : sight.opening.destination;
  const fixed = world.intent.ports.some((p) => p.security_groups.includes(rule.remote_group_id!) && p.fixed_ips.some((f) => f.ip_address === remote));
  const bound = !fixed && !allows(port, { ...sight, otherMac: "" }, world.intent);
  yield `${fixed ? "member" : bound ? "member of a MAC" : "member by a pair"} ${rule.direction}`;
}

for (const { worlds, stateless: without, ...stage } of FORMS) test(`what rules allow passes, and nothing else, in ${worlds + without} worlds`, { ...stage, timeout: nightly ? 3_600_000 : 600_000 }, async () => {
  const seen = new Map<string, number>();
  const count = (what: string): void => void seen.set(what, (seen.get(what) ?? 0) + 1);
  for (let seed = 1; seed <= worlds + without; seed++) {
    const h = await Harness.make([], undefined, { seed });
    try {
      const world = await PolicyWorld.make(h, seed, seed > worlds);
      for (let round = 0; round < ROUNDS; round++) {
        if (round > 0) await world.change();
        expect(h.complaints).toEqual([]);
        for (let n = 0; n < PACKETS; n++) {
          const c = world.draw();
          if (c === undefined) continue;
          const { out, receivers, in: arrival } = sights(world, c);
          const text = (): string => `seed ${seed}, round ${round}, packet ${n}: ${JSON.stringify(c)}\nrules at the sender: ${c.from === undefined ? "elsewhere" : JSON.stringify(rulesFor(c.from, out, world.intent))}\nat receivers: ${JSON.stringify(receivers.map((p) => rulesFor(p, arrival, world.intent)))}`;
          const wanted = expected(world, c, (port, sight) => allows(port, sight, world.intent));
          const joined = new Set<number>();
          for (const ways of sent(world, c, c.fragmented ? "first" : "whole", joined)) expect(ways, text()).toEqual(wanted);
          if (c.fragmented) {
            // Where nothing is remembered each is judged by itself; elsewhere none passes whose first did not.
            const left = c.from === undefined || allows(c.from, out, world.intent);
            const later = (port: Port, sight: Sight, first: boolean): boolean => (!port.port_security_enabled ? true : stateless(port, world.intent) ? allows(port, { ...sight, later: true }, world.intent) : first && allows(port, sight, world.intent));
            for (const ways of sent(world, c, "later", joined)) expect(ways, `later fragment, ${text()}`).toEqual(expected(world, c, (port, sight) => later(port, sight, left)));
            for (const ways of sent(world, c, "later")) expect(ways, `later fragment alone, ${text()}`).toEqual(expected(world, c, (port, sight) => later(port, sight, false)));
            count(wanted.length > 0 ? "fragments pass" : "fragments stay");
          }
          count(wanted.length > 0 ? "pass" : "stay");
          for (const [port, sight] of [...(c.from === undefined ? [] : [[c.from, out] as const]), ...receivers.filter((p) => world.ofport(p) !== undefined).map((p) => [p, arrival] as const)]) {
            const [rule, ...others] = port.port_security_enabled ? rulesFor(port, sight, world.intent) : [];
            if (stateless(port, world.intent)) count(`stateless ${sight.way} ${rule === undefined ? "stays" : c.standing === "new" ? "passes" : "passes, whatever it is to a connection"}`);
            else if (rule !== undefined && others.length === 0) for (const aspect of aspects(rule, port, sight, world)) count(aspect);
          }
        }
      }
    } finally {
      await h.close();
    }
  }
  if (stage.tags === undefined) return;
  // Each of what a rule may say was the only thing that let something pass.
  const both = (what: string): string[] => [`${what} ingress`, `${what} egress`];
  const standings = ["new", "established", "answer", "error", "error back"].flatMap((s) => [`ingress ${s}`, `egress ${s}`]);
  const prefixes = both("prefix").flatMap((p) => [`${p} IPv4`, `${p} IPv6`]);
  const members = ["member", "member by a pair", "member of a MAC", "address group"].flatMap(both);
  const withoutState = both("stateless").flatMap((w) => ["stays", "passes", "passes, whatever it is to a connection"].map((how) => `${w} ${how}`));
  for (const what of [...withoutState, ...standings, ...prefixes, ...members, "ports 6", "ports 17", "ports 132", "type", "code", "number", "fragments pass", "fragments stay"]) expect(seen.get(what) ?? 0, what).toBeGreaterThan(2);
  expect(seen.get("pass")).toBeGreaterThan(seen.get("stay")! / 10);
});
