// Which hosts answer DHCP in which networks: those with a port of a network, if it has a subnet with DHCP.
import type { ReadView } from "#app";
import { subnetTable } from "../ipam/model.ts";
import { attachmentTable } from "../l2/model.ts";

const hasDhcp = (view: ReadView, networkId: string): boolean => view.by(subnetTable, "network", networkId).some((s) => s.ip_version === 4 && s.enable_dhcp);

/** Hosts that answer in a network. */
export const hostsOf = (view: ReadView, networkId: string): readonly string[] => (hasDhcp(view, networkId) ? view.pairKeys(attachmentTable, "network_chassis", networkId) : []);

/** Ids of networks in which a host answers. */
export const networksOn = (view: ReadView, host: string): string[] => [...new Set(view.by(attachmentTable, "chassis", host).map((a) => a.network_id))].filter((id) => hasDhcp(view, id)).sort();
