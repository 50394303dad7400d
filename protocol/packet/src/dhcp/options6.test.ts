import { describe, expect, test } from "vitest";
import { buildDhcp6, dhcp6MessageTypes, dhcp6Value, parseDhcp6, type Dhcp6OptionName } from "./dhcp6.ts";
import { encodeDhcp6Option, findDhcp6Option } from "./options6.ts";
import { PacketValueError } from "../wire/errors.ts";

describe("names", () => {
  test.each([
    ["dns-server", 23], ["DNS-Server", 23], [" domain-search ", 24], ["nis+-domain", 30], ["bootfile-url", 59], ["1", 1], ["65535", 65_535], ["0", undefined], ["65536", undefined],
    ["", undefined], ["-1", undefined], ["23x", undefined], ["router", undefined], ["constructor", undefined], ["server-id", undefined],
  ])("%j is %j", (name, code) => expect(findDhcp6Option(name)).toBe(code));
});

describe("values read back by the codec", () => {
  test.each<[code: string, text: string, name: Dhcp6OptionName, value: unknown]>([
    ["dns-server", "2001:db8::1, [fd00::2]", "DNS_SERVERS", ["2001:db8::1", "fd00::2"]],
    ["domain-search", "a.example,b.example", "DOMAIN_LIST", ["a.example", "b.example"]],
    ["sip-server-domain", "sip.example", "SIP_SERVER_D", ["sip.example"]],
    ["sntp-server", "fd00::7", "SNTP_SERVERS", ["fd00::7"]],
    ["information-refresh-time", "2h", "INFORMATION_REFRESH_TIME", 7200],
    ["information-refresh-time", "900", "INFORMATION_REFRESH_TIME", 900],
    ["sol-max-rt", "infinite", "SOL_MAX_RT", 0xffffffff],
    ["posix-timezone", "EST5EDT,M3.2.0", "NEW_POSIX_TIMEZONE", "EST5EDT,M3.2.0"],
    ["ntp-server", "fd00::7,time.example", "NTP_SERVER", [{ option: "SRV_ADDR", value: "fd00::7" }, { option: "SRV_FQDN", value: "time.example" }]],
    ["bootfile-url", "http://[fd00::1]/x", "BOOTFILE_URL", "http://[fd00::1]/x"],
    ["bootfile-param", "a, bc", "BOOTFILE_PARAM", ["a", "bc"]],
    ["aftr-name", "aftr.example", "AFTR_NAME", "aftr.example"],
    ["captive-portal", "https://portal.example", "CAPTIVE_PORTAL", "https://portal.example"],
  ])("%s %s", (optionName, text, name, value) => {
    const option = findDhcp6Option(optionName)!;
    const message = parseDhcp6(buildDhcp6({ msg_type: dhcp6MessageTypes.reply, transaction_id: 1, options: [{ option, value: encodeDhcp6Option(option, text) }] }));
    expect(dhcp6Value(message, name)).toEqual(value);
  });
});

test.each([["01:02:ff", "0102ff"], ["fd00::1", `fd00${"0".repeat(27)}1`], ["7", "07"], ["700", "02bc"], ["70000", "00011170"], ["0x10", "10"], ["some text", Buffer.from("some text").toString("hex")]])(
  "of a number that nothing is known of, %j is guessed", (text, bytes) => expect(encodeDhcp6Option(65_001, text).toString("hex")).toBe(bytes));

test.each([[23, ""], [65_001, ""], [23, "9.9.9.9"], [23, "fd00::1,"], [23, "fd00::1,x"], [24, "a..b"], [24, `${"a".repeat(64)}.example`], [32, "soon"], [32, "4294967296"], [32, "-1"], [56, "a..b"], [64, ""]])(
  "option %i has no value %j", (code, text) => expect(() => encodeDhcp6Option(code, text)).toThrow(PacketValueError));
