import { describe, expect, test } from "vitest";

import { buildDhcp, dhcpMessageType, dhcpMessageTypes, parseDhcp, wantsBroadcast } from "./dhcp.ts";
import type { DhcpInput } from "./dhcp.ts";
import { dhcpOptionName, dhcpOptions, findDhcpOption } from "./option-table.ts";
import { decodeDhcpAddresses, decodeDhcpOption, encodeDhcpOption } from "./options.ts";
import { decodeClasslessRoutes, encodeClasslessRoutes } from "./routes.ts";
import { PacketValueError } from "../wire/errors.ts";
import { parsePacket } from "../frame/packet.ts";
import { failure, frame, hex } from "../testing/vectors.ts";

const mac = "fa:16:3e:00:00:01";

/** The fixed part up to and with the cookie, of a request from `mac`. */
function fixed(sname = "", file = ""): string {
  return "01010600 0000abcd 0000 8000" + "00".repeat(16) + "fa163e000001" + "00".repeat(10)
    + sname.replaceAll(" ", "").padEnd(128, "0") + file.replaceAll(" ", "").padEnd(256, "0") + "63825363";
}

describe("captured", () => {
  test("discover of udhcpc", () => {
    const message = parseDhcp(parsePacket(frame("dhcp discover of udhcpc")).udp!.payload);
    expect(message).toEqual({
      op: 1, htype: 1, hlen: 6, hops: 0, xid: 0x71cb1430, secs: 0, flags: 0, ciaddr: "0.0.0.0", yiaddr: "0.0.0.0",
      siaddr: "0.0.0.0", giaddr: "0.0.0.0", chaddr: mac, sname: "", file: "",
      options: new Map([
        [53, hex("01")], [57, hex("0240")], [55, hex("0103060c0f1c2a")], [12, Buffer.from("vm1")],
        [60, Buffer.from("udhcp 1.35.0")], [61, hex("01fa163e000001")],
      ]),
    });
    expect(dhcpMessageType(message)).toBe(dhcpMessageTypes.discover);
    expect(wantsBroadcast(message)).toBe(false);
    expect(decodeDhcpOption(55, message.options.get(55)!)).toBe("1,3,6,12,15,28,42");
    expect(decodeDhcpOption(57, message.options.get(57)!)).toBe("576");
  });

  test.each(["dhcp discover of udhcpc", "dhcp discover of dhclient"])("%s is built again byte by byte", (name) => {
    const { payload } = parsePacket(frame(name)).udp!;
    expect(buildDhcp(parseDhcp(payload)).toString("hex")).toBe(payload.toString("hex"));
  });
});

describe("messages", () => {
  const offer: DhcpInput = {
    op: 2, xid: 0xabcd, flags: 0x8000, yiaddr: "192.0.2.10", siaddr: "192.0.2.2", giaddr: "192.0.2.3", chaddr: mac,
    sname: "server", file: "pxelinux.0", secs: 7, hops: 1,
    options: new Map([[53, Buffer.of(2)], [1, hex("ffffff00")], [80, Buffer.alloc(0)], [51, hex("00015180")]]),
  };

  test("an offer is laid out as RFC 2131 figure 1 draws it", () => {
    const bytes = buildDhcp(offer);
    expect(bytes.length).toBe(300);
    expect(bytes.subarray(0, 44)).toEqual(hex(`02010601 0000abcd 0007 8000 00000000 c000020a c0000202 c0000203
      fa163e000001 00000000000000000000`));
    expect(bytes.toString("latin1", 44, 51)).toBe("server\0");
    expect(bytes.toString("latin1", 108, 119)).toBe("pxelinux.0\0");
    expect(bytes.subarray(236, 263)).toEqual(hex("63825363 350102 0104ffffff00 5000 330400015180 ff 0000000000"));
    expect(parseDhcp(bytes)).toEqual({ ...offer, htype: 1, hlen: 6, ciaddr: "0.0.0.0" });
  });

  test("long options are split and joined again", () => {
    for (const length of [0, 1, 254, 255, 256, 510, 511, 2000]) {
      const value = Buffer.from(Array.from({ length }, (_, at) => at & 0xff));
      const bytes = buildDhcp({ ...offer, options: new Map([[119, value], [53, Buffer.of(5)]]) });
      expect(parseDhcp(bytes).options).toEqual(new Map([[119, value], [53, Buffer.of(5)]]));
      const parts = Math.max(1, Math.ceil(length / 255));
      expect(bytes.length).toBe(Math.max(300, 240 + length + 2 * parts + 3 + 1));
    }
  });

  test("parts of an option are joined across option field, file and sname, in that order", () => {
    const bytes = hex(fixed("0c0163 ff", "0c0162 0f0178 ff") + "340103 0c0161 350101 ff");
    const message = parseDhcp(bytes);
    expect(message.options).toEqual(new Map([[12, Buffer.from("abc")], [53, Buffer.of(1)], [15, Buffer.from("x")]]));
    expect(message).toMatchObject({ sname: "", file: "" });
  });

  test("options are written into file and sname, and read back in that order", () => {
    const rest = { file: new Map([[17, Buffer.alloc(125, 0x61)]]), sname: new Map([[15, Buffer.from("x")], [14, Buffer.alloc(58, 0x62)]]) };
    for (const [overload, flag] of [[{ file: rest.file }, 1], [{ sname: rest.sname }, 2], [rest, 3]] as const) {
      const bytes = buildDhcp({ ...offer, sname: "", file: "", overload });
      expect(bytes.subarray(240, 243)).toEqual(Buffer.of(52, 1, flag));
      expect(parseDhcp(bytes).options).toEqual(new Map([...offer.options, ...("file" in overload ? overload.file : []), ...("sname" in overload ? overload.sname : [])]));
    }
    for (const overload of [{ file: new Map([[17, Buffer.alloc(126)]]) }, { sname: new Map([[17, Buffer.alloc(62)]]) }]) {
      expect(() => buildDhcp({ ...offer, sname: "", file: "", overload })).toThrow(RangeError);
    }
    expect(() => buildDhcp({ ...offer, overload: { file: rest.file } }), "a name and options").toThrow(RangeError);
  });

  test("only the field named by overload holds options", () => {
    expect(parseDhcp(hex(fixed("6162", "0c0162 ff") + "340101 ff"))).toMatchObject({ sname: "ab", file: "", options: new Map([[12, Buffer.from("b")]]) });
    expect(parseDhcp(hex(fixed("0c0162 ff", "6364") + "340102 ff"))).toMatchObject({ sname: "", file: "cd", options: new Map([[12, Buffer.from("b")]]) });
  });

  test("pad is skipped, nothing is read behind end, a missing end is forgiven", () => {
    expect(parseDhcp(hex(fixed() + "0000 350101 00 ff 0c0161")).options).toEqual(new Map([[53, Buffer.of(1)]]));
    expect(parseDhcp(hex(fixed() + "350101")).options).toEqual(new Map([[53, Buffer.of(1)]]));
    expect(parseDhcp(hex(fixed())).options.size).toBe(0);
  });

  test("names without a terminator fill their field", () => {
    expect(parseDhcp(hex(fixed("61".repeat(64), "62".repeat(128)))).file).toBe("b".repeat(128));
  });

  test.each([
    ["a hardware address of 17 bytes", fixed().replace("010106", "010111"), "PACKET_MALFORMED", 2],
    ["a wrong cookie", fixed().replace("63825363", "63825364"), "PACKET_MALFORMED", 236],
    ["an option without length", `${fixed()}35`, "PACKET_TRUNCATED", 241],
    ["an option that runs out", `${fixed()}350201`, "PACKET_TRUNCATED", 243],
    ["overload 0", `${fixed()}340100ff`, "PACKET_MALFORMED", 240],
    ["overload 4", `${fixed()}340104ff`, "PACKET_MALFORMED", 240],
    ["overload of two bytes", `${fixed()}34020101ff`, "PACKET_MALFORMED", 240],
    ["an option that runs out of file", `${fixed("", `${"00".repeat(126)}0c05`)}340101ff`, "PACKET_TRUNCATED", 236],
    ["an option that runs out of sname", `${fixed(`${"00".repeat(62)}0c05`)}340102ff`, "PACKET_TRUNCATED", 108],
  ])("%s", (_, bytes, code, offset) => {
    expect(failure(() => parseDhcp(hex(bytes)))).toMatchObject({ code, offset });
  });

  test("hardware addresses of other sizes", () => {
    for (const chaddr of ["", "01", Array<string>(16).fill("ab").join(":")]) {
      expect(parseDhcp(buildDhcp({ ...offer, chaddr }))).toMatchObject({ chaddr, hlen: chaddr === "" ? 0 : (chaddr.length + 1) / 3 });
    }
  });

  test.each([
    ["pad as an option", { options: new Map([[0, Buffer.of(1)]]) }],
    ["end as an option", { options: new Map([[255, Buffer.of(1)]]) }],
    ["overload as an option", { options: new Map([[52, Buffer.of(1)]]) }],
    ["a file name above 127 bytes", { file: "x".repeat(128) }],
    ["a server name above 63 bytes", { sname: "x".repeat(64) }],
    ["a bad address", { yiaddr: "nowhere" }],
    ["a bad hardware address", { chaddr: "fa:16" + ":00".repeat(15) }],
    ["a bad number", { secs: 65536 }],
  ])("%s is refused", (_, change) => {
    expect(() => buildDhcp({ ...offer, ...change })).toThrow(RangeError);
  });

  test("a message type of the wrong size is none", () => {
    expect(dhcpMessageType({ options: new Map([[53, hex("0101")]]) })).toBeUndefined();
    expect(dhcpMessageType({ options: new Map() })).toBeUndefined();
  });
});

describe("option values", () => {
  test.each([
    ["netmask", "255.255.255.0", "ffffff00"],
    ["time-offset", "-3600", "fffff1f0"],
    ["router", "192.0.2.1", "c0000201"],
    ["dns-server", "192.0.2.1,198.51.100.7", "c0000201c6336407"],
    ["hostname", "vm1", "766d31"],
    ["boot-file-size", "1024", "0400"],
    ["domain-name", "example.com", "6578616d706c652e636f6d"],
    ["ip-forward-enable", "1", "01"],
    ["default-ttl", "64", "40"],
    ["static-route", "10.0.0.1,192.0.2.1", "0a000001c0000201"],
    ["path-mtu-plateau-table", "68,1500", "004405dc"],
    ["mtu", "1450", "05aa"],
    ["ntp-server", "192.0.2.9", "c0000209"],
    ["lease-time", "86400", "00015180"],
    ["server-identifier", "192.0.2.2", "c0000202"],
    ["parameter-request", "1,3,6", "010306"],
    ["T1", "43200", "0000a8c0"],
    ["tftp-server", "192.0.2.5", Buffer.from("192.0.2.5").toString("hex")],
    ["bootfile-name", "http://192.0.2.5/boot?a=1,b", Buffer.from("http://192.0.2.5/boot?a=1,b").toString("hex")],
    ["rapid-commit", "", ""],
    ["client-id", "01:fa:16:3e:00:00:01", "01fa163e000001"],
    ["domain-search", "example.com,a.example", "076578616d706c6503636f6d00 0161076578616d706c6500"],
    ["classless-static-route", "10.0.0.0/8,192.0.2.1,0.0.0.0/0,192.0.2.2", "080ac0000201 00c0000202"],
    ["ms-classless-static-route", "198.51.100.128/25,0.0.0.0", "19c6336480 00000000"],
    ["tftp-server-address", "192.0.2.5,192.0.2.6", "c0000205c0000206"],
    ["wpad", "http://wpad/wpad.dat", Buffer.from("http://wpad/wpad.dat").toString("hex")],
    ["server-ip-address", "192.0.2.5", "c0000205"],
  ])("%s %s", (name, text, bytes) => {
    const { code } = findDhcpOption(name)!;
    expect(encodeDhcpOption(code, text)).toEqual(hex(bytes));
    expect(decodeDhcpOption(code, hex(bytes))).toBe(text);
  });

  test.each([
    ["lease-time", "12h", "0000a8c0"], ["lease-time", "infinite", "ffffffff"], ["T2", "2D", "0002a300"],
    ["dns-server", " 192.0.2.1 , 192.0.2.2 ", "c0000201c0000202"],
    ["mtu", "0x5aa", "05aa"],
    ["domain-search", "example.com.", "076578616d706c6503636f6d00"],
    ["classless-static-route", "10.1.2.3/8,192.0.2.1", "080ac0000201"],
    ["vendor-encap", "06:01:08", "060108"],
  ])("%s also takes %j", (name, text, bytes) => {
    expect(encodeDhcpOption(findDhcpOption(name)!.code, text)).toEqual(hex(bytes));
  });

  test.each([
    ["7", "07"], ["300", "012c"], ["70000", "00011170"], ["0x10", "10"], ["4294967296", "34323934393637323936"],
    ["192.0.2.1", "c0000201"], ["192.0.2.1,192.0.2.2", "c0000201c0000202"], ["de:ad", "dead"], ["plain text", "706c61696e2074657874"],
  ])("an option without a type guesses %j", (text, bytes) => {
    expect(encodeDhcpOption(200, text)).toEqual(hex(bytes));
  });

  test.each([
    ["router", ""], ["router", "192.0.2"], ["router", "192.0.2.1,"], ["netmask", "255.255.255.0,255.0.0.0"],
    ["mtu", "65536"], ["mtu", "-1"], ["mtu", "1.5"], ["mtu", ""], ["mtu", "12h"], ["ip-forward-enable", "2"], ["time-offset", "2147483648"],
    ["lease-time", "4294967296"], ["lease-time", "5000000d"], ["static-route", "10.0.0.1"], ["hostname", ""],
    ["vendor-encap", ""], ["rapid-commit", "1"], ["domain-search", ""], ["domain-search", "a..b"],
    ["domain-search", `${"a".repeat(64)}.example`], ["domain-search", Array<string>(130).fill("a").join(".")],
    ["classless-static-route", "10.0.0.0/8"], ["classless-static-route", "10.0.0.0/33,192.0.2.1"],
    ["classless-static-route", "10.0.0.0,192.0.2.1"], ["classless-static-route", ""],
  ])("%s refuses %j", (name, text) => {
    expect(() => encodeDhcpOption(findDhcpOption(name)!.code, text)).toThrow(PacketValueError);
  });

  test("compressed names of RFC 3397 are read", () => {
    const example = hex("03656e67056170706c6503636f6d00 096d61726b6574696e67c004");
    expect(decodeDhcpOption(119, example)).toBe("eng.apple.com,marketing.apple.com");
  });

  test.each([
    ["a pointer to itself", 119, "c000", "PACKET_MALFORMED"],
    ["a pointer forward", 119, "0161c00600016200", "PACKET_MALFORMED"],
    ["a pointer cut in half", 119, "016100c0", "PACKET_TRUNCATED"],
    ["a loop through a label", 119, "0161c000", "PACKET_MALFORMED"],
    ["a label that runs out", 119, "0561", "PACKET_TRUNCATED"],
    ["an unknown label type", 119, "8061", "PACKET_MALFORMED"],
    ["a name that never ends", 119, "0161".repeat(200), "PACKET_MALFORMED"],
    ["a prefix of 33", 121, "210a000000c0000201", "PACKET_MALFORMED"],
    ["a route cut short", 121, "080ac00002", "PACKET_TRUNCATED"],
    ["three bytes of address", 3, "c00002", "PACKET_MALFORMED"],
    ["no address", 3, "", "PACKET_MALFORMED"],
    ["two masks", 1, "ffffff00ffffff00", "PACKET_MALFORMED"],
    ["an empty number", 26, "", "PACKET_MALFORMED"],
    ["a value where none goes", 80, "01", "PACKET_MALFORMED"],
  ])("hostile: %s", (_, code, bytes, error) => {
    expect(failure(() => decodeDhcpOption(code, hex(bytes)))).toMatchObject({ code: error });
  });

  test("routes of every prefix length read back", () => {
    const routes = Array.from({ length: 33 }, (_, length) => {
      const network = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
      const octets = [24, 16, 8, 0].map((shift) => (network >>> shift) & 0xff);
      return { destination: `${octets.join(".")}/${length}`, nexthop: "192.0.2.1" };
    });
    expect(decodeClasslessRoutes(encodeClasslessRoutes(routes))).toEqual(routes);
    expect(decodeDhcpAddresses(hex("c0000201"))).toEqual(["192.0.2.1"]);
  });
});

describe("registry", () => {
  test("has every option of RFC 2132 and the later ones asked for", () => {
    const codes = new Set(Object.values(dhcpOptions).map((option) => option.code));
    const rfc2132 = Array.from({ length: 76 }, (_, at) => at + 1).filter((code) => code !== 62 && code !== 63); // those two are NetWare's, RFC 2242
    for (const code of [...rfc2132, 119, 121, 150, 252]) expect(codes).toContain(code);
    expect(codes.size).toBe(Object.keys(dhcpOptions).length);
  });

  test("finds by name or number", () => {
    expect(findDhcpOption("mtu")).toEqual({ code: 26, type: "u16" });
    expect(findDhcpOption("26")).toEqual({ code: 26, type: "u16" });
    expect(findDhcpOption("200")).toEqual({ code: 200, type: "bytes" });
    for (const name of ["0", "255", "1000", "toString", "__proto__", ""]) expect(findDhcpOption(name)).toBeUndefined();
    expect(dhcpOptionName(121)).toBe("classless-static-route");
    expect(dhcpOptionName(200)).toBeUndefined();
  });
});
