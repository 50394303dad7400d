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
  cloud = await Cloud.create({ hypervisors: 2, physnets: ["ext"], flags: ["--audit-interval", "1", "--tunnel-dscp", "inherit"] });
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

test("what is to have a least rate leaves by a queue that the operator made at the uplink; of its rows none is touched", async () => {
  const hv = cloud.hv(1);
  const network = await cloud.create("network", { "provider:network_type": "vlan", "provider:physical_network": "ext", "provider:segmentation_id": 100 });
  const net = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.1.0.0/24" }) };
  const instance = await cloud.instance(hv, net);
  const peer = await cloud.instance(cloud.hv(2), net, { port: { port_security_enabled: false, security_groups: [] } });
  const least = (await cloud.call("POST", "/v2.0/qos/policies", { policy: { name: "least" } })).body.policy! as Resource;
  expect((await cloud.call("POST", `/v2.0/qos/policies/${least.id}/minimum_bandwidth_rules`, { minimum_bandwidth_rule: { min_kbps: 2000 } })).status).toBe(201);
  const refused = await cloud.call("PUT", `/v2.0/ports/${instance.port.id}`, { port: { qos_policy_id: least.id } });
  expect([refused.status, JSON.stringify(refused.body)]).toEqual([409, expect.stringContaining("qos_policy_id")]);
  await hv.vsctl("--", "set", "Port", "p-ext", "qos=@q", "--", "--id=@q", "create", "QoS", "type=linux-htb", "other-config:max-rate=10000000", "queues:3=@c", "--", "--id=@c", "create", "Queue", "other-config:min-rate=5000000");
  const rows = async (): Promise<string> => (await Promise.all(["QoS", "Queue"].map((table) => hv.vsctl("list", table)))).join("\n");
  const before = await rows();
  await until("the queue to be known", async () => (await cloud.call("PUT", `/v2.0/ports/${instance.port.id}`, { port: { qos_policy_id: least.id } })).status === 200, { timeoutMs: 10_000, intervalMs: 200 });
  await cloud.renewed();
  const ofport = (await hv.vsctl("get", "Interface", instance.vm.nic.tap, "ofport")).trim();
  const packet = `in_port=${ofport},udp,dl_src=${instance.port.mac_address as string},dl_dst=${peer.port.mac_address as string},nw_src=${instance.ip},nw_dst=${peer.ip},nw_ttl=64,udp_src=1,udp_dst=2`;
  const trace = await hv.appctl("ofproto/trace", "br-int", packet, "--ct-next", "trk,new", "--ct-next", "trk,new");
  expect(trace).toContain("set_queue:3");
  expect(trace).toMatch(/skb_priority/);
  await until("a ping by it", () => instance.vm.reaches(peer.ip), { timeoutMs: 5000 });
  expect(await rows()).toBe(before);
  await give(instance.port, null);
  await cloud.renewed();
  expect(await hv.ofctl("dump-flows", "br-int")).not.toContain("set_queue");
  expect(await rows()).toBe(before);
  await hv.vsctl("--", "clear", "Port", "p-ext", "qos", "--", "--all", "destroy", "QoS", "--", "--all", "destroy", "Queue");
});
