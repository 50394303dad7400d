// Scopes against the obvious: after any changes, a chassis has what a walk from its roots finds, and what was reported as
// gained and lost adds up to exactly that.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { baseScope, chassisScope, PER_VARIANT } from "#app";
import { Scopes, type MembershipChange } from "./scopes.ts";

const hosts = ["h1", "h2", `h3${PER_VARIANT}`];
const inner = ["lan:1", "lan:2", "net:1", "net:2", "router:1", `host:1${PER_VARIANT}`, `host:2${PER_VARIANT}`];
const sources = [baseScope, ...hosts.map(chassisScope), ...inner];
const variants = ["geneve", "vxlan"];

/** The same, from scratch each time. */
class Naive {
  readonly edges: [string, string][] = [];
  readonly chassis = new Set<string>();
  readonly variants = new Map<string, string>();

  /** Full names of the scopes a chassis has. */
  of(chassis: string): Set<string> {
    if (!this.chassis.has(chassis)) return new Set();
    const found = new Set<string>();
    const queue = [baseScope, chassisScope(chassis)] as string[];
    for (const name of queue) {
      if (found.has(name)) continue;
      found.add(name);
      for (const [from, to] of this.edges) if (from === name) queue.push(to);
    }
    return new Set([...found].map((name) => (name.endsWith(PER_VARIANT) ? name + (this.variants.get(chassis) ?? "") : name)));
  }
}

type Step =
  | { readonly do: "include" | "exclude"; readonly from: string; readonly to: string }
  | { readonly do: "variant"; readonly chassis: string; readonly variant: string | undefined }
  | { readonly do: "add" | "remove"; readonly chassis: string }
  | { readonly do: "settle" };

const from = fc.constantFrom(...sources);
const to = fc.constantFrom(...inner);
const chassis = fc.constantFrom(...hosts);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant("include" as const), from, to }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("exclude" as const), from, to }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("variant" as const), chassis, variant: fc.option(fc.constantFrom(...variants), { nil: undefined }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("add" as const, "remove" as const), chassis }) },
  { weight: 4, arbitrary: fc.constant({ do: "settle" as const }) },
);

/** Both at once, with what a listener of the reports would believe. */
class Pair {
  readonly scopes = new Scopes();
  readonly naive = new Naive();
  readonly believed = new Map<string, Set<string>>();

  run(s: Step): void {
    switch (s.do) {
      case "include":
        this.scopes.include(s.from, s.to);
        this.naive.edges.push([s.from, s.to]);
        return;
      case "exclude": {
        const at = this.naive.edges.findIndex(([f, t]) => f === s.from && t === s.to);
        if (at < 0) return;
        this.scopes.exclude(s.from, s.to);
        this.naive.edges.splice(at, 1);
        return;
      }
      case "variant":
        this.scopes.setVariant(s.chassis, s.variant);
        if (s.variant === undefined) this.naive.variants.delete(s.chassis);
        else this.naive.variants.set(s.chassis, s.variant);
        return;
      case "add":
        this.scopes.addChassis(s.chassis);
        this.naive.chassis.add(s.chassis);
        return;
      case "remove": // it is forgotten with all it had; nothing is reported
        this.scopes.removeChassis(s.chassis);
        this.naive.chassis.delete(s.chassis);
        this.believed.delete(s.chassis);
        return;
      case "settle":
        this.check(this.scopes.commit());
    }
  }

  private check(change: MembershipChange): void {
    for (const [id, scopes] of change.gained) {
      expect([...scopes].filter((s) => this.believed.get(id)?.has(s)), `gained twice by ${id}`).toEqual([]);
      expect([...scopes].filter((s) => change.lost.get(id)?.has(s)), `gained and lost by ${id}`).toEqual([]);
      this.believed.set(id, new Set([...(this.believed.get(id) ?? []), ...scopes]));
    }
    for (const [id, scopes] of change.lost) {
      for (const s of scopes) expect(this.believed.get(id)?.delete(s), `${id} lost ${s}, which it never had`).toBe(true);
    }
    const holders = new Map<string, string[]>();
    for (const id of hosts) {
      const want = this.naive.of(id);
      expect([...this.scopes.of(id)].sort(), `scopes of ${id}`).toEqual([...want].sort());
      expect([...(this.believed.get(id) ?? [])].sort(), `what ${id} was told`).toEqual([...want].sort());
      for (const s of want) holders.set(s, [...(holders.get(s) ?? []), id]);
    }
    const names = sources.flatMap((s) => (s.endsWith(PER_VARIANT) ? [s, ...variants.map((v) => s + v)] : [s]));
    for (const s of names) expect([...this.scopes.members(s)].sort(), `members of ${s}`).toEqual(holders.get(s) ?? []);
  }
}

const edge = (name: string, target: string): Step => ({ do: "include", from: name, to: target });
const cut = (name: string, target: string): Step => ({ do: "exclude", from: name, to: target });

function history(...steps: readonly Step[]): Scopes {
  const pair = new Pair();
  for (const s of [{ do: "add", chassis: "h1" } as const, ...steps, { do: "settle" } as const]) pair.run(s);
  return pair.scopes;
}

const settle: Step = { do: "settle" };
const h1 = chassisScope("h1");

describe("scopes", () => {
  test("random graphs, cycles, variants and chassis: membership and reports equal a walk from the roots", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 120 }), (steps) => {
        const pair = new Pair();
        for (const id of hosts) pair.run({ do: "add", chassis: id });
        for (const s of steps) pair.run(s);
        pair.run({ do: "settle" });
      }),
      { numRuns: 400 },
    );
  });

  test("a cycle that hangs on nothing any more is lost as a whole", () => {
    const scopes = history(edge(h1, "lan:1"), edge("lan:1", "lan:2"), edge("lan:2", "lan:1"), settle, cut(h1, "lan:1"));
    expect([...scopes.of("h1")].sort()).toEqual([baseScope, h1].sort());
  });

  test("a cycle with a second hold stays", () => {
    const scopes = history(edge(h1, "lan:1"), edge(h1, "net:1"), edge("net:1", "lan:2"), edge("lan:1", "lan:2"), edge("lan:2", "lan:1"), settle, cut(h1, "lan:1"));
    expect([...scopes.members("lan:1")]).toEqual(["h1"]);
  });

  test("an edge that two say is there goes with the second of them", () => {
    const scopes = history(edge(h1, "lan:1"), edge(h1, "lan:1"), settle, cut(h1, "lan:1"), settle);
    expect([...scopes.members("lan:1")]).toEqual(["h1"]);
    scopes.exclude(h1, "lan:1");
    expect(scopes.commit().lost).toEqual(new Map([["h1", new Set(["lan:1"])]]));
  });

  test("an edge made and taken back within one batch changes nothing; so does one taken and made again", () => {
    const scopes = history(edge(h1, "lan:1"), settle, edge(h1, "net:1"), cut(h1, "net:1"), cut(h1, "lan:1"), edge(h1, "lan:1"));
    expect([...scopes.of("h1")].sort()).toEqual([baseScope, h1, "lan:1"].sort());
  });

  test("a scope that moves from one holder to another in one batch is neither gained nor lost", () => {
    const scopes = history(edge(h1, "lan:1"), edge(h1, "lan:2"), edge("lan:1", "net:1"), settle);
    scopes.exclude("lan:1", "net:1");
    scopes.include("lan:2", "net:1");
    const { gained, lost } = scopes.commit();
    expect([...(gained.get("h1") ?? []), ...(lost.get("h1") ?? [])]).toEqual([]);
  });

  test("a new variant gives up the scopes of the old one and takes those of the new", () => {
    const scopes = history({ do: "variant", chassis: "h1", variant: "geneve" }, edge(h1, "host:1@"), edge("host:1@", "net:1"), settle);
    scopes.setVariant("h1", "vxlan");
    expect(scopes.commit()).toEqual({ gained: new Map([["h1", new Set(["host:1@vxlan"])]]), lost: new Map([["h1", new Set(["host:1@geneve"])]]) });
    expect([...scopes.members("net:1")]).toEqual(["h1"]);
  });

  // A known limit: members() takes the rest of such a name for a variant.
  test("a chassis may have the placeholder's sign in its name", () => {
    const scopes = new Scopes();
    scopes.addChassis("rack@7");
    scopes.include(chassisScope("rack@7"), "lan:1");
    scopes.commit();
    expect([...scopes.of("rack@7")].sort()).toEqual([baseScope, chassisScope("rack@7"), "lan:1"].sort());
    expect([...scopes.members(chassisScope("rack@7"))]).toEqual(["rack@7"]);
  });
});
