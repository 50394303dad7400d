// What was logged, as operators are shown it.
import type { LiveView, OpsList } from "#app";
import { portTable } from "../l2/model.ts";
import { isOf, logEntries, logsOf, logTable, type Event } from "./model.ts";

function* rows(view: LiveView, { project, log, port, event }: Readonly<Record<string, string>>): Iterable<object> {
  const found = log !== undefined ? view.factsBy(logEntries, "log", log) : port !== undefined ? view.factsBy(logEntries, "port", port) : view.facts(logEntries, project);
  for (const { log_id, project_id, switch: at, packet } of found.toReversed()) {
    if ((project !== undefined && project_id !== project) || (log !== undefined && log_id !== log) || (port !== undefined && packet.port_id !== port) || (event !== undefined && packet.event !== event)) continue;
    yield { log: log_id, log_name: view.get(logTable, log_id)?.name ?? "", project: project_id, switch: at, ...packet, port_name: view.get(portTable, packet.port_id)?.name ?? "" };
  }
}

const MAKE = "openstack network log create NAME --resource-type security_group";

/** Nothing logged is no word of what was dropped where nothing is logged at all. */
function whyEmpty(view: LiveView, { project, log, port: id, event }: Readonly<Record<string, string>>): string | undefined {
  if (log !== undefined) return view.get(logTable, log)?.enabled === false ? `log ${log} is off: openstack network log set --enable ${log}` : undefined;
  const port = id === undefined ? undefined : view.get(portTable, id);
  if (port !== undefined) {
    const isLogged = logsOf(view, port).some((one) => (event === undefined || isOf(one.event, event as Event)) && (project === undefined || one.project_id === project));
    return isLogged ? undefined : `no log that is on is of port ${port.id}${event === undefined ? "" : ` and ${event}`}, so nothing of it is kept; to make one: ${MAKE} --target ${port.id}`;
  }
  for (const one of project === undefined ? view.all(logTable) : view.by(logTable, "project", project)) if (one.enabled && (event === undefined || isOf(one.event, event as Event))) return undefined;
  return `no log is on${event === undefined ? "" : ` that is of ${event}`}, so nothing is kept; to make one, of all ports of a project or with --target of one: ${MAKE}`;
}

export const opsLists: readonly OpsList[] = [{
  path: "logs",
  about: "what security groups accepted and dropped of logged ports lately, the latest first",
  filters: {
    project: { about: "logs of this project", project: true }, log: { about: "of this log, by id or name", resource: ["log"] }, port: { about: "of this port, by id or name", resource: ["port"] }, event: { about: "of this kind", values: ["ACCEPT", "DROP"] },
  },
  rows,
  whyEmpty,
}];
