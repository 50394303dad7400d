// Which ports are logged, and the flows of these: on the hosts where they are, one for each direction and event.
import { chassisScope, derivation, each, type ReadView } from "#app";
import { attachmentTable, portTable } from "../l2/model.ts";
import { groupTable, portGroupsTable, verdictCopyTable, type VerdictCopy } from "../security-groups/model.ts";
import { LOG_METER, logMeter, loggedPortTable, logTable, type Log, type LoggedPort } from "./model.ts";
import { logging } from "./tables.ts";

/** Ports that are logged under a log. Those of other projects are not, though a group that is shared may be theirs too. */
function portsOf({ project_id, resource_id: group, target_id: target }: Log, view: ReadView): readonly string[] {
  if (target !== null) return group === null || view.get(portGroupsTable, target)?.groups.includes(group) === true ? [target] : [];
  if (group === null) return view.by(portTable, "project", project_id).map(({ id }) => id);
  const owner = view.get(groupTable, group)?.project_id;
  return view.by(portGroupsTable, "group", group).flatMap(({ id }) => (view.get(portTable, id)?.project_id === owner ? [id] : []));
}

const ACCEPTED = { out: logging.entrance("log_out_accepted"), in: logging.entrance("log_in_accepted") } as const;
const DROPPED = { out: logging.entrance("log_out_dropped"), in: logging.entrance("log_in_dropped") } as const;

export const derive = [
  derivation({
    name: "logged-ports",
    on: each(logTable),
    into: loggedPortTable,
    reads: [portTable, groupTable, portGroupsTable],
    derive: (log, view): LoggedPort[] => (!log.enabled ? [] : portsOf(log, view).map((port_id) => ({ id: `${log.id}/${port_id}`, log_id: log.id, port_id, event: log.event }))),
  }),
  derivation({
    name: "copies",
    on: each(loggedPortTable),
    into: verdictCopyTable,
    reads: [],
    derive: ({ id, port_id, event }): VerdictCopy => ({ id: `logging/${id}`, port_id, ...(event !== "DROP" && { accepted: ACCEPTED }), ...(event !== "ACCEPT" && { dropped: DROPPED }) }),
  }),
];

export const rules = [
  logging.rule({
    name: "logged",
    about: "what is decided of a logged port's packets comes to the controller, so many a second",
    on: each(loggedPortTable),
    emit({ port_id, event }, view, out) {
      for (const at of view.by(attachmentTable, "port", port_id)) {
        if (at.role !== "active") continue;
        const scope = chassisScope(at.chassis);
        const meter = logMeter(at.slot);
        out.item(scope, "meter", meter, LOG_METER);
        for (const what of [...(event !== "DROP" ? (["accepted"] as const) : []), ...(event !== "ACCEPT" ? (["dropped"] as const) : [])]) {
          out.flow(scope, `log_out_${what}`, { priority: 100, match: { "reg:in_port_key": at.port_key }, actions: [{ type: "punt", meter }] });
          out.flow(scope, `log_in_${what}`, { priority: 100, match: { "reg:out_port_key": at.port_key }, actions: [{ type: "punt", meter }] });
        }
      }
    },
  }),
];
