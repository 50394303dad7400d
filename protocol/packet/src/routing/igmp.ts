// IGMP, all three versions (RFC 1112, 2236, 3376). Which version a query is of shows in its length and its time, so
// `version` is part of what is read and decides what is written.

import { checksum } from "../wire/checksum.ts";
import { PacketValueError } from "../wire/errors.ts";
import { ipv4, u16, u8 } from "../wire/form.ts";
import { groupRecord, readAddresses } from "./multicast.ts";
import type { GroupRecord } from "./multicast.ts";
import { Reader } from "../wire/reader.ts";

export const igmpTypes = { query: 0x11, reportV1: 0x12, reportV2: 0x16, leave: 0x17, reportV3: 0x22 } as const;

export interface IgmpQuery {
  kind: "query";
  version: 1 | 2 | 3;
  /** Tenths of a second until which to answer, in version 3 as a code for `expandTimeCode`; 0 in version 1. */
  max_resp_code: number;
  /** 0.0.0.0 asks for all groups. */
  group: string;
  /** Version 3 only, as the next three: routers must not reset their timers. */
  suppress?: boolean;
  /** Querier's robustness variable, 0..7. */
  robustness?: number;
  /** Seconds as a code for `expandTimeCode`. */
  query_interval_code?: number;
  sources?: string[];
}

export type IgmpMessage =
  | IgmpQuery
  /** Version 1 or 2; `max_resp_code` is 0. */
  | { kind: "report"; version: 1 | 2; max_resp_code: number; group: string }
  | { kind: "leave"; max_resp_code: number; group: string }
  | { kind: "reportV3"; records: GroupRecord[] }
  /** DVMRP, PIMv1 and others: everything behind the checksum. */
  | { kind: number; code: number; payload: Uint8Array };

export type Igmp = IgmpMessage & { checksumOk: boolean | undefined };

const record = groupRecord(ipv4);

export function readIgmp(reader: Reader, complete: boolean): Igmp {
  const size = reader.left;
  const checksumOk = complete ? checksum(reader.bytes.subarray(reader.pos)) === 0 : undefined;
  const type = reader.u8();
  const max_resp_code = reader.u8();
  reader.skip(2);
  switch (type) {
    case igmpTypes.query: {
      const group = reader.ipv4();
      // RFC 3376 7.1; a query of 9 to 11 bytes is none of them
      if (size === 8) return { kind: "query", version: max_resp_code === 0 ? 1 : 2, max_resp_code, group, checksumOk };
      const flags = reader.u8();
      const query_interval_code = reader.u8();
      const sources = readAddresses(reader, ipv4, reader.u16());
      return {
        kind: "query", version: 3, max_resp_code, group, suppress: (flags & 8) !== 0, robustness: flags & 7, query_interval_code, sources, checksumOk,
      };
    }
    case igmpTypes.reportV1: case igmpTypes.reportV2:
      return { kind: "report", version: type === igmpTypes.reportV1 ? 1 : 2, max_resp_code, group: reader.ipv4(), checksumOk };
    case igmpTypes.leave:
      return { kind: "leave", max_resp_code, group: reader.ipv4(), checksumOk };
    case igmpTypes.reportV3: {
      reader.skip(2);
      const count = reader.u16();
      const records: GroupRecord[] = [];
      while (records.length < count) records.push(record.read(reader));
      return { kind: "reportV3", records, checksumOk };
    }
    default:
      return { kind: type, code: max_resp_code, payload: reader.rest(), checksumOk };
  }
}

/** The IPv4 payload, taken for whole. @throws PacketError */
export function parseIgmp(buf: Uint8Array): Igmp {
  return readIgmp(new Reader(buf), true);
}

/** The IPv4 payload. It is sent with a ttl of 1 and, from version 2 on, the router alert option. @throws RangeError */
export function buildIgmp(message: IgmpMessage): Buffer {
  const bytes = igmpBytes(message);
  bytes.writeUInt16BE(0, 2);
  bytes.writeUInt16BE(checksum(bytes), 2);
  return bytes;
}

function igmpBytes(message: IgmpMessage): Buffer {
  switch (message.kind) {
    case "query": {
      const head = short(igmpTypes.query, message.max_resp_code, message.group);
      if (message.version !== 3) return head;
      const { suppress = false, robustness = 0, query_interval_code = 0, sources = [] } = message;
      if (!(robustness >= 0 && robustness <= 7)) throw new PacketValueError("a robustness of 0..7", String(robustness));
      return Buffer.concat([
        head, Buffer.of((suppress ? 8 : 0) | robustness), u8.write(query_interval_code), u16.write(sources.length),
        ...sources.map((source) => ipv4.write(source)),
      ]);
    }
    case "report":
      return short(message.version === 1 ? igmpTypes.reportV1 : igmpTypes.reportV2, message.max_resp_code, message.group);
    case "leave":
      return short(igmpTypes.leave, message.max_resp_code, message.group);
    case "reportV3":
      return Buffer.concat([
        Buffer.of(igmpTypes.reportV3, 0, 0, 0, 0, 0), u16.write(message.records.length), ...message.records.map((item) => record.write(item)),
      ]);
    default:
      return Buffer.concat([u8.write(message.kind), u8.write(message.code), Buffer.alloc(2), message.payload]);
  }
}

function short(type: number, code: number, group: string): Buffer {
  return Buffer.concat([Buffer.of(type), u8.write(code), Buffer.alloc(2), ipv4.write(group)]);
}
