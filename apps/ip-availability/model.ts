// How many addresses networks have, and how many of them are taken.
import { resourceHandle, type Row } from "#app";

/** Of one network; `id` is the network's. */
export interface NetworkIpAvailability extends Row {
  readonly network_id: string;
  readonly network_name: string;
  readonly project_id: string;
  readonly tenant_id: string;
  /** Only subnets of these families count; undefined: all. */
  readonly families: ReadonlySet<string> | undefined;
}
export const networkIpAvailabilityResource = resourceHandle<NetworkIpAvailability>("network_ip_availability");
