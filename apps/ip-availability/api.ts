// network_ip_availability: worked out for each network from its subnets and from how many addresses an index has under each of them, so that it
// costs the same with one port and with thousands.
import { defineResource, parseIp, type Alias, type ReadView } from "#app";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { addressTable, networkTable, type Network } from "../l2/model.ts";
import { networkIpAvailabilityResource, type NetworkIpAvailability } from "./model.ts";

const totalOf = (subnet: Subnet): bigint => subnet.allocation_pools.reduce((sum, pool) => sum + parseIp(pool.end)!.value - parseIp(pool.start)!.value + 1n, 0n);

const subnetsOf = (view: ReadView, networkId: string, families: ReadonlySet<string> | undefined): Subnet[] =>
  view.by(subnetTable, "network", networkId).filter((s) => families?.has(String(s.ip_version)) !== false).sort((a, b) => (a.id < b.id ? -1 : 1));

const rowOf = ({ id, name, project_id }: Network, families?: ReadonlySet<string>): NetworkIpAvailability => ({ id, network_id: id, network_name: name, project_id, tenant_id: project_id, families });

const availability = defineResource(networkIpAvailabilityResource, {
  collection: "network_ip_availabilities",
  about: "How many addresses a network has for its ports, and how many are taken.",
  alias: "network-ip-availability",
  standard: [],
  computed: {
    *list(view, _caller, wanted) {
      const [ids, projects, versions] = [wanted("network_id"), wanted("project_id") ?? wanted("tenant_id"), wanted("ip_version")];
      const networks =
        ids !== undefined ? [...new Set(ids)].flatMap((id) => view.get(networkTable, id) ?? [])
        : projects !== undefined ? [...new Set(projects)].flatMap((project) => view.by(networkTable, "project", project))
        : view.all(networkTable);
      const families = versions === undefined ? undefined : new Set(versions);
      for (const network of networks) yield rowOf(network, families);
    },
    get(view, id) {
      const network = view.get(networkTable, id);
      return network === undefined ? undefined : rowOf(network);
    },
  },
  notFound: { type: "NetworkNotFound", message: (id) => `Network ${id} could not be found.` },
  attributes: {
    network_id: { type: "uuid", about: "The network.", filter: true, sort: true },
    network_name: { type: "string", about: "Its name.", filter: true },
    tenant_id: { type: "string", about: "Whose it is.", filter: true },
    project_id: { type: "string", about: "The same.", filter: true },
    ip_version: { type: "any", about: "4 or 6: only networks with such subnets, and of these only those subnets.", visible: false, filter: true },
    total_ips: { type: "integer", about: "Addresses in the allocation pools of its subnets. Of IPv6 it is beyond 2^53." },
    used_ips: { type: "integer", about: "Addresses of its subnets that ports have, outside of the pools too." },
    subnet_ip_availability: { type: "object[]", about: "The same for each subnet: `subnet_id`, `subnet_name`, `ip_version`, `cidr`, `total_ips`, `used_ips`." },
  },
  policy: { get: "rule:admin_only or rule:service_api" },
  present(view, { network_id, families }) {
    const subnets = subnetsOf(view, network_id, families).map((s) => ({
      subnet_id: s.id, subnet_name: s.name, ip_version: s.ip_version, cidr: s.cidr, total_ips: totalOf(s), used_ips: view.count(addressTable, "subnet", s.id),
    }));
    return {
      ip_version: [...new Set(subnets.map((s) => s.ip_version))],
      total_ips: subnets.reduce((sum, s) => sum + s.total_ips, 0n),
      used_ips: subnets.reduce((sum, s) => sum + s.used_ips, 0),
      subnet_ip_availability: subnets,
    };
  },
});

export const resources = [availability];
export const aliases: readonly Alias[] = [
  { alias: "network-ip-availability", name: "Network IP Availability", description: "How many addresses networks have, and how many are taken.", updated: "2015-09-24T00:00:00-00:00" },
];
