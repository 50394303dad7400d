// What IGMP and MLD share: the time codes of their newest versions (RFC 3376 4.1.1, RFC 3810 5.1.3) and the shape of
// group records, which differ in the size of an address only.

import { PacketValueError } from "../wire/errors.ts";
import { u16, u8 } from "../wire/form.ts";
import type { Form } from "../wire/form.ts";
import type { Reader } from "../wire/reader.ts";

/** Record types of IGMPv3 and MLDv2 reports. */
export const groupRecordTypes = {
  modeIsInclude: 1, modeIsExclude: 2, changeToInclude: 3, changeToExclude: 4, allowNewSources: 5, blockOldSources: 6,
} as const;

export interface GroupRecord {
  type: number;
  group: string;
  sources: string[];
  /** Whole words; no version defines any. Present when there are any. */
  auxiliary?: Uint8Array;
}

export function groupRecord(address: Form<string>): Form<GroupRecord> {
  return {
    read: (reader) => {
      const type = reader.u8();
      const auxiliarySize = reader.u8() * 4;
      const count = reader.u16();
      const group = address.read(reader);
      const sources = readAddresses(reader, address, count);
      const auxiliary = reader.view(auxiliarySize);
      return { type, group, sources, ...(auxiliarySize > 0 && { auxiliary }) };
    },
    write: ({ type, group, sources, auxiliary = Buffer.alloc(0) }) => {
      if (auxiliary.length % 4 !== 0) throw new PacketValueError("auxiliary data of whole words", `${auxiliary.length} bytes`);
      return Buffer.concat([
        u8.write(type), u8.write(auxiliary.length / 4), u16.write(sources.length), address.write(group),
        ...sources.map((source) => address.write(source)), auxiliary,
      ]);
    },
  };
}

export function readAddresses(reader: Reader, address: Form<string>, count: number): string[] {
  const addresses: string[] = [];
  while (addresses.length < count) addresses.push(address.read(reader));
  return addresses;
}

/** A floating point code of 8 (IGMPv3, and both query intervals) or 16 bits (MLDv2) as the number it stands for. */
export function expandTimeCode(code: number, width: 8 | 16 = 8): number {
  const fraction = width - 4;
  if (code < 2 ** (width - 1)) return code;
  const mantissa = code & (2 ** fraction - 1);
  const exponent = (code >>> fraction) & 7;
  return (mantissa | 2 ** fraction) * 2 ** (exponent + 3);
}

/** The code of the largest number it can say that is not above `value`. @throws PacketValueError when none is near */
export function timeCode(value: number, width: 8 | 16 = 8): number {
  const fraction = width - 4;
  const max = expandTimeCode(2 ** width - 1, width);
  if (!Number.isInteger(value) || value < 0 || value > max) throw new PacketValueError(`a time of 0..${max}`, String(value));
  if (value < 2 ** (width - 1)) return value;
  const exponent = Math.floor(Math.log2(value)) - fraction - 3;
  const mantissa = Math.floor(value / 2 ** (exponent + 3)) & (2 ** fraction - 1);
  return 2 ** (width - 1) | (exponent << fraction) | mantissa;
}
