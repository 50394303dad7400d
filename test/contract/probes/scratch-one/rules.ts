// Scratch is loaded, used by the flow that follows, and loaded again after a call.
import { callTable, chassisScope, each, load, next, toTable, type PortContext } from "#app";
import { attachmentTable } from "../../../../apps/l2/model.ts";
import { badgeOneTable } from "./model.ts";
import { scratchOne } from "./tables.ts";

const badge = scratchOne.rule({
  name: "badge",
  about: "a port's packets by way of scratch",
  on: each(badgeOneTable),
  emit({ port_id }, view, out) {
    for (const { chassis, port_key: key } of view.by(attachmentTable, "port", port_id)) {
      const scope = chassisScope(chassis);
      out.flow(scope, "one_pick", { priority: 100, match: { "reg:in_port_key": key }, actions: [load("one_value", 1), callTable("one_seen"), load("one_value", 0x10000 + key), toTable("one_check")] });
      out.flow(scope, "one_seen", { priority: 100, match: { "reg:one_value": 1 }, actions: [] });
      out.flow(scope, "one_check", { priority: 100, match: { "reg:in_port_key": key, "reg:one_value": 0x10000 + key }, actions: [next] });
    }
  },
});

export const rules = [badge];
export const portContext: readonly PortContext[] = [{ ingress: (view, at) => view.count(badgeOneTable, "port", at.port_id) > 0 }];
