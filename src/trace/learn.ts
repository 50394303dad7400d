// What a learn action makes of a packet: a flow. lib/learn.c of Open vSwitch, learn_execute.
import { fields, ports, type Action, type Instruction, type Match, type MatchValue, type SubField } from "node-openflow";
import { bigOfU64, fullMask, port32, type Packet } from "./packet/packet.ts";

export interface LearnedFlow {
  readonly table: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly match: Match;
  readonly instructions: readonly Instruction[];
  readonly idleTimeoutS: number;
  readonly hardTimeoutS: number;
  /** Most flows with this cookie in the table, 0 any number. */
  readonly limit: number;
}

const OUTPUTS: ReadonlySet<number> = new Set([ports.IN_PORT, ports.FLOOD, ports.LOCAL, ports.ALL]);

export function learnedFlow(action: Action & { readonly type: "learn" }, packet: Packet): LearnedFlow {
  const match = new Map<SubField["field"], { value: bigint; mask: bigint }>();
  const actions: Action[] = [];
  if ((action.fin_idle_timeout ?? 0) !== 0 || (action.fin_hard_timeout ?? 0) !== 0) {
    actions.push({ type: "fin_timeout", fin_idle_timeout: action.fin_idle_timeout ?? 0, fin_hard_timeout: action.fin_hard_timeout ?? 0 });
  }
  for (const { type, src, dst } of action.specs) {
    const value = typeof src === "object" ? packet.part(src.field, src.ofs, src.bits) : BigInt(src);
    if (type === "output") {
      const port = port32(Number(value & 0xffff_ffffn));
      if (value <= 0xffffn && (port < 0xff00 || OUTPUTS.has(port))) actions.push({ type: "output", port });
    } else if (type === "load") {
      const { field, ofs, bits } = dst!;
      if (bits <= 64) actions.push({ type: "load", dst: dst!, value });
      else actions.push({ type: "set_field", field, value: value << BigInt(ofs), mask: ((1n << BigInt(bits)) - 1n) << BigInt(ofs) });
    } else {
      const { field, ofs, bits } = dst!;
      const ones = ((1n << BigInt(bits)) - 1n) << BigInt(ofs);
      const before = match.get(field) ?? { value: 0n, mask: 0n };
      match.set(field, { value: (before.value & ~ones) | (value << BigInt(ofs)), mask: before.mask | ones });
    }
  }
  const said: Record<string, MatchValue> = {};
  for (const [name, { value, mask }] of match) {
    const whole = mask === fullMask(fields[name]) || !fields[name].maskable;
    if (name === "nxm_in_port") said["in_port"] = port32(Number(value));
    else said[name] = whole ? value : { value, mask };
  }
  return {
    table: action.table_id ?? 1, priority: action.priority ?? 32_768, cookie: bigOfU64(action.cookie ?? 0), match: said,
    instructions: actions.length === 0 ? [] : [{ type: "apply_actions", actions }],
    idleTimeoutS: action.idle_timeout ?? 0, hardTimeoutS: action.hard_timeout ?? 0, limit: action.limit ?? 0,
  };
}
