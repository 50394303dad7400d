// Table features: what each table of a switch can match and do. OpenFlow 1.3.5 section 7.3.5.5.

import { length16, list, pad, rest, slack, text, u16, u32, u64, u8, type Part } from "../layout/layout.ts";
import { truncated } from "../wire/errors.ts";
import { tableHead, tableTail } from "./check.ts";
import { properties, type PropertyOf } from "../layout/properties.ts";
import { whole, writeU32 } from "../match/value.ts";

/** Numbers of instructions or of actions; experimenters' have more after their number. */
const ids = list("ids", [u16("code"), length16, rest("data")] as const, 2, 1, "OFPBPC_BAD_LEN");
const instructionIds = [ids] as const;
const actionIds = [ids] as const;
const tableIds = [list("tables", [u8("table_id")] as const)] as const;

/** An OXM header: class, field, whether it can be masked, length. */
export interface OxmId {
  readonly header: number;
  readonly experimenter?: number;
}

const oxms: Part<{ fields: readonly OxmId[] }> = {
  name: "fields", size: -1,
  encode(buf, off, obj) {
    for (const { header, experimenter } of obj["fields"] as readonly OxmId[]) {
      writeU32(buf, off, whole(header, 0xffffffff, "header"));
      off += 4;
      if (experimenter === undefined) continue;
      writeU32(buf, off, whole(experimenter, 0xffffffff, "experimenter"));
      off += 4;
    }
    return off;
  },
  decode(buf, off, end, obj) {
    const fields: OxmId[] = [];
    while (off < end) {
      if (off + 4 > end) throw truncated(off, "OXM id", "OFPBPC_BAD_LEN");
      const header = buf.readUInt32BE(off);
      off += 4;
      if (header >>> 16 !== 0xffff) fields.push({ header });
      else {
        if (off + 4 > end) throw truncated(off, "OXM id", "OFPBPC_BAD_LEN");
        fields.push({ header, experimenter: buf.readUInt32BE(off) });
        off += 4;
      }
    }
    obj["fields"] = fields;
    return end;
  },
};
const oxmIds = [oxms] as const;
const experimenter = [u32("experimenter"), u32("exp_type"), rest("data")] as const;

/** `_miss`: for packets that match no flow; without it, the same as for the others. */
const cases = {
  instructions: [0, instructionIds],
  instructions_miss: [1, instructionIds],
  next_tables: [2, tableIds],
  next_tables_miss: [3, tableIds],
  write_actions: [4, actionIds],
  write_actions_miss: [5, actionIds],
  apply_actions: [6, actionIds],
  apply_actions_miss: [7, actionIds],
  match: [8, oxmIds],
  wildcards: [10, oxmIds],
  write_setfield: [12, oxmIds],
  write_setfield_miss: [13, oxmIds],
  apply_setfield: [14, oxmIds],
  apply_setfield_miss: [15, oxmIds],
  experimenter: [0xfffe, experimenter],
  experimenter_miss: [0xffff, experimenter],
} as const;

export type TableFeatureProperty = PropertyOf<typeof cases>;

const head = [
  length16, u8("table_id"), pad(5), text("name", 32), u64("metadata_match"), u64("metadata_write"), u32("config"), u32("max_entries"), tableHead,
] as const;
const listed = { mixed: true } as const;

/** What a switch says of its tables: types that nobody knows are passed over. */
export const tableFeatures = list("tables", [...head, properties("properties", cases, listed), tableTail, slack(0)] as const, 0, 1, "OFPBPC_BAD_LEN");
/** What it is asked to make of them: there they are refused. */
export const tableFeaturesRequest = list("tables", [...head, properties("properties", cases, { ...listed, badType: "OFPBPC_BAD_TYPE", passedWhenShown: true }), tableTail, slack(0)] as const, 0, 1, "OFPBPC_BAD_LEN");
