// What a port says of an address is heard if a host had to believe it, and if the port may say it.
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { arpOps, buildArp, buildEthernet, buildIcmpv6, buildIpv6, buildNeighbourAdvertisement, ethertypes, ipProtocols } from "packet-codec";
import type { AnyTable, PacketIn, Row } from "#app";
import { SimulatedClock } from "../../src/lib/clock.ts";
import { Facts } from "../../src/model/facts.ts";
import { Layer } from "../../src/model/rows.ts";
import { addressTable, heardNeighbourTable, portTable } from "./model.ts";
import { announced } from "./packet-in.ts";

const [OWN, NESTED, OTHER, ROUTER, PAIR] = ["fa:16:3e:00:00:01", "52:54:00:00:00:01", "fa:16:3e:00:00:02", "fa:16:3e:00:00:fe", "02:00:00:00:00:01"];
const log = pino({ level: "silent" });
const [OPEN, SECURED] = [17, 18];

/** A port without port security, one with a prefix at its own MAC and at another's, and a router. */
function cloud(): Layer {
  const view = new Layer();
  const put = (table: AnyTable, row: Row & Record<string, unknown>): void => view.put(table, row);
  const port = (id: string, key: number, mac_address: string, rest: Record<string, unknown> = {}): void =>
    put(portTable, { id, key, network_id: "net", mac_address, device_owner: "", port_security_enabled: true, allowed_address_pairs: [], ...rest });
  port("open", OPEN, OWN, { port_security_enabled: false });
  port("secured", SECURED, OTHER, {
    allowed_address_pairs: [{ ip_address: "10.0.1.0/24", mac_address: "" }, { ip_address: "10.0.2.0/24", mac_address: PAIR }, { ip_address: "10.0.3.0/24", mac_address: ROUTER }],
  });
  port("router", 19, ROUTER, { device_owner: "network:router_interface" });
  put(addressTable, { id: "net/10.0.0.1", network_id: "net", port_id: "open", subnet_id: "s", ip: "10.0.0.1", family: 4, position: 0 });
  return view;
}

function heard(data: Buffer, key = OPEN): object | undefined {
  const packet: PacketIn = { chassis: "hv1", inPort: 5, table: "announced", data, register: ((name: string) => (name === "in_port_key" ? key : 0)) };
  const facts = announced(packet, cloud(), log);
  expect(facts.length).toBeLessThanOrEqual(1);
  return facts[0] === undefined ? undefined : { ip: facts[0].row.id, mac: (facts[0].row as unknown as { mac: string }).mac };
}

interface Announcement {
  readonly src?: string;
  readonly sha?: string;
  readonly spa?: string;
  readonly op?: number;
  readonly vlan?: number;
}
const arp = ({ src = NESTED, sha = src, spa = "10.0.0.9", op = arpOps.request, vlan }: Announcement = {}): Buffer =>
  buildEthernet({ dst: "ff:ff:ff:ff:ff:ff", src, ethertype: ethertypes.arp, ...(vlan !== undefined && { vlan }) }, buildArp({ op, sha, spa, tha: "00:00:00:00:00:00", tpa: spa }));
const edited = (frame: Buffer, at: number, ...bytes: number[]): Buffer => {
  Buffer.from(bytes).copy(frame, at);
  return frame;
};

interface Advertisement {
  readonly src?: string;
  readonly to?: string;
  readonly target?: string;
  readonly hop?: number;
  readonly code?: number;
  readonly solicited?: boolean;
  /** Link-layer addresses, and their lengths as the option says. */
  readonly options?: readonly (readonly [mac: string, length?: number])[];
  readonly fragment?: boolean;
}
function na({ src = NESTED, to = "ff02::1", target = "fd00::9", hop = 255, code = 0, solicited = false, options = [[src]], fragment = false }: Advertisement = {}): Buffer {
  const ends = { src: "fd00::9", dst: to };
  const option = options.map(([mac, length = 1]) => Buffer.concat([Buffer.from([2, length]), Buffer.from(mac.replaceAll(":", ""), "hex"), Buffer.alloc(8 * Math.max(0, length - 1))]));
  const message = buildIcmpv6({ type: 136, code }, Buffer.concat([buildNeighbourAdvertisement({ target, solicited }), ...option]), ends);
  const packet = fragment ? Buffer.concat([Buffer.from([ipProtocols.icmpv6, 0, 0, 0, 0, 0, 0, 1]), message]) : message;
  return buildEthernet({ dst: "33:33:00:00:00:01", src, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: fragment ? 44 : ipProtocols.icmpv6, hop_limit: hop }, packet));
}

describe("heard", () => {
  it.each<[string, Buffer, string, string]>([
    ["ARP, a question", arp(), "10.0.0.9", NESTED],
    ["ARP, an answer of the port's own MAC", arp({ src: OWN, op: arpOps.reply }), "10.0.0.9", OWN],
    ["an advertisement", na(), "fd00::9", NESTED],
    ["one that was asked for", na({ to: "fd00::1", solicited: true }), "fd00::9", NESTED],
    ["one without the option", na({ to: "fd00::1", options: [] }), "fd00::9", NESTED],
  ])("%s", (_, frame, ip, mac) => expect(heard(frame)).toEqual({ ip: `net/${ip}`, mac }));

  it("of a port with port security what its pairs say, at their MACs", () => {
    expect(heard(arp({ src: OTHER, spa: "10.0.1.9" }), SECURED)).toEqual({ ip: "net/10.0.1.9", mac: OTHER });
    expect(heard(arp({ src: PAIR, spa: "10.0.2.9" }), SECURED)).toEqual({ ip: "net/10.0.2.9", mac: PAIR });
    expect(heard(arp({ src: PAIR, spa: "10.0.1.9" }), SECURED)).toBeUndefined();
    expect(heard(arp({ src: ROUTER, spa: "10.0.3.9" }), SECURED), "a pair with a router's MAC").toBeUndefined();
  });
});

describe("not heard", () => {
  const damaged = na();
  damaged[damaged.length - 1]! ^= 1;
  it.each<[string, Buffer]>([
    ["a probe", arp({ spa: "0.0.0.0" })],
    ["its own address", arp({ src: OWN, spa: "10.0.0.1" })],
    ["ARP of another sender than the frame's", arp({ sha: OWN })],
    ["of a port's MAC", arp({ src: OTHER })],
    ["of a router's", arp({ src: ROUTER })],
    ["of a group", arp({ src: "01:00:5e:00:00:01" })],
    ["of all", arp({ src: "ff:ff:ff:ff:ff:ff" })],
    ["of no MAC", arp({ src: "00:00:00:00:00:00" })],
    ["of a group's address", arp({ spa: "224.0.0.5" })],
    ["of everybody's address", arp({ spa: "255.255.255.255" })],
    ["another operation", arp({ op: 3 })],
    ["other hardware", edited(arp(), 14, 0, 6)],
    ["another protocol", edited(arp(), 16, 0x86, 0xdd)],
    ["other lengths", edited(arp(), 18, 8, 4)],
    ["cut off", arp().subarray(0, 30)],
    ["behind a tag", arp({ vlan: 5 })],
    ["an advertisement from afar", na({ hop: 254 })],
    ["of another code", na({ code: 1 })],
    ["damaged", damaged],
    ["cut off, with the rest of it", na().subarray(0, 80)],
    ["of a group's address", na({ target: "ff02::5" })],
    ["of no address", na({ target: "::" })],
    ["to all, as if they had asked", na({ solicited: true })],
    ["of another's MAC", na({ options: [[OTHER]] })],
    ["of two", na({ options: [[NESTED], [OTHER]] })],
    ["of the same twice", na({ options: [[NESTED], [NESTED]] })],
    ["of one of another length", na({ options: [[NESTED, 2]] })],
    ["of one of no length", na({ options: [[NESTED, 0]] })],
    ["of one that is longer than the packet", edited(na(), 14 + 40 + 24 + 1, 4)],
    ["of a router's", na({ src: ROUTER })],
    ["of a group", na({ src: "33:33:00:00:00:01" })],
    ["in a fragment", na({ fragment: true })],
  ])("%s", (_, frame) => expect(heard(frame)).toBeUndefined());
});

it("is kept of every project, though one with a thousand ports says more than all may", () => {
  const view = cloud();
  const facts = new Facts([heardNeighbourTable], new SimulatedClock());
  const hear = (network: string, key: number, spa: string): void => {
    const packet: PacketIn = { chassis: "hv1", inPort: 5, table: "announced", data: arp({ spa }), register: (name: string) => (name === "in_port_key" ? key : 0) };
    expect(view.by(portTable, "key", String(key))[0]?.network_id).toBe(network);
    for (const fact of announced(packet, view, log)) facts.learn(fact);
  };
  const open = (key: number, project_id: string): void =>
    view.put(portTable, { id: `p${key}`, key, network_id: project_id, project_id, mac_address: `fa:16:3e:01:00:${key}`, device_owner: "", port_security_enabled: false, allowed_address_pairs: [] } as never);
  const HOSTILE = 1100;
  for (let n = 0; n < HOSTILE; n++) open(100 + n, "hostile");
  open(2000, "victim");
  const said = Array.from({ length: 64 }, (_, n) => `10.0.0.${n}`);
  for (const ip of said.slice(1)) hear("victim", 2000, ip);
  const flood = (): void => {
    for (let n = 0; n < HOSTILE; n++) for (let m = 0; m < 64; m++) hear("hostile", 100 + n, `10.${n >> 8}.${n & 255}.${m}`);
  };
  flood();
  hear("victim", 2000, said[0]!);
  flood();
  expect(facts.facts(heardNeighbourTable, "p2000").map((f) => f.id).sort()).toEqual(said.map((ip) => `victim/${ip}`).sort());
  expect(facts.counts[0]!.facts).toBe(heardNeighbourTable.limit);
}, 60_000);
