// port-bindings' entity: one of the bindings of a port, as the API shows them. The active one is l2's own (port_binding), the others are l2's inactive_binding.
import { vifTable, type Chassis, type ReadView, type Row, type Vif } from "#app";
import {
  bindingFault, inactiveBindingAt, inactiveBindingId, inactiveBindingTable, networkTable, pluggedAt, portBindingTable, portTable, requestedChassis, shownHost,
  type InactiveBinding, type Network, type Port,
} from "../l2/model.ts";

/** `id` is inactiveBindingId(...), of the active one too. */
export interface Binding extends Row {
  readonly port_id: string;
  /** The port's. */
  readonly project_id: string;
  readonly host: string;
  readonly status: "ACTIVE" | "INACTIVE";
  readonly vnic_type: string;
  readonly profile: Readonly<Record<string, unknown>>;
}

/** Where a port is; undefined: it is bound to no host. */
export function activeBinding(view: ReadView, port: Port): Binding | undefined {
  const host = shownHost(view, port);
  if (host === "") return undefined;
  const { vnic_type = "normal", profile = {} } = view.get(portBindingTable, port.id) ?? {};
  return { id: inactiveBindingId(port.id, host), port_id: port.id, project_id: port.project_id, host, status: "ACTIVE", vnic_type, profile };
}

export const shownOf = (port: Port, { id, host, vnic_type, profile }: InactiveBinding): Binding => ({ id, port_id: port.id, project_id: port.project_id, host, status: "INACTIVE", vnic_type, profile });

/** The inactive binding of a port at a host: of this name, or by another name of the same host. */
export function inactiveBinding(view: ReadView, portId: string, host: string): Readonly<InactiveBinding> | undefined {
  const named = view.get(inactiveBindingTable, inactiveBindingId(portId, host));
  if (named !== undefined) return named;
  const chassis = requestedChassis(view, host);
  return chassis === undefined ? undefined : inactiveBindingAt(view, portId, chassis.id);
}

/** Those that callers made, and the active one before them. */
export function bindingsOf(view: ReadView, port: Port): Binding[] {
  const active = activeBinding(view, port);
  return [...(active === undefined ? [] : [active]), ...view.by(inactiveBindingTable, "port", port.id).filter((b) => b.implied !== true).toSorted((a, b) => (a.id < b.id ? -1 : 1)).map((b) => shownOf(port, b))];
}

/** An interface of a port where the port is not. */
export interface Standby {
  readonly port: Port;
  readonly network: Network;
  readonly vif: Vif;
  readonly chassis: Chassis;
}
/** What is plugged for an inactive binding; undefined: nothing that can be wired. */
export function standbyOf(view: ReadView, { id, port_id: portId, host }: InactiveBinding): Standby | undefined {
  const chassis = requestedChassis(view, host);
  const port = view.get(portTable, portId);
  const network = port?.admin_state_up === true ? view.get(networkTable, port.network_id) : undefined;
  if (chassis === undefined || port === undefined || network?.admin_state_up !== true || inactiveBindingAt(view, portId, chassis.id)?.id !== id) return undefined;
  const [vif] = view.by(vifTable, "iface_id", portId).filter((v) => v.chassis === chassis.id);
  if (vif === undefined || pluggedAt(view, portId)?.chassis.id === chassis.id || bindingFault(view, network.id, chassis) !== undefined) return undefined;
  return { port, network, vif, chassis };
}
