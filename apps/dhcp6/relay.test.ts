// Relay agents: a machine on the network that asks for clients behind it, others in between; and what it is not told.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  buildDhcp6, buildEthernet, buildIpv6, buildUdp, dhcp6Value, ethertypes, ipProtocols, ipv6MulticastMac, linkLocal, parseDhcp6, parsePacket, type Dhcp6ClientMessage, type Dhcp6Message,
  type Dhcp6Option, type Dhcp6RelayMessage, type Duid,
} from "packet-codec";
import { SeededRandom } from "../../src/lib/random.ts";
import { portTable } from "../l2/model.ts";
import { declinedAddressTable } from "../dhcp/model.ts";
import { problems as dhcpProblems } from "../dhcp/problems.ts";
import { client, Cloud, held, ia, server, statusOf, type } from "./dhcp6.fixture.ts";

const CLIENT = "fa:16:3e:00:00:0c";
const P1 = { "x-project-id": "p1", "x-roles": "member" };
const P2 = { "x-project-id": "p2", "x-roles": "member" };

let cloud: Cloud;
let net: string;
/** Its subnet fd00:1::/64. */
let first: string;
/** The relay's port, with fd00:1::10, and a pair; and that of a client, plugged nowhere, with fd00:1::20 and fd00:2::20. */
let relay: string;
let behind: string;
let at: Duid;
beforeAll(async () => {
  cloud = await Cloud.make({ seed: 9 });
  net = (await cloud.h.create("network", { shared: true, project_id: "p1" })).id;
  for (const n of [2, 1]) ({ id: first } = await cloud.h.create("subnet", { network_id: net, ip_version: 6, cidr: `fd00:${n}::/64`, ipv6_ra_mode: "dhcpv6-stateful", ipv6_address_mode: "dhcpv6-stateful" }));
  await cloud.h.create("subnet", { network_id: net, ip_version: 6, cidr: "fd00:3::/64" });
  relay = await cloud.port(net, { project_id: "p1", fixed_ips: [{ ip_address: "fd00:1::10" }], allowed_address_pairs: [{ ip_address: "fd00:1::99" }] });
  const make = async (mac_address: string, n: string, who: Record<string, string>): Promise<string> =>
    (await cloud.h.create("port", { network_id: net, mac_address, project_id: who["x-project-id"], fixed_ips: [{ ip_address: `fd00:1::${n}` }, { ip_address: `fd00:2::${n}` }] })).id;
  behind = await make(CLIENT, "20", P1);
  await make("fa:16:3e:00:00:0d", "21", P2);
  const other = (await cloud.h.create("network", { project_id: "p1" })).id;
  await cloud.h.create("port", { network_id: other, mac_address: "fa:16:3e:00:00:0e", project_id: "p1" });
  await cloud.h.settled();
  at = cloud.server(relay);
});
afterAll(async () => cloud.h.close());

/** What the client says. */
const says = (msg_type: number, ...options: Dhcp6Option[]): Dhcp6ClientMessage => ({ msg_type, transaction_id: 0xabcdef, options: [client, ...options] });
interface Hop extends Partial<Omit<Dhcp6RelayMessage, "msg_type" | "options">> {
  readonly more?: Dhcp6Option[];
}
/** By relays, the one next to the client first. */
const by = (message: Dhcp6Message, ...hops: Hop[]): Dhcp6RelayMessage => hops.reduce<Dhcp6Message>((inner, { more = [], ...fields }, n): Dhcp6RelayMessage => ({
  msg_type: 12, hop_count: n, link_address: n === 0 ? "fd00:1::1" : "::", peer_address: n === 0 ? linkLocal(CLIENT) : "fe80::77", ...fields, options: [...more, { option: "RELAY_MSG", value: inner }],
}), message) as Dhcp6RelayMessage;
const mac = (lladdr: string, link_layer_type = 1): Dhcp6Option => ({ option: "CLIENT_LINKLAYER_ADDR", value: { link_layer_type, lladdr } });
const id = (text: string): Dhcp6Option => ({ option: "INTERFACE_ID", value: Buffer.from(text) });

interface From {
  readonly src?: string;
  readonly mac?: string;
  readonly dst?: string;
}
/** The answer, and where it goes. */
function sent(payload: Buffer, from: From = {}): { readonly message: Dhcp6Message; readonly to: string } | undefined {
  const port = cloud.h.view.get(portTable, relay)!;
  const { src = "fd00:1::10", dst = "ff05::1:3", mac: eth = port.mac_address } = from;
  const datagram = buildUdp({ src_port: 547, dst_port: 547 }, payload, { src, dst });
  const data = buildEthernet({ dst: ipv6MulticastMac(dst), src: eth, ethertype: ethertypes.ipv6 }, buildIpv6({ src, dst, next_header: ipProtocols.udp, hop_limit: 8 }, datagram));
  const out = cloud.h.packets.handle({ chassis: "hv1", inPort: 1, tableId: cloud.h.layout.table("dhcp6_request").id, data, match: { [cloud.h.layout.register("in_port_key").field]: port.key } });
  expect(cloud.h.complaints).toEqual([]);
  if (out.length === 0) return undefined;
  expect(out).toHaveLength(1);
  const frame = parsePacket(Buffer.from((out[0] as { data: Uint8Array }).data));
  expect(frame.eth).toMatchObject({ dst: eth, src: "fe:ff:ff:ff:ff:01" });
  expect(frame.udp).toMatchObject({ src_port: 547, dst_port: 547, checksumOk: true });
  return { message: parseDhcp6(frame.udp!.payload), to: frame.ipv6!.dst };
}
const forward = (message: Dhcp6Message, from?: From) => sent(buildDhcp6(message), from);
/** What the client is given. */
function given(message: Dhcp6Message, from?: From): Dhcp6ClientMessage | undefined {
  let inner = forward(message, from)?.message;
  while (inner !== undefined && "hop_count" in inner) {
    expect(inner.msg_type).toBe(13);
    inner = dhcp6Value(inner, "RELAY_MSG")!;
  }
  return inner as Dhcp6ClientMessage | undefined;
}
const lives = "86400/86400";

describe("a relay's client", () => {
  test("gets the address of its port on its link, by the way it asked: each relay what it needs to find the way back", () => {
    const whole = by(says(type.solicit, ia(7)), { more: [id("lan0"), { option: "REMOTE_ID", value: { enterprise: 9, remote_id: Buffer.from("x") } }] }, { more: [id("trunk")] });
    const { message, to } = forward(whole)!;
    expect(to).toBe("fd00:1::10");
    expect(message).toMatchObject({
      msg_type: 13, hop_count: 1, link_address: "::", peer_address: "fe80::77",
      options: [id("trunk"), { option: "RELAY_MSG", value: { msg_type: 13, hop_count: 0, link_address: "fd00:1::1", peer_address: linkLocal(CLIENT), options: [id("lan0"), { option: "RELAY_MSG" }] } }],
    });
    const inner = given(whole)!;
    expect([inner.msg_type, inner.transaction_id, held(inner)]).toEqual([type.advertise, 0xabcdef, [["IA_NA", 7, `fd00:1::20 ${lives}`]]]);
  });

  test("is not told of the name server on the link of the network, which it does not reach: of its subnet's own", async () => {
    const servers = (): unknown => dhcp6Value(given(by(says(type.informationRequest), {}))!, "DNS_SERVERS");
    expect(dhcp6Value(cloud.ask(relay, type.informationRequest, [])!, "DNS_SERVERS")).toEqual(["fe80::a9fe:a9fd"]);
    expect(servers()).toBeUndefined();
    const tell = (dns_nameservers: string[]): Promise<unknown> => cloud.h.call("PUT", `/v2.0/subnets/${first}`, { subnet: { dns_nameservers } });
    await tell(["2001:db8::53"]);
    expect(servers()).toEqual(["2001:db8::53"]);
    await tell([]);
  });

  test("has what it asks for, in all states; what it declines is a problem of its port", () => {
    const ask = (msg_type: number, ...options: Dhcp6Option[]) => given(by(says(msg_type, ...options), {}));
    const mine = [["IA_NA", 7, `fd00:1::20 ${lives}`]];
    expect(held(ask(type.request, server(at), ia(7)))).toEqual(mine);
    expect(held(ask(type.renew, server(at), ia(7, "fd00:1::20")))).toEqual(mine);
    expect(held(ask(type.rebind, ia(7, "fd00:1::20", "fd00:2::20"))), "of another link").toEqual([["IA_NA", 7, `fd00:1::20 ${lives}`, "fd00:2::20 0/0"]]);
    expect(held(ask(type.request, server(at), ia(7, "fd00:2::20"))), "of another link").toEqual([["IA_NA", 7, 4]]);
    expect([statusOf(ask(type.confirm, ia(7, "fd00:1::20"))), statusOf(ask(type.confirm, ia(7, "fd00:2::20")))]).toEqual([0, 4]);
    expect(statusOf(ask(type.release, server(at), ia(7, "fd00:1::20")))).toBe(0);
    expect(ask(type.informationRequest)?.msg_type).toBe(type.reply);
    expect(statusOf(ask(type.decline, server(at), ia(7, "fd00:1::20")))).toBe(0);
    expect(cloud.h.view.facts(declinedAddressTable, behind)).toMatchObject([{ ip: "fd00:1::20" }]);
    expect(dhcpProblems(cloud.h.view)).toMatchObject([{ kind: "address_declined", resources: [{ type: "port", id: behind }, { type: "network", id: net }] }]);
  });

  test("is who the relay next to it says by its MAC (RFC 6939), or as its link-local address is made of; and on the link of the relay next to it that names one", () => {
    const asked = says(type.solicit, ia(7));
    const address = (...hops: Hop[]): unknown => held(given(by(asked, ...hops)))[0];
    const [one, two] = [["IA_NA", 7, `fd00:1::20 ${lives}`], ["IA_NA", 7, `fd00:2::20 ${lives}`]];
    expect(address({ peer_address: "fe80::1234", more: [mac(CLIENT)] })).toEqual(one);
    expect(address({ link_address: "fd00:2::1" })).toEqual(two);
    expect(address({ link_address: "::" }, { link_address: "fd00:2::9" }), "one that bridges, RFC 6221").toEqual(two);
    expect(address({ link_address: "fd00:1::1" }, { link_address: "fd00:2::9" })).toEqual(one);
    expect(address({ peer_address: "fe80::1234" }, { more: [mac(CLIENT)] }), "one further away does not know").toBeUndefined();
  });

  test("asks by all that the relay has, to either group", () => {
    const whole = by(says(type.solicit, ia(7)), {});
    const own = linkLocal(cloud.h.view.get(portTable, relay)!.mac_address);
    for (const [src, dst] of [["fd00:1::10", "ff02::1:2"], [own, "ff02::1:2"], ["fd00:1::99", "ff05::1:3"]] as const) expect(forward(whole, { src, dst })?.to).toBe(src);
  });

  test("may be behind as many relays as there may be on a way, and no more", () => {
    const hops = (n: number): Hop[] => Array.from({ length: n }, (_, i) => ({ more: [id(String(i))] }));
    expect(held(given(by(says(type.solicit, ia(7)), ...hops(9))))).toHaveLength(1);
    expect(forward(by(says(type.solicit, ia(7)), ...hops(10)))).toBeUndefined();
    expect(forward(by(says(type.solicit, ia(7)), ...hops(10).map((h) => ({ ...h, hop_count: 0 }))))).toBeUndefined();
    expect(forward(by(says(type.solicit, ia(7)), { hop_count: 9 }))).toBeUndefined();
    expect(forward(by(says(type.solicit, ia(7)), ...hops(30)))).toBeUndefined();
  });
});

describe("a relay is not told", () => {
  test.each<[what: string, hop: Hop, from?: From]>([
    ["of a port of another project", { more: [mac("fa:16:3e:00:00:0d")] }],
    ["of a port of another project, by its address", { peer_address: linkLocal("fa:16:3e:00:00:0d") }],
    ["of a port of another network", { more: [mac("fa:16:3e:00:00:0e")] }],
    ["of no port", { more: [mac("fa:16:3e:00:00:0f")] }],
    ["of a MAC that is none of Ethernet", { more: [mac(CLIENT, 32)] }],
    ["of an address without a MAC in it, whatever identifier the client has", { peer_address: "fe80::1234" }],
    ["of a link that is not served", { link_address: "fd00:3::1" }],
    ["of a link elsewhere", { link_address: "2001:db8::1" }],
    ["of no link", { link_address: "::" }],
    ["from the address of another, as behind a port without port security", {}, { src: "fd00:1::20" }],
    ["from the link-local address by another MAC", {}, { src: "fe80::1", mac: CLIENT }],
    ["by a group that no server is in", {}, { dst: "ff02::1:3" }],
  ])("%s", (_, hop, from) => {
    expect(forward(by(says(type.solicit, ia(7)), {}))).toBeDefined();
    expect(forward(by(says(type.solicit, ia(7)), hop), from)).toBeUndefined();
  });

  test("anything, and that is a problem of the relay's port until the client is answered", () => {
    const told = (): string[] => dhcpProblems(cloud.h.view).filter((p) => p.kind === "relay_refused").map((p) => p.text);
    const late = "fa:16:3e:00:00:0f";
    expect(forward(by(says(type.solicit, ia(7)), { more: [mac(late)] }))).toBeUndefined();
    expect(told()).toContainEqual(expect.stringMatching(`asks by DHCPv6 for (?:\\S+, )*${late}.* is not answered: its client has the MAC of no port`));
    expect(forward(by(says(type.solicit, ia(7)), { link_address: "2001:db8::1" }))).toBeUndefined();
    expect(told()).toContainEqual(expect.stringMatching(`for ${CLIENT} is not answered: its client is on no subnet with DHCPv6`));
    expect(forward(by(says(type.solicit, ia(7)), {}))).toBeDefined();
    expect(told().filter((text) => text.includes(CLIENT))).toEqual([]);
  });

  test("by a client's message to servers alone, a message without one of a client, or one that is no request", () => {
    expect(forward(says(type.solicit, ia(7)))).toBeUndefined();
    expect(forward({ ...by(says(type.solicit, ia(7)), {}), options: [] })).toBeUndefined();
    expect(forward(by(says(type.reply, server(at), ia(7)), {}))).toBeUndefined();
    expect(forward(by({ ...by(says(type.solicit, ia(7)), {}), msg_type: 13 }, {}))).toBeUndefined();
    expect(forward({ ...by(says(type.solicit, ia(7)), {}), msg_type: 13 })).toBeUndefined();
  });

  test("what does not fit into a packet of the network with what relays have added", async () => {
    const whole = (size: number): Dhcp6Message => by(says(type.solicit, ia(7)), { more: [{ option: "INTERFACE_ID", value: Buffer.alloc(size) }] });
    expect(forward(whole(1000))).toBeDefined();
    const mtu = (await cloud.h.call("GET", `/v2.0/networks/${net}`)).body as { network: { mtu: number } };
    expect(forward(whole(mtu.network.mtu - 60))).toBeUndefined();
  });

  test("anything by what is cut short or changed, but of its own project", () => {
    const whole = buildDhcp6(by(says(type.solicit, ia(7)), { more: [id("lan0"), mac(CLIENT)] }, { more: [id("trunk")] }));
    for (let length = 0; length < whole.length; length++) expect(sent(whole.subarray(0, length)), String(length)).toBeUndefined();
    const random = new SeededRandom(79);
    let answers = 0;
    for (let n = 0; n < 3000; n++) {
      const bytes = Buffer.from(whole);
      for (let i = 0; i < 2; i++) bytes[Math.floor(random.next() * bytes.length)] = Math.floor(random.next() * 256);
      const answer = sent(bytes);
      if (answer === undefined) continue;
      answers += 1;
      expect(JSON.stringify(answer.message)).not.toMatch(/"fd00:[12]::21"/);
    }
    expect(answers).toBeGreaterThan(500);
  });
});
