// Whose the numbers in records of IPFIX are.
import { chassisTable, type LiveView, type OpsList } from "#app";
import { attachmentTable, portTable } from "../l2/model.ts";
import { exportHostTable } from "./model.ts";

function* rows(view: LiveView, { domain, point, port: wanted }: Readonly<Record<string, string>>): Iterable<object> {
  const ports = wanted !== undefined ? [view.get(portTable, wanted)] : point !== undefined ? view.by(portTable, "key", point) : domain !== undefined ? atDomain(view, domain) : view.all(portTable);
  for (const port of ports) {
    if (port === undefined || (point !== undefined && String(port.key) !== point)) continue;
    for (const at of view.by(attachmentTable, "port", port.id)) {
      const ipfix = view.get(exportHostTable, at.chassis)?.ipfix;
      if (ipfix === undefined || (domain !== undefined && String(ipfix.domain) !== domain)) continue;
      yield {
        obs_domain_id: ipfix.domain, obs_point_id: port.key, switch: at.chassis, port: port.id, name: port.name, project: port.project_id, network: port.network_id, mac_address: port.mac_address,
        device_id: port.device_id, device_owner: port.device_owner,
      };
    }
  }
}
const atDomain = (view: LiveView, domain: string) => view.by(chassisTable, "key", domain).flatMap(({ id }) => view.by(attachmentTable, "chassis", id).map((at) => view.get(portTable, at.port_id)));

const NUMBER = { integer: [0, 2 ** 32 - 1] } as const;
export const opsLists: readonly OpsList[] = [{
  path: "ipfix",
  about: "observation points of IPFIX: which port, of which project, records with these numbers are of",
  filters: {
    domain: { about: "observationDomainId, of a host", ...NUMBER },
    point: { about: "observationPointId, of a port", ...NUMBER },
    port: { about: "this port, by id or name", resource: ["port"] },
  },
  rows,
}];
