// Neighbour discovery (RFC 4861): the bodies of router and neighbour solicitations and advertisements, that is what
// follows the ICMPv6 checksum. Options: link-layer addresses, prefix information, MTU, RDNSS and DNSSL (RFC 8106);
// others are kept as bytes.

import { ipv6ToBytes, macToBytes } from "./address.ts";
import { decodeDomainNames, encodeDomainName } from "./domain-name.ts";
import { PacketValueError } from "./errors.ts";
import { Reader } from "./reader.ts";

const optionTypes = { sourceLladdr: 1, targetLladdr: 2, prefix: 3, mtu: 5, rdnss: 25, dnssl: 31 } as const;

/** A lifetime of 0xffffffff seconds means forever. */
export const infiniteLifetimeS = 0xffffffff;

export interface PrefixInformation {
  prefix: string;
  length: number;
  on_link: boolean;
  autonomous: boolean;
  valid_lifetime_s: number;
  preferred_lifetime_s: number;
}

export interface Rdnss {
  lifetime_s: number;
  servers: string[];
}

export interface Dnssl {
  lifetime_s: number;
  domains: string[];
}

/** Options as read; a link-layer address that is not 6 bytes long lands in `unknown`. */
export interface NeighbourOptions {
  source_lladdr?: string;
  target_lladdr?: string;
  mtu?: number;
  prefixes: PrefixInformation[];
  rdnss: Rdnss[];
  dnssl: Dnssl[];
  unknown: { type: number; data: Buffer }[];
}

export interface RouterAdvertisementFields {
  /** 0 = unspecified. */
  cur_hop_limit: number;
  managed: boolean;
  other: boolean;
  /** 0 = not a default router. At most 65535. */
  router_lifetime_s: number;
  /** 0 = unspecified. */
  reachable_ms: number;
  /** 0 = unspecified. */
  retrans_ms: number;
}

/** What to advertise. Absent fixed fields are 0 or false, absent options are left out. */
export interface RouterAdvertisementInput extends Partial<RouterAdvertisementFields> {
  source_lladdr?: string;
  mtu?: number;
  prefixes?: PrefixInformation[];
  rdnss?: Rdnss | Rdnss[];
  dnssl?: Dnssl | Dnssl[];
}

export interface RouterAdvertisement extends RouterAdvertisementFields, NeighbourOptions {}

export type RouterSolicitation = NeighbourOptions;

export interface NeighbourSolicitation extends NeighbourOptions {
  target: string;
}

export interface NeighbourAdvertisement extends NeighbourOptions {
  target: string;
  router: boolean;
  solicited: boolean;
  override: boolean;
}

function readOptions(reader: Reader): NeighbourOptions {
  const options: NeighbourOptions = { prefixes: [], rdnss: [], dnssl: [], unknown: [] };
  while (reader.left > 0) {
    const type = reader.u8();
    const units = reader.u8();
    if (units === 0) reader.malformed("neighbour discovery option of length 0", 1);
    const base = reader.offset;
    const data = reader.view(units * 8 - 2);
    readOption(options, type, new Reader(data, base));
  }
  return options;
}

function readOption(options: NeighbourOptions, type: number, body: Reader): void {
  switch (type) {
    case optionTypes.sourceLladdr:
      if (body.left !== 6) break;
      options.source_lladdr ??= body.mac();
      return;
    case optionTypes.targetLladdr:
      if (body.left !== 6) break;
      options.target_lladdr ??= body.mac();
      return;
    case optionTypes.prefix: {
      const length = body.u8();
      if (length > 128) body.malformed("prefix length is above 128", 1);
      const flags = body.u8();
      const valid_lifetime_s = body.u32();
      const preferred_lifetime_s = body.u32();
      body.skip(4);
      const on_link = (flags & 0x80) !== 0;
      const autonomous = (flags & 0x40) !== 0;
      options.prefixes.push({ prefix: body.ipv6(), length, on_link, autonomous, valid_lifetime_s, preferred_lifetime_s });
      return;
    }
    case optionTypes.mtu:
      body.skip(2);
      options.mtu ??= body.u32();
      return;
    case optionTypes.rdnss: {
      body.skip(2);
      const lifetime_s = body.u32();
      if (body.left === 0 || body.left % 16 !== 0) body.malformed("RDNSS option does not hold whole addresses");
      const servers: string[] = [];
      while (body.left > 0) servers.push(body.ipv6());
      options.rdnss.push({ lifetime_s, servers });
      return;
    }
    case optionTypes.dnssl: {
      body.skip(2);
      const lifetime_s = body.u32();
      const base = body.offset;
      const domains = decodeDomainNames(body.rest(), { compressed: false, padded: true }, base);
      options.dnssl.push({ lifetime_s, domains });
      return;
    }
  }
  options.unknown.push({ type, data: body.rest() });
}

/** Pads with zeros to whole units of 8 bytes. */
function option(type: number, ...data: Buffer[]): Buffer {
  const length = data.reduce((total, part) => total + part.length, 2);
  const units = Math.ceil(length / 8);
  if (units > 255) throw new RangeError(`neighbour discovery option ${type} is longer than 2040 bytes`);
  return Buffer.concat([Buffer.of(type, units), ...data], units * 8);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}

const reserved2 = Buffer.alloc(2);

function lladdrOption(type: number, mac: string | undefined): Buffer[] {
  return mac === undefined ? [] : [option(type, macToBytes(mac))];
}

function prefixOption(info: PrefixInformation): Buffer {
  if (info.length < 0 || info.length > 128) throw new PacketValueError("a prefix length of 0..128", String(info.length));
  const head = Buffer.of(info.length, (info.on_link ? 0x80 : 0) | (info.autonomous ? 0x40 : 0));
  const lifetimes = [u32(info.valid_lifetime_s), u32(info.preferred_lifetime_s)];
  return option(optionTypes.prefix, head, ...lifetimes, u32(0), ipv6ToBytes(info.prefix));
}

function list<T extends object>(value: T | T[] | undefined): T[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

/** The body for `buildIcmpv6({ type: 134, code: 0 }, ...)`. @throws RangeError. RFC 4861 4.2, RFC 8106 5 */
export function buildRouterAdvertisement(input: RouterAdvertisementInput): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt8(input.cur_hop_limit ?? 0, 0);
  head.writeUInt8((input.managed === true ? 0x80 : 0) | (input.other === true ? 0x40 : 0), 1);
  head.writeUInt16BE(input.router_lifetime_s ?? 0, 2);
  head.writeUInt32BE(input.reachable_ms ?? 0, 4);
  head.writeUInt32BE(input.retrans_ms ?? 0, 8);
  const mtu = input.mtu === undefined ? [] : [option(optionTypes.mtu, reserved2, u32(input.mtu))];
  // An empty list has no wire form: both options need at least one entry.
  const rdnss = list(input.rdnss).filter((entry) => entry.servers.length > 0).map((entry) =>
    option(optionTypes.rdnss, reserved2, u32(entry.lifetime_s), ...entry.servers.map(ipv6ToBytes)));
  const dnssl = list(input.dnssl).filter((entry) => entry.domains.length > 0).map((entry) =>
    option(optionTypes.dnssl, reserved2, u32(entry.lifetime_s), ...entry.domains.map(encodeDomainName)));
  const lladdr = lladdrOption(optionTypes.sourceLladdr, input.source_lladdr);
  return Buffer.concat([head, ...lladdr, ...mtu, ...(input.prefixes ?? []).map(prefixOption), ...rdnss, ...dnssl]);
}

/** `body` is `icmpv6.payload`. @throws PacketError */
export function parseRouterAdvertisement(body: Uint8Array): RouterAdvertisement {
  const reader = new Reader(body);
  const cur_hop_limit = reader.u8();
  const flags = reader.u8();
  const router_lifetime_s = reader.u16();
  const reachable_ms = reader.u32();
  const retrans_ms = reader.u32();
  const managed = (flags & 0x80) !== 0;
  const other = (flags & 0x40) !== 0;
  return { cur_hop_limit, managed, other, router_lifetime_s, reachable_ms, retrans_ms, ...readOptions(reader) };
}

/** The body for type 133. @throws RangeError */
export function buildRouterSolicitation(input: { source_lladdr?: string } = {}): Buffer {
  return Buffer.concat([u32(0), ...lladdrOption(optionTypes.sourceLladdr, input.source_lladdr)]);
}

/** `body` is `icmpv6.payload`. @throws PacketError */
export function parseRouterSolicitation(body: Uint8Array): RouterSolicitation {
  const reader = new Reader(body);
  reader.skip(4);
  return readOptions(reader);
}

/** The body for type 135. @throws RangeError */
export function buildNeighbourSolicitation(input: { target: string; source_lladdr?: string }): Buffer {
  const lladdr = lladdrOption(optionTypes.sourceLladdr, input.source_lladdr);
  return Buffer.concat([u32(0), ipv6ToBytes(input.target), ...lladdr]);
}

/** `body` is `icmpv6.payload`. @throws PacketError */
export function parseNeighbourSolicitation(body: Uint8Array): NeighbourSolicitation {
  const reader = new Reader(body);
  reader.skip(4);
  const target = reader.ipv6();
  return { target, ...readOptions(reader) };
}

export interface NeighbourAdvertisementInput {
  target: string;
  target_lladdr?: string;
  router?: boolean;
  solicited?: boolean;
  override?: boolean;
}

/** The body for type 136. Absent flags are false. @throws RangeError */
export function buildNeighbourAdvertisement(input: NeighbourAdvertisementInput): Buffer {
  const flags = (input.router === true ? 4 : 0) | (input.solicited === true ? 2 : 0) | (input.override === true ? 1 : 0);
  const lladdr = lladdrOption(optionTypes.targetLladdr, input.target_lladdr);
  return Buffer.concat([u32(flags * 0x20000000), ipv6ToBytes(input.target), ...lladdr]);
}

/** `body` is `icmpv6.payload`. @throws PacketError */
export function parseNeighbourAdvertisement(body: Uint8Array): NeighbourAdvertisement {
  const reader = new Reader(body);
  const flags = reader.u8();
  reader.skip(3);
  const target = reader.ipv6();
  const router = (flags & 0x80) !== 0;
  const solicited = (flags & 0x40) !== 0;
  const override = (flags & 0x20) !== 0;
  return { target, router, solicited, override, ...readOptions(reader) };
}
