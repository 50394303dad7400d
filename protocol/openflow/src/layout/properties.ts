// Properties: lists of type, length and content in which table features, queues, asynchronous masks and the later extensions say
// what they have. A property whose type is unknown keeps its number and its bytes.

import { badValue, malformed, refusal, truncated, type ErrorName } from "../wire/errors.ts";
import { decodeParts, encodeParts, rest, type Part, type Shape } from "./layout.ts";
import { pad8 } from "../match/match.ts";
import { judging } from "../wire/strict.ts";
import { writeU16 } from "../match/value.ts";

type Obj = Record<string, unknown>;
type Simplify<T> = { [K in keyof T]: T[K] };
type Case = readonly [code: number, layout: readonly Part[]];

/** A property by its number, as far as this package does not know it. */
export interface UnknownProperty {
  readonly type: number;
  readonly data?: Uint8Array;
}
export type PropertyOf<C extends Readonly<Record<string, Case>>> = { [K in keyof C]: Simplify<{ type: K } & Shape<C[K][1]>> }[keyof C] | UnknownProperty;

interface Options {
  /** How Open vSwitch refuses a wrong length, and a type that it does not know; without the latter it passes over those. */
  readonly badLength?: ErrorName;
  readonly badType?: ErrorName;
  /** Each property fills up to 8 bytes. */
  readonly align?: 1 | 8;
}

const opaque = [rest("data")] as const;

export function properties<N extends string, const C extends Readonly<Record<string, Case>>>(
  name: N, cases: C, { badLength = "OFPBPC_BAD_LEN", badType, align = 8 }: Options = {},
): Part<{ [K in N]: readonly PropertyOf<C>[] }> {
  const byCode = new Map(Object.entries(cases).map(([type, [code, layout]]) => [code, { type, layout }]));
  return {
    name, size: -1,
    encode(buf, off, obj) {
      const list = obj[name] ?? [];
      if (!Array.isArray(list)) throw badValue(`${name} takes a list`);
      for (const property of list as Obj[]) {
        const type = property["type"];
        const known = typeof type === "string" ? cases[type] : undefined;
        const code = known?.[0] ?? type;
        if (typeof code !== "number") throw badValue(`${name}: no property ${String(type)}`);
        const start = off;
        writeU16(buf, start, code);
        off = encodeParts(known?.[1] ?? opaque, buf, start + 4, property);
        writeU16(buf, start + 2, off - start);
        if (align === 8) off = pad8(buf, start, off);
      }
      return off;
    },
    decode(buf, off, end, obj) {
      const list: Obj[] = [];
      while (off < end) {
        if (off + 4 > end) throw truncated(off, name, badLength);
        const code = buf.readUInt16BE(off);
        const length = buf.readUInt16BE(off + 2);
        const next = off + (align === 8 ? (length + 7) & ~7 : length);
        if (length < 4) throw malformed(off + 2, `${name}: length ${length}`, badLength);
        if (next > end) throw truncated(off + 2, name, badLength);
        const known = byCode.get(code);
        if (known === undefined && judging.strict && badType !== undefined) throw refusal(badType, off, `${name}: unknown property ${code}`);
        const property: Obj = { type: known?.type ?? code };
        const layout = known?.layout ?? opaque;
        const at = decodeParts(layout, buf, off + 4, off + length, property, name, badLength);
        if (at !== off + length) throw malformed(at, `${name}: ${off + length - at} bytes left over`, badLength);
        list.push(property);
        off = next;
      }
      (obj as Record<string, unknown>)[name] = list;
      return end;
    },
  };
}
