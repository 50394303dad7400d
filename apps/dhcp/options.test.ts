import { describe, expect, it } from "vitest";
import { findDhcp6Option } from "packet-codec";
import { ApiError, type ApiContext, type Caller, type Tx } from "#app";
import { portTable } from "../l2/model.ts";
import { Model } from "../../src/model/model.ts";
import { View } from "../../src/model/view.ts";
import { openStore } from "../../src/store/open.ts";
import { Cloud } from "./dhcp.fixture.ts";
import { Harness } from "../../test/support/harness.ts";
import { extraDhcpOpts, optionsOfIpv4, portExtension } from "./options.ts";
import { extraOptions, OPTIONS_MAX, portDhcpOptsTable } from "./port-options.ts";
import { problems } from "./problems.ts";

const check = (value: unknown): unknown => extraDhcpOpts(value, "extra_dhcp_opts");
const opt = (opt_name: unknown, opt_value: unknown, ip_version: unknown = 4): Record<string, unknown> => ({ opt_name, opt_value, ip_version });

describe("extra_dhcp_opts as given", () => {
  it.each<[string, unknown, unknown]>([
    ["a name", [{ opt_name: "bootfile-name", opt_value: "pxelinux.0" }], [opt("bootfile-name", "pxelinux.0")]],
    ["a number", [opt("150", "10.0.0.7", "4")], [opt("150", "10.0.0.7")]],
    ["the server's address", [opt("server-ip-address", "10.0.0.7")], [opt("server-ip-address", "10.0.0.7")]],
    ["a tag", [opt("tag:!ipxe,67", "a"), opt("tag:ipxe,67", "b")], [opt("tag:!ipxe,67", "a"), opt("tag:ipxe,67", "b")]],
    ["null to delete", [opt("mtu", null)], [opt("mtu", null)]],
    ["an empty router", [opt("router", "")], [opt("router", "")]],
    ["both families", [opt("dns-server", "10.0.0.1"), opt("dns-server", "fd00::1", 6)], [opt("dns-server", "10.0.0.1"), opt("dns-server", "fd00::1", 6)]],
    ["a name that nobody knows, and values of another type", [opt("no-such-option", "x"), opt("mtu", "large"), opt("server-ip-address", "2015::badd")], [opt("no-such-option", "x"), opt("mtu", "large"), opt("server-ip-address", "2015::badd")]],
    ["null", null, []],
    ["nothing", [], []],
  ])("%s is stored", (_, value, stored) => {
    expect(check(value)).toEqual(stored);
  });

  it.each<[string, unknown, number]>([
    ["no opt_value", [{ opt_name: "mtu" }], 400],
    ["no opt_name", [{ opt_value: "1400" }], 400],
    ["an unknown key", [{ ...opt("mtu", "1400"), colour: 1 }], 400],
    ["a family that is none", [opt("mtu", "1400", 5)], 400],
    ["a blank value", [opt("bootfile-name", "")], 400],
    ["a number as value", [opt("mtu", 1400)], 400],
    ["no list", { opt_name: "mtu", opt_value: "1400" }, 400],
    ["an option twice", [opt("mtu", "1400"), opt("mtu", "1500")], 409],
  ])("%s is refused", (_, value, status) => {
    expect(() => check(value)).toThrow(ApiError);
    expect(() => check(value)).toThrow(expect.objectContaining({ status }) as Error);
  });
});

describe("the port's options", () => {
  const setUp = async () => {
    const model = await Model.open(await openStore("memory:", { dataDir: "" }), [portDhcpOptsTable]);
    const port = new Cloud().view.get(portTable, "vm")!;
    const ctx = {} as ApiContext;
    const run = (fn: (tx: Tx) => void) => model.transact({ requestId: "test", call: "test" }, fn);
    const values = (value: unknown) => ({ extra_dhcp_opts: check(value) });
    return {
      shown: (): unknown => portExtension.present!(new View(model.view), port, {} as Caller).extra_dhcp_opts,
      create: (value: unknown) => run((tx) => portExtension.create!(tx, port, values(value), ctx)),
      update: (value: unknown) => run((tx) => portExtension.update!(tx, port, values(value), ctx, port)),
      rename: () => run((tx) => portExtension.update!(tx, port, { name: "x" }, ctx, port)),
      remove: () => run((tx) => portExtension.remove!(tx, port, ctx)),
      row: () => model.view.get(portDhcpOptsTable, "vm"),
    };
  };

  it("merge", async () => {
    const p = await setUp();
    expect(p.shown()).toEqual([]);
    await p.create([opt("mtu", "1400"), opt("domain-name", "a"), opt("tftp-server", null)]);
    expect(p.shown()).toEqual([opt("mtu", "1400"), opt("domain-name", "a")]);
    await p.update([opt("mtu", "1300"), opt("domain-name", null), opt("router", "10.0.0.9"), opt("hostname", null)]);
    expect(p.shown()).toEqual([opt("mtu", "1300"), opt("router", "10.0.0.9")]);
    for (const change of [() => p.update([]), () => p.update(null), p.rename]) {
      await change();
      expect(p.shown()).toEqual([opt("mtu", "1300"), opt("router", "10.0.0.9")]);
    }
    await p.update([opt("mtu", null), opt("router", null)]);
    expect(p.row()).toBeUndefined();
  });

  it("are so many, and so long, as an answer has room for: what is beyond is refused by its name", async () => {
    const p = await setUp();
    const refusal = async (what: () => Promise<unknown>): Promise<string> => what().then(() => "none", (error: unknown) => `${(error as ApiError).status} ${(error as ApiError).message}`);
    const numbered = (from: number, count: number, text: string, version = 4) => Array.from({ length: count }, (_, i) => opt(String(from + i), text, version));
    expect(() => check([opt("bootfile-name", "x".repeat(256))])).toThrow(/^Invalid input for extra_dhcp_opts\. Reason: the value of DHCP option 'bootfile-name' has more than 255 characters\.$/);
    expect(() => check(numbered(100, OPTIONS_MAX + 1, "x"))).toThrow("more than 64 items");
    await p.create([...numbered(128, 30, "00"), ...numbered(128, OPTIONS_MAX - 31, "x", 6)]);
    const before = p.row();
    expect(await refusal(() => p.update(numbered(200, 2, "00")))).toBe("400 Invalid input for extra_dhcp_opts. Reason: with '201' the port would have 65 options, at most 64 may be given.");
    await p.update([opt("128", null), ...numbered(200, 2, "00")]);
    expect(p.row()).not.toEqual(before);
    await p.update([...p.row()!.opts.map(({ opt_name, ip_version }) => opt(opt_name, null, ip_version))]);
    const long = (name: string, tag = "") => opt(`${tag}${name}`, "x".repeat(255));
    // 257 bytes each with code and length; of those for one kind of client alone there is room beside those for others.
    await p.update([long("root-path"), long("bootfile-name", "tag:ipxe,"), long("bootfile-name", "tag:!ipxe,"), long("domain-name")]);
    const room = p.row();
    expect(await refusal(() => p.update([long("nis-domain")]))).toBe("400 Invalid input for extra_dhcp_opts. Reason: with 'nis-domain' the DHCP options of the port take 1028 bytes of an answer, at most 1024 may be taken.");
    expect(p.row()).toEqual(room);
    await p.update([opt("nis-domain", "x".repeat(251))]);
  });

  it("go with the port", async () => {
    const p = await setUp();
    await p.create(null);
    expect(p.row()).toBeUndefined();
    await p.remove();
    await p.update([opt("mtu", "1400")]);
    expect(p.row()).toBeDefined();
    await p.remove();
    expect(p.row()).toBeUndefined();
  });
});

/** What `dnsmasq --help dhcp` and `dnsmasq --help dhcp6` of dnsmasq 2.90 know, which is whose names Neutron's users write. */
const listed = (text: string): [number: string, name: string][] => text.split(",").map((one) => one.trim().split(" ") as [string, string]);
const DNSMASQ = listed(`
  1 netmask, 2 time-offset, 3 router, 6 dns-server, 7 log-server, 9 lpr-server, 13 boot-file-size, 15 domain-name, 16 swap-server, 17 root-path, 18 extension-path,
  19 ip-forward-enable, 20 non-local-source-routing, 21 policy-filter, 22 max-datagram-reassembly, 23 default-ttl, 26 mtu, 27 all-subnets-local, 31 router-discovery,
  32 router-solicitation, 33 static-route, 34 trailer-encapsulation, 35 arp-timeout, 36 ethernet-encap, 37 tcp-ttl, 38 tcp-keepalive, 40 nis-domain, 41 nis-server,
  42 ntp-server, 44 netbios-ns, 45 netbios-dd, 46 netbios-nodetype, 47 netbios-scope, 48 x-windows-fs, 49 x-windows-dm, 58 T1, 59 T2, 60 vendor-class, 64 nis+-domain,
  65 nis+-server, 66 tftp-server, 67 bootfile-name, 68 mobile-ip-home, 69 smtp-server, 70 pop3-server, 71 nntp-server, 74 irc-server, 77 user-class, 80 rapid-commit,
  93 client-arch, 94 client-interface-id, 97 client-machine-id, 100 posix-timezone, 101 tzdb-timezone, 108 ipv6-only, 119 domain-search, 120 sip-server,
  121 classless-static-route, 125 vendor-id-encap, 150 tftp-server-address, 255 server-ip-address`);
const DNSMASQ6 = listed(`
  21 sip-server-domain, 22 sip-server, 23 dns-server, 24 domain-search, 27 nis-server, 28 nis+-server, 29 nis-domain, 30 nis+-domain, 31 sntp-server,
  32 information-refresh-time, 41 posix-timezone, 42 tzdb-timezone, 56 ntp-server, 59 bootfile-url, 60 bootfile-param`);
/** Something of each type. */
const VALUES = ["192.0.2.1", "1", "192.0.2.1,192.0.2.2", "10.0.0.0/8,192.0.2.1", "a.example", "01:02"];

describe("every option", () => {
  const sentBy = (opt_name: string): [number, Buffer][] => VALUES.flatMap((opt_value) => [...extraOptions(optionsOfIpv4, [{ opt_name, opt_value, ip_version: 4 }], false)]);

  it.each(DNSMASQ.filter(([, name]) => name !== "rapid-commit"))("%s is sent by its number and by dnsmasq's name, %s", (number, name) => {
    const byName = sentBy(name);
    expect(byName.length).toBeGreaterThan(0);
    expect(byName.every(([code]) => code === Number(number))).toBe(true);
    if (number !== "255") expect(sentBy(number)).toEqual(byName);
  });

  it("by every number that is not the protocol's own", () => {
    const unsent = Array.from({ length: 254 }, (_, i) => i + 1).filter((code) => sentBy(String(code)).length === 0);
    expect(unsent).toEqual([50, 52, 53, 54, 55, 57, 61, 80, 82]);
  });

  it.each(DNSMASQ6)("of IPv6, %s, by dnsmasq's name %s as well", (number, name) => {
    expect(findDhcp6Option(name)).toBe(Number(number));
    expect(findDhcp6Option(number)).toBe(Number(number));
  });
});

describe("options that no client can be sent", () => {
  it("are told of, by their port", async () => {
    const h = await Harness.make();
    try {
      const network_id = (await h.create("network", {})).id;
      const { id } = await h.create("port", { network_id, name: "odd", extra_dhcp_opts: [opt("no-such-option", "x"), opt("server-ip-address", "2015::badd"), opt("mtu", "1400"), opt("whatever", "y", 6)] });
      await h.settled();
      expect(problems(h.view)).toMatchObject([{ kind: "option_not_sent", resources: [{ type: "port", id }], text: "port odd has DHCP options that are not sent: no-such-option x, server-ip-address 2015::badd" }]);
      expect([...extraOptions(optionsOfIpv4, h.view.get(portDhcpOptsTable, id)!.opts, false).keys()]).toEqual([26]);
      await h.call("PUT", `/v2.0/ports/${id}`, { port: { extra_dhcp_opts: [opt("no-such-option", null), opt("server-ip-address", "10.0.0.7")] } });
      await h.settled();
      expect(problems(h.view)).toEqual([]);
    } finally {
      await h.close();
    }
  });
});
