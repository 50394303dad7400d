// Which rules are used, by what switches of the test's say that they have counted, which others shadow, and what of that is told.
import { readdirSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { flowCountReply } from "../../../test/support/flow-counts.ts";
import { appsFolder, Harness } from "../../../test/support/harness.ts";
import { remoteUseId } from "../model.ts";
import { RULES_A_TURN, shadowsOf } from "./shadows.ts";
import { opsLists, problems } from "./shown.ts";

let h: Harness;
/** Packets of each flow, by its key. */
let counted: Map<string, number>;
let silent: boolean;

function answers(): void {
  h.countsOf = (chassis, cookie) => (silent ? undefined : Promise.resolve([...h.engine.flowsOf(chassis)].filter((f) => ((BigInt(f.cookieHi) << 32n) | BigInt(f.cookieLo)) === cookie).map(({ key }) => flowCountReply(key, counted.get(key) ?? 0))));
}
beforeEach(async () => {
  // Those alone that are needed: days pass here.
  const others = readdirSync(appsFolder).filter((name) => !name.startsWith("_") && !["l2", "ipam", "security-groups"].includes(name));
  h = await Harness.make([], appsFolder, { disabled: others, settings: new Map([["security-groups", { "new-connections-pps": 500, "new-connections-burst": 1000, "unused-rule-days": 2 }]]) });
  counted = new Map();
  silent = false;
  answers();
  await h.addChassis("hv1");
});
afterEach(() => h.close());

const p = { "x-project-id": "p", "x-roles": "member" };
const group = async (): Promise<string> => {
  const { id } = await h.create("security_group", { name: "g" }, p);
  for (const { id: rule } of (await h.call("GET", `/v2.0/security-group-rules?security_group_id=${id}`, undefined, p)).body.security_group_rules) await h.call("DELETE", `/v2.0/security-group-rules/${rule}`, undefined, p);
  return id;
};
const rule = async (security_group_id: string, values: Record<string, unknown>): Promise<string> => (await h.create("security_group_rule", { security_group_id, direction: "ingress", ...values }, p)).id;
const tcp = (of: string, from: number, to = from, more: Record<string, unknown> = {}): Promise<string> => rule(of, { protocol: "tcp", port_range_min: from, port_range_max: to, ...more });
let network: string | undefined;
let ofport = 10;
async function port(...security_groups: string[]): Promise<string> {
  if (network === undefined) {
    network = (await h.create("network", {}, p)).id;
    await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" }, p);
  }
  const { id } = await h.create("port", { network_id: network, security_groups }, p);
  await h.plug("hv1", id, ++ofport);
  await h.settled();
  return id;
}
beforeEach(() => {
  network = undefined;
});
/** A packet that a rule lets pass. */
function hit(of: string, by: "security-group-rule" | "remote-group" = "security-group-rule"): void {
  const { key } = h.engine.wantedFlows("security-groups", by, of)[0]!;
  counted.set(key, (counted.get(key) ?? 0) + 1);
}
interface Shown { readonly id: string; readonly use: string; readonly packets: number | null; readonly shadowed_by: readonly string[]; readonly tighten: { readonly why: string; readonly path: string } | null; readonly since: string; readonly broad: readonly string[] }
const shown = (asked: Record<string, string> = {}): Shown[] => [...opsLists[0]!.rows(h.view, asked)] as Shown[];
const one = (id: string): Shown => shown().find((r) => r.id === id)!;
const told = (): string[] => problems(h.view).map(({ kind, resources }) => `${kind} ${resources![0]!.id}`).sort();
const pass = async (hours: number): Promise<void> => {
  for (let i = 0; i < hours * 2; i++) await h.clock.run(1_800_000);
};

test("a rule that is used, one that never is, one of no port; who has let nothing pass for long enough is told, until it does", async () => {
  const [g, lonely] = [await group(), await group()];
  const [a, b, c] = [await tcp(g, 80), await tcp(g, 81), await tcp(lonely, 82)];
  await port(g);
  await pass(1);
  expect([a, b, c].map((id) => one(id).use)).toEqual(["never", "never", "no_port"]);
  hit(a);
  await pass(47.5);
  hit(a);
  await pass(1);
  expect([a, b, c].map((id) => [one(id).use, one(id).packets])).toEqual([["used", 2], ["never", 0], ["no_port", 0]]);
  expect(shown({ "unused-for": "2" }).map(({ id }) => id)).toEqual([b]);
  expect(shown({ "unused-for": "3" })).toEqual([]);
  expect(one(b).tighten).toEqual({ why: "unused", method: "DELETE", path: `/v2.0/security-group-rules/${b}` });
  expect(told()).toEqual([`unused_rule ${b}`]);
  hit(b);
  await pass(0.5);
  expect(told()).toEqual([]);
  // Used once, and long ago.
  await pass(49);
  expect(told()).toEqual([`unused_rule ${a}`, `unused_rule ${b}`].sort());
}, 60_000);

test("of a host that does not say nothing is known, and nothing is told", async () => {
  const g = await group();
  const a = await tcp(g, 80);
  silent = true;
  await port(g);
  await pass(50);
  expect([one(a).use, one(a).packets, one(a).tighten, told()]).toEqual(["unknown", null, null, []]);
});

test("since when, and what was counted, is kept over a restart; what was hit meanwhile is not taken for idle", async () => {
  const g = await group();
  const [a, b] = [await tcp(g, 80), await tcp(g, 81)];
  await port(g);
  hit(a);
  await pass(24);
  const { since } = one(b);
  hit(a);
  h = await h.restart();
  answers();
  await pass(25);
  expect([one(a).packets, one(b).packets, one(b).since, told()]).toEqual([2, 0, since, [`unused_rule ${b}`]]);
});

test("rules that others say too: in a group, by groups that every port has; one that covers used ones is not taken away for being never hit itself", async () => {
  const [g, other] = [await group(), await group()];
  const [wide, narrow, alone] = [await tcp(g, 1, 100), await tcp(g, 80), await rule(g, { protocol: "udp" })];
  const any = await rule(other, {});
  await port(g, other);
  const bare = await port(other);
  await h.clock.run(3000);
  expect([wide, narrow, alone, any].map((id) => one(id).shadowed_by)).toEqual([[any], [wide], [any], []]);
  // What another group says too is none of the problems: a port may have one without the other.
  expect(told()).toEqual([`shadowed_rule ${narrow}`]);
  expect(shown({ shadowed: "true", group: g }).map((r) => r.tighten?.why)).toEqual(["shadowed", "shadowed", "shadowed"]);
  expect(shown({ port: bare }).map(({ id }) => id)).toEqual([any]);
  expect(one(any).broad).toEqual(["any_address", "any_protocol"]);
  hit(narrow);
  await pass(50);
  // The switch counts for the narrow one what the wide one says too: without both it would not pass.
  expect(told().filter((text) => text.startsWith("unused"))).toEqual([]);
  // A port with the first group alone needs what the second said.
  await port(g);
  await h.clock.run(3000);
  expect([wide, narrow, alone, any].map((id) => one(id).shadowed_by)).toEqual([[], [wide], [], []]);
  expect(told()).toContain(`shadowed_rule ${narrow}`);
  expect(told().some((text) => text.endsWith(wide))).toBe(false);
  await h.call("DELETE", `/v2.0/security-group-rules/${wide}`, undefined, p);
  await h.settled();
  await h.clock.run(3000);
  expect(one(narrow).shadowed_by).toEqual([]);
});

test("a group that ports have with others in many ways is looked at in steps of few rules", async () => {
  const wide = await group();
  await tcp(wide, 80, 80, { ethertype: "IPv6" });
  const groups = [await group(), await group(), await group(), await group(), await group()];
  for (const [n, of] of groups.entries()) {
    const rules = Array.from({ length: 16 }, (_, i) => ({ security_group_id: of, direction: "ingress", ethertype: "IPv6", protocol: "tcp", port_range_min: 80, port_range_max: 80, remote_ip_prefix: `2001:db8:${n}:${i}::/${64 + i}` }));
    expect((await h.call("POST", "/v2.0/security-group-rules", { security_group_rules: rules }, p)).status).toBe(201);
  }
  const [first, ...others] = groups as [string, ...string[]];
  for (let n = 0; n < 2 ** others.length; n++) await port(wide, first, ...others.filter((_, i) => (n & (1 << i)) !== 0));
  const steps: number[] = [];
  const looking = shadowsOf(h.view, first);
  let step = looking.next();
  for (; step.done !== true; step = looking.next()) steps.push(step.value);
  expect(step.value.size).toBe(16);
  expect(steps.reduce((a, b) => a + b)).toBeGreaterThan(1000);
  expect(Math.max(...steps)).toBeLessThanOrEqual(RULES_A_TURN);
  await h.clock.run(10_000);
  expect(groups.map((of) => shown({ shadowed: "true", group: of }).length)).toEqual(groups.map(() => 16));
});

test("rules with one remote group count together, and so are used or not", async () => {
  const g = await group();
  const [a, b] = [await tcp(g, 80, 80, { remote_group_id: g }), await rule(g, { protocol: "udp", remote_group_id: g })];
  await port(g);
  await pass(1);
  hit(remoteUseId(g, g, "ingress", "IPv4"), "remote-group");
  await pass(1);
  expect([a, b].map((id) => [one(id).use, one(id).packets])).toEqual([["used", 1], ["used", 1]]);
  await pass(49);
  expect(told()).toEqual([`unused_rule ${a}`, `unused_rule ${b}`].sort());
});
