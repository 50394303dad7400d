// DHCPv4 options as people write them. Text values are dnsmasq's: comma separated lists, decimal or 0x numbers, hex bytes
// with colons. Options with an inner structure have no text of their own and are bytes here; option-table.ts has
// names, numbers and values of them all.

import { formatHexBytes, ipv4ToNumber, numberToIpv4 } from "../wire/address.ts";
import { dhcpOptionType } from "./option-table.ts";
import { decodeClasslessRoutes, encodeClasslessRoutes } from "./routes.ts";
import type { ClasslessRoute } from "./routes.ts";
import { guess, items, secondsOf } from "./text.ts";
import { decodeDomainNames, encodeDomainName } from "../wire/domain-name.ts";
import { PacketError, PacketValueError } from "../wire/errors.ts";
import { Reader } from "../wire/reader.ts";

const numberForms = {
  flag: { size: 1, min: 0, max: 1 },
  u8: { size: 1, min: 0, max: 0xff },
  u8s: { size: 1, min: 0, max: 0xff },
  u16: { size: 2, min: 0, max: 0xffff },
  u16s: { size: 2, min: 0, max: 0xffff },
  u32: { size: 4, min: 0, max: 0xffffffff },
  seconds: { size: 4, min: 0, max: 0xffffffff },
  i32: { size: 4, min: -0x80000000, max: 0x7fffffff },
} as const;

function encodeNumber(type: keyof typeof numberForms, text: string): Buffer {
  const { size, min, max } = numberForms[type];
  const value = /^(-?[0-9]+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : type === "seconds" ? secondsOf(text) : Number.NaN;
  if (!(value >= min && value <= max)) throw new PacketValueError(`a number of ${min}..${max}`, text);
  const bytes = Buffer.alloc(size);
  if (type === "i32") bytes.writeInt32BE(value, 0);
  else bytes.writeUIntBE(value, 0, size);
  return bytes;
}

function addressBytes(text: string): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(ipv4ToNumber(text), 0);
  return bytes;
}

const addressList = (text: string): Buffer => Buffer.concat(items(text).map(addressBytes));

/**
 * The bytes of option `code` for a text value in dnsmasq's spelling, such as "10.0.0.1,10.0.0.2" for `dns-server` or
 * "10.0.0.0/8,192.168.0.1" for `classless-static-route`. Codes without a known type are guessed from the text.
 * @throws PacketValueError
 */
export function encodeDhcpOption(code: number, text: string): Buffer {
  const type = dhcpOptionType(code);
  switch (type) {
    case "flag": case "u8": case "u16": case "u32": case "i32": case "seconds":
      return encodeNumber(type, text.trim());
    case "u8s": case "u16s":
      return Buffer.concat(items(text).map((item) => encodeNumber(type, item)));
    case "address": case "header":
      return addressBytes(text.trim());
    case "addresses":
      return addressList(text);
    case "addressPairs": {
      const addresses = items(text).map(addressBytes);
      if (addresses.length % 2 !== 0) throw new PacketValueError("pairs of addresses", text);
      return Buffer.concat(addresses);
    }
    case "text":
      if (text === "") throw new PacketValueError("a text that is not empty", text);
      return Buffer.from(text, "utf8");
    default:
      if (text === "") throw new PacketValueError("a value that is not empty", text);
      return guess(text, (list) => (/^[0-9.,\s]+$/.test(list) && list.includes(".") ? addressList(list) : undefined));
    case "empty":
      if (text !== "") throw new PacketValueError("no value", text);
      return Buffer.alloc(0);
    case "domains": case "domainNames": case "domainName":
      return Buffer.concat(items(text).map(encodeDomainName));
    case "routes": {
      const parts = items(text);
      if (parts.length % 2 !== 0) throw new PacketValueError("pairs of destination and next hop", text);
      const routes: ClasslessRoute[] = [];
      for (let at = 0; at < parts.length; at += 2) routes.push({ destination: parts[at]!, nexthop: parts[at + 1]! });
      return encodeClasslessRoutes(routes);
    }
  }
}

/** The text that `encodeDhcpOption` turns into `data` again; untyped bytes are hex with colons. @throws PacketError */
export function decodeDhcpOption(code: number, data: Uint8Array): string {
  const type = dhcpOptionType(code);
  const reader = new Reader(data);
  switch (type) {
    case "flag": case "u8": case "u16": case "u32": case "i32": case "seconds":
      return whole(reader, numberForms[type].size, 1).map((item) => decodeNumber(type, item)).join(",");
    case "u8s": case "u16s":
      return whole(reader, numberForms[type].size).map((item) => decodeNumber(type, item)).join(",");
    case "address": case "header":
      return whole(reader, 4, 1).map((item) => numberToIpv4(item.readUInt32BE())).join(",");
    case "addresses":
      return decodeDhcpAddresses(data).join(",");
    case "addressPairs":
      return whole(reader, 8).map((pair) => `${numberToIpv4(pair.readUInt32BE())},${numberToIpv4(pair.readUInt32BE(4))}`)
        .join(",");
    case "text":
      return reader.bytes.toString("utf8").replace(/\0+$/, ""); // some clients send the terminator along
    default:
      return formatHexBytes(data);
    case "empty":
      if (reader.left > 0) reader.malformed("DHCP option has a value and should not");
      return "";
    case "domains": case "domainNames": case "domainName":
      return decodeDomainNames(reader.bytes, { compressed: true, padded: false }).join(",");
    case "routes":
      return decodeClasslessRoutes(data).map((route) => `${route.destination},${route.nexthop}`).join(",");
  }
}

function decodeNumber(type: keyof typeof numberForms, bytes: Buffer): string {
  return String(type === "i32" ? bytes.readInt32BE() : bytes.readUIntBE(0, bytes.length));
}

/** Splits into items of `size` bytes, `count` of them when given, at least one always. */
function whole(reader: Reader, size: number, count?: number): Buffer[] {
  const length = reader.left;
  const right = count === undefined ? length > 0 && length % size === 0 : length === size * count;
  if (!right) throw new PacketError("PACKET_MALFORMED", 0, `DHCP option of ${length} bytes is not made of ${size}`);
  const list: Buffer[] = [];
  while (reader.left > 0) list.push(reader.view(size));
  return list;
}

/** @throws PacketError unless `data` is one or more whole addresses. */
export function decodeDhcpAddresses(data: Uint8Array): string[] {
  return whole(new Reader(data), 4).map((item) => numberToIpv4(item.readUInt32BE()));
}
