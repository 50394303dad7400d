// Hints as keys of the interface's row in the host's database. What was there before comes back with them.
import { chassisScope, definePipeline, each } from "#app";
import { pluggedAt } from "../l2/model.ts";
import { portHintsTable } from "./model.ts";

export const portHints = definePipeline({ tables: {}, registers: {} });

export const rules = [
  portHints.rule({
    name: "tx-steering",
    about: "how packets to a port are spread over the queues of its interface",
    on: each(portHintsTable),
    emit({ id, hints }, view, out) {
      const value = hints.openvswitch?.other_config?.["tx-steering"];
      const at = value === undefined ? undefined : pluggedAt(view, id);
      if (value !== undefined && at !== undefined) out.patch(chassisScope(at.chassis.id), { table: "Interface", name: at.vif.name, column: "other_config", key: "tx-steering", value });
    },
  }),
];
