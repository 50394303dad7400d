// Where floating IPs come from: the IPv4 subnets of external networks. Worked out from these, and only to be read.
import { defineResource, type Caller, type ReadView } from "#app";
import { externalNetworkTable, isOpen, OUTSIDE } from "../gateway/model.ts";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { networkTable } from "../l2/model.ts";
import { floatingIpPoolResource, type FloatingIpPool } from "./model.ts";

/** Of whoever asks. */
const poolOf = ({ id, name, network_id, cidr }: Subnet, caller: Caller): FloatingIpPool => ({ id, subnet_id: id, subnet_name: name, network_id, cidr, project_id: caller.projectId, tenant_id: caller.projectId });

const subnetsOutside = (view: ReadView): Subnet[] =>
  view.by(externalNetworkTable, "all", "").flatMap((n) => view.by(subnetTable, "network", n.id)).filter((s) => s.ip_version === 4).sort((a, b) => (a.id < b.id ? -1 : 1));

export const floatingIpPool = defineResource(floatingIpPoolResource, {
  collection: "floatingip_pools",
  path: "floatingip_pools",
  about: "A subnet that floating IPs are of.",
  alias: "floatingip-pools",
  standard: [],
  computed: {
    list: (view, caller) => subnetsOutside(view).map((s) => poolOf(s, caller)),
    get(view, id, caller) {
      const subnet = view.get(subnetTable, id);
      return subnet?.ip_version === 4 && view.get(externalNetworkTable, subnet.network_id) !== undefined ? poolOf(subnet, caller) : undefined;
    },
  },
  notFound: { type: "FloatingIPPoolNotFound", message: (id) => `Floating IP pool ${id} could not be found.` },
  attributes: {
    subnet_id: { type: "uuid", about: "The subnet.", filter: true },
    subnet_name: { type: "string", about: "Its name.", filter: true },
    network_id: { type: "uuid", about: "The external network.", filter: true },
    cidr: { type: "cidr", about: "Its addresses.", filter: true },
    project_id: { type: "string", about: "Who asks.", filter: true },
    tenant_id: { type: "string", about: "The same.", filter: true },
  },
  // Of networks that lead outside for the caller: he may have floating IPs there.
  policy: { get: "rule:admin_only or (role:reader and project_id:%(project_id)s and (rule:external or rule:network_owner))" },
  relations: { [OUTSIDE]: (row, view) => isOpen(view, row.network_id), "network:project_id": (row, view) => view.get(networkTable, row.network_id)?.project_id },
});
