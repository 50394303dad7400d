// What a change of rules changes, and nothing else: random clouds, random rules that come and go, and the same random packets through the
// flows before, with them and after, by the interpreter; answers have the tuples of their connections. Rules let nothing less pass than before, and more only of
// what the model (policy-model.ts) says that they name. These clouds route, flood and answer for themselves as they like; what exactly passes is
// rules.test.ts's business. Known to turn red when the flows ignore a rule's prefix, its direction, the type or code of ICMP, or the remote group, and when
// ranges are one too long.
// @module-tag long
import fc from "fast-check";
import { expect, test } from "vitest";
import { formatIp, parseIp } from "../../src/lib/address.ts";
import { SeededRandom } from "../../src/lib/random.ts";
import { ctNext, ctState, everyTrace, withTuples } from "../../src/trace/index.ts";
import { packetOf, type Given } from "../support/trace/agreement.ts";
import { Harness } from "../support/harness.ts";
import { packets, randomWorld, switchOf, type World } from "../support/topology.ts";
import { names, type Direction, type Intent, type Opening, type Port, type Rule, type Standing } from "./policy-model.ts";

const nightly = process.env.AXION_NIGHTLY === "1";
const WORLDS = nightly ? 40 : 8;
const PACKETS = nightly ? 2000 : 500;
const CHANGES = 6;
/** That come at a time. */
const RULES = 10;

type RuleBody = Pick<Rule, "direction" | "ethertype" | "protocol"> & Partial<Rule>;

/** Where a packet may go, each way that the interpreter knows: ports, and the source MACs with which it comes out there. */
type Ways = ReadonlyMap<number, ReadonlySet<string>>;
function all(h: Harness, world: World, sample: readonly Given[]): readonly Ways[] {
  const sw = switchOf(h, world.ports);
  return sample.map((given) => {
    const ways = new Map<number, Set<string>>();
    for (const { outputs } of everyTrace(sw, packetOf(given), { conntrack: () => withTuples(ctNext(given.ct)) }).traces) {
      for (const { port, packet } of outputs) ways.set(port, (ways.get(port) ?? new Set()).add(packet.fields().eth_src as string));
    }
    return ways;
  });
}
const plain = (all: readonly Ways[]): string[][] => all.map((ways) => [...ways].map(([port, macs]) => `${port} from ${[...macs].sort().join()}`).sort());

/** Whether a packet is between two who are there, so that it may be policy that keeps it from going anywhere. */
function sentOn(world: World, given: Given): boolean {
  const { eth_src, eth_dst, ip_proto } = packetOf(given).fields();
  return ip_proto !== undefined && world.macs.includes(eth_src as string) && world.macs.includes(eth_dst as string);
}

const protocolOf = (given: Given): number => packetOf(given).fields().ip_proto as number;

/** A packet as what opened its connection, or as the answer to that; undefined: it is no IP. */
function openingOf(given: Given, back: boolean): Opening | undefined {
  const m = packetOf(given).fields() as Readonly<Record<string, number | string | undefined>>;
  if (m.eth_type !== 0x800 && m.eth_type !== 0x86dd) return undefined;
  const family = m.eth_type === 0x800 ? "ipv4" : "ipv6";
  const number = (...fields: string[]): number | undefined => fields.map((f) => m[f]).find((v) => v !== undefined) as number | undefined;
  const [from, to] = [number("tcp_src", "udp_src", "sctp_src"), number("tcp_dst", "udp_dst", "sctp_dst")];
  const [type, code] = [number("icmpv4_type", "icmpv6_type"), number("icmpv4_code", "icmpv6_code")];
  const [source, destination] = [m[`${family}_src`] as string, m[`${family}_dst`] as string];
  return {
    ethertype: family === "ipv4" ? "IPv4" : "IPv6", protocol: m.ip_proto as number, ...(back ? { source: destination, destination: source } : { source, destination }),
    ...(from !== undefined && to !== undefined && { ports: back ? { source: to, destination: from } : { source: from, destination: to } }),
    ...(type !== undefined && code !== undefined && { icmp: { type: back ? (ASKED.get(type) ?? type) : type, code } }),
  };
}
/** Types of requests by those of their answers. */
const ASKED: ReadonlyMap<number, number> = new Map([[0, 8], [14, 13], [16, 15], [129, 128]]);

/** Whether a packet that comes out of a port is one that the rule names, there or at its sender, whatever of the states it has where that is asked. */
function named(given: Given, rule: Rule, to: Port | undefined, macs: ReadonlySet<string>, from: Port | undefined, intent: Intent): boolean {
  const { eth_dst } = packetOf(given).fields();
  return [...(given.ct ?? []), ctState.trk | ctState.new].some((state) => {
    const has = (bit: number): boolean => (state & bit) !== 0;
    const standing: Standing = has(ctState.inv) ? "invalid" : has(ctState.rel) ? (has(ctState.rpl) ? "error back" : "error") : has(ctState.rpl) ? "answer" : "new";
    const opening = openingOf(given, has(ctState.rpl));
    if (opening === undefined) return false;
    const at = (port: Port | undefined, way: Direction, otherMac: string): boolean =>
      port?.security_groups.includes(rule.security_group_id) === true && names(rule, port, { way, standing, opening, otherMac, sctpPorts: false }, intent);
    return at(from, "egress", eth_dst as string) || [...macs].some((mac) => at(to, "ingress", mac));
  });
}

test("rules that come let nothing less pass, and more of what they name alone; when they go all is as before", { timeout: nightly ? 3_600_000 : 180_000 }, async () => {
  const opened = new Map<string, number>();
  for (let seed = 1; seed <= WORLDS; seed++) {
    const h = await Harness.make([], undefined, { seed });
    try {
      const world = await randomWorld(h, seed, async () => {
        // New groups let everything out, which would hide what another rule of that direction does.
        const { security_group_rules: rules } = (await h.call("GET", "/v2.0/security-group-rules?direction=egress")).body as { security_group_rules: Rule[] };
        for (const { id, protocol, remote_group_id } of rules) if (protocol === null && remote_group_id === null) await h.call("DELETE", `/v2.0/security-group-rules/${id}`);
      });
      const random = new SeededRandom(seed * 7);
      const pick = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)]!;
      const groups = ((await h.call("GET", "/v2.0/security-groups")).body as { security_groups: { id: string; name: string }[] }).security_groups.filter((g) => /^g\d$/.test(g.name));
      const { ports } = (await h.call("GET", "/v2.0/ports")).body as { ports: Port[] };
      const intent: Intent = { ports, rules: [], subnets: ((await h.call("GET", "/v2.0/subnets")).body as { subnets: Intent["subnets"] }).subnets };
      const portAt = (ofport: number | undefined): Port | undefined => ports.find((p) => ofport !== undefined && p.mac_address === world.guests.find((g) => g.ofport === ofport)?.mac);
      const sample = fc.sample(packets(world), { numRuns: PACKETS, seed });
      const before = all(h, world, sample);
      // What goes nowhere yet, from who says what he may; of each protocol as often.
      const spoken = sample.filter((given, n) => before[n]!.size === 0 && sentOn(world, given));
      const byProtocol = [...new Set(spoken.map(protocolOf))].map((protocol) => spoken.filter((given) => protocolOf(given) === protocol));
      for (let i = 0; i < CHANGES; i++) {
        const rules: Rule[] = [];
        for (let k = 0; k < RULES && byProtocol.length > 0; k++) {
          const body = ruleNear(pick(pick(byProtocol)), pick, groups.map((g) => g.id), ports);
          const made = await h.call("POST", "/v2.0/security-group-rules", { security_group_rule: { project_id: "p", ...body } });
          if (made.status === 409) continue; // there is one like it
          expect(made.status, JSON.stringify(made.body)).toBe(201);
          rules.push((made.body as { security_group_rule: Rule }).security_group_rule);
        }
        await h.settled();
        const during = all(h, world, sample);
        for (const [n, given] of sample.entries()) {
          const text = (): string => `seed ${seed}, rules ${JSON.stringify(rules)}, packet ${n}: ${JSON.stringify(packetOf(given).fields(), (_, v: unknown) => (typeof v === "bigint" ? String(v) : v))}`;
          for (const port of before[n]!.keys()) if (!during[n]!.has(port)) expect.fail(`${text()} no longer reaches ${port}`);
          for (const [port, macs] of during[n]!) {
            if (before[n]!.has(port)) continue;
            const { in_port } = packetOf(given).fields();
            const rule = rules.find((r) => named(given, r, portAt(port), macs, portAt(in_port as number | undefined), intent));
            if (rule === undefined) expect.fail(`${text()} reaches ${port} now`);
            const what = `${rule.direction} ${rule.remote_ip_prefix !== null ? "prefix" : rule.remote_group_id !== null ? "group" : "anybody"}`;
            opened.set(what, (opened.get(what) ?? 0) + 1);
          }
        }
        for (const { id } of rules) expect((await h.call("DELETE", `/v2.0/security-group-rules/${id}`)).status).toBe(204);
        await h.settled();
        expect(plain(all(h, world, sample))).toEqual(plain(before));
      }
    } finally {
      await h.close();
    }
  }
  // Rules of every kind do open something here.
  for (const what of ["prefix", "group", "anybody"].flatMap((kind) => [`ingress ${kind}`, `egress ${kind}`])) expect(opened.get(what) ?? 0, what).toBeGreaterThan(5);
});

/** What a packet's rule would say, or nearly: a protocol, a range that has its port or ends beside it, a prefix that has the other side's address or is the next one. */
function ruleNear(given: Given, pick: <T>(list: readonly T[]) => T, groups: readonly string[], ports: readonly Port[]): RuleBody {
  const opening = openingOf(given, pick([true, false, false]))!;
  const { ethertype, protocol, icmp } = opening;
  const direction: Direction = pick(["ingress", "egress"]);
  const port = opening.ports?.destination ?? 0;
  const [low, high] = pick<readonly [number, number]>([[port, port], [port - 3, port + 3], [port + 1, port + 100], [port - 100, port - 1], [1, 65_535]]);
  const range = port > 0 && low > 0 && high <= 65_535 ? { port_range_min: low, port_range_max: high } : {};
  const type = icmp === undefined ? {} : { port_range_min: icmp.type, ...pick([{}, { port_range_max: icmp.code }, { port_range_max: icmp.code ^ 1 }]) };
  const shape = pick<Pick<RuleBody, "protocol"> & Partial<Rule>>([{ protocol: null }, { protocol: String(protocol) }, { protocol: String(protocol), ...(icmp === undefined ? range : type) }, { protocol: String(protocol), ...(icmp === undefined ? range : type) }]);
  const ip = parseIp(direction === "ingress" ? opening.source : opening.destination)!;
  const bits = ip.family === 6 ? 128 : 32;
  const length = pick([bits, bits - 1, bits - 2, bits - 3, bits - 8]);
  const value = pick([ip.value, ip.value, ip.value ^ (1n << BigInt(bits - length))]);
  const prefix = { remote_ip_prefix: `${formatIp({ family: ip.family, value })}/${length}` };
  // Of a group that one of the two has.
  const { eth_src, eth_dst } = packetOf(given).fields();
  const own = ports.filter((p) => p.mac_address === eth_src || p.mac_address === eth_dst).flatMap((p) => p.security_groups);
  return { direction, ethertype, security_group_id: pick(own.length > 0 ? own : groups), ...shape, ...pick([{}, prefix, prefix, { remote_group_id: pick(groups) }]) };
}
