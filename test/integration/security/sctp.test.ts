// SCTP by ports. The userspace datapath's conntrack keeps no ports of it: all associations of two hosts are one connection, which the one
// that spoke first has opened. Answers are judged by the port that they come from.
// @module-tag long
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { every, frames, icmp, sctp, sendRaw, udp, type Ends } from "../../support/api/raw.ts";
import { nightly } from "../../support/process.ts";

let cloud: Cloud;
let net: Net;
/** Datagrams pass everywhere. Otherwise nobody lets in, and servers send, but what a test allows; clients send what they like. */
let servers: Resource;
let clients: Resource;
let server: Instance;
/** On the server's host, and on the other. */
let near: Instance;
let far: Instance;
const undo: (() => Promise<unknown>)[] = [];
const FAMILIES = ["IPv4", "IPv6"] as const;
type Family = (typeof FAMILIES)[number];
/** Of the server, beside which nothing is open, and of clients. */
const PORT = 36_412;
const OWN = 3333;
const DATA = 0;
const INIT = 1;
const INIT_ACK = 2;

const addressOf = (i: Instance, family: Family): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":") === (family === "IPv6"))!.ip_address;

async function allow(values: Record<string, unknown>): Promise<Resource> {
  const rule = await cloud.create("security_group_rule", { direction: "ingress", ...values });
  undo.push(() => cloud.call("DELETE", `/v2.0/security-group-rules/${rule.id}`));
  await cloud.renewed();
  return rule;
}
async function forbid(rule: Resource): Promise<void> {
  await cloud.remove("security_group_rule", rule.id);
  await cloud.renewed();
}
const ported = (ethertype: Family, more: Record<string, unknown> = {}): Record<string, unknown> => ({ security_group_id: servers.id, ethertype, protocol: "sctp", port_range_min: PORT, port_range_max: PORT, ...more });

beforeAll(async () => {
  cloud = await Cloud.create({ name: "sctp.test" });
  net = await cloud.network("10.0.1.0/24");
  await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "fd00:1::/64", gateway_ip: "fd00:1::1" });
  [servers, clients] = await Promise.all([cloud.create("security_group", { name: "servers" }), cloud.create("security_group", { name: "clients" })]);
  for (const { id } of servers.security_group_rules as Resource[]) await cloud.remove("security_group_rule", id);
  for (const ethertype of FAMILIES) await cloud.create("security_group_rule", { security_group_id: servers.id, direction: "egress", ethertype, protocol: "udp" });
  for (const { id } of [servers, clients]) {
    for (const ethertype of FAMILIES) await cloud.create("security_group_rule", { security_group_id: id, direction: "ingress", ethertype, protocol: "udp" });
  }
  const instance = async (hv: number, group: Resource): Promise<Instance> => {
    const made = await cloud.instance(cloud.hv(hv), net, { port: { security_groups: [group.id] } });
    await made.vm.exec(["ip", "addr", "add", `${addressOf(made, "IPv6")}/64`, "dev", "eth0", "nodad"]);
    return made;
  };
  server = await instance(1, servers);
  near = await instance(1, clients);
  far = await instance(2, clients);
  await cloud.synced();
  // What else one run in a hundred would show, each does: a packet is found in the first cache by the flow that it matched before.
  for (const hv of cloud.hypervisors) await hv.vsctl("set", "Open_vSwitch", ".", "other_config:emc-insert-inv-prob=1");
  // The first packet to a tunnel's other end is lost while Open vSwitch asks for its MAC on the underlay.
  await Promise.all([arriving(far, server, "IPv4", []), arriving(server, far, "IPv4", [])]);
});
afterAll(async () => cloud?.destroy());
afterEach(async () => {
  for (const back of undo.splice(0).reverse()) await back();
  await cloud.renewed();
});

const ends = (from: Instance, to: Instance, family: Family): Ends => ({ srcMac: from.port.mac_address as string, dstMac: to.port.mac_address as string, src: addressOf(from, family), dst: addressOf(to, family) });

/** The datagram that comes behind them. The time in front of a line may have any digits. */
const isLast = (line: string): boolean => line.slice(line.indexOf(" ")).includes("4998");

/** What arrives of frames that are sent in this order, as tcpdump words it. A datagram that may pass comes behind them, so nothing is waited for in vain. */
async function arriving(from: Instance, to: Instance, family: Family, list: readonly Buffer[]): Promise<string[]> {
  const way = ends(from, to, family);
  const capture = await to.vm.tcpdump(`ether src ${way.srcMac} and (proto 132 or ip6 proto 132 or ip6 proto 44 or icmp or icmp6 or udp port 4998)`);
  const last = frames(way, udp(way, 4999, 4998, 10));
  await sendRaw(from.vm, list);
  await until("the datagram", async () => {
    await sendRaw(from.vm, last);
    return capture.lines.some(isLast);
  }, { intervalMs: 100 });
  return (await capture.stop()).lines.filter((line) => !isLast(line));
}

type Said = readonly [from: number, to: number, chunk: number];
/** Ports of what arrives of SCTP: "from>to", ascending. */
async function heard(from: Instance, to: Instance, family: Family, ...said: Said[]): Promise<string[]> {
  const way = ends(from, to, family);
  const lines = await arriving(from, to, family, said.flatMap(([a, b, chunk]) => frames(way, sctp(a, b, chunk))));
  return lines.flatMap((line) => [...line.matchAll(/\.(\d+) > \S+\.(\d+): sctp/g)].map(([, a, b]) => `${a}>${b}`)).sort();
}

/** From a client to the server, and what the server says to it then: by the port that is open, and by the one beside it. */
async function association(client: Instance, family: Family): Promise<readonly [there: string[], back: string[]]> {
  const there = await heard(client, server, family, [OWN, PORT, INIT], [OWN, PORT + 1, INIT]);
  return [there, await heard(server, client, family, [PORT, OWN, INIT_ACK], [PORT + 1, OWN, INIT_ACK])];
}
/** On a busy machine frames may be late or lost: the same is asked again, as every change is from one answer to another. */
const SOON = { timeout: 10_000, interval: 200 } as const;
const BOTH_WAYS = [[`${OWN}>${PORT}`], [`${PORT}>${OWN}`]];
const NOTHING = [[], []];

describe.each(nightly ? FAMILIES : (["IPv4"] as const))("%s", (family) => {
  const BOTH = (): readonly Instance[] => [near, far];
  /** Instead of what clients may send of SCTP: only this. */
  async function onlySend(values: Record<string, unknown>): Promise<void> {
    const group = await cloud.create("security_group", { name: "careful" });
    for (const { id } of group.security_group_rules as Resource[]) await cloud.remove("security_group_rule", id);
    for (const direction of ["ingress", "egress"]) await cloud.create("security_group_rule", { security_group_id: group.id, direction, ethertype: family, protocol: "udp" });
    await cloud.create("security_group_rule", { security_group_id: group.id, direction: "egress", ethertype: family, ...values });
    for (const { port } of BOTH()) {
      undo.push(() => cloud.update("port", port.id, { security_groups: [clients.id] }));
      await cloud.update("port", port.id, { security_groups: [group.id] });
    }
    await cloud.renewed();
  }

  test("a rule with a port lets its associations pass both ways, no others; deleted, it ends both ways", async () => {
    for (const client of BOTH()) await expect.poll(() => association(client, family), SOON).toEqual(NOTHING);
    const rule = await allow(ported(family));
    for (const client of BOTH()) await expect.poll(() => association(client, family), SOON).toEqual(BOTH_WAYS);
    await forbid(rule);
    for (const client of BOTH()) await expect.poll(() => association(client, family), SOON).toEqual(NOTHING);
  });

  test("so does a range, for the prefix that it says", async () => {
    await allow(ported(family, { port_range_min: PORT - 10, remote_ip_prefix: addressOf(far, family) }));
    await expect.poll(async () => [await association(near, family), await association(far, family)], SOON).toEqual([NOTHING, BOTH_WAYS]);
    await expect.poll(() => heard(far, server, family, [OWN, PORT - 10, INIT], [OWN, PORT - 11, INIT]), SOON).toEqual([`${OWN}>${PORT - 10}`]);
    await expect.poll(() => heard(server, far, family, [PORT - 10, OWN, INIT_ACK], [PORT - 11, OWN, INIT_ACK]), SOON).toEqual([`${PORT - 10}>${OWN}`]);
  });

  test("so does a rule for the members of a group, as long as they are", async () => {
    const friends = await cloud.create("security_group", { name: "friends" });
    await allow(ported(family, { remote_group_id: friends.id }));
    for (const client of BOTH()) {
      await expect.poll(() => association(client, family), SOON).toEqual(NOTHING);
      await cloud.update("port", client.port.id, { security_groups: [clients.id, friends.id] });
      await cloud.renewed();
      await expect.poll(() => association(client, family), SOON).toEqual(BOTH_WAYS);
      await cloud.update("port", client.port.id, { security_groups: [clients.id] });
      await cloud.renewed();
      await expect.poll(() => association(client, family), SOON).toEqual(NOTHING);
    }
  });

  test("a rule with the port that a client may send to: answers come from there alone", async () => {
    await allow(ported(family, { port_range_min: null, port_range_max: null }));
    for (const client of BOTH()) await expect.poll(() => association(client, family), SOON).toEqual([[`${OWN}>${PORT}`, `${OWN}>${PORT + 1}`], [`${PORT}>${OWN}`, `${PORT + 1}>${OWN}`]]);
    await onlySend({ protocol: "sctp", port_range_min: PORT, port_range_max: PORT });
    for (const client of BOTH()) await expect.poll(() => association(client, family), SOON).toEqual(BOTH_WAYS);
  });

  test("a peer's other ports stay closed to who opened an association, the opener's to a peer who speaks from another port than the rule's", async () => {
    await allow(ported(family));
    await onlySend({ protocol: "sctp", port_range_min: PORT, port_range_max: PORT });
    for (const client of BOTH()) {
      await expect.poll(() => association(client, family), SOON).toEqual(BOTH_WAYS);
      expect(await heard(client, server, family, [PORT, 22, INIT], [OWN, 22, INIT])).toEqual([]);
      // The port that it came from is not known: from the rule's port all of the opener's are reached.
      await expect.poll(() => heard(server, client, family, [22, 22, INIT], [OWN, PORT, INIT], [PORT, 22, INIT]), SOON).toEqual([`${PORT}>22`]);
    }
  });

  test("in fragments as whole", async () => {
    await allow(ported(family));
    for (const client of BOTH()) {
      const pieces = async (from: Instance, to: Instance, [a, b, chunk]: Said): Promise<number> => {
        const way = ends(from, to, family);
        const large = sctp(a, b, chunk, 2000);
        // Of this family: what waits in vain for its first fragment may come out much later.
        return (await arriving(from, to, family, frames(way, large, every(1304, large.body.length)))).filter((line) => line.includes(way.src)).length;
      };
      await expect.poll(() => association(client, family), SOON).toEqual(BOTH_WAYS);
      await expect.poll(async () => [await pieces(client, server, [OWN, PORT, DATA]), await pieces(client, server, [OWN, PORT + 1, DATA])], SOON).toEqual([2, 0]);
      await expect.poll(async () => [await pieces(server, client, [PORT, OWN, DATA]), await pieces(server, client, [PORT + 1, OWN, DATA])], SOON).toEqual([2, 0]);
    }
  });

  test("errors about an association pass while a rule allows it, whatever its port", async () => {
    await onlySend({ protocol: "sctp", port_range_min: PORT, port_range_max: PORT });
    const rule = await allow(ported(family));
    /** What arrives of an error about what the other one said. */
    const exceeded = async (from: Instance, to: Instance, [a, b, chunk]: Said): Promise<number> => {
      const [about] = frames(ends(to, from, family), sctp(a, b, chunk));
      const error = icmp(ends(from, to, family), family === "IPv4" ? 11 : 3, Buffer.concat([Buffer.alloc(4), about!.subarray(14)]));
      return (await arriving(from, to, family, frames(ends(from, to, family), error))).filter((line) => line.includes("time exceeded")).length;
    };
    const both = async (client: Instance): Promise<number[]> => [await exceeded(server, client, [OWN, PORT, INIT]), await exceeded(client, server, [PORT, OWN, INIT_ACK])];
    for (const client of BOTH()) {
      await expect.poll(() => association(client, family), SOON).toEqual(BOTH_WAYS);
      await expect.poll(() => both(client), SOON).toEqual([1, 1]);
    }
    await forbid(rule);
    for (const client of BOTH()) await expect.poll(() => both(client), SOON).toEqual([0, 0]);
  });
});
