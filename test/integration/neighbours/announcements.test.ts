// What ports say of who has an address: copies for the controller, at a rate of each port's own. Beyond it copies are lost, and nothing else is.
import { setTimeout as sleep } from "node:timers/promises";
import { buildGratuitousArp, buildUnsolicitedNeighbourAdvertisement } from "packet-codec";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";

/** More than any rate of the controller's lets pass at a time. */
const MANY = 400;
/** A loaded machine loses some on the way: a rate would lose most. */
const NEARLY = 380;
const V6 = "fd00:a::";

let cloud: Cloud;
let net: Net;
let owner: Instance;
let near: Instance;
let far: Instance;
beforeAll(async () => {
  cloud = await Cloud.create({ name: "announcements.test" });
  net = await cloud.network("10.0.0.0/24");
  await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: `${V6}/64` });
  owner = await cloud.instance(cloud.hv(1), net);
  near = await cloud.instance(cloud.hv(1), net);
  far = await cloud.instance(cloud.hv(2), net);
});
afterAll(async () => cloud?.destroy());

const macOf = (i: Instance): string => i.port.mac_address as string;
const ipsOf = (i: Instance): string[] => (i.port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address);

interface Meter {
  readonly id: number;
  readonly packets: number;
  readonly dropped_packets: number;
  readonly rules: readonly string[];
  readonly resources: readonly { readonly id: string }[];
}
/** At hv1, of a rule. */
const metersOf = async (rule: string): Promise<Meter[]> =>
  (await cloud.controller.ops<{ meters: Meter[] }>("GET", `/switches/${cloud.hv(1).systemId}/meters`)).body.meters.filter((m) => m.rules.includes(rule));
const isOf = (port: string) => (m: Meter) => m.resources.some((r) => r.id === port);

/** No faster than queues take it: a thousand a second. */
async function sendPaced(vm: Vm, frame: Buffer, times: number): Promise<void> {
  const program = `import socket,sys,time\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(("eth0",0))\nfor _ in range(${times}):\n s.send(bytes.fromhex(sys.argv[1]))\n time.sleep(.001)`;
  await vm.exec(["python3", "-c", program, frame.toString("hex")]);
}

/** How each sort of port comes to announce what the controller wants to hear. */
const sorts: readonly [string, string, (four: string, six: string) => Record<string, unknown>, "another's" | "nobody's"][] = [
  ["an address of another's that it has as a pair", "l2/local-port", (four, six) => ({ allowed_address_pairs: [{ ip_address: four }, { ip_address: six }] }), "another's"],
  ["an address that nobody has, by a prefix", "l2/local-port", () => ({ allowed_address_pairs: [{ ip_address: "10.0.0.128/25" }, { ip_address: `${V6}8000/113` }] }), "nobody's"],
  ["an address that nobody has, without port security", "l2/local-port", () => ({ port_security_enabled: false, security_groups: [] }), "nobody's"],
];

describe.each(sorts)("a port that announces %s", (_, rule, rights, whose) => {
  test.each([4, 6] as const)("many times a second, by IPv%i: all hear all of it, the controller as much as it takes, and its DHCP goes on", async (family) => {
    const [own4, own6] = [ipsOf(owner).find((ip) => !ip.includes(":"))!, ipsOf(owner).find((ip) => ip.includes(":"))!];
    const teller = await cloud.instance(cloud.hv(1), net, { port: rights(own4, own6) });
    await cloud.synced();
    const address = whose === "another's" ? (family === 4 ? own4 : own6) : family === 4 ? "10.0.0.200" : `${V6}8123`;
    const mac = macOf(teller);
    const frame = family === 4 ? buildGratuitousArp({ mac, address, op: "reply" }) : buildUnsolicitedNeighbourAdvertisement({ mac, address });
    const captures = await Promise.all([near, far].map(({ vm }) => vm.tcpdump(`-Q in ether src ${mac} and (arp or (icmp6 and ip6[40] == 136))`)));
    await sendPaced(teller.vm, frame, MANY);
    await until("all of it", () => Promise.resolve(captures.every((c) => c.lines.length >= NEARLY)), { timeoutMs: 5000 }).catch(() => undefined);
    await sleep(200);
    for (const capture of captures) expect((await capture.stop()).lines.filter((l) => l.includes(family === 4 ? "Reply" : "advertisement")).length).toBeGreaterThanOrEqual(NEARLY);
    const told = (await metersOf(rule)).filter(isOf(teller.port.id));
    expect(told).toHaveLength(1);
    expect(told[0]!.packets).toBeGreaterThanOrEqual(NEARLY);
    expect(told[0]!.dropped_packets).toBeGreaterThan(MANY / 2);
    const dhcp = await metersOf("dhcp/served-port");
    expect(dhcp.length).toBeGreaterThan(0);
    expect(dhcp.filter((m) => m.dropped_packets > 0)).toEqual([]);
    // The switch has it as it was sent.
    expect(await cloud.differences()).toBe("");
    await cloud.remove("port", teller.port.id);
  }, 60_000);
});

test("a neighbour advertisement that may have come through a router is none", async () => {
  const teller = await cloud.instance(cloud.hv(1), net, { port: { port_security_enabled: false, security_groups: [] } });
  await cloud.synced();
  const counted = async (): Promise<number[]> => (await metersOf("l2/local-port")).filter(isOf(teller.port.id)).map((m) => m.packets);
  expect(await counted()).toEqual([0]);
  const near = buildUnsolicitedNeighbourAdvertisement({ mac: macOf(teller), address: `${V6}8124` });
  const distant = Buffer.from(near);
  distant[21] = 254;
  await sendPaced(teller.vm, distant, 20);
  await sendPaced(teller.vm, near, 5);
  await until("those of the link", async () => (await counted())[0]! >= 5, { timeoutMs: 3000 });
  expect(await counted()).toEqual([5]);
  await cloud.remove("port", teller.port.id);
}, 60_000);
