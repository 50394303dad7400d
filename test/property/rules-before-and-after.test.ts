// What a change of rules changes, and nothing else: random clouds, a random rule that comes and goes, and the same random packets through the
// flows before, with it and after, by the interpreter; answers have the tuples of their connections. A rule lets nothing less pass than before, and more only of what it names.
import fc from "fast-check";
import { expect, test } from "vitest";
import { SeededRandom } from "../../src/lib/random.ts";
import { ctNext, ctState, everyTrace, TraceSwitch, withTuples } from "../../src/trace/index.ts";
import { packetOf, type Given } from "../support/agreement.ts";
import { Harness } from "../support/harness.ts";
import { HERE, packets, randomWorld, type World } from "../support/topology.ts";

const nightly = process.env.AXION_NIGHTLY === "1";
const WORLDS = nightly ? 40 : 8;
const PACKETS = nightly ? 2000 : 500;
const CHANGES = 5;

interface RuleBody {
  readonly direction: "ingress" | "egress";
  readonly ethertype: "IPv4" | "IPv6";
  readonly protocol: number | null;
  readonly port_range_min?: number;
  readonly port_range_max?: number;
  readonly remote_ip_prefix?: string;
}

/** Where a packet may go: each way that the interpreter knows, its outputs in order. */
function ways(h: Harness, world: World, given: Given): ReadonlySet<string> {
  const sw = switchOf.get(h) ?? TraceSwitch.ofDesired(h.engine.flowsOf(HERE), h.engine.itemsOf(HERE), { ports: world.ports });
  switchOf.set(h, sw);
  const { traces } = everyTrace(sw, packetOf(given), { conntrack: () => withTuples(ctNext(given.ct)) });
  return new Set(traces.flatMap((t) => t.outputs.map((o) => String(o.port))));
}
/** Of the flows as they are. */
const switchOf = new Map<Harness, TraceSwitch>();
const all = (h: Harness, world: World, sample: readonly Given[]): readonly ReadonlySet<string>[] => {
  switchOf.delete(h);
  return sample.map((given) => ways(h, world, given));
};

/**
 * Whether the packet is of what the rule names: family, protocol, and port where it is a first fragment or whole. An answer by the port that it
 * comes from. Of an error about SCTP conntrack knows no port.
 */
function named(given: Given, rule: RuleBody): boolean {
  const match = packetOf(given).fields();
  if (match.eth_type !== (rule.ethertype === "IPv4" ? 0x800 : 0x86dd)) return false;
  if (rule.protocol === null) return true;
  // Of a later fragment the first header behind is not known.
  if (match.ip_frag === 3) return true;
  if (match.ip_proto !== rule.protocol) return false;
  if (rule.port_range_min === undefined) return true;
  const said = (bit: number): boolean => (given.ct ?? []).some((state) => (state & bit) !== 0);
  if (rule.protocol === 132 && said(ctState.rel)) return true;
  const ports = [match.tcp_dst ?? match.udp_dst ?? match.sctp_dst, ...(said(ctState.rpl) ? [match.tcp_src ?? match.udp_src ?? match.sctp_src] : [])] as readonly (number | undefined)[];
  return ports.some((port) => port === undefined || (port >= rule.port_range_min! && port <= rule.port_range_max!));
}

test("a rule that comes lets nothing less pass, and more of what it names alone; when it goes all is as before", { timeout: nightly ? 3_600_000 : 180_000 }, async () => {
  let opened = 0;
  for (let seed = 1; seed <= WORLDS; seed++) {
    const h = await Harness.make([], undefined, { seed });
    try {
      const world = await randomWorld(h, seed);
      const random = new SeededRandom(seed * 7);
      const pick = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)]!;
      const groups = ((await h.call("GET", "/v2.0/security-groups")).body as { security_groups: { id: string; name: string }[] }).security_groups.filter((g) => /^g\d$/.test(g.name));
      const sample = fc.sample(packets(world), { numRuns: PACKETS, seed });
      const before = all(h, world, sample);
      for (let i = 0; i < CHANGES; i++) {
        const six = pick([true, false, false]);
        const protocol = pick([6, 17, 132, six ? 58 : 1, null]);
        const from = pick([1, 22, 80, 1000]);
        const rule: RuleBody = {
          direction: pick(["ingress", "egress"]), ethertype: six ? "IPv6" : "IPv4", protocol,
          ...(protocol === 6 || protocol === 17 || protocol === 132 ? pick([{}, { port_range_min: from, port_range_max: from + pick([0, 100, 60_000]) }]) : {}),
          ...pick([{}, {}, { remote_ip_prefix: six ? "fd00::/16" : "10.0.0.0/8" }]),
        };
        const made = await h.call("POST", "/v2.0/security-group-rules", { security_group_rule: { project_id: "p", security_group_id: pick(groups).id, ...rule } });
        if (made.status === 409) continue; // there is one like it
        expect(made.status, JSON.stringify(made.body)).toBe(201);
        await h.settled();
        const during = all(h, world, sample);
        for (const [n, given] of sample.entries()) {
          const text = `seed ${seed}, rule ${JSON.stringify(rule)}, packet ${n}: ${JSON.stringify(packetOf(given).fields(), (_, v: unknown) => (typeof v === "bigint" ? String(v) : v))}`;
          for (const port of before[n]!) expect(during[n]!.has(port), `${text} no longer reaches ${port}`).toBe(true);
          const more = [...during[n]!].filter((port) => !before[n]!.has(port));
          if (more.length === 0) continue;
          opened++;
          expect(named(given, rule), `${text} reaches ${more.join()} now`).toBe(true);
        }
        expect((await h.call("DELETE", `/v2.0/security-group-rules/${(made.body as { security_group_rule: { id: string } }).security_group_rule.id}`)).status).toBe(204);
        await h.settled();
        expect(all(h, world, sample).map((s) => [...s].sort())).toEqual(before.map((s) => [...s].sort()));
      }
    } finally {
      switchOf.delete(h);
      await h.close();
    }
  }
  expect(opened).toBeGreaterThan(20); // rules do open something here
});
