// DHCPv6 options as people write them. Names and text values are dnsmasq's (its list of `option6:` names): comma separated
// lists, decimal or 0x numbers, times with a unit, hex bytes with colons. Values with types are dhcp6.ts's.

import { ipv6ToBytes } from "../wire/address.ts";
import { encodeDomainName } from "../wire/domain-name.ts";
import { PacketValueError } from "../wire/errors.ts";
import { guess, items, SECONDS_MAX, secondsOf, unsigned } from "./text.ts";

type TextType = "addresses" | "domains" | "domain" | "text" | "texts" | "seconds" | "servers";

/** By dnsmasq's name; those of its list that are the protocol's own are not here, as nobody sets them. */
const named: Readonly<Record<string, readonly [code: number, type: TextType | undefined]>> = {
  "user-class": [15, undefined], "vendor-class": [16, undefined], "vendor-opts": [17, undefined],
  "sip-server-domain": [21, "domains"], "sip-server": [22, "addresses"], "dns-server": [23, "addresses"], "domain-search": [24, "domains"],
  "nis-server": [27, "addresses"], "nis+-server": [28, "addresses"], "nis-domain": [29, "domains"], "nis+-domain": [30, "domains"],
  "sntp-server": [31, "addresses"], "information-refresh-time": [32, "seconds"], "bcmcs-domain": [33, "domains"], "bcmcs-server": [34, "addresses"],
  "posix-timezone": [41, "text"], "tzdb-timezone": [42, "text"], "ntp-server": [56, "servers"], "bootfile-url": [59, "text"], "bootfile-param": [60, "texts"],
  "aftr-name": [64, "domain"], "sol-max-rt": [82, "seconds"], "inf-max-rt": [83, "seconds"], "captive-portal": [103, "text"],
};
const typeOf = new Map(Object.values(named));
const CODE_MAX = 0xffff;
/** A server of NTP_SERVER by its address, or by its name. RFC 5908 4.1, 4.3 */
const ntp = { address: 1, name: 3 } as const;

/** The code of an option by dnsmasq's name, in any case, or by its number; undefined: there is none such. */
export function findDhcp6Option(name: string): number | undefined {
  const text = name.trim().toLowerCase();
  if (Object.hasOwn(named, text)) return named[text]![0];
  if (!/^[0-9]{1,5}$/.test(text)) return undefined;
  const code = Number(text);
  return code >= 1 && code <= CODE_MAX ? code : undefined;
}

/** dnsmasq has brackets around addresses. */
const addressBytes = (text: string): Buffer => Buffer.from(ipv6ToBytes(text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text));

function isAddress(text: string): boolean {
  try {
    addressBytes(text);
    return true;
  } catch (error) {
    if (!(error instanceof PacketValueError)) throw error;
    return false;
  }
}

function withLength(bytes: Uint8Array): Buffer {
  if (bytes.length > CODE_MAX) throw new PacketValueError("at most 65535 bytes", `${bytes.length} bytes`);
  return Buffer.concat([unsigned(2, bytes.length), bytes]);
}

function seconds(text: string): Buffer {
  const value = secondsOf(text);
  if (!(value <= SECONDS_MAX)) throw new PacketValueError(`seconds, of 0..${SECONDS_MAX}`, text);
  return unsigned(4, value);
}

const ntpServer = (text: string): Buffer => {
  const [code, bytes] = isAddress(text) ? [ntp.address, addressBytes(text)] : [ntp.name, encodeDomainName(text)];
  return Buffer.concat([unsigned(2, code), withLength(bytes)]);
};

const addressList = (text: string): Buffer => Buffer.concat(items(text).map(addressBytes));

/**
 * The bytes of option `code` for a text value in dnsmasq's spelling, such as "2001:db8::1,2001:db8::2" for 23 (`dns-server`). Of codes
 * without a known type they are guessed from the text.
 * @throws PacketValueError
 */
export function encodeDhcp6Option(code: number, text: string): Buffer {
  if (text === "") throw new PacketValueError("a value that is not empty", text);
  switch (typeOf.get(code)) {
    case "addresses":
      return addressList(text);
    case "domains":
      return Buffer.concat(items(text).map(encodeDomainName));
    case "domain":
      return encodeDomainName(text.trim());
    case "text":
      return Buffer.from(text, "utf8");
    case "texts":
      return Buffer.concat(items(text).map((item) => withLength(Buffer.from(item, "utf8"))));
    case "seconds":
      return seconds(text.trim());
    case "servers":
      return Buffer.concat(items(text).map(ntpServer));
    default:
      return guess(text, (list) => (list.includes(":") && items(list).every(isAddress) ? addressList(list) : undefined));
  }
}
