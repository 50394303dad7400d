// What the checks are about, and how they name its parts.

import type { Controller } from "../controller.ts";
import type { Hypervisor } from "../hypervisor.ts";
import type { Lab } from "../lab.ts";
import type { DemoOptions } from "./options.ts";
import type { OperatorNetworks, Outside } from "./outside.ts";
import type { Guest, Tenant } from "./tenants.ts";

/** What several lines of findings are cut to. */
const MOST_SHOWN = 4;

export interface World {
  readonly lab: Lab;
  readonly controller: Controller;
  readonly options: DemoOptions;
  readonly hypervisors: readonly Hypervisor[];
  readonly outside: Outside;
  readonly networks: OperatorNetworks;
  readonly red: Tenant;
  readonly blue: Tenant;
}

export const guestsOf = ({ red, blue }: Pick<World, "red" | "blue">): Guest[] => [...red.guests, ...blue.guests];
export const fronts = (tenant: Tenant): Guest[] => tenant.guests.slice(0, 3);
export const backOf = (tenant: Tenant): Guest => tenant.guests[3]!;
/** In the VLAN. */
export const dmzOf = (tenant: Tenant): Guest => tenant.guests[4]!;
export const some = (found: readonly string[]): string =>
  found.slice(0, MOST_SHOWN).join("; ") + (found.length > MOST_SHOWN ? `; and ${found.length - MOST_SHOWN} more` : "");

export async function switchStates(controller: Controller): Promise<{ id: string; state: string }[]> {
  return (await controller.ops<{ switches: { id: string; state: string }[] }>("GET", "/switches")).body.switches;
}
