// What a switch knows a flow by: table, priority and match. As bytes of its flow-mod, so that flows are compared with no decoding.
import { FLOW_MOD_MATCH_OFFSET } from "./flow-mod.ts";

/** struct ofp_flow_mod from table_id to the match: what a flow is known by, when it has no timeouts and no flags. */
export const FLOW_KEY_OFFSET = 24;

const prefixes = new Map<number, string>();

/** The key of a flow from its parts, as Flow.key: for what a switch dumped. `match` is the padded ofp_match. */
export function flowKey(table: number, priority: number, buf: Buffer, matchOff: number, matchLen: number): string {
  const code = (table << 16) | priority;
  let prefix = prefixes.get(code);
  if (prefix === undefined) {
    const bytes = Buffer.alloc(FLOW_MOD_MATCH_OFFSET - FLOW_KEY_OFFSET);
    bytes[0] = table;
    bytes.writeUInt16BE(priority, 6);
    bytes.fill(0xff, 8, 20); // buffer_id, out_port, out_group: none
    if (prefixes.size > 100_000) prefixes.clear();
    prefixes.set(code, (prefix = bytes.toString("latin1")));
  }
  return prefix + buf.toString("latin1", matchOff, matchOff + matchLen);
}
