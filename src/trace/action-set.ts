// An action set as the list that it stands for: the last of each kind in the order of Open vSwitch, then the one that ends it; nothing
// without such a one. Buckets of groups are action sets too. lib/ofp-actions.c, ofpacts_execute_action_set.
import type { Op } from "./flow.ts";

const SLOTS: readonly string[] = ["pop_vlan", "pop_mpls", "decap", "encap", "push_mpls", "push_vlan", "dec_ttl", "dec_mpls_ttl", "dec_nsh_ttl"];
const FINAL: readonly string[] = ["ct", "ct_clear", "resubmit", "output", "group"];

export function actionSetList(set: readonly Op[]): Op[] {
  const slots: (Op | undefined)[] = SLOTS.map(() => undefined);
  const writes: Op[] = [];
  let last: Op | undefined;
  let rank = 0;
  for (const op of set) {
    const type = op.type === "dec_ttl_cnt_ids" ? "dec_ttl" : op.type;
    const slot = SLOTS.indexOf(type);
    const final = FINAL.indexOf(type);
    if (slot >= 0) slots[slot] = op;
    else if (final < 0) writes.push(op);
    else if (final >= rank) [last, rank] = [op, final];
  }
  return last === undefined ? [] : [...slots.filter((op) => op !== undefined), ...writes, last];
}
