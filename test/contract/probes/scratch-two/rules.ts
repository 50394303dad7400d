// Scratch is filled by a copy, in a part of the same word that another app uses.
import { chassisScope, copy, each, next, toTable, type PortContext } from "#app";
import { attachmentTable } from "../../../../apps/l2/model.ts";
import { badgeTwoTable } from "./model.ts";
import { scratchTwo } from "./tables.ts";

const badge = scratchTwo.rule({
  name: "badge",
  about: "a port's packets by way of scratch",
  on: each(badgeTwoTable),
  emit({ port_id }, view, out) {
    for (const { chassis, port_key: key } of view.by(attachmentTable, "port", port_id)) {
      const scope = chassisScope(chassis);
      out.flow(scope, "two_pick", { priority: 100, match: { "reg:in_port_key": key }, actions: [copy({ field: "reg:in_port_key", ofs: 0, bits: 16 }, "reg:two_value"), toTable("two_check")] });
      out.flow(scope, "two_check", { priority: 100, match: { "reg:in_port_key": key, "reg:two_value": key & 0xffff }, actions: [next] });
    }
  },
});

export const rules = [badge];
export const portContext: readonly PortContext[] = [{ ingress: (view, at) => view.count(badgeTwoTable, "port", at.port_id) > 0 }];
