// What a switch answers when it is asked how much a flow has counted.
import { FLOW_KEY_OFFSET, FLOW_MOD_MATCH_OFFSET } from "node-openflow";

/**
 * OFPMP_FLOW reply with one flow without instructions, OpenFlow 1.3.5 section 7.3.5.2. `text`: the flow's key, of which table, priority and match are
 * those of a flow_mod's bytes.
 */
export function flowCountReply(text: string, packets: number): Buffer {
  const key = Buffer.from(text, "latin1");
  const match = key.subarray(FLOW_MOD_MATCH_OFFSET - FLOW_KEY_OFFSET);
  const out = Buffer.alloc(64 + match.length);
  out.set([4, 19], 0);
  out.writeUInt16BE(out.length, 2);
  out.writeUInt16BE(1, 8);
  out.writeUInt16BE(48 + match.length, 16);
  out[18] = key[0]!;
  out.writeUInt16BE(key.readUInt16BE(30 - FLOW_KEY_OFFSET), 28);
  out.writeBigUInt64BE(BigInt(packets), 48);
  out.writeBigUInt64BE(BigInt(packets * 100), 56);
  match.copy(out, 64);
  return out;
}
