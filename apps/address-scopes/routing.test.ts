// Which packets a router with networks of several scopes passes on, and what they leave with: what the interpreter makes of the flows.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ctNext, ctState, Packet, trace, TraceSwitch, type Conntrack } from "../../src/trace/index.ts";
import { Harness, textOf } from "../../test/support/harness.ts";
import { legTable, liveRouterTable } from "../l3/model.ts";
import { floatingPlaceTable } from "../nat/model.ts";

const OUTSIDE = "203.0.113.1";
const ANYBODY = "198.51.100.7";

interface Place {
  readonly network: string;
  readonly port: string;
  readonly mac: string;
  readonly ofport: number;
  readonly ips: readonly string[];
}

let h: Harness;
let router: string;
let gateway: string;
let outside: string;
let floating: { readonly ip: string; readonly mac: string } | undefined;
let scopes: Record<string, string> = {};
const pools: Record<string, string> = {};
const places: Record<string, Place> = {};

async function ok(method: "PUT" | "POST", url: string, body: unknown): Promise<void> {
  const answer = await h.call(method, url, body);
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
  await h.settled();
}

/** A pool of a scope: 4 and 6 have scopes of the same name. */
async function pool(name: string, prefix: string, scope: string | null): Promise<string> {
  const ip_version = prefix.includes(":") ? 6 : 4;
  const id = scope === null ? null : (scopes[`${scope}${ip_version}`] ??= (await h.create("address_scope", { name: scope, ip_version, project_id: "p1" })).id);
  return (pools[`${name}${ip_version}`] = (await h.create("subnetpool", { name, prefixes: [prefix], default_prefixlen: ip_version === 4 ? 24 : 64, address_scope_id: id, project_id: "p1" })).id);
}

async function network(name: string, values: Record<string, unknown> = {}, gateway?: string): Promise<{ readonly id: string; readonly subnets: readonly string[] }> {
  const { id } = await h.create("network", { project_id: "p1", ...values });
  const subnets = [];
  for (const ip_version of [4, 6]) {
    const gateway_ip = ip_version === 4 ? gateway : undefined;
    subnets.push((await h.create("subnet", { network_id: id, ip_version, subnetpool_id: pools[`${name}${ip_version}`], project_id: "p1", enable_dhcp: false, ...(gateway_ip !== undefined && { gateway_ip }) })).id);
  }
  return { id, subnets };
}

async function place(name: string, net: string, ofport: number, fixed_ips?: unknown): Promise<void> {
  const port = (await h.create("port", { network_id: net, project_id: "p1", port_security_enabled: false, security_groups: [], ...(fixed_ips !== undefined && { fixed_ips }) })) as unknown as { id: string; mac_address: string; fixed_ips: { ip_address: string }[] };
  await h.plug("hv1", port.id, ofport);
  places[name] = { network: net, port: port.id, mac: port.mac_address, ofport, ips: port.fixed_ips.map((f) => f.ip_address) };
}

const TRK = ctState.trk;
const bits = (n: bigint): string => (n >> 32n === 0n ? [24n, 16n, 8n, 0n].map((by) => String((n >> by) & 0xffn)).join(".") : "v6");

/** Who gets a packet, and whom he takes for its sender: `<place> <source>`. `to`: a place or an address. */
function sent(from: string, to: string, family: 4 | 6 = 4, ct: Conntrack = ctNext([TRK | ctState.new])): string[] {
  const a = places[from]!;
  const b = places[to];
  const sw = TraceSwitch.ofDesired(h.engine.flowsOf("hv1"), h.engine.itemsOf("hv1"));
  const leg = h.view.by(legTable, "router", router).find((l) => l.network_id === a.network)!;
  const six = family === 6;
  const of = (p: Place): string => p.ips.find((ip) => ip.includes(":") === six)!;
  const dst = b === undefined ? to : of(b);
  const addresses = six ? { eth_type: 0x86dd, ipv6_src: of(a), ipv6_dst: dst } : { eth_type: 0x800, ipv4_src: of(a), ipv4_dst: dst };
  const packet = Packet.of({ in_port: a.ofport, eth_src: a.mac, eth_dst: floating?.mac !== undefined && to === floating.ip ? floating.mac : leg.mac, ip_ttl: 64, ip_proto: 17, udp_src: 1, udp_dst: 2, ...addresses });
  return trace(sw, packet, { conntrack: ct }).outputs.map((o) => `${Object.keys(places).find((n) => places[n]!.ofport === o.port) ?? String(o.port)} ${six ? "6" : bits(o.packet.get("ipv4_src"))}`);
}

beforeEach(async () => {
  scopes = {};
  floating = undefined;
  h = await Harness.make();
  await h.addChassis("hv1", { key: 1, gateway: true });
  await pool("outside", "203.0.113.0/24", "e");
  await pool("outside", "2001:db8::/64", "e");
  for (const [n, [name, scope]] of ([["same", "e"], ["other", "f"], ["none", null], ["none2", null]] as const).entries()) {
    await pool(name, `10.${n}.0.0/16`, scope);
    await pool(name, `fd0${n}::/48`, scope);
  }
  const out = await network("outside", { "router:external": true }, OUTSIDE);
  outside = out.id;
  const made = (await h.create("router", { project_id: "p1", external_gateway_info: { network_id: out.id } })) as unknown as { id: string; external_gateway_info: { external_fixed_ips: { ip_address: string }[] } };
  router = made.id;
  gateway = made.external_gateway_info.external_fixed_ips.map((f) => f.ip_address).find((ip) => !ip.includes(":"))!;
  for (const [n, name] of ["same", "other", "none", "none2"].entries()) {
    const { id, subnets } = await network(name);
    for (const subnet_id of subnets) await ok("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id });
    await place(name, id, n + 1);
  }
  await place("outside", out.id, 9, [{ ip_address: OUTSIDE }, { subnet_id: out.subnets[1] }]);
  await h.settled();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

describe.each([4, 6] as const)("IPv%i", (family) => {
  it("is routed within a scope alone, and between networks of none", () => {
    expect(sent("none", "none2", family)).toHaveLength(1);
    for (const [a, b] of [["same", "other"], ["other", "same"], ["none", "other"], ["other", "none"], ["same", "none"]] as const) expect(sent(a, b, family), `${a} ${b}`).toEqual([]);
  });
});

const ipOf = (name: string): string => places[name]!.ips[0]!;
const snat = (enable_snat: boolean): Promise<void> => ok("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id: outside, enable_snat } } });
const INSIDES = ["other", "none", "none2"] as const;

it("IPv4 leaves as it is within the scope of the network outside, translated from others, or not at all", async () => {
  expect(sent("same", "outside")).toEqual([`outside ${ipOf("same")}`]);
  expect(sent("same", ANYBODY)).toEqual([`outside ${ipOf("same")}`]);
  for (const name of INSIDES) expect(sent(name, ANYBODY), name).toEqual([`outside ${gateway}`]);
  await snat(false);
  expect(sent("same", ANYBODY)).toEqual([`outside ${ipOf("same")}`]);
  for (const name of INSIDES) expect(sent(name, ANYBODY), name).toEqual([]);
});

it("IPv4 comes in by its own name within the scope of the network outside alone; answers to what was translated always", async () => {
  const answer: Conntrack = () => ({ state: TRK | ctState.est | ctState.rpl | ctState.dnat, change: (p) => p.set("ipv4_dst", BigInt(`0x${ipOf("other").split(".").map((n) => Number(n).toString(16).padStart(2, "0")).join("")}`)) });
  expect(sent("outside", gateway, 4, answer)).toEqual([`other ${OUTSIDE}`]);
  for (const on of [true, false]) {
    await snat(on);
    expect(sent("outside", "same"), String(on)).toEqual([`same ${OUTSIDE}`]);
    for (const name of INSIDES) expect(sent("outside", name), name).toEqual([]);
  }
});

it("IPv6 passes the gateway within its scope alone, either way", () => {
  expect([sent("same", "outside", 6), sent("outside", "same", 6)]).toEqual([["outside 6"], ["same 6"]]);
  for (const name of INSIDES) expect([sent(name, "outside", 6), sent("outside", name, 6)], name).toEqual([[], []]);
});

it.each([true, false])("floating IPs lead in and out whatever the scopes, with enable_snat %j; nothing else does for them", async (on) => {
  await snat(on);
  const { id, floating_ip_address: ip, floating_port_id } = (await h.create("floatingip", { project_id: "p1", floating_network_id: outside, port_id: places.other!.port, fixed_ip_address: ipOf("other") })) as unknown as { id: string; floating_ip_address: string; floating_port_id?: string };
  await h.settled();
  expect(floating_port_id).toBeUndefined();
  const mac = h.view.get(floatingPlaceTable, id)!.mac;
  floating = { ip, mac };
  expect(sent("other", ANYBODY)).toEqual([`outside ${ip}`]);
  expect(sent("outside", ip)).toEqual([`other ${OUTSIDE}`]);
  expect(sent("none", ANYBODY)).toEqual(on ? [`outside ${gateway}`] : []);
  expect(sent("same", ANYBODY)).toEqual([`outside ${ipOf("same")}`]);
  expect(sent("outside", "none")).toEqual([]);
  const { id: table } = h.layout.table("nat_out");
  const calls = [...h.engine.flowsOf("hv1")].filter((f) => f.table === table).map(textOf).filter((f) => f.includes(`nw_dst=${ip}`));
  expect(calls, "whoever is inside calls with the gateway's address").toHaveLength(on ? 2 : 0);
});

it("a pool that leaves its scope takes its networks along; without scopes no flow is more", async () => {
  for (const id of Object.values(pools)) await ok("PUT", `/v2.0/subnetpools/${id}`, { subnetpool: { address_scope_id: null } });
  expect(sent("same", "none")).toEqual([`none ${ipOf("same")}`]);
  expect(sent("same", ANYBODY)).toEqual([`outside ${gateway}`]);
  const { id } = h.layout.table("l3_route");
  const routes = [...h.engine.flowsOf("hv1")].filter((f) => f.table === id && f.priority > 228 && f.priority < 1000).map(textOf);
  expect(routes).toEqual([]);
  expect([...h.view.all(liveRouterTable)]).toEqual([{ id: router, key: 1 }]);
});
