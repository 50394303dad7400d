// The data of DNS resource records by type. A type is a list of fields; names are a field kind of their own, because they may
// point back into the message, and RFC 3597 4 lets them be written so in the types of RFC 1035 only. Types not here are bytes.

import { compressedDomain, domain } from "../wire/domain-name.ts";
import { PacketValueError } from "../wire/errors.ts";
import { bytes, ipv4, ipv6, list, sized, struct, tlv, u16, u32, u8 } from "../wire/form.ts";
import type { Form, ValueOf } from "../wire/form.ts";
import type { Reader } from "../wire/reader.ts";

/** Strings of at most 255 bytes. Text holds every byte as one character (latin1), so that nothing is lost. */
const characterString: Form<string> = {
  read: (reader) => reader.view(reader.u8()).toString("latin1"),
  write: (value) => {
    const content = Buffer.from(value, "latin1");
    if (content.length > 255 || content.toString("latin1") !== value) throw new PacketValueError("a string of at most 255 bytes", value);
    return Buffer.concat([Buffer.of(content.length), content]);
  },
};

const latin1: Form<string> = {
  read: (reader) => reader.rest().toString("latin1"),
  write: (value) => Buffer.from(value, "latin1"),
};

/** A name that is written compressed. */
const shared: Form<string> = { read: (reader) => compressedDomain.read(reader), write: (value) => domain.write(value) };
/** A name that is read compressed, as old servers wrote it, and never written so. */
const plain: Form<string> = compressedDomain;

/** EDNS options (RFC 6891 6.1.2) by code; their data stays bytes. */
const ednsOptions = list(tlv("option", u16, u16, {}));

const service = { priority: u16, target: plain, parameters: list(struct({ key: u16, value: sized(u16, bytes) })) } as const;

/** Number of each type, and its fields in order. OPT is apart: its class and ttl are no class and ttl. */
const typeTable = {
  A: [1, { address: ipv4 }],
  NS: [2, { name: shared }],
  CNAME: [5, { name: shared }],
  SOA: [6, { mname: shared, rname: shared, serial: u32, refresh_s: u32, retry_s: u32, expire_s: u32, minimum_s: u32 }],
  PTR: [12, { name: shared }],
  HINFO: [13, { cpu: characterString, os: characterString }],
  MX: [15, { preference: u16, exchange: shared }],
  TXT: [16, { strings: list(characterString, 1) }],
  AAAA: [28, { address: ipv6 }],
  SRV: [33, { priority: u16, weight: u16, port: u16, target: plain }],
  NAPTR: [35, { order: u16, preference: u16, flags: characterString, services: characterString, regexp: characterString, replacement: plain }],
  DNAME: [39, { name: plain }],
  DS: [43, { key_tag: u16, algorithm: u8, digest_type: u8, digest: bytes }],
  SSHFP: [44, { algorithm: u8, fingerprint_type: u8, fingerprint: bytes }],
  TLSA: [52, { usage: u8, selector: u8, matching_type: u8, data: bytes }],
  SVCB: [64, service],
  HTTPS: [65, service],
  /** `flags` 128: a client that does not know `tag` must refuse. RFC 8659 4 */
  CAA: [257, { flags: u8, tag: characterString, value: latin1 }],
} as const satisfies Record<string, readonly [number, Readonly<Record<string, Form<unknown>>>]>;

type TypeTable = typeof typeTable;
export type DnsTypedName = keyof TypeTable;
export type DnsData<N extends DnsTypedName> = { -readonly [F in keyof TypeTable[N][1]]: ValueOf<TypeTable[N][1][F]> };

interface RecordHead {
  name: string;
  /** 1 = Internet. */
  class: number;
  /** Seconds. */
  ttl: number;
}

/** A record of a type with fields here. */
export type DnsTypedRecord = { [N in DnsTypedName]: RecordHead & { type: N; data: DnsData<N> } }[DnsTypedName];

/** EDNS (RFC 6891); at most one, among the additional records. */
export interface DnsOptRecord {
  type: "OPT";
  /** The largest UDP payload the sender takes. */
  udp_size: number;
  /** The upper 8 bits of the response code. */
  extended_rcode: number;
  version: number;
  /** 16 bits, see `ednsFlags`. */
  flags: number;
  options: ValueOf<typeof ednsOptions>;
}

/** Any other type, and empty data of any type, as dynamic updates have it. */
export interface DnsOtherRecord extends RecordHead {
  type: number;
  data: Uint8Array;
}

export type DnsRecord = DnsTypedRecord | DnsOptRecord | DnsOtherRecord;

export const ednsFlags = { dnssecOk: 0x8000 } as const;

const optType = 41;

/** Names of types that a question may ask for; ANY and AXFR are no records. */
export const dnsTypes = {
  ...(Object.fromEntries(Object.entries(typeTable).map(([name, [type]]) => [name, type])) as { [N in DnsTypedName]: number }),
  OPT: optType, AXFR: 252, ANY: 255,
} as const;

export type DnsTypeName = keyof typeof dnsTypes;

const typeNames = new Map(Object.entries(dnsTypes).map(([name, type]) => [type, name as DnsTypeName]));

/** The name of a type, or the number when it has none here. */
export function dnsTypeName(type: number): DnsTypeName | number {
  return typeNames.get(type) ?? type;
}

/** @throws PacketValueError for a name that is not here */
export function dnsTypeNumber(type: DnsTypeName | number): number {
  const number = typeof type === "number" ? type : dnsTypes[type];
  if (number === undefined) throw new PacketValueError("a DNS type", type as string);
  return number;
}

/** Reads a record; the Reader's bytes start where the message does. */
export function readRecord(reader: Reader, sub: (end: number) => Reader): DnsRecord {
  const name = compressedDomain.read(reader);
  const type = reader.u16();
  const klass = reader.u16();
  const ttl = reader.u32();
  const size = reader.u16();
  if (size > reader.left) reader.skip(size); // throws, and says how much is missing
  const data = sub(reader.pos + size);
  reader.skip(size);
  if (type === optType) {
    if (name !== ".") data.malformed("EDNS record has a name");
    return {
      type: "OPT", udp_size: klass, extended_rcode: ttl >>> 24, version: (ttl >>> 16) & 0xff, flags: ttl & 0xffff, options: ednsOptions.read(data),
    };
  }
  const typeName = typeNames.get(type);
  if (size === 0 || typeName === undefined || !Object.hasOwn(typeTable, typeName)) {
    return { name, type, class: klass, ttl, data: data.rest() };
  }
  const fields: Record<string, unknown> = {};
  for (const [field, form] of Object.entries<Form<unknown>>(typeTable[typeName as DnsTypedName][1])) fields[field] = form.read(data);
  data.end(`${typeName} record`);
  return { name, type: typeName, class: klass, ttl, data: fields } as unknown as DnsTypedRecord;
}

/** Writes names of a message: `name` compressed when it can be, `bytes` as they are. */
export interface RecordWriter {
  name(name: string): void;
  bytes(bytes: Uint8Array): void;
  /** Leaves room for a 16 bit length and returns what fills it in. */
  length(): () => void;
}

/** @throws RangeError */
export function writeRecord(writer: RecordWriter, record: DnsRecord): void {
  if (record.type === "OPT") {
    writer.name(".");
    writer.bytes(Buffer.concat([
      u16.write(optType), u16.write(record.udp_size), u8.write(record.extended_rcode), u8.write(record.version), u16.write(record.flags),
      sized(u16, ednsOptions).write(record.options),
    ]));
    return;
  }
  writer.name(record.name);
  writer.bytes(Buffer.concat([u16.write(dnsTypeNumber(record.type)), u16.write(record.class), u32.write(record.ttl)]));
  const finish = writer.length();
  if (typeof record.type === "number") {
    writer.bytes(record.data);
  } else {
    const values = record.data as unknown as Record<string, unknown>;
    for (const [field, form] of Object.entries<Form<unknown>>(typeTable[record.type][1])) {
      if (form === shared) writer.name(values[field] as string);
      else writer.bytes(form.write(values[field]));
    }
  }
  finish();
}
