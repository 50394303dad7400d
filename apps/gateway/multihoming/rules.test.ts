// Several gateways of a router as flows: where packets go by them, asked of the interpreter. One host has everything: VMs, the gateways, and the next
// hops outside, by which networks outside are told apart.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chassisTable, numberOf, zonePool } from "#app";
import { ctState, everyTrace, Packet, trace, TraceSwitch, type Conntrack } from "../../../src/trace/index.ts";
import { Harness, textOf } from "../../../test/support/harness.ts";
import { addressId, portTable } from "../../l2/model.ts";
import { deadNextHopTable, legTable, zoneHolder } from "../../l3/model.ts";
import { tunnelPort, vniPool } from "../../overlay/model.ts";
import { routerGatewaysOf, vniHolder } from "../model.ts";

const FAR = "192.0.2.9";
const X = { hop: "203.0.113.1", port: 2 };
const Y = { hop: "198.51.100.1", port: 3 };

let h: Harness;
let x: string;
let y: string;
let router: string;
let inside: string;
let vm: { id: string; mac_address: string };

async function external(cidr: string, hop: string, ofport: number): Promise<string> {
  const network = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: network, ip_version: 4, cidr });
  await h.plug("gw1", (await h.create("port", { network_id: network, fixed_ips: [{ ip_address: hop }], port_security_enabled: false })).id, ofport);
  return network;
}
const gateways = async (verb: "add" | "update" | "remove", external_gateways: readonly object[]): Promise<void> => {
  const answer = await h.call("PUT", `/v2.0/routers/${router}/${verb}_external_gateways`, { router: { external_gateways } });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  await h.settled();
};
const ecmp = async (enable_default_route_ecmp: boolean): Promise<void> => {
  expect((await h.call("PUT", `/v2.0/routers/${router}`, { router: { enable_default_route_ecmp } })).status).toBe(200);
  await h.settled();
};
/** Addresses of the router's gateways on a network, in their order. */
const own = (network: string): string[] => routerGatewaysOf(h.view, router).filter((g) => g.network_id === network).flatMap((g) => h.view.by(legTable, "router", router).find((l) => l.id === `gateway/${g.id}`)!.addresses.map((a) => a.ip));
const text = (ip: bigint): string => [24n, 16n, 8n, 0n].map((bits) => String((ip >> bits) & 255n)).join(".");
const bits = (ip: string): bigint => ip.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);
const flows = (table: string): string[] => [...h.engine.flowsOf("gw1")].filter((f) => f.table === h.layout.table(table).id && f.priority > 0).map(textOf);

/** All ways that a packet of the VM may go: "<port> from <source>". */
function ways(more: { readonly ipv4_dst?: string; readonly udp_src?: number } = {}): string[] {
  const sw = TraceSwitch.ofDesired(h.engine.flowsOf("gw1"), h.engine.itemsOf("gw1"));
  const leg = h.view.by(legTable, "router", router).find((l) => l.network_id === inside)!;
  const packet = Packet.of({ in_port: 1, eth_src: vm.mac_address, eth_dst: leg.mac, eth_type: 0x800, ipv4_src: "10.0.0.5", ipv4_dst: FAR, ip_ttl: 64, ip_proto: 17, udp_src: 1000, udp_dst: 53, ...more });
  return [...new Set(everyTrace(sw, packet).traces.flatMap((t) => t.outputs.map((o) => `${o.port} from ${text(o.packet.get("ipv4_src"))}`)))].sort();
}

beforeEach(async () => {
  h = await Harness.make();
  await h.addChassis("gw1", { key: 1, gateway: true });
  x = await external("203.0.113.0/24", X.hop, X.port);
  y = await external("198.51.100.0/24", Y.hop, Y.port);
  inside = (await h.create("network", {})).id;
  const subnet = (await h.create("subnet", { network_id: inside, ip_version: 4, cidr: "10.0.0.0/24" })).id;
  router = (await h.create("router", {})).id;
  await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet });
  vm = (await h.create("port", { network_id: inside, fixed_ips: [{ ip_address: "10.0.0.5" }] })) as unknown as typeof vm;
  await h.plug("gw1", vm.id, 1);
  await gateways("add", [{ network_id: x }, { network_id: y }]);
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  expect(h.engine.conflicts).toEqual([]);
  await h.close();
});

describe("default routes", () => {
  test("by the first gateway, whichever that is, with its address", async () => {
    expect(ways()).toEqual([`${X.port} from ${own(x)[0]}`]);
    await gateways("update", [{ network_id: y }, { network_id: x }]);
    expect(ways()).toEqual([`${Y.port} from ${own(y)[0]}`]);
    await gateways("remove", [{ network_id: y }]);
    expect(ways()).toEqual([`${X.port} from ${own(x)[0]}`]);
  });

  test("by all at once, each with its own address, and what is on a link by that one", async () => {
    await ecmp(true);
    expect(ways()).toEqual([`${X.port} from ${own(x)[0]}`, `${Y.port} from ${own(y)[0]}`]);
    expect(ways({ ipv4_dst: Y.hop })).toEqual([`${Y.port} from ${own(y)[0]}`]);
    await ecmp(false);
    expect(ways()).toEqual([`${X.port} from ${own(x)[0]}`]);
  });

  test("by two gateways on one network, each with its own address", async () => {
    await gateways("update", [{ network_id: x }, { network_id: x }]);
    await ecmp(true);
    const [first, second] = own(x);
    expect(first).not.toBe(second);
    expect(ways()).toEqual([first, second].map((ip) => `${X.port} from ${ip}`).sort());
    await ecmp(false);
    expect(ways()).toEqual([`${X.port} from ${first}`]);
    expect(ways({ ipv4_dst: X.hop })).toEqual([`${X.port} from ${first}`]);
  });

  test("not by a next hop that is known to be dead; by all if all are", async () => {
    await ecmp(true);
    const both = ways();
    const say = async (network: string, ip: string, dead: boolean): Promise<void> => {
      const id = addressId(network, ip);
      await h.model.transact({ requestId: "t", call: "t" }, (tx) => (dead ? tx.put(deadNextHopTable, { id, network_id: network, ip }) : tx.delete(deadNextHopTable, id)));
      await h.settled();
    };
    const paths = flows("l3_paths");
    await say(x, X.hop, true);
    expect(ways()).toEqual([`${Y.port} from ${own(y)[0]}`]);
    // The hash counts as many as before: what went by the other goes on as it did.
    expect(flows("l3_route").filter((f) => f.includes("multipath"))).toHaveLength(1);
    expect(paths.filter((f) => flows("l3_paths").includes(f))).toHaveLength(1);
    await say(y, Y.hop, true);
    expect(ways()).toEqual(both);
    await say(x, X.hop, false);
    expect(ways()).toEqual([`${X.port} from ${own(x)[0]}`]);
    await say(y, Y.hop, false);
    expect(ways()).toEqual(both);
  });
});

describe("what answers", () => {
  const floatingOn = async (network: string, more: object): Promise<{ id: string; floating_ip_address: string }> => {
    const made = await h.create("floatingip", { floating_network_id: network, ...more });
    await h.settled();
    return made as unknown as { id: string; floating_ip_address: string };
  };

  test("by a floating IP leaves by the gateway of its network, whatever routes say", async () => {
    const floating = await floatingOn(y, { port_id: vm.id });
    for (const on of [false, true]) {
      await ecmp(on);
      expect(ways()).toEqual([`${Y.port} from ${floating.floating_ip_address}`]);
    }
    // Also what is on the link of another.
    expect(ways({ ipv4_dst: X.hop })).toEqual([`${Y.port} from ${floating.floating_ip_address}`]);
  });

  test("by the first of two gateways on a network, where its floating IP is", async () => {
    await gateways("update", [{ network_id: x }, { network_id: x }]);
    await ecmp(true);
    const floating = await floatingOn(x, { port_id: vm.id });
    expect(ways()).toEqual([`${X.port} from ${floating.floating_ip_address}`]);
  });

  test("with floating IPs on several networks what is opened leaves by the first gateway, without a conflict", async () => {
    const [, second] = [await floatingOn(y, { port_id: vm.id }), await floatingOn(x, { port_id: vm.id })];
    expect(ways()).toEqual([`${X.port} from ${second.floating_ip_address}`]);
  });

  test("with floating IPs on several networks, from the host that knows the connection, leaves by the one that was called", async () => {
    const floating = [await floatingOn(y, { port_id: vm.id }), await floatingOn(x, { port_id: vm.id })];
    const sw = TraceSwitch.ofDesired(h.engine.flowsOf("gw1"), h.engine.itemsOf("gw1"));
    const leg = h.view.by(legTable, "router", router).find((l) => l.network_id === inside)!;
    const zone = numberOf(h.view, zonePool, "gw1", zoneHolder(router));
    for (const [n, { floating_ip_address: called }] of floating.entries()) {
      // As conntrack has it: somebody outside called one of them.
      const known: Conntrack = (use) => {
        if (use.zone !== zone) return { state: ctState.trk | ctState.new };
        const change = (p: Packet): void => {
          p.set("ct_nw_dst", bits(called));
          if (use.nat !== undefined) p.set("ipv4_src", bits(called));
        };
        return { state: ctState.trk | ctState.est | ctState.rpl, change };
      };
      const packet = Packet.of({ in_port: 1, eth_src: vm.mac_address, eth_dst: leg.mac, eth_type: 0x800, ipv4_src: "10.0.0.5", ipv4_dst: FAR, ip_ttl: 64, ip_proto: 17, udp_src: 53, udp_dst: 1000 });
      const { outputs } = trace(sw, packet, { conntrack: known });
      expect(outputs.map((o) => `${o.port} from ${text(o.packet.get("ipv4_src"))}`)).toEqual([`${[Y, X][n]!.port} from ${called}`]);
    }
  });

  test("from a forwarded port leaves by the gateway of its floating IP, the rest as before", async () => {
    const floating = await floatingOn(y, {});
    const forwarding = { internal_port_id: vm.id, internal_ip_address: "10.0.0.5", protocol: "udp", internal_port: 7000, external_port: 7000 };
    expect((await h.call("POST", `/v2.0/floatingips/${floating.id}/port_forwardings`, { port_forwarding: forwarding })).status).toBe(201);
    await h.settled();
    expect(ways({ udp_src: 7000 }).map((w) => w.split(" ")[0])).toEqual([String(Y.port)]);
    expect(ways({ udp_src: 7001 })).toEqual([`${X.port} from ${own(x)[0]}`]);
  });
});

test("what another host sends here for a gateway leaves by that one, also where a route here leads to the other", async () => {
  await h.addChassis("hv1", { key: 2 });
  await h.plug("hv1", (await h.create("port", { network_id: inside, fixed_ips: [{ ip_address: "10.0.0.6" }] })).id, 1);
  await h.settled();
  const [from, encap] = [h.view.get(chassisTable, "hv1")!.encap_ip, h.view.get(chassisTable, "gw1")!.encap_types[0]!];
  const sw = TraceSwitch.ofDesired(h.engine.flowsOf("gw1"), h.engine.itemsOf("gw1"));
  const sent = (network: string, more: object = {}): string[] => {
    const { id } = routerGatewaysOf(h.view, router).find((g) => g.network_id === network)!;
    const tunnel_id = numberOf(h.view, vniPool, "", vniHolder(network))!;
    const packet = Packet.of({
      in_port: tunnelPort[encap], tunnel_id, tun_ipv4_src: from, eth_src: h.view.by(legTable, "router", router).find((l) => l.network_id === network)!.mac, eth_dst: h.view.get(portTable, id)!.mac_address,
      eth_type: 0x800, ipv4_src: "10.0.0.6", ipv4_dst: FAR, ip_ttl: 64, ip_proto: 17, udp_src: 1000, udp_dst: 53, ...more,
    });
    return [...new Set(everyTrace(sw, packet).traces.flatMap((t) => t.outputs.map((o) => `${o.port} from ${text(o.packet.get("ipv4_src"))}`)))];
  };
  expect(sent(x)).toEqual([`${X.port} from ${own(x)[0]}`]);
  expect(sent(y)).toEqual([`${Y.port} from ${own(y)[0]}`]);
  expect(sent(y, { ipv4_dst: Y.hop })).toEqual([`${Y.port} from ${own(y)[0]}`]);
  expect(sent(y, { ipv4_dst: X.hop })).toEqual([`${Y.port} from ${own(y)[0]}`]);
});

test("a router with one gateway has nothing of it", async () => {
  await gateways("remove", [{ network_id: y }]);
  expect([flows("gateway_choice"), flows("gateway_bound")]).toEqual([[], []]);
  expect(flows("gateway_out").filter((f) => f.includes("dl_src"))).toEqual([]);
  await gateways("remove", [{ network_id: x }]);
  for (const table of ["gateway_choice", "gateway_out", "nat_out", "nat_leaving", "nat_named", "nat_in"]) expect(flows(table), table).toEqual([]);
});

describe("equal routes by next hops inside", () => {
  test("one whose port is not up is left out until it is; the port of nobody up, all are used", async () => {
    const hops: { id: string }[] = [];
    for (const [n, ip_address] of ["10.0.0.11", "10.0.0.12"].entries()) {
      const port = await h.create("port", { network_id: inside, fixed_ips: [{ ip_address }], port_security_enabled: false });
      hops.push(port);
      await h.plug("gw1", port.id, 11 + n);
    }
    const routes = ["10.0.0.11", "10.0.0.12"].map((nexthop) => ({ destination: "192.0.2.0/24", nexthop }));
    expect((await h.call("PUT", `/v2.0/routers/${router}`, { router: { routes } })).status).toBe(200);
    await h.settled();
    const ports = (): string[] => ways().map((w) => w.split(" ")[0]!);
    expect(ports()).toEqual(["11", "12"]);
    await h.unplug("gw1", hops[0]!.id);
    await h.settled();
    expect(ports()).toEqual(["12"]);
    await h.call("PUT", `/v2.0/ports/${hops[1]!.id}`, { port: { admin_state_up: false } });
    await h.settled();
    expect(flows("l3_paths").filter((f) => f.includes("0xa00000b"))).toHaveLength(1);
    expect(flows("l3_paths").filter((f) => f.includes("0xa00000c"))).toHaveLength(1);
    await h.call("PUT", `/v2.0/ports/${hops[1]!.id}`, { port: { admin_state_up: true } });
    await h.plug("gw1", hops[0]!.id, 11);
    await h.settled();
    expect(ports()).toEqual(["11", "12"]);
  });
});
