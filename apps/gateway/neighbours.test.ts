import { arpOps, buildArp, buildEthernet, ethertypes } from "packet-codec";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { addressId, networkTable, portTable } from "../l2/model.ts";
import { Gateways, UPSTREAM } from "./gateways.fixture.ts";
import { gatewayNeighbourTable, gatewayPlanTable, type GatewayNeighbour } from "./model.ts";
import { keepAnswered, NEIGHBOURS_MAX } from "./neighbours.ts";

let g: Gateways;
beforeEach(async () => {
  g = await Gateways.make();
});
afterEach(() => g.end());

describe("neighbours outside", () => {
  const answer = async (ip: string, mac: string): Promise<void> => {
    const { mac_address, fixed_ips: [gateway] } = await g.port();
    const net = g.h.view.get(networkTable, g.outside)!.key;
    g.h.packets.handle({
      chassis: g.plan().hosts[0]!, inPort: 1, tableId: g.h.layout.table("gateway_in").id, match: { [g.h.layout.register("net").field]: net },
      data: buildEthernet({ dst: mac_address, src: mac, ethertype: ethertypes.arp }, buildArp({ op: arpOps.reply, sha: mac, spa: ip, tha: mac_address, tpa: gateway!.ip_address })),
    });
    await g.pass(0.3);
  };

  test("the next hop is asked for by the host that has the gateway, and is known to all of its hosts when it answered", async () => {
    await g.allReady();
    const [first] = g.plan().hosts;
    await g.pass(1.5);
    expect(g.arps(arpOps.request).filter((a) => a.tpa === "203.0.113.1")[0]).toMatchObject({ chassis: first });
    await answer("203.0.113.1", UPSTREAM);
    expect([...g.h.view.all(gatewayNeighbourTable)]).toMatchObject([{ network_id: g.outside, ip: "203.0.113.1", mac: UPSTREAM }]);
    // It is asked again and again, and may have another MAC.
    await g.pass(11);
    expect(g.arps(arpOps.request).filter((a) => a.tpa === "203.0.113.1").length).toBeGreaterThan(0);
    await answer("203.0.113.1", "02:00:00:00:00:fd");
    expect([...g.h.view.all(gatewayNeighbourTable)]).toMatchObject([{ mac: "02:00:00:00:00:fd" }]);
  });

  test("who was not asked is not believed, nor one that the model lists", async () => {
    await g.allReady();
    await g.pass(1.5);
    await answer("203.0.113.9", UPSTREAM);
    const { fixed_ips: [own] } = await g.port();
    await answer(own!.ip_address, UPSTREAM);
    expect([...g.h.view.all(gatewayNeighbourTable)]).toEqual([]);
  });

  test("nor whoever says that a gateway or a floating IP is the next hop: what leaves would come in again", async () => {
    await g.allReady();
    await g.pass(1.5);
    const { id } = await g.h.create("floatingip", { floating_network_id: g.outside });
    const holder = ((await g.h.call("GET", `/v2.0/ports?device_id=${id}`)).body as { ports: { mac_address: string }[] }).ports[0]!;
    for (const { mac_address } of [await g.port(), holder]) await answer("203.0.113.1", mac_address);
    expect([...g.h.view.all(gatewayNeighbourTable)]).toEqual([]);
    await answer("203.0.113.1", UPSTREAM);
    expect([...g.h.view.all(gatewayNeighbourTable)]).toMatchObject([{ mac: UPSTREAM }]);
  });

  test("however many one project asks for, another has its share", async () => {
    const wide = (await g.h.create("network", { "router:external": true })).id;
    await g.h.create("subnet", { network_id: wide, ip_version: 4, cidr: "198.18.0.0/16" });
    const gateways: Record<string, string> = {};
    for (const project_id of ["greedy", "modest"]) {
      const { id } = await g.h.create("router", { project_id, external_gateway_info: { network_id: wide } });
      gateways[project_id] = ((await g.h.call("GET", `/v2.0/ports?device_id=${id}&device_owner=network:router_gateway`)).body as { ports: { id: string }[] }).ports[0]!.id;
    }
    await g.allReady();
    const net = g.h.view.get(networkTable, wide)!.key;
    const nexthop = `reg${4 * Number(g.h.layout.register("nexthop").field.slice(5)) + 3}`;
    const sends = (project: string, ip: string): void => {
      const { mac_address: src } = g.h.view.get(portTable, gateways[project]!)!;
      g.h.packets.handle({
        chassis: g.h.view.get(gatewayPlanTable, gateways[project]!)!.hosts[0]!, inPort: 1, tableId: g.h.layout.table("gateway_unresolved").id,
        match: { [g.h.layout.register("net").field]: net, [nexthop]: ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0) },
        data: buildEthernet({ dst: "00:00:00:00:00:00", src, ethertype: ethertypes.ipv4 }, Buffer.alloc(40)),
      });
    };
    // One at a time: those that wait for their turn at the app have a limit of their own.
    for (let n = 0; n < 700; n++) {
      sends("greedy", `198.18.${10 + (n >> 8)}.${n & 255}`);
      for (let turn = 0; turn < 2; turn++) await new Promise((done) => setImmediate(done));
    }
    expect(new Set(g.arps(arpOps.request).map((a) => a.tpa)).size).toBeGreaterThan(500);
    sends("modest", "198.18.200.1");
    await g.pass(0.1);
    expect(g.arps(arpOps.request).filter((a) => a.tpa === "198.18.200.1")).toHaveLength(1);
  });

  test("a next hop has its room though others have all of theirs, and of these who has most gives", async () => {
    await g.allReady();
    await g.pass(1.5);
    const row = (ip: string, project_id: string): GatewayNeighbour => ({ id: addressId(g.outside, ip), network_id: g.outside, ip, mac: UPSTREAM, project_id });
    await g.h.model.transact({ requestId: "req-1", call: "test" }, (tx) => {
      for (let n = 0; n < NEIGHBOURS_MAX; n++) tx.put(gatewayNeighbourTable, row(`198.18.${n >> 8}.${n & 255}`, n < 3 ? "modest" : "greedy"));
    });
    await answer("203.0.113.1", UPSTREAM);
    expect(g.h.view.get(gatewayNeighbourTable, addressId(g.outside, "203.0.113.1"))).toMatchObject({ mac: UPSTREAM, hop: true });
    const of = (project: string): number => [...g.h.view.all(gatewayNeighbourTable)].filter((n) => n.project_id === project).length;
    await g.h.model.transact({ requestId: "req-2", call: "test" }, (tx) => {
      for (const [ip, project] of [["198.19.0.1", "modest"], ["198.19.0.2", "greedy"], ["198.19.0.3", "third"]] as const) keepAnswered(tx, row(ip, project));
    });
    expect([of("modest"), of("greedy"), of("third")]).toEqual([4, NEIGHBOURS_MAX - 5, 1]);
  });

  test("a next hop that falls silent stays; it goes with the last gateway of its network", async () => {
    await g.allReady();
    await g.pass(1.5);
    await answer("203.0.113.1", UPSTREAM);
    await g.pass(30);
    expect([...g.h.view.all(gatewayNeighbourTable)]).toHaveLength(1);
    await g.h.call("PUT", `/v2.0/routers/${g.router}`, { router: { external_gateway_info: null } });
    await g.h.settled();
    await g.pass(2);
    expect([...g.h.view.all(gatewayNeighbourTable)]).toEqual([]);
  });
});
