// DHCPv4 options by name and by meaning. Names are dnsmasq's where it has one (Neutron's extra_dhcp_opts use them),
// otherwise RFC 2132's title in the same style. Text values are dnsmasq's too: comma separated lists, decimal or 0x
// numbers, hex bytes with colons.

import { formatHexBytes, ipv4ToNumber, numberToIpv4 } from "./address.ts";
import { decodeDomainNames, encodeDomainName } from "./domain-name.ts";
import { PacketError, PacketValueError } from "./errors.ts";
import { Reader } from "./reader.ts";

/**
 * The form of an option's bytes. `flag` is one byte 0 or 1, `seconds` 32 bits, `routes` RFC 3442, `domains` RFC 1035
 * names; `header` is dnsmasq's pseudo option 255, an address for the field siaddr and not for the options.
 */
export type DhcpOptionType =
  | "address" | "addresses" | "addressPairs" | "flag" | "u8" | "u8s" | "u16" | "u16s" | "u32" | "i32" | "seconds"
  | "text" | "bytes" | "empty" | "domains" | "routes" | "header";

export interface DhcpOption {
  readonly code: number;
  readonly type: DhcpOptionType;
}

const table = {
  "netmask": [1, "address"],
  "time-offset": [2, "i32"],
  "router": [3, "addresses"],
  "time-server": [4, "addresses"],
  "name-server": [5, "addresses"],
  "dns-server": [6, "addresses"],
  "log-server": [7, "addresses"],
  "cookie-server": [8, "addresses"],
  "lpr-server": [9, "addresses"],
  "impress-server": [10, "addresses"],
  "resource-location-server": [11, "addresses"],
  "hostname": [12, "text"],
  "boot-file-size": [13, "u16"],
  "merit-dump-file": [14, "text"],
  "domain-name": [15, "text"],
  "swap-server": [16, "address"],
  "root-path": [17, "text"],
  "extension-path": [18, "text"],
  "ip-forward-enable": [19, "flag"],
  "non-local-source-routing": [20, "flag"],
  "policy-filter": [21, "addressPairs"],
  "max-datagram-reassembly": [22, "u16"],
  "default-ttl": [23, "u8"],
  "path-mtu-aging-timeout": [24, "seconds"],
  "path-mtu-plateau-table": [25, "u16s"],
  "mtu": [26, "u16"],
  "all-subnets-local": [27, "flag"],
  "broadcast": [28, "address"],
  "perform-mask-discovery": [29, "flag"],
  "mask-supplier": [30, "flag"],
  "router-discovery": [31, "flag"],
  "router-solicitation": [32, "address"],
  "static-route": [33, "addressPairs"],
  "trailer-encapsulation": [34, "flag"],
  "arp-timeout": [35, "seconds"],
  "ethernet-encap": [36, "flag"],
  "tcp-ttl": [37, "u8"],
  "tcp-keepalive": [38, "seconds"],
  "tcp-keepalive-garbage": [39, "flag"],
  "nis-domain": [40, "text"],
  "nis-server": [41, "addresses"],
  "ntp-server": [42, "addresses"],
  "vendor-encap": [43, "bytes"],
  "netbios-ns": [44, "addresses"],
  "netbios-dd": [45, "addresses"],
  "netbios-nodetype": [46, "u8"],
  "netbios-scope": [47, "text"],
  "x-windows-fs": [48, "addresses"],
  "x-windows-dm": [49, "addresses"],
  "requested-address": [50, "address"],
  "lease-time": [51, "seconds"],
  "option-overload": [52, "u8"],
  "message-type": [53, "u8"],
  "server-identifier": [54, "address"],
  "parameter-request": [55, "u8s"],
  "message": [56, "text"],
  "max-message-size": [57, "u16"],
  "T1": [58, "seconds"],
  "T2": [59, "seconds"],
  "vendor-class": [60, "text"],
  "client-id": [61, "bytes"],
  "nis+-domain": [64, "text"],
  "nis+-server": [65, "addresses"],
  "tftp-server": [66, "text"],
  "bootfile-name": [67, "text"],
  "mobile-ip-home": [68, "addresses"],
  "smtp-server": [69, "addresses"],
  "pop3-server": [70, "addresses"],
  "nntp-server": [71, "addresses"],
  "www-server": [72, "addresses"],
  "finger-server": [73, "addresses"],
  "irc-server": [74, "addresses"],
  "streettalk-server": [75, "addresses"],
  "stda-server": [76, "addresses"],
  "user-class": [77, "bytes"],
  "rapid-commit": [80, "empty"],
  "FQDN": [81, "bytes"],
  "agent-info": [82, "bytes"],
  "last-transaction": [91, "seconds"],
  "associated-ip": [92, "addresses"],
  "client-arch": [93, "u16s"],
  "client-interface-id": [94, "bytes"],
  "client-machine-id": [97, "bytes"],
  "posix-timezone": [100, "text"],
  "tzdb-timezone": [101, "text"],
  "ipv6-only": [108, "seconds"],
  "subnet-select": [118, "address"],
  "domain-search": [119, "domains"],
  "sip-server": [120, "bytes"],
  "classless-static-route": [121, "routes"],
  "vendor-id-encap": [125, "bytes"],
  "tftp-server-address": [150, "addresses"],
  "ms-classless-static-route": [249, "routes"],
  "wpad": [252, "text"],
  "server-ip-address": [255, "header"],
} as const satisfies Record<string, readonly [number, DhcpOptionType]>;

export type DhcpOptionName = keyof typeof table;

/** Every option known by name. */
export const dhcpOptions = Object.fromEntries(
  Object.entries(table).map(([name, [code, type]]) => [name, { code, type }]),
) as Readonly<Record<DhcpOptionName, DhcpOption>>;

const byCode = new Map<number, { name: DhcpOptionName; type: DhcpOptionType }>(
  Object.entries(table).map(([name, [code, type]]) => [code, { name: name as DhcpOptionName, type }]),
);

/** By dnsmasq's name or as a decimal number; undefined for neither. A number without a name is `bytes`. */
export function findDhcpOption(nameOrCode: string): DhcpOption | undefined {
  if (Object.hasOwn(dhcpOptions, nameOrCode)) return dhcpOptions[nameOrCode as DhcpOptionName];
  if (!/^[1-9][0-9]{0,2}$/.test(nameOrCode) || Number(nameOrCode) > 254) return undefined;
  const code = Number(nameOrCode);
  return { code, type: byCode.get(code)?.type ?? "bytes" };
}

/** undefined when the code has no name here. */
export function dhcpOptionName(code: number): DhcpOptionName | undefined {
  return byCode.get(code)?.name;
}

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

const secondsPerUnit: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };

function encodeNumber(type: keyof typeof numberForms, text: string): Buffer {
  const { size, min, max } = numberForms[type];
  const time = type === "seconds" ? /^([0-9]+)([smhdw])$/i.exec(text) : null;
  let value = Number.NaN;
  if (type === "seconds" && text === "infinite") value = 0xffffffff;
  else if (time !== null) value = Number(time[1]) * secondsPerUnit[time[2]!.toLowerCase()]!;
  else if (/^(-?[0-9]+|0x[0-9a-f]+)$/i.test(text)) value = Number(text);
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

function items(text: string): string[] {
  return text.split(",").map((item) => item.trim());
}

const hexText = /^[0-9a-f]{2}(:[0-9a-f]{2})*$/i;

/** Untyped values as dnsmasq guesses them: hex with colons, addresses, the shortest number, else the text itself. */
function encodeGuess(text: string): Buffer {
  if (text.includes(":") && hexText.test(text)) return Buffer.from(text.replaceAll(":", ""), "hex");
  if (/^[0-9.,\s]+$/.test(text) && text.includes(".")) return Buffer.concat(items(text).map(addressBytes));
  if (/^([0-9]+|0x[0-9a-f]+)$/i.test(text) && Number(text) <= 0xffffffff) {
    const value = Number(text);
    return encodeNumber(value > 0xffff ? "u32" : value > 0xff ? "u16" : "u8", text);
  }
  return Buffer.from(text, "utf8");
}

/**
 * The bytes of option `code` for a text value in dnsmasq's spelling, such as "10.0.0.1,10.0.0.2" for `dns-server` or
 * "10.0.0.0/8,192.168.0.1" for `classless-static-route`. Codes without a known type are guessed from the text.
 * @throws PacketValueError
 */
export function encodeDhcpOption(code: number, text: string): Buffer {
  const type = byCode.get(code)?.type ?? "bytes";
  switch (type) {
    case "flag": case "u8": case "u16": case "u32": case "i32": case "seconds":
      return encodeNumber(type, text.trim());
    case "u8s": case "u16s":
      return Buffer.concat(items(text).map((item) => encodeNumber(type, item)));
    case "address": case "header":
      return addressBytes(text.trim());
    case "addresses":
      return Buffer.concat(items(text).map(addressBytes));
    case "addressPairs": {
      const addresses = items(text).map(addressBytes);
      if (addresses.length % 2 !== 0) throw new PacketValueError("pairs of addresses", text);
      return Buffer.concat(addresses);
    }
    case "text":
      if (text === "") throw new PacketValueError("a text that is not empty", text);
      return Buffer.from(text, "utf8");
    case "bytes":
      if (text === "") throw new PacketValueError("a value that is not empty", text);
      return encodeGuess(text);
    case "empty":
      if (text !== "") throw new PacketValueError("no value", text);
      return Buffer.alloc(0);
    case "domains":
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
  const type = byCode.get(code)?.type ?? "bytes";
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
    case "bytes":
      return formatHexBytes(data);
    case "empty":
      if (reader.left > 0) reader.malformed("DHCP option has a value and should not");
      return "";
    case "domains":
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

export interface ClasslessRoute {
  /** "10.0.0.0/8"; bits below the prefix are ignored. */
  destination: string;
  /** 0.0.0.0 = on link. */
  nexthop: string;
}

/** Option 121. @throws PacketValueError. RFC 3442 */
export function encodeClasslessRoutes(routes: readonly ClasslessRoute[]): Buffer {
  return Buffer.concat(routes.map(({ destination, nexthop }) => {
    const match = /^([0-9.]+)\/([0-9]{1,2})$/.exec(destination);
    const length = Number(match?.[2] ?? 33);
    if (match === null || length > 32) throw new PacketValueError("an IPv4 prefix", destination);
    const network = addressBytes(match[1]!);
    network.writeUInt32BE(maskTo(network.readUInt32BE(), length));
    return Buffer.concat([Buffer.of(length), network.subarray(0, Math.ceil(length / 8)), addressBytes(nexthop)]);
  }));
}

/** @throws PacketError */
export function decodeClasslessRoutes(data: Uint8Array): ClasslessRoute[] {
  const reader = new Reader(data);
  const routes: ClasslessRoute[] = [];
  while (reader.left > 0) {
    const length = reader.u8();
    if (length > 32) reader.malformed("prefix length is above 32", 1);
    const network = Buffer.concat([reader.view(Math.ceil(length / 8))], 4).readUInt32BE();
    routes.push({ destination: `${numberToIpv4(maskTo(network, length))}/${length}`, nexthop: reader.ipv4() });
  }
  return routes;
}

function maskTo(address: number, length: number): number {
  return length === 0 ? 0 : ((address >>> (32 - length)) << (32 - length)) >>> 0;
}
