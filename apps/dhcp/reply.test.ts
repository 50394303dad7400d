import { pino } from "pino";
import { describe, expect, it } from "vitest";
import type { Out, StageOut } from "#app";
import { dhcpMessageType, dhcpMessageTypes as type, parseDhcp, parsePacket } from "packet-codec";
import { addressId, addressTable, networkTable } from "../l2/model.ts";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { Cloud, dhcpFrame, dhcpText, packetIn, type Request } from "./dhcp.fixture.ts";
import { portDhcpOptsTable, type DhcpOpt } from "./model.ts";
import { dhcpRequest } from "./packet-in.ts";
import { problems } from "./problems.ts";

const fresh = (): Cloud => new Cloud();

const log = pino({ level: "silent" });
/** What common clients ask for. */
const LINUX = [1, 28, 2, 3, 15, 6, 12, 42, 121, 26];

const sentOf = (outs: readonly Out[]): Buffer[] => outs.filter((out): out is StageOut => "stage" in out).map((out) => Buffer.from(out.data));
const ask = (cloud: Cloud, request: Request): Buffer[] => sentOf(dhcpRequest(packetIn(dhcpFrame(request)), cloud.view, log));
const one = (cloud: Cloud, request: Request) => {
  const [frame, ...more] = ask(cloud, request);
  expect(more).toEqual([]);
  const { eth, ipv4, udp } = parsePacket(frame!);
  return { eth, ipv4: ipv4!, message: parseDhcp(udp!.payload) };
};
const opts = (...list: [name: string, value: string][]): Cloud =>
  fresh().put(portDhcpOptsTable, { id: "vm", opts: list.map(([opt_name, opt_value]): DhcpOpt => ({ opt_name, opt_value, ip_version: 4 })) });
const v4 = (changes: Partial<Subnet>): Cloud => fresh().change(subnetTable, "v4", changes);

describe("golden replies", () => {
  const routes = [{ destination: "192.168.0.0/16", nexthop: "10.0.0.2" }, { destination: "172.16.1.0/25", nexthop: "10.0.0.3" }];
  const discover = { type: type.discover, list: LINUX };
  const cases: [what: string, cloud: Cloud, request: Request][] = [
    ["discover", fresh(), discover],
    ["discover without a request list", v4({ host_routes: routes }), { type: type.discover }],
    ["discover with the broadcast flag", fresh(), { ...discover, flags: 0x8000 }],
    ["discover with a client id", fresh(), { ...discover, clientId: "01:fa:16:3e:00:00:01" }],
    ["discover, routes asked for in both spellings", v4({ host_routes: routes }), { type: type.discover, list: [1, 3, 121, 249] }],
    ["discover, no gateway and no nameservers", v4({ gateway_ip: null, dns_nameservers: [] }), discover],
    ["discover, no gateway but a default host route", v4({ gateway_ip: null, host_routes: [{ destination: "0.0.0.0/0", nexthop: "10.0.0.9" }] }), discover],
    ["discover, gateway outside the subnet", v4({ gateway_ip: "10.9.9.9" }), discover],
    ["discover, MTU of the network", fresh().change(networkTable, "net", { mtu: 1300 }), { type: type.discover, list: [26] }],
    ["discover, router overridden beside host routes", opts(["router", "10.0.0.254"]).change(subnetTable, "v4", { host_routes: routes }), discover],
    ["discover of a boot ROM", opts(["bootfile-name", "pxelinux.0"], ["tftp-server", "10.0.0.7"], ["server-ip-address", "10.0.0.7"], ["150", "10.0.0.7"]), { type: type.discover, list: [1, 3, 66, 67, 150] }],
    ["discover, options of the subnet overridden", opts(["router", "10.0.0.254"], ["dns-server", "1.1.1.1"], ["mtu", "1400"], ["domain-name", "example.org"], ["lease-time", "600"]), discover],
    ["request, selecting", fresh(), { type: type.request, requested: "10.0.0.10", server: "10.0.0.1", list: LINUX }],
    ["request, selecting, wrong address", fresh(), { type: type.request, requested: "10.0.0.11", server: "10.0.0.1", list: LINUX, clientId: "01:02" }],
    ["request, init-reboot", fresh(), { type: type.request, requested: "10.0.0.10", list: LINUX }],
    ["request, init-reboot, wrong network", fresh(), { type: type.request, requested: "192.168.7.7", list: LINUX }],
    ["request, renewing or rebinding", fresh(), { type: type.request, ciaddr: "10.0.0.10", list: LINUX }],
    ["request, renewing, address lost", fresh(), { type: type.request, ciaddr: "10.0.0.11", list: LINUX }],
    ["inform", fresh(), { type: type.inform, ciaddr: "10.0.0.10", list: LINUX }],
    ["discover with rapid commit", fresh(), { ...discover, more: [[80, Buffer.alloc(0)]] }],
    ["discover with what a relay in between has added", fresh(), { ...discover, more: [[82, Buffer.from("0104abcdef01", "hex")]] }],
    ["request, wrong address, with what a relay in between has added", fresh(), { type: type.request, requested: "10.0.0.11", more: [[82, Buffer.from("0104abcdef01", "hex")]] }],
  ];
  it("are as reviewed", async () => {
    const text = cases.map(([what, cloud, request]) => `# ${what}\n${ask(cloud, request).map(dhcpText).join("\n")}\n`).join("\n");
    await expect(text).toMatchFileSnapshot("golden/replies.txt");
  });
});

describe("no reply", () => {
  const cases: [what: string, cloud: Cloud, request: Request][] = [
    ["release", fresh(), { type: type.release, ciaddr: "10.0.0.10", server: "10.0.0.1" }],
    ["decline", fresh(), { type: type.decline, requested: "10.0.0.10", server: "10.0.0.1" }],
    ["another server was chosen", fresh(), { type: type.request, requested: "10.0.0.10", server: "10.0.0.77" }],
    ["request that names no address", fresh(), { type: type.request }],
    ["another client's MAC", fresh(), { type: type.discover, chaddr: "fa:16:3e:00:00:02" }],
    ["a reply", fresh(), { type: type.offer, op: 2 }],
    ["an unknown message type", fresh(), { type: 99 }],
    ["a relay's", fresh(), { type: type.discover, giaddr: "10.0.0.5" }],
    ["DHCP switched off", v4({ enable_dhcp: false }), { type: type.discover }],
    ["requested address of five bytes", fresh(), { type: type.discover, more: [[50, Buffer.alloc(5)]] }],
  ];
  it.each(cases)("to %s", (_, cloud, request) => {
    expect(ask(cloud, request)).toEqual([]);
  });

  it("to any beginning of a request", () => {
    const { view } = fresh();
    const frame = dhcpFrame({ type: type.discover, list: LINUX });
    for (let length = 0; length < frame.length; length++) expect(sentOf(dhcpRequest(packetIn(frame.subarray(0, length)), view, log))).toEqual([]);
  });

  it("to a port that is gone", () => {
    expect(dhcpRequest(packetIn(dhcpFrame({ type: type.discover }), { in_port_key: 1 }), fresh().view, log)).toEqual([]);
  });
});

describe("an address that the machine declines", () => {
  const decline = (fields: Partial<Request> = {}): Buffer => dhcpFrame({ type: type.decline, requested: "10.0.0.10", server: "10.0.0.1", ...fields });
  const say = (cloud: Cloud, frame: Buffer, lines: string[] = []): void => {
    for (const out of dhcpRequest(packetIn(frame), cloud.view, pino({}, { write: (line: string) => lines.push(line) }))) if ("fact" in out) cloud.learn(out);
  };

  it("is a problem of its port, told of once, as long as the port has it", () => {
    const cloud = fresh();
    const lines: string[] = [];
    for (let n = 0; n < 3; n++) say(cloud, decline(), lines);
    expect(lines.map((l) => JSON.parse(l) as unknown)).toMatchObject([{ level: 30, port: "vm", address: "10.0.0.10", msg: "DHCP client declined its address" }]);
    expect(problems(cloud.view)).toMatchObject([{ kind: "address_declined", severity: "warning", resources: [{ type: "port", id: "vm" }, { type: "network", id: "net" }], text: expect.stringContaining("10.0.0.10") as string }]);
    expect(problems(cloud.change(addressTable, addressId("net", "10.0.0.10"), { port_id: "other" }).view)).toEqual([]);
  });

  it.each<[string, Partial<Request>]>([["another's", { requested: "10.0.0.11" }], ["one of another server", { server: "10.0.0.77" }]])("is none that is %s", (_, fields) => {
    const cloud = fresh();
    say(cloud, decline(fields));
    expect(problems(cloud.view)).toEqual([]);
  });

  it("is offered after the port's others, and still its own", () => {
    const cloud = fresh().subnet("b", { cidr: "10.1.0.0/16", gateway_ip: "10.1.0.1" }).address("vm", "b", "10.1.0.10", 1);
    expect(one(cloud, { type: type.discover }).message.yiaddr).toBe("10.0.0.10");
    say(cloud, decline());
    expect(one(cloud, { type: type.discover }).message.yiaddr).toBe("10.1.0.10");
    expect(dhcpMessageType(one(cloud, { type: type.request, requested: "10.0.0.10" }).message)).toBe(type.ack);
    say(cloud, decline({ requested: "10.1.0.10", server: "10.1.0.1" }));
    expect(one(cloud, { type: type.discover }).message.yiaddr).toBe("10.0.0.10");
    expect(problems(cloud.view)).toHaveLength(2);
  });
});

describe("a port with several addresses", () => {
  const cloud = fresh().subnet("b", { cidr: "10.1.0.0/16", gateway_ip: "10.1.0.1" }).address("vm", "b", "10.1.0.10", 1);
  it("is offered the first, or the one it asks for", () => {
    expect(one(cloud, { type: type.discover }).message.yiaddr).toBe("10.0.0.10");
    expect(one(cloud, { type: type.discover, requested: "10.1.0.10" }).message.yiaddr).toBe("10.1.0.10");
    expect(one(cloud, { type: type.discover, requested: "10.2.0.10" }).message.yiaddr).toBe("10.0.0.10");
  });
  it("may choose the server of either subnet", () => {
    expect(one(cloud, { type: type.request, requested: "10.1.0.10", server: "10.1.0.1" }).ipv4.src).toBe("10.1.0.1");
  });
  it("skips subnets without DHCP", () => {
    const off = fresh().subnet("b", { cidr: "10.1.0.0/16" }).address("vm", "b", "10.1.0.10", 1).change(subnetTable, "v4", { enable_dhcp: false });
    expect(one(off, { type: type.discover }).message.yiaddr).toBe("10.1.0.10");
  });
});

describe("extra options", () => {
  const bootfile = (cloud: Cloud, more: [number, Buffer][]): string => one(cloud, { type: type.discover, list: [67], more }).message.file;
  it("follow the tag of iPXE", () => {
    const cloud = opts(["tag:!ipxe,67", "undionly.kpxe"], ["tag:ipxe,67", "http://10.0.0.7/boot.ipxe"]);
    expect(bootfile(cloud, [])).toBe("undionly.kpxe");
    expect(bootfile(cloud, [[175, Buffer.of(1)]])).toBe("http://10.0.0.7/boot.ipxe");
    expect(bootfile(cloud, [[77, Buffer.from("iPXE")]])).toBe("http://10.0.0.7/boot.ipxe");
  });
  it("of no value keep an option from being sent", () => {
    const routed = opts(["router", ""], ["classless-static-route", ""]).change(subnetTable, "v4", { host_routes: [{ destination: "10.5.0.0/16", nexthop: "10.0.0.2" }] });
    const { options } = one(routed, { type: type.discover, list: [1, 3, 121, 249] }).message;
    expect([3, 121, 249].filter((c) => options.has(c))).toEqual([]);
  });
});

describe("size", () => {
  const long = "x".repeat(200);
  const big = opts(["bootfile-name", long], ["root-path", long], ["domain-name", long]);
  it("of a reply is what every client takes, unless the client says more: what does not fit goes into the fields of names", () => {
    const small = one(big, { type: type.discover, list: [67, 17, 15, 3] });
    expect(small.ipv4.total_length).toBeLessThanOrEqual(576);
    // No room has 200 bytes left; the rest is there.
    expect([...small.message.options.keys()]).toEqual([53, 54, 51, 58, 59, 1, 67, 3]);
    const large = one(big, { type: type.discover, list: [67, 17, 15, 3], maxSize: 1500 });
    expect([67, 17, 15, 3].every((c) => large.message.options.has(c))).toBe(true);
  });

  it("is kept with option overload, in fields that hold no name", () => {
    const text = (n: number): string => "x".repeat(n);
    const wide = (more: [string, string][] = []): Cloud => opts(["root-path", text(200)], ["domain-name", text(100)], ["nis-domain", text(50)], ...more);
    const list = [17, 15, 40, 3];
    const { ipv4, message } = one(wide(), { type: type.discover, list });
    expect(ipv4.total_length).toBeLessThanOrEqual(576);
    expect(list.every((c) => message.options.has(c))).toBe(true);
    expect([message.sname, message.file]).toEqual(["", ""]);
    // Names stay, and options that would lie in their place are left out.
    const boots = one(wide([["bootfile-name", "pxelinux.0"], ["tftp-server", "10.0.0.7"]]), { type: type.discover, list: [...list, 67] });
    expect([boots.message.file, boots.message.sname]).toEqual(["pxelinux.0", "10.0.0.7"]);
    expect(list.filter((c) => boots.message.options.has(c))).toEqual([17, 40, 3]);
    expect(boots.message.options.get(67)?.toString()).toBe("pxelinux.0");
  });

  it("has room for what a relay in between has added, unless that fills it alone", () => {
    const agent = (n: number): [number, Buffer][] => [[82, Buffer.alloc(n, 1)]];
    expect([...one(big, { type: type.discover, list: [67, 17, 15, 3], more: agent(40) }).message.options].at(-1)).toEqual([82, Buffer.alloc(40, 1)]);
    const filled = one(fresh(), { type: type.discover, list: LINUX, more: agent(400) });
    expect(filled.message.options.has(82)).toBe(false);
    expect(filled.message.yiaddr).toBe("10.0.0.10");
  });
});

it("is counted by what it is answered with", () => {
  const said = (frame: Buffer): unknown[] => dhcpRequest(packetIn(frame), fresh().view, log).flatMap((out) => ("counted" in out ? [out.value] : []));
  const request = (fields: Partial<Request>): Buffer => dhcpFrame({ type: type.request, ...fields });
  expect([
    dhcpFrame({ type: type.discover }), request({ requested: "10.0.0.10" }), request({ requested: "10.0.0.11" }), dhcpFrame({ type: type.release }), dhcpFrame({ type: type.discover, more: [[50, Buffer.alloc(5)]] }),
  ].flatMap(said)).toEqual(["offer", "ack", "nak", "none", "malformed"]);
});
