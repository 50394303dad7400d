// Protocol buffers, proto3, as far as etcd's messages need them: a message is a table of fields, and its types follow from the table.
// Unknown fields are passed over, as the format asks for; what cannot be read is an EtcdError, never anything else.
//
//   varint: uint64, int64, enum, bool     length-delimited: bytes, string, messages     (protobuf.dev/programming-guides/encoding)
import { EtcdError } from "../errors.ts";

/** `In`: what an encoder takes; `Out`: what a decoder gives. */
export interface Field<In, Out> {
  readonly number: number;
  readonly kind: Kind;
  readonly repeated: boolean;
  /** Of a field that is a message. */
  readonly of: Message<never, unknown> | undefined;
  /** For the types alone. */
  readonly types?: (given: In) => Out;
}

/** int: an int64 within 2^53, as revisions and counts are; id: all 64 bits. */
type Kind = "int" | "id" | "bool" | "bytes" | "text" | "message";

type Fields = Readonly<Record<string, Field<never, unknown>>>;
type In<F extends Fields> = { readonly [K in keyof F]?: F[K] extends Field<infer I, unknown> ? I | undefined : never };
type Out<F extends Fields> = { readonly [K in keyof F]: F[K] extends Field<never, infer O> ? O : never };

export interface Message<I, O> {
  encode(value: I): Buffer;
  /** @throws EtcdError PROTOCOL */
  decode(bytes: Buffer): O;
}
/** What a message's decoder gives. */
export type Decoded<M> = M extends Message<never, infer O> ? O : never;
/** What its encoder takes. */
export type Encodable<M> = M extends Message<infer I, unknown> ? I : never;

const scalar = <I, O>(kind: Kind) => (number: number): Field<I, O> => ({ number, kind, repeated: false, of: undefined });
export const int = scalar<number, number>("int");
export const id = scalar<bigint, bigint>("id");
export const bool = scalar<boolean, boolean>("bool");
export const bytes = scalar<Uint8Array | string, Buffer>("bytes");
export const text = scalar<string, string>("text");
export const one = <I, O>(number: number, of: Message<I, O>): Field<I, O | undefined> => ({ number, kind: "message", repeated: false, of });
export const many = <I, O>(number: number, of: Message<I, O>): Field<readonly I[], readonly O[]> => ({ number, kind: "message", repeated: true, of });
export const texts = (number: number): Field<readonly string[], readonly string[]> => ({ number, kind: "text", repeated: true, of: undefined });

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

export function message<F extends Fields>(fields: F): Message<In<F>, Out<F>> {
  const named = Object.entries<Field<never, unknown>>(fields);
  const byNumber = new Map(named.map(([name, field]) => [field.number, { name, field }]));
  return {
    encode(value) {
      const parts: Uint8Array[] = [];
      for (const [name, field] of named) {
        const given = (value as Readonly<Record<string, unknown>>)[name];
        if (given === undefined) continue;
        if (field.repeated) for (const item of given as readonly unknown[]) put(parts, field, item, true);
        else put(parts, field, given, field.of !== undefined);
      }
      return Buffer.concat(parts);
    },
    decode(from) {
      const out: Record<string, unknown> = {};
      for (const [name, field] of named) out[name] = field.repeated ? [] : empty(field.kind);
      const reader = new Reader(from);
      while (!reader.done) {
        const tag = reader.varint();
        const known = byNumber.get(Number(tag >> 3n));
        const type = Number(tag & 7n);
        const got = reader.value(type);
        if (known === undefined) continue;
        const { name, field } = known;
        const taken = take(name, field, type, got);
        if (field.repeated) (out[name] as unknown[]).push(taken);
        else out[name] = taken;
      }
      return out as Out<F>;
    },
  };
}

function empty(kind: Kind): unknown {
  switch (kind) {
    case "int":
      return 0;
    case "id":
      return 0n;
    case "bool":
      return false;
    case "bytes":
      return Buffer.alloc(0);
    case "text":
      return "";
    case "message":
      return undefined;
  }
}

/** `always`: also what is the default, which is else left out. */
function put(parts: Uint8Array[], field: Field<never, unknown>, value: unknown, always: boolean): void {
  const { number, kind } = field;
  if (kind === "int" || kind === "id" || kind === "bool") {
    const plain = kind === "id" ? (value as bigint) : BigInt(value as number | boolean);
    if (plain !== 0n || always) parts.push(varint(BigInt(number << 3) | BigInt(VARINT)), varint(BigInt.asUintN(64, plain)));
    return;
  }
  const body = kind === "message" ? field.of!.encode(value as never) : typeof value === "string" ? Buffer.from(value) : (value as Uint8Array);
  if (body.length > 0 || always) parts.push(varint(BigInt(number << 3) | BigInt(LENGTH)), varint(BigInt(body.length)), body);
}

function take(name: string, { kind, of }: Field<never, unknown>, type: number, got: bigint | Buffer): unknown {
  if (typeof got === "bigint") {
    if (type !== VARINT || kind === "bytes" || kind === "text" || kind === "message") throw wrong(`field ${name} has wire type ${type}`);
    if (kind === "bool") return got !== 0n;
    if (kind === "id") return got;
    const number = Number(BigInt.asIntN(64, got));
    if (!Number.isSafeInteger(number)) throw wrong(`field ${name} is ${got}, beyond 2^53`);
    return number;
  }
  if (type !== LENGTH) throw wrong(`field ${name} has wire type ${type}`);
  if (kind === "bytes") return got;
  if (kind === "text") return got.toString();
  if (kind === "message") return of!.decode(got);
  throw wrong(`field ${name} has wire type ${type}`);
}

function varint(value: bigint): Buffer {
  const out: number[] = [];
  for (let rest = value; ; ) {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    if (rest === 0n) {
      out.push(low);
      return Buffer.from(out);
    }
    out.push(low | 0x80);
  }
}

class Reader {
  private at = 0;
  private readonly from: Buffer;
  constructor(from: Buffer) {
    this.from = from;
  }

  get done(): boolean {
    return this.at >= this.from.length;
  }

  varint(): bigint {
    // Nearly all are short: the first four bytes without 64-bit arithmetic.
    let low = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte();
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt(low);
    }
    let value = BigInt(low);
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw wrong(`a number of more than ten bytes at byte ${this.at}`);
  }

  value(type: number): bigint | Buffer {
    switch (type) {
      case VARINT:
        return this.varint();
      case LENGTH:
        return this.bytes(Number(this.varint()));
      case FIXED64:
        return this.bytes(8);
      case FIXED32:
        return this.bytes(4);
      default:
        throw wrong(`wire type ${type} at byte ${this.at}`);
    }
  }

  private byte(): number {
    const byte = this.from[this.at++];
    if (byte === undefined) throw wrong(`it ends in the middle, at byte ${this.from.length}`);
    return byte;
  }

  private bytes(length: number): Buffer {
    const end = this.at + length;
    if (end > this.from.length) throw wrong(`it ends in the middle, at byte ${this.from.length}`);
    const out = this.from.subarray(this.at, end);
    this.at = end;
    return out;
  }
}

const wrong = (what: string): EtcdError => new EtcdError("PROTOCOL", `a message of etcd cannot be read: ${what}`);
