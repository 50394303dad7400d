// Addresses: IPv4 and IPv6 as numbers (text to bigint and back, prefixes and ranges), MACs as canonical text. The only place of the
// controller where the text of an address is read; nothing here knows about packets.

export type Family = 4 | 6;

export interface Ip {
  readonly family: Family;
  readonly value: bigint;
}

export interface Cidr {
  readonly family: Family;
  /** First address of the prefix; host bits are zero. */
  readonly network: bigint;
  /** The address as written, host bits included. */
  readonly address: bigint;
  readonly prefix: number;
}

/** Nobody's: no MAC where one could be. */
export const NO_MAC = "00:00:00:00:00:00";

export const bitsOf = (family: Family): 32 | 128 => (family === 4 ? 32 : 128);

const V4 = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/;

function parseV4(text: string): number | undefined {
  const m = V4.exec(text);
  if (m === null) return undefined;
  let value = 0;
  for (let i = 1; i <= 4; i++) {
    const octet = Number(m[i]);
    if (octet > 255) return undefined;
    value = value * 256 + octet;
  }
  return value;
}

function parseV6(text: string): bigint | undefined {
  let head = text;
  let low: number | undefined;
  if (text.includes(".")) {
    // ::ffff:192.0.2.1
    const at = text.lastIndexOf(":");
    if (at < 0) return undefined;
    low = parseV4(text.slice(at + 1));
    if (low === undefined) return undefined;
    head = `${text.slice(0, at + 1)}${(low >>> 16).toString(16)}:${(low & 0xffff).toString(16)}`;
  }
  const gap = head.indexOf("::");
  if (gap >= 0 && head.indexOf("::", gap + 1) >= 0) return undefined;
  const left = gap < 0 ? head : head.slice(0, gap);
  const right = gap < 0 ? "" : head.slice(gap + 2);
  const a = left === "" ? [] : left.split(":");
  const b = right === "" ? [] : right.split(":");
  if (gap < 0 ? a.length !== 8 : a.length + b.length > 7) return undefined;
  const groups = [...a, ...Array<string>(8 - a.length - b.length).fill("0"), ...b];
  let value = 0n;
  for (const group of groups) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    value = (value << 16n) | BigInt(parseInt(group, 16));
  }
  return value;
}

/** Dotted quad without leading zeros, or IPv6 without a zone; undefined for anything else. */
export function parseIp(text: string): Ip | undefined {
  if (text.length > 45) return undefined;
  if (text.includes(":")) {
    const value = parseV6(text);
    return value === undefined ? undefined : { family: 6, value };
  }
  const value = parseV4(text);
  return value === undefined ? undefined : { family: 4, value: BigInt(value) };
}

/** RFC 5952: lower case, the longest run of zero groups (the first of equals, two at least) as "::". */
export function formatIp(ip: Ip): string {
  if (ip.family === 4) {
    const v = Number(ip.value);
    return `${Math.floor(v / 0x1000000)}.${(v >>> 16) & 255}.${(v >>> 8) & 255}.${v & 255}`;
  }
  const groups: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((ip.value >> shift) & 0xffffn));
  if (ip.value >> 32n === 0xffffn) return `::ffff:${formatIp({ family: 4, value: ip.value & 0xffffffffn })}`;
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    if (end > i) i = end;
  }
  const hex = (part: readonly number[]): string => part.map((g) => g.toString(16)).join(":");
  return start < 0 ? hex(groups) : `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

/** Canonical text of an address, or undefined. */
export function normalizeIp(text: string): string | undefined {
  const ip = parseIp(text);
  return ip === undefined ? undefined : formatIp(ip);
}

/** Prefix length of a contiguous netmask. */
function prefixOfMask(mask: Ip): number | undefined {
  const bits = bitsOf(mask.family);
  const inverse = ((1n << BigInt(bits)) - 1n) ^ mask.value;
  if ((inverse & (inverse + 1n)) !== 0n) return undefined;
  return bits - (inverse === 0n ? 0 : inverse.toString(2).length);
}

/** `a/n`, `a/netmask` (IPv4) or a bare address (/32, /128). */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  const ip = parseIp(slash < 0 ? text : text.slice(0, slash));
  if (ip === undefined) return undefined;
  const bits = bitsOf(ip.family);
  let prefix: number | undefined = bits;
  if (slash >= 0) {
    const tail = text.slice(slash + 1);
    if (/^(0|[1-9]\d{0,2})$/.test(tail)) prefix = Number(tail);
    else {
      const mask = ip.family === 4 ? parseIp(tail) : undefined;
      prefix = mask === undefined || mask.family !== 4 ? undefined : prefixOfMask(mask);
    }
  }
  if (prefix === undefined || prefix > bits) return undefined;
  const host = BigInt(bits - prefix);
  return { family: ip.family, network: (ip.value >> host) << host, address: ip.value, prefix };
}

/** The network form: host bits cleared. */
export const formatCidr = (c: Cidr): string => `${formatIp({ family: c.family, value: c.network })}/${c.prefix}`;

export const lastIp = (c: Cidr): bigint => c.network | ((1n << BigInt(bitsOf(c.family) - c.prefix)) - 1n);

/** Is the address, or the whole prefix, inside? */
export function contains(outer: Cidr, inner: Ip | Cidr): boolean {
  if (outer.family !== inner.family) return false;
  const first = "value" in inner ? inner.value : inner.network;
  const last = "value" in inner ? inner.value : lastIp(inner);
  return first >= outer.network && last <= lastIp(outer);
}

export const overlap = (a: Cidr, b: Cidr): boolean => a.family === b.family && a.network <= lastIp(b) && b.network <= lastIp(a);

export function isMulticast(ip: Ip): boolean {
  return ip.family === 4 ? ip.value >> 28n === 0xen : ip.value >> 120n === 0xffn;
}

export function isLoopback(ip: Ip): boolean {
  return ip.family === 4 ? ip.value >> 24n === 127n : ip.value === 1n;
}

/** Modified EUI-64 address of a MAC (canonical text) in a /64. RFC 4291, appendix A. */
export function eui64(prefix: Cidr, mac: string): Ip {
  const m = BigInt(`0x${mac.replaceAll(":", "")}`);
  const id = ((m >> 24n) << 40n) | 0xfffe000000n | (m & 0xffffffn);
  return { family: 6, value: prefix.network | (id ^ (1n << 57n)) };
}

// ---- MAC addresses ----

const MAC_COLON = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;
const MAC_FORMS = [/^[0-9a-f]{1,2}(?::[0-9a-f]{1,2}){5}$/, /^[0-9a-f]{1,2}(?:-[0-9a-f]{1,2}){5}$/, /^[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}$/, /^[0-9a-f]{12}$/];

/** `fa:16:3e:00:00:01` from any usual EUI-48 notation; undefined if it is none. */
export function parseMac(value: unknown): string | undefined {
  if (typeof value !== "string" || value.length > 17) return undefined;
  const text = value.toLowerCase();
  if (MAC_COLON.test(text)) return text;
  const form = MAC_FORMS.findIndex((f) => f.test(text));
  if (form < 0) return undefined;
  const hex = form < 2 ? text.split(/[:-]/).map((o) => o.padStart(2, "0")).join("") : text.replaceAll(".", "");
  return hex.match(/../g)!.join(":");
}
