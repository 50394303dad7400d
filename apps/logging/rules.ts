// Which ports are logged, and the flows of these: on the hosts where they are, one for each direction and event.
import { chassisScope, derivation, each } from "#app";
import { attachmentTable, portTable } from "../l2/model.ts";
import { groupTable, portGroupsTable, verdictCopyTable, type VerdictCopy } from "../security-groups/model.ts";
import { isOf, LOG_METER, logMeter, loggedPortTable, logsOf, logTable, type LoggedPort } from "./model.ts";
import { logging } from "./tables.ts";

const ACCEPTED = { out: logging.entrance("log_out_accepted"), in: logging.entrance("log_in_accepted") } as const;
const DROPPED = { out: logging.entrance("log_out_dropped"), in: logging.entrance("log_in_dropped") } as const;

export const derive = [
  derivation({
    name: "logged-ports",
    // Of the ports, not of the logs: of a port that comes the others of its project are no matter, however many logs there are.
    on: each(portTable),
    into: loggedPortTable,
    reads: [logTable, groupTable, portGroupsTable],
    derive(port, view): LoggedPort | undefined {
      const logs = logsOf(view, port);
      return logs.length === 0 ? undefined : { id: port.id, accepted: logs.some((l) => isOf(l.event, "ACCEPT")), dropped: logs.some((l) => isOf(l.event, "DROP")) };
    },
  }),
  derivation({
    name: "copies",
    on: each(loggedPortTable),
    into: verdictCopyTable,
    reads: [],
    derive: ({ id, accepted, dropped }): VerdictCopy => ({ id: `logging/${id}`, port_id: id, ...(accepted && { accepted: ACCEPTED }), ...(dropped && { dropped: DROPPED }) }),
  }),
];

export const rules = [
  logging.rule({
    name: "logged",
    about: "what is decided of a logged port's packets comes to the controller, so many a second",
    on: each(loggedPortTable),
    emit({ id, accepted, dropped }, view, out) {
      for (const at of view.by(attachmentTable, "port", id)) {
        if (at.role !== "active") continue;
        const scope = chassisScope(at.chassis);
        const meter = logMeter(at.slot);
        out.item(scope, "meter", meter, LOG_METER);
        for (const what of [...(accepted ? (["accepted"] as const) : []), ...(dropped ? (["dropped"] as const) : [])]) {
          out.flow(scope, `log_out_${what}`, { priority: 100, match: { "reg:in_port_key": at.port_key }, actions: [{ type: "punt", meter }] });
          out.flow(scope, `log_in_${what}`, { priority: 100, match: { "reg:out_port_key": at.port_key }, actions: [{ type: "punt", meter }] });
        }
      }
    },
  }),
];
