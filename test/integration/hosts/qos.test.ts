// QoS policies on real switches: meters that drop what is too much, and marks, inside and outside of tunnels. How near rates come to what was asked is
// measured by `npm run bench -- qos`.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Instance, type Resource } from "../../support/cloud.ts";

/** Expedited forwarding, RFC 3246: 0xb8 as it stands in the byte that tcpdump shows. */
const EF = 46;

let cloud: Cloud;
let policy: Resource;
let from: Instance;
let to: Instance;
beforeAll(async () => {
  cloud = await Cloud.create({ hypervisors: 2, flags: ["--audit-interval", "1", "--tunnel-dscp", "inherit"] });
  const net = await cloud.network("10.0.0.0/24");
  policy = (await cloud.call("POST", "/v2.0/qos/policies", { policy: { name: "slow" } })).body.policy! as Resource;
  from = await cloud.instance(cloud.hv(1), net);
  to = await cloud.instance(cloud.hv(2), net);
  const group = (from.port.security_groups as string[])[0]!;
  await cloud.create("security_group_rule", { security_group_id: group, direction: "ingress" });
  await until("a ping", () => from.vm.reaches(to.ip));
});
afterAll(() => cloud?.destroy());

async function rule(type: string, values: Record<string, unknown>): Promise<Resource> {
  const answer = await cloud.call("POST", `/v2.0/qos/policies/${policy.id}/${type}_rules`, { [`${type}_rule`]: values });
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  await cloud.synced();
  return answer.body[`${type}_rule`]! as Resource;
}
const drop = async (type: string, { id }: Resource): Promise<void> => {
  expect((await cloud.call("DELETE", `/v2.0/qos/policies/${policy.id}/${type}_rules/${id}`)).status).toBe(204);
  await cloud.renewed();
};
/** Packets that meters of this unit dropped at a host, of those above the zones'. */
async function dropped(hv: number, unit: string): Promise<number> {
  const rates = await cloud.hv(hv).ofctl("dump-meters", "br-int");
  const ids = [...rates.matchAll(new RegExp(`meter=(\\d+) ${unit} burst`, "g"))].map((m) => Number(m[1])).filter((id) => id >= 0x800a_0000 && id <= 0x800d_ffff);
  const stats = await cloud.hv(hv).ofctl("meter-stats", "br-int");
  return ids.reduce((sum, id) => sum + Number(new RegExp(`meter:${id} [^]*?\\n0: packet_count:(\\d+)`).exec(stats)?.[1] ?? 0), 0);
}
let port = 9000;
/** Megabits a second that came. */
async function sent(ms = 1500): Promise<number> {
  const { result } = await to.vm.sink(++port);
  await from.vm.pump(to.ip, port, ms);
  const { bytes, ms: took } = await result;
  return (bytes * 8) / took / 1000;
}
const give = (port: Resource, id: string | null): Promise<Resource> => cloud.update("port", port.id, { qos_policy_id: id });

test("what a port sends too much is dropped where it is, and what it gets where that is", async () => {
  for (const [direction, instance, hv] of [["egress", from, 1], ["ingress", to, 2]] as const) {
    const limit = await rule("bandwidth_limit", { max_kbps: 20_000, max_burst_kbps: 2000, direction });
    await give(instance.port, policy.id);
    await cloud.renewed();
    // A burst of a tenth of a second, and what is on its way.
    expect(await sent(), direction).toBeLessThan(20 * 1.1);
    expect(await dropped(hv, "kbps"), direction).toBeGreaterThan(0);
    expect(await dropped(3 - hv, "kbps"), direction).toBe(0);
    await drop("bandwidth_limit", limit);
    expect(await sent(500), `${direction}, without`).toBeGreaterThan(40);
    await give(instance.port, null);
  }
});

test("packets are counted by themselves", async () => {
  const limit = await rule("packet_rate_limit", { max_kpps: 1, max_burst_kpps: 1 });
  await give(from.port, policy.id);
  await cloud.renewed();
  await sent();
  expect(await dropped(1, "pktps")).toBeGreaterThan(0);
  await drop("packet_rate_limit", limit);
  await give(from.port, null);
});

test("packets are marked where they are sent, and so is what carries them between hosts", async () => {
  const mark = await rule("dscp_marking", { dscp_mark: EF });
  await give(from.port, policy.id);
  await cloud.renewed();
  const inside = await to.vm.tcpdump("icmp[0]==8", { verbose: true });
  const outside = cloud.lab.node.spawn(["tcpdump", "-l", "-n", "-v", "--immediate-mode", "-i", "bru", "udp", "port", "6081"]);
  await outside.waitFor(/listening on/);
  await from.vm.ping(to.ip, { count: 3 });
  const seen = (await inside.stop()).lines.join("\n");
  await until("the tunnel's packets to be shown", () => Promise.resolve(outside.lines.filter((line) => line.includes("Geneve")).length >= 6));
  await outside.stop("SIGINT");
  expect(seen.match(/tos 0xb8/g)).toHaveLength(3);
  // The outer header stands before its Geneve, the inner one behind. A kernel answers pings with the mark that they have.
  const outer = outside.lines.filter((line) => /^\S+ IP \(tos/.test(line)).map((line) => /tos (0x[0-9a-f]+)/.exec(line)![1]);
  expect(outer.filter((tos) => tos === "0xb8").length).toBeGreaterThanOrEqual(6);
  await drop("dscp_marking", mark);
  await give(from.port, null);
});

test("a policy that was changed and taken away leaves no meter and no flow", async () => {
  const meters = async (): Promise<number> => [...(await cloud.hv(1).ofctl("dump-meters", "br-int")).matchAll(/meter=(\d+)/g)].filter((m) => Number(m[1]) >= 0x800a_0000 && Number(m[1]) <= 0x800d_ffff).length;
  const flows = async (): Promise<number> => ((await cloud.controller.ops<{ flows: unknown[] }>("GET", "/flows?switch=hv1&app=qos&state=installed")).body.flows).length;
  expect(await meters()).toBe(0);
  await rule("bandwidth_limit", { max_kbps: 1000 });
  await rule("bandwidth_limit", { max_kbps: 1000, direction: "ingress" });
  await rule("packet_rate_limit", { max_kpps: 1, direction: "ingress" });
  const before = await flows();
  await give(from.port, policy.id);
  await cloud.synced();
  expect([await meters(), (await flows()) - before]).toEqual([3, 3]);
  await give(from.port, null);
  await cloud.synced();
  expect([await meters(), (await flows()) - before]).toEqual([0, 0]);
});
