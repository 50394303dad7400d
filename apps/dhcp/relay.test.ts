// Relay agents, as a machine on the network that asks for clients behind it; and what it is not told.
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { type Counted, type StageOut } from "#app";
import { buildDhcp, buildEthernet, buildIpv4, buildUdp, dhcpMessageType, dhcpMessageTypes as type, ethertypes, ipProtocols, parseDhcp, parsePacket, type DhcpInput, type DhcpMessage, type Packet } from "packet-codec";
import { SeededRandom } from "../../src/lib/random.ts";
import { deviceOwner, networkTable, portTable } from "../l2/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { Cloud, MAC, packetIn } from "./dhcp.fixture.ts";
import { relayRefusalTable, subnetRouteTable } from "./model.ts";
import { dhcpRequest } from "./packet-in.ts";
import { problems } from "./problems.ts";

const CLIENT = "fa:16:3e:00:00:0c";
const VIRTUAL = "00:00:5e:00:01:07";

/** The machine of "vm" has 10.0.0.10, and 10.5.0.1 as which it is the gateway of the subnet of its clients; "client" is plugged nowhere. */
const fresh = (): Cloud => new Cloud()
  .subnet("b", { cidr: "10.5.0.0/24", gateway_ip: "10.5.0.1", dns_nameservers: ["8.8.4.4"] }).address("vm", "b", "10.5.0.1", 1)
  .change(portTable, "vm", { project_id: "p1", allowed_address_pairs: [{ ip_address: "10.0.0.99", mac_address: "" }, { ip_address: "10.0.0.98", mac_address: VIRTUAL }, { ip_address: "10.5.0.128/25", mac_address: "" }] })
  .port("client", 18, { mac_address: CLIENT, project_id: "p1" }).address("client", "v4", "10.0.0.20", 0).address("client", "b", "10.5.0.20", 1);

interface Sent extends Partial<Omit<DhcpInput, "options">> {
  readonly type?: number;
  readonly mac?: string;
  readonly src?: string;
  readonly dst?: string;
  readonly port?: number;
  readonly options?: readonly (readonly [number, string])[];
}
const frameOf = ({ type: messageType = type.discover, mac = MAC, src = "10.0.0.10", dst = "10.0.0.1", port = 67, options = [], ...fields }: Sent): Buffer => {
  const all = new Map<number, Uint8Array>([[53, Buffer.of(messageType)], ...options.map(([code, hex]) => [code, Buffer.from(hex, "hex")] as const)]);
  const udp = buildUdp({ src_port: port, dst_port: 67 }, buildDhcp({ op: 1, xid: 7, hops: 1, giaddr: "10.5.0.1", chaddr: CLIENT, ...fields, options: all }), { src, dst });
  return buildEthernet({ dst: "fa:16:3e:00:00:fe", src: mac, ethertype: ethertypes.ipv4 }, buildIpv4({ src, dst, protocol: ipProtocols.udp }, udp));
};
const told = (cloud: Cloud, data: Buffer): { readonly sent: StageOut[]; readonly counted: string[]; readonly why: string } => {
  let why = "";
  const outs = dhcpRequest(packetIn(data), cloud.view, pino({ level: "debug" }, { write: (line: string) => void (why = (JSON.parse(line) as { why?: string }).why ?? "") }));
  for (const out of outs) if ("fact" in out) cloud.learn(out);
  return { sent: outs.filter((out): out is StageOut => "stage" in out), counted: outs.filter((out): out is Counted => "counted" in out).map((out) => out.value), why };
};
const answered = (cloud: Cloud, sent: Sent): { readonly frame: Packet; readonly message: DhcpMessage; readonly to: unknown } => {
  const [out, ...more] = told(cloud, frameOf(sent)).sent;
  expect(more).toEqual([]);
  const frame = parsePacket(Buffer.from(out!.data));
  return { frame, message: parseDhcp(frame.udp!.payload), to: out!.registers?.out_port_key };
};
const ip = (text: string): string => Buffer.from(text.split(".").map(Number)).toString("hex");

describe("a relay's client", () => {
  it("gets the address of its port in the relay's subnet: by the relay, to its MAC, from as which the server was asked", () => {
    const { frame, message, to } = answered(fresh(), { flags: 0x8000, hops: 3, options: [[82, "0104abcdef01"], [61, "0102"]] });
    expect(to).toBe(17);
    expect(frame.eth).toMatchObject({ src: "fe:ff:ff:ff:ff:01", dst: MAC });
    expect(frame.ipv4).toMatchObject({ src: "10.0.0.1", dst: "10.5.0.1" });
    expect(frame.udp).toMatchObject({ src_port: 67, dst_port: 67, checksumOk: true });
    expect(message).toMatchObject({ op: 2, xid: 7, hops: 3, flags: 0x8000, yiaddr: "10.5.0.20", giaddr: "10.5.0.1", chaddr: CLIENT });
    expect([...message.options.keys()].at(-1), "option 82 is the last one").toBe(82);
    expect(message.options.get(82)!.toString("hex")).toBe("0104abcdef01");
    expect(message.options.get(54)!.toString("hex"), "server identifier").toBe(ip("10.5.0.1"));
  });

  it.each<[string, Sent, number, string]>([
    ["asks for it", { type: type.request, options: [[50, ip("10.5.0.20")], [54, ip("10.5.0.1")]] }, type.ack, "10.5.0.20"],
    ["renews it", { type: type.request, ciaddr: "10.5.0.20" }, type.ack, "10.5.0.20"],
    ["asks for another", { type: type.request, options: [[50, ip("10.0.0.20")]] }, type.nak, "0.0.0.0"],
    ["wants options alone", { type: type.inform, ciaddr: "10.5.0.20" }, type.ack, "0.0.0.0"],
    ["skips the offer", { options: [[80, ""]] }, type.ack, "10.5.0.20"],
  ])("%s", (_, sent, messageType, yiaddr) => {
    const { frame, message } = answered(fresh(), sent);
    expect([dhcpMessageType(message), message.yiaddr, message.giaddr, frame.ipv4!.dst, frame.udp!.dst_port]).toEqual([messageType, yiaddr, "10.5.0.1", "10.5.0.1", 67]);
    expect(message.flags, "a NAK is to be broadcast").toBe(messageType === type.nak ? 0x8000 : 0);
  });

  it("is on the link that the relay selects, which need not be that of its own address (RFC 3527); and knows the server as the relay says (RFC 5107)", () => {
    const link = `0504${ip("10.5.0.77")}`;
    const { message, frame } = answered(fresh(), { giaddr: "10.0.0.10", options: [[82, `0103aabbcc${link}0b04${ip("10.5.0.9")}`]] });
    expect([message.yiaddr, message.giaddr, frame.ipv4!.dst]).toEqual(["10.5.0.20", "10.0.0.10", "10.0.0.10"]);
    expect(message.options.get(54)!.toString("hex")).toBe(ip("10.5.0.9"));
    const override: Sent = { type: type.request, options: [[50, ip("10.5.0.20")], [54, ip("10.5.0.9")], [82, `0b04${ip("10.5.0.9")}`]] };
    expect(dhcpMessageType(answered(fresh(), override).message)).toBe(type.ack);
    expect(answered(fresh(), { giaddr: "10.0.0.10" }).message.yiaddr, "without: on that of its own").toBe("10.0.0.20");
  });

  it("asks by all that the relay has: a pair of one address, at that pair's MAC; all servers, who answer from no address of its own", () => {
    expect(answered(fresh(), { giaddr: "10.0.0.99", src: "10.0.0.99" }).message.yiaddr).toBe("10.0.0.20");
    const virtual = answered(fresh(), { giaddr: "10.0.0.98", src: "10.0.0.98", mac: VIRTUAL });
    expect([virtual.message.yiaddr, virtual.frame.eth.dst, virtual.frame.ipv4!.dst]).toEqual(["10.0.0.20", VIRTUAL, "10.0.0.98"]);
    expect(answered(fresh(), { dst: "255.255.255.255" }).frame.ipv4).toMatchObject({ src: "10.0.0.1", dst: "10.5.0.1" });
    expect(answered(fresh(), { dst: "255.255.255.255", src: "10.5.0.1" }).frame.ipv4).toMatchObject({ src: "169.254.0.1", dst: "10.5.0.1" });
  });

  it("is not told of what is on the link of the network alone", () => {
    const cloud = fresh().change(subnetTable, "b", { dns_nameservers: [] });
    expect(cloud.view.by(subnetRouteTable, "subnet", "b")).toMatchObject([{ destination: "169.254.169.253/32", nexthop: "0.0.0.0" }]);
    const { options } = answered(cloud, {}).message;
    expect([options.has(6), options.has(121)]).toEqual([false, false]);
    const { options: own } = answered(cloud.change(subnetTable, "b", { dns_nameservers: ["192.0.2.53"] }), {}).message;
    expect(own.get(6)?.toString("hex"), "its subnet's own, which routes lead to").toBe(ip("192.0.2.53"));
  });

  it("declines: a problem of its port, not of the relay's", () => {
    const cloud = fresh();
    expect(told(cloud, frameOf({ type: type.decline, options: [[50, ip("10.5.0.20")], [54, ip("10.5.0.1")]] })).sent).toEqual([]);
    expect(problems(cloud.view)).toMatchObject([{ kind: "address_declined", resources: [{ type: "port", id: "client" }, { type: "network", id: "net" }] }]);
    expect(told(cloud, frameOf({ type: type.release, ciaddr: "10.5.0.20", options: [[54, ip("10.5.0.1")]] })).sent).toEqual([]);
  });
});

describe("a relay is not told", () => {
  const shared = (): Cloud => fresh().port("theirs", 19, { mac_address: "fa:16:3e:00:00:0d", project_id: "p2" }).address("theirs", "b", "10.5.0.21", 0);
  const elsewhere = (): Cloud => fresh().put(networkTable, { ...fresh().view.get(networkTable, "net")!, id: "other", key: 101 }).port("far", 20, { mac_address: "fa:16:3e:00:00:0e", project_id: "p1", network_id: "other" });
  const [NOT_ITS_OWN, NO_PORT, NO_SUBNET, NOT_WITH_IT] = [/from an address that its port has not/, /MAC of no port of the relay's project/, /on no subnet with DHCP/, /giaddr.*is none of its port/];
  it.each<[what: string, why: RegExp, cloud: Cloud, sent: Sent]>([
    ["of a port of another project", NO_PORT, shared(), { chaddr: "fa:16:3e:00:00:0d" }],
    ["of a port of another network", NO_PORT, elsewhere(), { chaddr: "fa:16:3e:00:00:0e" }],
    ["of no port", NO_PORT, fresh(), { chaddr: "fa:16:3e:00:00:0f" }],
    ["of a port that is down", /port is down/, fresh().change(portTable, "client", { admin_state_up: false }), {}],
    ["of a port that the network has for itself", NO_PORT, fresh().change(portTable, "client", { device_owner: deviceOwner.routerInterface }), {}],
    ["of a port without an address there", /without an address/, fresh().subnet("c", { cidr: "10.6.0.0/24" }).address("vm", "c", "10.6.0.1", 2), { giaddr: "10.6.0.1" }],
    ["as who it is not: giaddr of another port", NOT_WITH_IT, fresh(), { giaddr: "10.0.0.20" }],
    ["as who it is not: giaddr of nobody", NOT_WITH_IT, fresh(), { giaddr: "10.5.0.7" }],
    ["as who it is not: giaddr of another network", NOT_WITH_IT, fresh(), { giaddr: "192.168.1.1" }],
    ["by a prefix that it may send from: a relay has an address", NOT_ITS_OWN, fresh(), { giaddr: "10.5.0.129", src: "10.5.0.129" }],
    ["from the address of another, as behind a port without port security", NOT_ITS_OWN, fresh(), { src: "10.0.0.20" }],
    ["by another MAC", NOT_ITS_OWN, fresh(), { mac: VIRTUAL }],
    ["by its own MAC from a pair's address that has another", NOT_ITS_OWN, fresh(), { src: "10.0.0.98" }],
    ["from a client's port", /not from a relay's port/, fresh(), { port: 68 }],
    ["for itself, without giaddr", /another MAC than the port's/, fresh(), { giaddr: "0.0.0.0" }],
    ["of a subnet without DHCP", NO_SUBNET, fresh().change(subnetTable, "b", { enable_dhcp: false }), {}],
    ["of a link that it selects elsewhere", NO_SUBNET, fresh(), { options: [[82, `0504${ip("192.168.1.1")}`]] }],
    ["of what is for another server", /another server was chosen/, fresh(), { type: type.request, options: [[50, ip("10.5.0.20")], [54, ip("10.5.0.77")]] }],
  ])("%s", (_, why, cloud, sent) => {
    expect(told(cloud, frameOf(sent))).toEqual({ sent: [], counted: ["none"], why: expect.stringMatching(why) as string });
  });

  it("of a link or server that is no address", () => {
    for (const agent of ["0503010203", "050501020304ff", "0b0101"]) expect(told(fresh(), frameOf({ options: [[82, agent]] })), agent).toMatchObject({ sent: [], counted: ["malformed"] });
  });

  it("of what is cut short: any beginning of its message, and any with bytes changed, ends without harm", () => {
    const cloud = fresh();
    const whole = frameOf({ options: [[82, `0104abcdef010504${ip("10.5.0.1")}`]] });
    for (let length = 0; length < whole.length; length++) expect(told(cloud, whole.subarray(0, length)).sent).toEqual([]);
    const random = new SeededRandom(82);
    for (let n = 0; n < 3000; n++) {
      const bytes = Buffer.from(whole);
      // Of the DHCP message: who sent it is the switch's to say.
      for (let i = 0; i < 3; i++) bytes[42 + Math.floor(random.next() * (bytes.length - 42))] = Math.floor(random.next() * 256);
      for (const { data } of told(cloud, bytes).sent) expect(["10.0.0.20", "10.5.0.20", "10.0.0.10", "10.5.0.1", "0.0.0.0"]).toContain(parseDhcp(parsePacket(Buffer.from(data)).udp!.payload).yiaddr);
    }
  });
});

describe("a relay that asks in vain", () => {
  it("is a problem of its port, one for all clients and each reason, until they are answered", () => {
    const cloud = fresh();
    const texts = (): string[] => problems(cloud.view).map((p) => `${p.kind}: ${p.text}`);
    for (const chaddr of ["fa:16:3e:00:00:0f", "fa:16:3e:00:00:0e", "fa:16:3e:00:00:0f"]) told(cloud, frameOf({ chaddr }));
    told(cloud, frameOf({ giaddr: "10.5.0.7" }));
    const asks = "relay_refused: what the relay agent at port vm asks by DHCPv4 for";
    expect(texts()).toEqual([
      `${asks} fa:16:3e:00:00:0e, fa:16:3e:00:00:0f is not answered: its client has the MAC of no port of the relay's project in the relay's network`, `${asks} ${CLIENT} is not answered: its relay's address (giaddr) is none of its port`,
    ]);
    expect(problems(cloud.view)[0]).toMatchObject({ severity: "warning", resources: [{ type: "port", id: "vm" }, { type: "network", id: "net" }], cure: { text: expect.stringContaining("make a port with the client's MAC") as string } });
    // Another client's answer mends nothing of theirs, its own does.
    answered(cloud, {});
    expect(texts()).toEqual([expect.stringContaining("fa:16:3e:00:00:0e, fa:16:3e:00:00:0f")]);
    cloud.port("late", 21, { mac_address: "fa:16:3e:00:00:0f", project_id: "p1" }).address("late", "b", "10.5.0.22", 0);
    answered(cloud, { chaddr: "fa:16:3e:00:00:0f" });
    expect(texts()).toEqual([`${asks} fa:16:3e:00:00:0e is not answered: its client has the MAC of no port of the relay's project in the relay's network`]);
  });

  it("is none where clients are answered, and where what it asks is for another server", () => {
    const cloud = fresh();
    answered(cloud, {});
    told(cloud, frameOf({ type: type.request, options: [[50, ip("10.5.0.20")], [54, ip("10.5.0.77")]] }));
    expect(problems(cloud.view)).toEqual([]);
  });

  it("however many clients it says it has, some of them are remembered", () => {
    const cloud = fresh();
    for (let n = 0; n < 300; n++) told(cloud, frameOf({ chaddr: `fa:16:3e:11:00:${n.toString(16).padStart(3, "0").slice(-2)}` }));
    expect(cloud.view.facts(relayRefusalTable)).toHaveLength(8);
  });
});
