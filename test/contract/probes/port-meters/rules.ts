// A rate at every place where its port is: two meters, and the flows that packets pass them in.
import { chassisScope, each, next, type PortContext } from "#app";
import { attachmentTable } from "../../../../apps/l2/model.ts";
import { rateTable } from "./model.ts";
import { portMeters } from "./tables.ts";

const rate = portMeters.rule({
  name: "rate",
  about: "the meters of a port, for what it sends and for what it gets",
  on: each(rateTable),
  emit({ port_id, kbps, sender_meter, receiver_meter }, view, out) {
    for (const at of view.by(attachmentTable, "port", port_id)) {
      const scope = chassisScope(at.chassis);
      // A tenth of a second, and no less than two full frames.
      const meter = { unit: "kbps", rate: kbps, burst: Math.max(25, Math.ceil(kbps / 10)) } as const;
      out.item(scope, "meter", sender_meter, meter);
      out.item(scope, "meter", receiver_meter, meter);
      out.flow(scope, "rate_out", { priority: 100, match: { "reg:in_port_key": at.port_key }, meter: sender_meter, actions: [next] });
      out.flow(scope, "rate_in", { priority: 100, match: { "reg:out_port_key": at.port_key }, meter: receiver_meter, actions: [next] });
    }
  },
});

export const rules = [rate];

const limited: PortContext["ingress"] = (view, at) => view.count(rateTable, "port", at.port_id) > 0;
export const portContext: readonly PortContext[] = [{ ingress: limited, egress: limited }];
