// What was logged, as operators are shown it.
import type { LiveView, OpsList } from "#app";
import { portTable } from "../l2/model.ts";
import { logEntries, logTable } from "./model.ts";

function* rows(view: LiveView, { project, log, port, event }: Readonly<Record<string, string>>): Iterable<object> {
  const found = log !== undefined ? view.factsBy(logEntries, "log", log) : port !== undefined ? view.factsBy(logEntries, "port", port) : view.facts(logEntries, project);
  for (const { log_id, project_id, switch: at, packet } of found.toReversed()) {
    if ((project !== undefined && project_id !== project) || (log !== undefined && log_id !== log) || (port !== undefined && packet.port_id !== port) || (event !== undefined && packet.event !== event)) continue;
    yield { log: log_id, log_name: view.get(logTable, log_id)?.name ?? "", project: project_id, switch: at, ...packet, port_name: view.get(portTable, packet.port_id)?.name ?? "" };
  }
}

export const opsLists: readonly OpsList[] = [{
  path: "logs",
  about: "what security groups accepted and dropped of logged ports lately, the latest first",
  filters: {
    project: { about: "logs of this project", project: true }, log: { about: "of this log, by id or name", resource: ["log"] }, port: { about: "of this port, by id or name", resource: ["port"] }, event: { about: "of this kind", values: ["ACCEPT", "DROP"] },
  },
  rows,
}];
