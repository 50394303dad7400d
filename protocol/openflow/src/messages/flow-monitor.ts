// Flow monitors: what a controller asks to be told about flows, and what it is told. In OpenFlow 1.3 an ONF extension (1870) with
// ofp_match and instructions; before that Nicira's own (NXST 2), with NXM matches and actions.

import { decodeActions, encodeActions, type Action } from "../actions/codec.ts";
import { badValue, malformed, refusal, truncated } from "../wire/errors.ts";
import { ALL_TABLES, ports } from "../match/fields.ts";
import { decodeInstructions, encodeInstructions, type Instruction } from "./instructions.ts";
import { mustBeZero, writeU64, type Part, type U64 } from "../layout/layout.ts";
import { decodeMatch, decodeNxms, encodeMatch, encodeNxms, matchLength, pad8, type Match } from "../match/match.ts";
import { isPort } from "../match/check.ts";
import { judging } from "../wire/strict.ts";
import { port16, whole, writeU16, writeU32 } from "../match/value.ts";

type Obj = Record<string, unknown>;

/** Bits of FlowMonitor.flags: which flows to tell of, and what. */
export const flowMonitorFlags = { INITIAL: 1, ADD: 2, DELETE: 4, MODIFY: 8, ACTIONS: 16, OWN: 32 } as const;

export interface FlowMonitor {
  /** Chosen by the controller, for flow_monitor_cancel. */
  readonly id: number;
  readonly flags: number;
  /** Only flows that output to this port; ANY by default. */
  readonly out_port?: number;
  readonly table_id?: number;
  readonly match: Match;
}

const EVENTS = ["added", "deleted", "modified"] as const;
const ABBREV = 3;

interface Change {
  readonly event: (typeof EVENTS)[number];
  /** Why it was deleted, as in flow_removed. */
  readonly reason: number;
  readonly table_id: number;
  readonly priority: number;
  readonly idle_timeout: number;
  readonly hard_timeout: number;
  readonly cookie: U64;
  readonly match: Match;
}
/** The controller's own flow-mod with this xid did it. */
interface Abbreviated {
  readonly event: "abbrev";
  readonly xid: number;
}
export type FlowUpdate = (Change & { readonly instructions: readonly Instruction[] }) | Abbreviated;
export type NxFlowUpdate = (Change & { readonly actions: readonly Action[] }) | Abbreviated;

// The length of a match stands before it. In the ONF form it repeats what the match itself says, and Open vSwitch does not look; one
// that differs is kept out of sight, so that the bytes come out as they went in.
const MATCH_LENGTH = Symbol("match length");

function keepLength(obj: object, found: number, actual: number): void {
  if (found !== actual) Object.defineProperty(obj, MATCH_LENGTH, { value: found });
}

function badFlags(flags: number, at: number): void {
  const { ADD, DELETE, MODIFY } = flowMonitorFlags;
  if ((flags & (ADD | DELETE | MODIFY)) === 0 || flags > 63) throw refusal("OFPMOFC_BAD_FLAGS", at, `flow monitor flags 0x${flags.toString(16)}`);
}

export const flowMonitor: Part<{ monitors: readonly FlowMonitor[] }> = {
  name: "monitors", size: -1,
  encode(buf, off, obj) {
    for (const monitor of items(obj, "monitors") as FlowMonitor[]) {
      writeU32(buf, off, whole(monitor.id, 0xffffffff, "id"));
      writeU16(buf, off + 4, whole(monitor.flags, 0xffff, "flags"));
      writeU32(buf, off + 8, whole(monitor.out_port ?? ports.ANY, 0xffffffff, "out_port"));
      writeU32(buf, off + 12, whole(monitor.table_id ?? ALL_TABLES, 0xff, "table_id") << 24);
      const end = encodeMatch(buf, off + 16, monitor.match);
      writeU16(buf, off + 6, (monitor as { [MATCH_LENGTH]?: number })[MATCH_LENGTH] ?? buf.readUInt16BE(off + 18));
      off = end;
    }
    return off;
  },
  decode(buf, off, end, obj) {
    const monitors: FlowMonitor[] = [];
    while (off < end) {
      if (off + 16 > end) throw truncated(off, "flow monitor");
      const flags = buf.readUInt16BE(off + 4);
      const port = buf.readUInt32BE(off + 8);
      if (judging.strict) {
        badFlags(flags, off + 4);
        mustBeZero(buf, off + 13, off + 16);
        if (!isPort(port)) throw refusal("OFPBAC_BAD_OUT_PORT", off + 8, `port 0x${port.toString(16)}`);
      }
      const length = matchLength(buf, off + 16, end);
      const monitor = { id: buf.readUInt32BE(off), flags, out_port: port, table_id: buf[off + 12]!, match: decodeMatch(buf, off + 16, end) };
      keepLength(monitor, buf.readUInt16BE(off + 6), length);
      monitors.push(monitor);
      off += 16 + ((length + 7) & ~7);
    }
    obj["monitors"] = monitors;
    return end;
  },
};

export const nxFlowMonitor: Part<{ monitors: readonly FlowMonitor[] }> = {
  name: "monitors", size: -1,
  encode(buf, off, obj) {
    for (const monitor of items(obj, "monitors") as FlowMonitor[]) {
      writeU32(buf, off, whole(monitor.id, 0xffffffff, "id"));
      writeU16(buf, off + 4, whole(monitor.flags, 0xffff, "flags"));
      writeU16(buf, off + 6, port16(monitor.out_port ?? ports.ANY, "out_port"));
      writeU32(buf, off + 10, whole(monitor.table_id ?? ALL_TABLES, 0xff, "table_id") << 24);
      writeU16(buf, off + 14, 0);
      const end = encodeNxms(buf, off + 16, monitor.match);
      writeU16(buf, off + 8, end - off - 16);
      off = pad8(buf, off, end);
    }
    return off;
  },
  decode(buf, off, end, obj) {
    const monitors: FlowMonitor[] = [];
    while (off < end) {
      if (off + 16 > end) throw truncated(off, "flow monitor");
      const length = buf.readUInt16BE(off + 8);
      const port = buf.readUInt16BE(off + 6);
      if (off + 16 + ((length + 7) & ~7) > end) throw truncated(off + 8, "flow monitor", "OFPBMC_BAD_LEN");
      monitors.push({
        id: buf.readUInt32BE(off), flags: buf.readUInt16BE(off + 4), out_port: port >= 0xff00 ? port + 0xffff0000 : port, table_id: buf[off + 10]!,
        match: decodeNxms(buf, off + 16, length),
      });
      off += 16 + ((length + 7) & ~7);
    }
    obj["monitors"] = monitors;
    return end;
  },
};

interface Content {
  write(buf: Buffer, off: number, update: Obj): [match: number, end: number];
  read(buf: Buffer, off: number, end: number, length: number, into: Obj): void;
}

function updates<U>(content: Content): Part<{ updates: readonly U[] }> {
  return {
    name: "updates", size: -1,
    encode(buf, off, obj) {
      for (const update of items(obj, "updates") as Obj[]) {
        const start = off;
        if (update["event"] === "abbrev") {
          writeU16(buf, off + 2, ABBREV);
          writeU32(buf, off + 4, whole(update["xid"] as number, 0xffffffff, "xid"));
          off += 8;
        } else {
          const event = EVENTS.indexOf(update["event"] as (typeof EVENTS)[number]);
          if (event < 0) throw badValue(`no event ${String(update["event"])}`);
          writeU16(buf, off + 2, event);
          writeU16(buf, off + 4, whole(update["reason"] as number, 0xffff, "reason"));
          writeU16(buf, off + 6, whole(update["priority"] as number, 0xffff, "priority"));
          writeU16(buf, off + 8, whole(update["idle_timeout"] as number, 0xffff, "idle_timeout"));
          writeU16(buf, off + 10, whole(update["hard_timeout"] as number, 0xffff, "hard_timeout"));
          buf[off + 14] = whole(update["table_id"] as number, 0xff, "table_id");
          buf[off + 15] = 0;
          writeU64(buf, off + 16, update["cookie"] as U64, "cookie");
          const [length, end] = content.write(buf, off + 24, update);
          writeU16(buf, off + 12, (update as { [MATCH_LENGTH]?: number })[MATCH_LENGTH] ?? length);
          off = end;
        }
        writeU16(buf, start, off - start);
      }
      return off;
    },
    decode(buf, off, end, obj) {
      const list: unknown[] = [];
      while (off < end) {
        if (off + 4 > end) throw truncated(off, "flow update");
        const length = buf.readUInt16BE(off);
        const event = buf.readUInt16BE(off + 2);
        const stop = off + length;
        if (stop > end || length % 8 !== 0 || length === 0) throw malformed(off, `flow update of ${length} bytes`);
        if (event === ABBREV) {
          if (length !== 8) throw malformed(off, `abbreviated flow update of ${length} bytes`);
          list.push({ event: "abbrev", xid: buf.readUInt32BE(off + 4) });
        } else {
          const name = EVENTS[event];
          if (name === undefined) throw refusal("NXBRC_FM_BAD_EVENT", off + 2, `flow update event ${event}`);
          if (length < 24) throw malformed(off, `flow update of ${length} bytes`);
          const matchLen = buf.readUInt16BE(off + 12);
          if (24 + matchLen > length) throw malformed(off, `flow update of ${length} bytes`);
          const update: Obj = {
            event: name, reason: buf.readUInt16BE(off + 4), table_id: buf[off + 14]!, priority: buf.readUInt16BE(off + 6), idle_timeout: buf.readUInt16BE(off + 8),
            hard_timeout: buf.readUInt16BE(off + 10), cookie: buf.readBigUInt64BE(off + 16),
          };
          content.read(buf, off + 24, stop, matchLen, update);
          list.push(update);
        }
        off = stop;
      }
      obj["updates"] = list;
      return end;
    },
  };
}

function items(obj: Obj, name: string): readonly unknown[] {
  const list = obj[name];
  if (!Array.isArray(list)) throw badValue(`${name} takes a list`);
  return list;
}

export const flowUpdates = updates<FlowUpdate>({
  write(buf, off, update) {
    const end = encodeMatch(buf, off, update["match"] as Match);
    return [buf.readUInt16BE(off + 2), encodeInstructions(buf, end, (update["instructions"] ?? []) as readonly Instruction[])];
  },
  read(buf, off, end, length, into) {
    const actual = matchLength(buf, off, end);
    into["match"] = decodeMatch(buf, off, end);
    const start = off + ((actual + 7) & ~7);
    into["instructions"] = decodeInstructions(buf, start, end - start);
    keepLength(into, length, actual);
  },
});

export const nxFlowUpdates = updates<NxFlowUpdate>({
  write(buf, off, update) {
    const end = encodeNxms(buf, off, update["match"] as Match);
    return [end - off, encodeActions(buf, pad8(buf, off, end), (update["actions"] ?? []) as readonly Action[])];
  },
  read(buf, off, end, length, into) {
    const start = off + ((length + 7) & ~7);
    if (start > end) throw truncated(off, "flow update", "OFPBMC_BAD_LEN");
    into["match"] = decodeNxms(buf, off, length);
    into["actions"] = decodeActions(buf, start, end - start);
  },
});
