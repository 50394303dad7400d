// Which next hops outside are known to be dead, with a clock that passes when the test says so.
import { arpOps, buildArp, buildEthernet, ethertypes, parsePacket } from "packet-codec";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Harness } from "../../../test/support/harness.ts";
import { networkTable, portTable } from "../../l2/model.ts";
import { deadNextHopTable } from "../../l3/model.ts";
import { routerGatewaysOf } from "../model.ts";
import { problems } from "../problems.ts";

const X = "203.0.113.1";
const Y = "198.51.100.1";
let h: Harness;
let networks: readonly string[];
let router: string;
/** Next hops that answer when they are asked. */
let alive: Set<string>;
let asked: Record<string, number>;

async function external(cidr: string): Promise<string> {
  const network = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: network, ip_version: 4, cidr });
  return network;
}

/** Lets time pass; who is there answers at once. */
async function pass(seconds: number): Promise<void> {
  for (let t = 0; t < seconds * 10; t++) {
    await h.clock.run(100);
    await h.settled();
    h.confirm("gw1");
    for (const { app, packet } of h.sent.splice(0)) {
      const { arp } = app === "gateway" ? parsePacket(packet.data) : { arp: undefined };
      if (arp?.op !== arpOps.request || arp.spa === arp.tpa) continue;
      asked[arp.tpa] = (asked[arp.tpa] ?? 0) + 1;
      if (alive.has(arp.tpa)) answer(arp.tpa);
    }
  }
}
function answer(ip: string): void {
  const network = networks[ip === X ? 0 : 1]!;
  const { id } = routerGatewaysOf(h.view, router).find((g) => g.network_id === network)!;
  const mac = "02:00:00:00:00:fe";
  const to = h.view.get(portTable, id)!.mac_address;
  h.packets.handle({
    chassis: "gw1", inPort: 1, tableId: h.layout.table("gateway_in").id, match: { [h.layout.register("net").field]: h.view.get(networkTable, network)!.key },
    data: buildEthernet({ dst: to, src: mac, ethertype: ethertypes.arp }, buildArp({ op: arpOps.reply, sha: mac, spa: ip, tha: to, tpa: "192.0.2.1" })),
  });
}
const dead = (): string[] => [...h.view.all(deadNextHopTable)].map((row) => row.ip).sort();
const set = async (values: object): Promise<void> => {
  expect((await h.call("PUT", `/v2.0/routers/${router}`, { router: values })).status).toBe(200);
  await h.settled();
};

beforeEach(async () => {
  asked = {};
  alive = new Set([X, Y]);
  h = await Harness.make();
  await h.addChassis("gw1", { key: 1, gateway: true });
  networks = [await external("203.0.113.0/24"), await external("198.51.100.0/24")];
  router = (await h.create("router", { enable_default_route_ecmp: true })).id;
  expect((await h.call("PUT", `/v2.0/routers/${router}/add_external_gateways`, { router: { external_gateways: networks.map((network_id) => ({ network_id })) } })).status).toBe(200);
  await pass(5);
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("one that does not answer is known to be so after some seconds, and used again when it has answered for some", async () => {
  expect(dead()).toEqual([]);
  alive.delete(X);
  await pass(2);
  expect(dead()).toEqual([]);
  await pass(6);
  expect(dead()).toEqual([X]);
  expect(problems(h.view).map((p) => [p.kind, p.text.includes(X)])).toContainEqual(["dead_next_hop", true]);
  alive.add(X);
  await pass(1);
  expect(dead()).toEqual([X]);
  await pass(8);
  expect(dead()).toEqual([]);
});

test("one that answers now and then stays left out, and is written no more than it changes", async () => {
  alive.delete(X);
  await pass(8);
  const { generation } = h.model;
  for (let n = 0; n < 4; n++) {
    alive.add(X);
    await pass(2);
    alive.delete(X);
    await pass(6);
    expect(dead()).toEqual([X]);
  }
  expect(h.model.generation).toBe(generation);
});

test("what nobody asked for does not bring one back", async () => {
  alive.delete(X);
  await pass(8);
  for (let n = 0; n < 10; n++) {
    answer(X);
    await pass(0.2);
  }
  expect(dead()).toEqual([X]);
});

test("a controller that starts knows what was known; while nobody can ask it stays so", async () => {
  alive.delete(X);
  await pass(8);
  h = await h.restart();
  expect(dead()).toEqual([X]);
  h.away.add("gw1");
  alive.add(X);
  await pass(10);
  expect(dead()).toEqual([X]);
  h.away.delete("gw1");
  await pass(15);
  expect(dead()).toEqual([]);
});

test("the next hop of a route with no other is not watched, and not left out", async () => {
  alive.delete(X);
  await pass(8);
  await set({ enable_default_route_ecmp: false });
  await pass(2);
  expect(dead()).toEqual([]);
  asked = {};
  await pass(20);
  expect(dead()).toEqual([]);
  expect(asked[Y]!).toBeLessThanOrEqual(3);
  // Likewise of several routes to a prefix that somebody asked for.
  await set({ routes: [X, Y].map((nexthop) => ({ destination: "192.0.2.0/24", nexthop })) });
  await pass(20);
  expect(dead()).toEqual([X]);
  await set({ routes: [] });
  await pass(2);
  expect(dead()).toEqual([]);
});
