// Names of floating IPs, as they were given.
import { defineTable, type Row } from "#app";

/** A floating IP that has a name and its domain; `id` is the floating IP's. In lower case. */
export interface FloatingIpName extends Row {
  readonly dns_name: string;
  readonly dns_domain: string;
}
export const floatingIpNameTable = defineTable<FloatingIpName>()("floating_ip_name", {});
