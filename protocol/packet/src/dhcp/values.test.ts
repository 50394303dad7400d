// Values of DHCP options, each with the bytes its RFC draws.

import { describe, expect, test } from "vitest";

import { decodeDhcpValue, dhcpOptions, encodeDhcpValue } from "./option-table.ts";
import type { DhcpOptionName } from "./option-table.ts";
import { buildDhcp6, dhcp6OptionName, dhcp6Value, parseDhcp6 } from "./dhcp6.ts";
import type { Dhcp6Option } from "./dhcp6.ts";
import { buildDuid, parseDuid } from "./duid.ts";
import { failure, hex } from "../testing/vectors.ts";

const ascii = (text: string): string => Buffer.from(text, "latin1").toString("hex");
const example = "07 6578616d706c65 03 636f6d 00";
const [ip1, ip2] = ["c0000201", "c6336407"];
const [six1, six2] = ["20010db8000000000000000000000001", "20010db8000000000000000000000002"];
const paris = {
  latitude_uncertainty: 18, latitude: 48.5, longitude_uncertainty: 18, longitude: -2.25, altitude_type: 1, altitude_uncertainty: 9, altitude: 35.5, version: 1, datum: 1,
};
/** 6+34, 6+34, 4+6+30, 2+3+3 bits: 48.5 * 2^25, -2.25 * 2^25 and 35.5 * 2^8 in two's complement. */
const parisBytes = Buffer.from([
  [18, 6], [48.5 * 2 ** 25, 34], [18, 6], [2 ** 34 - 2.25 * 2 ** 25, 34], [1, 4], [9, 6], [35.5 * 256, 30], [1, 2], [0, 3], [1, 3],
].map(([value, width]) => value!.toString(2).padStart(width!, "0")).join("").match(/.{8}/g)!.map((bits) => Number.parseInt(bits, 2))).toString("hex");

const values4: [DhcpOptionName, unknown, string][] = [
  ["netmask", "255.255.255.0", "ffffff00"],
  ["time-offset", -3600, "fffff1f0"],
  ["router", ["192.0.2.1", "198.51.100.7"], ip1 + ip2],
  ["hostname", "vm1", "766d31"],
  ["policy-filter", [{ first: "192.0.2.1", second: "198.51.100.7" }], ip1 + ip2],
  ["ip-forward-enable", true, "01"],
  ["path-mtu-plateau-table", [68, 1500], "0044 05dc"],
  ["lease-time", 86400, "00015180"],
  ["parameter-request", [1, 3, 6], "010306"],
  ["client-id", { type: 1, identifier: hex("fa163e000001") }, "01 fa163e000001"],
  ["client-id", { type: 0, identifier: Buffer.from("me") }, "00 6d65"],
  ["client-id", { type: 255, iaid: 7, duid: { type: "LL", value: { hardware_type: 1, lladdr: "fa:16:3e:00:00:01" } } }, "ff 00000007 0003 0001 fa163e000001"],
  ["nwip-options", [{ option: 5, value: hex("01") }], "05 01 01"],
  ["user-class", [Buffer.from("one"), Buffer.from("two")], `03 ${ascii("one")} 03 ${ascii("two")}`],
  ["slp-directory-agent", { mandatory: true, addresses: ["192.0.2.1"] }, `01 ${ip1}`],
  ["slp-service-scope", { mandatory: false, scopes: "a,b" }, `00 ${ascii("a,b")}`],
  ["rapid-commit", true, ""],
  ["FQDN", { flags: 5, rcode1: 255, rcode2: 255, name: "example.com." }, `05 ff ff ${example}`],
  ["FQDN", { flags: 4, rcode1: 0, rcode2: 0, name: "vm1" }, "04 00 00 03 766d31"],
  ["FQDN", { flags: 1, rcode1: 0, rcode2: 0, name: "vm1.example.com" }, `01 00 00 ${ascii("vm1.example.com")}`],
  ["agent-info", [
    { option: "circuitId", value: hex("0102") }, { option: "remoteId", value: hex("0a") }, { option: "linkSelection", value: "192.0.2.1" },
    { option: "subscriberId", value: "me" }, { option: "flags", value: 128 }, { option: "sourcePort", value: true }, { option: 99, value: hex("ff") },
  ], `01 02 0102  02 01 0a  05 04 ${ip1}  06 02 6d65  0a 01 80  13 00  63 01 ff`],
  ["isns", { functions: 1, discovery_domain_access: 2, administrative_flags: 3, security: 4, addresses: ["192.0.2.1"] }, `0001 0002 0003 00000004 ${ip1}`],
  ["bcms-controller-names", ["example.com"], example],
  ["authentication", { protocol: 1, algorithm: 1, rdm: 0, replay_detection: hex("0000000000000007"), information: hex("abcd") }, "01 01 00 0000000000000007 abcd"],
  ["client-arch", [7, 9], "0007 0009"],
  ["client-interface-id", { type: 1, major: 3, minor: 16 }, "01 03 10"],
  ["client-machine-id", { type: 0, identifier: hex("00112233445566778899aabbccddeeff") }, "00 00112233445566778899aabbccddeeff"],
  ["geoconf-civic", { what: 2, country: "DE", elements: [{ type: 3, value: "Berlin" }] }, `02 4445 03 06 ${ascii("Berlin")}`],
  ["dhcp4o6-s46-saddr", "2001:db8::1", six1],
  ["name-service-search", [6, 41], "0006 0029"],
  ["domain-search", ["example.com", "a.example.com"], `${example} 0161 c000`],
  ["sip-server", { encoding: "domains", value: ["example.com"] }, `00 ${example}`],
  ["sip-server", { encoding: "addresses", value: ["192.0.2.1", "198.51.100.7"] }, `01 ${ip1}${ip2}`],
  ["classless-static-route", [{ destination: "10.0.0.0/8", nexthop: "192.0.2.1" }, { destination: "0.0.0.0/0", nexthop: "198.51.100.7" }], `08 0a ${ip1} 00 ${ip2}`],
  ["cablelabs-client-configuration", [
    { option: "primaryDhcpServer", value: "192.0.2.1" }, { option: "provisioningServer", value: { encoding: "domain", value: "example.com" } }, { option: "ticketGranting", value: true },
  ], `01 04 ${ip1}  03 0e 00 ${example}  07 01 01`],
  ["geoconf", paris, parisBytes],
  ["vendor-id-class", [{ enterprise: 4491, data: hex("0102") }], "0000118b 02 0102"],
  ["vendor-id-encap", [{ enterprise: 4491, options: [{ option: 2, value: hex("ff") }] }], "0000118b 03 02 01 ff"],
  ["lost-server", "example.com", example],
  ["mos-address", [{ service: "informationService", value: ["192.0.2.1"] }, { service: "eventService", value: ["198.51.100.7"] }], `01 04 ${ip1} 03 04 ${ip2}`],
  ["mos-fqdn", [{ service: "commandService", value: ["example.com"] }], `02 0d ${example}`],
  ["sztp-redirect", ["https://a"], `0009 ${ascii("https://a")}`],
  ["rdnss-selection", { preference: 1, primary: "192.0.2.1", secondary: "198.51.100.7", domains: ["example.com"] }, `01 ${ip1} ${ip2} ${example}`],
  ["status-code", { status: 4, message: "no" }, "04 6e6f"],
  ["pcp-server", [["192.0.2.1"], ["198.51.100.7", "192.0.2.1"]], `04 ${ip1} 08 ${ip2}${ip1}`],
  ["port-params", { offset: 6, psid_length: 8, psid: 0x3400 }, "06 08 3400"],
  ["dnr", [{ service_priority: 1, adn: "example.com", addresses: ["192.0.2.1"], service_params: hex("0001000302 6832") }], `001c 0001 0d ${example} 04 ${ip1} 0001000302 6832`],
  ["6rd", { ipv4_mask_length: 8, prefix_length: 32, prefix: "2001:db8::1", border_relays: ["192.0.2.1"] }, `08 20 ${six1} ${ip1}`],
  ["subnet-allocation", { flags: 0, options: [{ option: 1, value: hex("0018") }] }, "00 01 02 0018"],
  ["virtual-subnet", { type: 0, info: Buffer.from("red") }, "00 726564"],
];

describe("DHCPv4", () => {
  test.each(values4)("%s %j", (name, value, bytes) => {
    expect(encodeDhcpValue(dhcpOptions[name].code, value as never).toString("hex")).toBe(name === "domain-search" ? hex(`${example} 0161 ${example}`).toString("hex") : hex(bytes).toString("hex"));
    expect(decodeDhcpValue(name, hex(bytes))).toEqual(value);
    expect(decodeDhcpValue(dhcpOptions[name].code, hex(bytes))).toEqual(value);
  });

  test("there is an example of every form with more than one part", () => {
    const shown = new Set(values4.map(([name]) => dhcpOptions[name].type));
    const plain = new Set(["u8", "u16", "u32", "text", "bytes", "header"]);
    expect(Object.values(dhcpOptions).map((option) => option.type).filter((type) => !shown.has(type) && !plain.has(type))).toEqual([]);
  });

  test("every code IANA has assigned has a name, and none has two", () => {
    const unassigned = [84, 96, 102, 103, 104, 105, 106, 107, 110, 111, 115, 126, 127, ...Array.from({ length: 8 }, (_, at) => 128 + at), 149, 160];
    const named = new Set(Object.values(dhcpOptions).map((option) => option.code));
    for (let code = 1; code <= 162; code++) expect([code, named.has(code)]).toEqual([code, !unassigned.includes(code)]);
    for (const code of [208, 209, 210, 211, 212, 213, 220, 221]) expect(named).toContain(code);
    expect(named.size).toBe(Object.keys(dhcpOptions).length);
  });

  test("a number without a name keeps its bytes; a name nobody knows is refused", () => {
    expect(decodeDhcpValue(200, hex("0102"))).toEqual(hex("0102"));
    expect(encodeDhcpValue(200, hex("0102"))).toEqual(hex("0102"));
    expect(() => encodeDhcpValue("nothing" as DhcpOptionName, "" as never)).toThrow(RangeError);
  });

  test.each([
    ["a route of half a length", 121, "21", "PACKET_MALFORMED"], ["a user class that runs out", 77, "0561", "PACKET_TRUNCATED"], ["three bytes of address", 3, "c00002", "PACKET_MALFORMED"],
    ["a sub-option that runs out", 82, "0105ff", "PACKET_TRUNCATED"], ["bytes behind a mask", 1, "ffffff0000", "PACKET_MALFORMED"], ["a flag of 2", 19, "02", "PACKET_MALFORMED"],
    ["nothing for a list", 6, "", "PACKET_MALFORMED"],
  ])("%s", (_, code, bytes, error) => {
    expect(failure(() => decodeDhcpValue(code, hex(bytes)))).toMatchObject({ code: error });
  });
});

const none = { options: [] };

const values6: [Dhcp6Option, string][] = [
  [{ option: "CLIENTID", value: { type: "LLT", value: { hardware_type: 1, time_s: 7, lladdr: "fa:16:3e:00:00:01" } } }, "0001 000e 0001 0001 00000007 fa163e000001"],
  [{ option: "SERVERID", value: { type: "EN", value: { enterprise: 9, identifier: hex("0cc084d3") } } }, "0002 000a 0002 00000009 0cc084d3"],
  [{ option: "IA_NA", value: { iaid: 1, t1_s: 2, t2_s: 3, options: [{ option: "IAADDR", value: { address: "2001:db8::1", preferred_lifetime_s: 4, valid_lifetime_s: 5, options: [
    { option: "STATUS_CODE", value: { status: 0, message: "ok" } }] } }] } }, `0003 0030 00000001 00000002 00000003  0005 0020 ${six1} 00000004 00000005  000d 0004 0000 6f6b`],
  [{ option: "IA_TA", value: { iaid: 1, ...none } }, "0004 0004 00000001"],
  [{ option: "ORO", value: [23, 24] }, "0006 0004 0017 0018"],
  [{ option: "RELAY_MSG", value: { msg_type: 11, transaction_id: 0xabcdef, options: [{ option: "RAPID_COMMIT", value: true }] } }, "0009 0008 0b abcdef 000e 0000"],
  [{ option: "AUTH", value: { protocol: 3, algorithm: 1, rdm: 0, replay_detection: hex("0000000000000001"), information: hex("02") } }, "000b 000c 03 01 00 0000000000000001 02"],
  [{ option: "USER_CLASS", value: [Buffer.from("one")] }, `000f 0005 0003 ${ascii("one")}`],
  [{ option: "VENDOR_CLASS", value: { enterprise: 311, data: [Buffer.from("MSFT")] } }, `0010 000a 00000137 0004 ${ascii("MSFT")}`],
  [{ option: "VENDOR_OPTS", value: { enterprise: 9, options: [{ option: 1, value: hex("ff") }] } }, "0011 0009 00000009 0001 0001 ff"],
  [{ option: "DNS_SERVERS", value: ["2001:db8::1", "2001:db8::2"] }, `0017 0020 ${six1}${six2}`],
  [{ option: "DOMAIN_LIST", value: ["example.com"] }, `0018 000d ${example}`],
  [{ option: "IA_PD", value: { iaid: 1, t1_s: 2, t2_s: 3, options: [{ option: "IAPREFIX", value: { preferred_lifetime_s: 4, valid_lifetime_s: 5, prefix_length: 56, prefix: "2001:db8::1", options: [
    { option: "PD_EXCLUDE", value: { prefix_length: 64, subnet_id: hex("01") } }] } }] } }, `0019 002f 00000001 00000002 00000003  001a 001f 00000004 00000005 38 ${six1}  0043 0002 40 01`],
  [{ option: "GEOCONF_CIVIC", value: { what: 0, country: "DE", elements: [] } }, "0024 0003 00 4445"],
  [{ option: "REMOTE_ID", value: { enterprise: 9, remote_id: hex("0102") } }, "0025 0006 00000009 0102"],
  [{ option: "CLIENT_FQDN", value: { flags: 1, name: "example.com." } }, `0027 000e 01 ${example}`],
  [{ option: "CLIENT_FQDN", value: { flags: 0, name: "vm1" } }, "0027 0005 00 03 766d31"],
  [{ option: "LQ_QUERY", value: { query_type: 1, link_address: "2001:db8::1", ...none } }, `002c 0011 01 ${six1}`],
  [{ option: "CLIENT_DATA", value: { options: [{ option: "CLT_TIME", value: 9 }] } }, "002d 0008 002e 0004 00000009"],
  [{ option: "LQ_RELAY_DATA", value: { peer_address: "2001:db8::1", message: hex("0c") } }, `002f 0011 ${six1} 0c`],
  [{ option: "IPV6_ADDRESS_MOS", value: [{ service: "informationService", value: ["2001:db8::1"] }] }, `0036 0014 0001 0010 ${six1}`],
  [{ option: "NTP_SERVER", value: [{ option: "SRV_ADDR", value: "2001:db8::1" }, { option: "SRV_FQDN", value: "example.com" }] }, `0038 0025 0001 0010 ${six1} 0003 000d ${example}`],
  [{ option: "BOOTFILE_PARAM", value: ["a", "bc"] }, "003c 0007 0001 61 0002 6263"],
  [{ option: "GEOLOCATION", value: paris }, `003f 0010 ${parisBytes}`],
  [{ option: "RSOO", value: { options: [{ option: "ERP_LOCAL_DOMAIN_NAME", value: "example.com" }] } }, `0042 0011 0041 000d ${example}`],
  [{ option: "RDNSS_SELECTION", value: { server: "2001:db8::1", preference: 1, domains: ["example.com"] } }, `004a 001e ${six1} 01 ${example}`],
  [{ option: "KRB_KDC", value: { priority: 1, weight: 2, transport_type: 1, port: 88, address: "2001:db8::1", realm: "R" } }, `004e 0018 0001 0002 01 0058 ${six1} 52`],
  [{ option: "CLIENT_LINKLAYER_ADDR", value: { link_layer_type: 1, lladdr: "fa:16:3e:00:00:01" } }, "004f 0008 0001 fa163e000001"],
  [{ option: "ADDRSEL", value: { flags: 3, options: [{ option: "ADDRSEL_TABLE", value: { label: 1, precedence: 50, prefix: "2001:db8::/32" } }] } }, "0054 000c 03 0055 0007 01 32 20 20010db8"],
  [{ option: "S46_CONT_MAPE", value: { options: [
    { option: "S46_RULE", value: { flags: 1, ea_length: 16, prefix4_length: 24, prefix4: "192.0.2.1", prefix6: "2001:db8::/40", options: [{ option: "S46_PORTPARAMS", value: { offset: 6, psid_length: 8, psid: 0x3400 } }] } },
    { option: "S46_BR", value: "2001:db8::1" }] } }, `005e 002d 0059 0015 01 10 18 ${ip1} 28 20010db800 005d 0004 06 08 3400  005a 0010 ${six1}`],
  [{ option: "S46_V4V6BIND", value: { address: "192.0.2.1", prefix6: "2001:db8::/32", ...none } }, `005c 0009 ${ip1} 20 20010db8`],
  [{ option: "4RD_NON_MAP_RULE", value: { flags: 0x80, traffic_class: 1, domain_pmtu: 1500 } }, "0063 0004 80 01 05dc"],
  [{ option: "V6_PREFIX64", value: { asm: "ff3e::/96", ssm: "ff3e::/96", unicast: "64:ff9b::/96" } }, "0071 0027 60 ff3e00000000000000000000 60 ff3e00000000000000000000 60 0064ff9b0000000000000000"],
  [{ option: "F_PROTOCOL_VERSION", value: { major: 1, minor: 0 } }, "007f 0004 0001 0000"],
  [{ option: "LLADDR", value: { link_layer_type: 1, lladdr: "fa:16:3e:00:00:01", extra_addresses: 7, valid_lifetime_s: 8, ...none } }, "008b 0012 0001 0006 fa163e000001 00000007 00000008"],
  [{ option: "SLAP_QUAD", value: [{ quadrant: 0, preference: 3 }] }, "008c 0002 00 03"],
  [{ option: "V6_DNR", value: { service_priority: 1, adn: "example.com", addresses: ["2001:db8::1"], service_params: hex("") } }, `0090 0023 0001 000d ${example} 0010 ${six1}`],
  [{ option: "FORWARD_DIST_MANAGER", value: { transports: 1, name: "example.com" } }, `0092 000f 0001 ${example}`],
  [{ option: 65001, value: hex("0102") }, "fde9 0002 0102"],
];

describe("DHCPv6", () => {
  test.each(values6)("%j", (option, bytes) => {
    const message = { msg_type: 7, transaction_id: 0x123456, options: [option] };
    expect(buildDhcp6(message).toString("hex")).toBe(`07123456${hex(bytes).toString("hex")}`);
    expect(parseDhcp6(hex(`07123456 ${bytes}`))).toEqual(message);
  });

  test("messages of other shapes", () => {
    const relay = { msg_type: 12, hop_count: 1, link_address: "2001:db8::1", peer_address: "2001:db8::2", options: [] } as const;
    expect(buildDhcp6({ ...relay, options: [] })).toEqual(hex(`0c01 ${six1} ${six2}`));
    const over = { msg_type: 20 as const, flags: 0x800000, options: [{ option: "DHCPV4_MSG" as const, value: hex("01") }] };
    expect(parseDhcp6(hex("14 800000 0057 0001 01"))).toEqual(over);
    expect(buildDhcp6(over)).toEqual(hex("14 800000 0057 0001 01"));
    const failover = { msg_type: 24, transaction_id: 5, sent_time_s: 6, options: [] };
    expect(parseDhcp6(hex("18 000005 00000006"))).toEqual(failover);
    expect(buildDhcp6(failover)).toEqual(hex("18 000005 00000006"));
    expect(() => buildDhcp6({ msg_type: 1, transaction_id: 0x1000000, options: [] })).toThrow(RangeError);
  });

  test("every option IANA has registered has a name", () => {
    for (let code = 1; code <= 148; code++) expect([code, dhcp6OptionName(code) !== undefined]).toEqual([code, code !== 10 && code !== 35]);
    expect(dhcp6OptionName(149)).toBeUndefined();
  });

  test("the first of a name is found", () => {
    const message = parseDhcp6(hex("01 000001 0008 0002 0005 000e 0000 0008 0002 0006"));
    expect(dhcp6Value(message, "ELAPSED_TIME")).toBe(5);
    expect(dhcp6Value(message, "PREFERENCE")).toBeUndefined();
  });

  test("an unknown name, and what is too long for its field, is refused", () => {
    expect(() => buildDhcp6({ msg_type: 1, transaction_id: 0, options: [{ option: "NOTHING" as never, value: hex("") }] })).toThrow(RangeError);
    expect(() => buildDhcp6({ msg_type: 1, transaction_id: 0, options: [{ option: 99_999, value: hex("") }] })).toThrow(RangeError);
    expect(() => buildDhcp6({ msg_type: 1, transaction_id: 0, options: [{ option: 300, value: Buffer.alloc(65536) }] })).toThrow(RangeError);
  });
});

test.each([
  ["0001 0001 1c39cf88 080020fe8a7b", { type: "LLT", value: { hardware_type: 1, time_s: 0x1c39cf88, lladdr: "08:00:20:fe:8a:7b" } }],
  ["0002 00000009 0cc084d303000912", { type: "EN", value: { enterprise: 9, identifier: hex("0cc084d303000912") } }], // RFC 8415 11.3
  ["0003 0001 080020fe8a7b", { type: "LL", value: { hardware_type: 1, lladdr: "08:00:20:fe:8a:7b" } }],
  ["0004 00112233445566778899aabbccddeeff", { type: "UUID", value: hex("00112233445566778899aabbccddeeff") }],
  ["0063 0102", { type: 99, value: hex("0102") }],
  // Not formed as their types say.
  ["0004 0102", { type: 4, value: hex("0102") }],
  ["0001 0001 1c39cf", { type: 1, value: hex("00011c39cf") }],
  ["0002", { type: 2, value: hex("") }],
] as const)("DUID %s", (bytes, value) => {
  expect(parseDuid(hex(bytes))).toEqual(value);
  expect(buildDuid(value)).toEqual(hex(bytes));
});
