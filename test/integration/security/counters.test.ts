// Counters of rules: what their flows on all hosts let pass, kept when flows go and over restarts, and shown to those alone who see the rule.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let net: Net;
let rule: Resource;
let client: Instance;
/** With the group of the rule, on two hosts. */
let near: Instance;
let far: Instance;

interface Counters {
  readonly "axion:packets": number | null;
  readonly "axion:bytes": number | null;
  readonly "axion:last_hit": string | null;
  readonly "axion:counts_complete": boolean;
  readonly "axion:counted_with": readonly string[];
}
const FIELDS = "fields=axion:packets&fields=axion:bytes&fields=axion:last_hit&fields=axion:counts_complete&fields=axion:counted_with";

async function counters(id = rule.id): Promise<Counters> {
  const { status, body } = await cloud.call("GET", `/v2.0/security-group-rules/${id}?${FIELDS}`);
  expect(status).toBe(200);
  return body.security_group_rule as unknown as Counters;
}
/** Until it is so many, and then no more: switches count with a delay. */
async function counts(packets: number, id = rule.id): Promise<Counters> {
  let last: Counters | undefined;
  await until(`${packets} packets`, async () => (last = await counters(id))["axion:packets"] === packets, { timeoutMs: 8000, intervalMs: 300 }).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}: ${JSON.stringify(last)}`);
  });
  await sleep(2500);
  last = await counters(id);
  expect(last["axion:packets"]).toBe(packets);
  return last;
}
async function ping(to: Instance, count: number): Promise<void> {
  expect((await client.vm.ping(to.ip, { count })).received).toBe(count);
}

beforeAll(async () => {
  cloud = await Cloud.create({ name: "counters.test" });
  net = await cloud.network("10.0.0.0/24");
  const group = await cloud.create("security_group", { name: "counted" });
  const others = await cloud.create("security_group", { name: "others" });
  rule = await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", protocol: "icmp" });
  client = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [others.id] } });
  near = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [group.id] } });
  far = await cloud.instance(cloud.hv(2), net, { port: { security_groups: [group.id] } });
  await cloud.synced();
  // The first packet to a tunnel's other end is lost while Open vSwitch asks for its MAC on the underlay: one that no rule lets in, either way.
  await client.vm.connectTcp(far.ip, 9, 500);
  await far.vm.connectTcp(client.ip, 9, 500);
});
afterAll(async () => cloud?.destroy());

/** Every ping is two packets: a request that the rule lets in, and an answer that goes by the same rule. */
let packets = 0;

test("packets and bytes are those that were sent, and the sum over two hosts", async () => {
  expect(await counters()).toEqual({ "axion:packets": 0, "axion:bytes": 0, "axion:last_hit": null, "axion:counts_complete": true, "axion:counted_with": [] });
  for (const { ip } of [near, far]) await until("the first answer", () => client.vm.reaches(ip));
  await sleep(2500);
  const before = await counters();
  packets = before["axion:packets"]!;
  await ping(near, 10);
  const one = await counts(packets += 20);
  await ping(far, 7);
  const two = await counts(packets += 14);
  expect(two["axion:counts_complete"]).toBe(true);
  // 98 bytes of a ping with its Ethernet header.
  expect([one, two].map((c) => c["axion:bytes"]! - before["axion:bytes"]!)).toEqual([20 * 98, 34 * 98]);
  expect(Date.parse(two["axion:last_hit"]!)).toBeGreaterThan(Date.parse(one["axion:last_hit"]!));
  expect(Date.now() - Date.parse(two["axion:last_hit"]!)).toBeLessThan(10_000);
  expect((await counters())["axion:last_hit"]).toBe(two["axion:last_hit"]);
});

test("absent unless asked for, and of another project's rules nothing", async () => {
  expect(Object.keys(await cloud.show("security_group_rule", rule.id)).filter((name) => name.startsWith("axion:"))).toEqual([]);
  const stranger = (url: string) => cloud.controller.api("GET", url, undefined, { "x-project-id": "p2", "x-roles": "member" });
  expect((await stranger(`/v2.0/security-group-rules/${rule.id}?${FIELDS}`)).status).toBe(404);
  const { body } = await stranger(`/v2.0/security-group-rules?fields=id&${FIELDS}`);
  const listed = (body as Record<string, Resource[]>).security_group_rules!;
  expect(listed.length).toBeGreaterThan(0); // its own default group's
  expect(listed.map(({ id }) => id)).not.toContain(rule.id);
  const own = (await cloud.call("GET", `/v2.0/security-group-rules?fields=id&${FIELDS}`)).body.security_group_rules as unknown as Resource[];
  expect(own.find(({ id }) => id === rule.id)?.["axion:packets"]).toBe(packets);
});

test("equal rules of two groups of a port count both", async () => {
  const groups = await Promise.all(["one", "two"].map((name) => cloud.create("security_group", { name })));
  const rules = await Promise.all(groups.map(({ id }) => cloud.create("security_group_rule", { security_group_id: id, direction: "ingress", protocol: "icmp" })));
  const both = await cloud.instance(cloud.hv(2), net, { port: { security_groups: groups.map(({ id }) => id) } });
  await cloud.synced();
  await ping(both, 3);
  for (const { id } of rules) await counts(6, id);
  // The flow has the cookie of the first by id. Without that it is written again for the other: to a switch a flow that is new, with the counts of the old one.
  const [first, second] = rules.map(({ id }) => id).sort() as [string, string];
  await sleep(6000);
  await counters(second);
  await cloud.remove("security_group_rule", first);
  await cloud.synced();
  await counts(6, second);
  await ping(both, 2);
  await counts(10, second);
});

test("rules with one remote group are counted together, and say so", async () => {
  const others = (client.port.security_groups as string[])[0]!;
  const own = (near.port.security_groups as string[])[0]!;
  const shared = [];
  for (const protocol of ["tcp", "udp"]) shared.push(await cloud.create("security_group_rule", { security_group_id: own, direction: "ingress", protocol, remote_group_id: others }));
  await near.vm.listen(80);
  await cloud.synced();
  expect(await client.vm.connectTcp(near.ip, 80, 1000)).toBe(true);
  const [tcp, udp] = shared.map(({ id }) => id) as [string, string];
  await until("packets", async () => (await counters(tcp))["axion:packets"]! > 2, { timeoutMs: 8000 });
  await sleep(2500);
  const seen = await counters(tcp);
  expect(seen["axion:counted_with"]).toEqual([udp]);
  expect(await counters(udp)).toEqual({ ...seen, "axion:counted_with": [tcp] });
});

test("what went with a flow stays, also over a stop and a kill of the controller", { tags: "long", timeout: 90_000 }, async () => {
  await far.vm.unplug();
  await cloud.synced();
  await counts(packets);
  await far.vm.plug();
  await cloud.active(far.port.id);
  await cloud.synced();
  await ping(far, 2);
  await counts(packets += 4);
  expect(await cloud.controller.stop()).toBe(0);
  await cloud.controller.start();
  await cloud.synced();
  await counts(packets);
  await cloud.controller.kill9();
  await ping(near, 4);
  await cloud.controller.start();
  await cloud.synced();
  expect((await counts(packets += 8))["axion:counts_complete"]).toBe(true);
});

test("of a host that does not answer counts what it said last, and it is said", { tags: "long", timeout: 90_000 }, async () => {
  await cloud.hv(2).setManagementLink("down");
  await ping(near, 3);
  expect((await counts(packets += 6))["axion:counts_complete"]).toBe(false);
  await cloud.hv(2).setManagementLink("up");
  // A connection that outlived it carries on when TCP sends again, which it tries less and less often.
  await until("the host to say again", async () => (await counters())["axion:counts_complete"], { timeoutMs: 20_000, intervalMs: 500 });
  await counts(packets);
});

test("many who ask at once are answered the same", async () => {
  const began = Date.now();
  const answers = await Promise.all(Array.from({ length: 200 }, () => counters()));
  expect(new Set(answers.map((a) => a["axion:packets"]))).toEqual(new Set([packets]));
  expect(Date.now() - began).toBeLessThan(10_000);
});

test("rules are shown with their use, and the call that takes one away which others shadow changes nothing for anybody", async () => {
  interface Rule { readonly id: string; readonly use: string; readonly packets: number | null; readonly shadowed_by: readonly string[]; readonly tighten: { readonly method: "DELETE"; readonly path: string } | null }
  const [group] = client.port.security_groups as string[];
  const add = async (values: object): Promise<string> => (await cloud.create("security_group_rule", { security_group_id: group, direction: "ingress", ...values })).id;
  const [wide, narrow, never] = [await add({ protocol: "icmp" }), await add({ protocol: "icmp", port_range_min: 8 }), await add({ protocol: "tcp", port_range_min: 81, port_range_max: 81 })];
  await cloud.synced();
  const pings = async (): Promise<void> => expect((await near.vm.ping(client.ip, { count: 5 })).received).toBe(5);
  await pings();
  let rules: readonly Rule[] = [];
  const of = (id: string): Rule => rules.find((one) => one.id === id)!;
  await until("ten packets of the two rules, and what shadows one", async () => {
    for (const id of [wide, narrow, never]) await counters(id);
    rules = (await cloud.controller.ops<Rule[]>("GET", `/rules?group=${group}`)).body;
    return of(wide).packets! + of(narrow).packets! === 10 && of(narrow).shadowed_by.length > 0;
  }, { timeoutMs: 15_000 });
  expect([of(never), of(narrow)]).toMatchObject([{ use: "never", packets: 0, shadowed_by: [], tighten: null }, { shadowed_by: [wide], tighten: { method: "DELETE" } }]);
  const named = async (): Promise<string[]> => (await cloud.controller.ops<{ kind: string; severity: string; resources: { id: string }[] }[]>("GET", "/problems")).body.filter(({ kind }) => kind === "security-groups.shadowed_rule").map(({ severity, resources }) => `${severity} ${resources[0]!.id}`);
  expect(await named()).toEqual([`info ${narrow}`]);
  const { method, path } = of(narrow).tighten!;
  const plan = await cloud.controller.ops<{ token: string; switches: Record<string, { remove: string[] }> }>("POST", "/plan", { method, path });
  expect([plan.status, plan.body.switches.hv1!.remove.length > 0]).toEqual([200, true]);
  expect((await cloud.controller.api(method, path, undefined, { "x-axion-plan": plan.body.token })).status).toBe(204);
  await cloud.synced();
  await pings();
  await until("the end of the problem", async () => (await named()).length === 0, { timeoutMs: 10_000 });
  await until("the packets of the rule that is left", async () => (await counters(wide))["axion:packets"]! >= 10, { timeoutMs: 15_000 });
}, 90_000);
