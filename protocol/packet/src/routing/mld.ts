// Multicast listener discovery (RFC 2710, RFC 3810): the bodies behind the ICMPv6 checksum. A query's version shows in its
// length. Sent with hop limit 1 and a router alert in a hop-by-hop header.

import { PacketValueError } from "../wire/errors.ts";
import { ipv6, reserved, struct, u16, u8 } from "../wire/form.ts";
import type { Form } from "../wire/form.ts";
import { groupRecord, readAddresses } from "./multicast.ts";
import type { GroupRecord } from "./multicast.ts";

export interface MldQuery {
  /** Milliseconds until which to answer, in version 2 as a code for `expandTimeCode` with 16 bits. */
  max_resp_code: number;
  /** "::" asks for all groups. */
  group: string;
  version: 1 | 2;
  /** Version 2 only, as the next three: routers must not reset their timers. */
  suppress?: boolean;
  /** Querier's robustness variable, 0..7. */
  robustness?: number;
  /** Seconds as a code for `expandTimeCode`. */
  query_interval_code?: number;
  sources?: string[];
}

const query: Form<MldQuery> = {
  read: (reader) => {
    const max_resp_code = reader.u16();
    reader.skip(2);
    const group = reader.ipv6();
    if (reader.left === 0) return { version: 1, max_resp_code, group };
    const flags = reader.u8();
    const query_interval_code = reader.u8();
    const sources = readAddresses(reader, ipv6, reader.u16());
    return { version: 2, max_resp_code, group, suppress: (flags & 8) !== 0, robustness: flags & 7, query_interval_code, sources };
  },
  write: ({ version, max_resp_code, group, suppress = false, robustness = 0, query_interval_code = 0, sources = [] }) => {
    const head = Buffer.concat([u16.write(max_resp_code), Buffer.alloc(2), ipv6.write(group)]);
    if (version === 1) return head;
    if (!(robustness >= 0 && robustness <= 7)) throw new PacketValueError("a robustness of 0..7", String(robustness));
    return Buffer.concat([
      head, Buffer.of((suppress ? 8 : 0) | robustness), u8.write(query_interval_code), u16.write(sources.length),
      ...sources.map((source) => ipv6.write(source)),
    ]);
  },
};

const record = groupRecord(ipv6);

const report: Form<{ records: GroupRecord[] }> = {
  read: (reader) => {
    reader.skip(2);
    const count = reader.u16();
    const records: GroupRecord[] = [];
    while (records.length < count) records.push(record.read(reader));
    return { records };
  },
  write: ({ records }) => Buffer.concat([Buffer.alloc(2), u16.write(records.length), ...records.map((item) => record.write(item))]),
};

const listener = struct({ max_resp_code: u16, _reserved: reserved(2), group: ipv6 });

export const mldForms = { mldQuery: query, mldReport: listener, mldDone: listener, mldv2Report: report } as const;
