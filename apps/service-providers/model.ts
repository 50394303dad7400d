// Who provides what a caller might choose a provider for. There is one for each service, so that there is nothing to choose.
import type { Row } from "#app";

/** Never stored. */
export interface ServiceProvider extends Row {
  readonly service_type: string;
  readonly name: string;
  readonly default: boolean;
  /** What profiles of services call it. */
  readonly driver: string;
}
/** What is there when the app that this is a part of is. */
export const serviceProviders: readonly ServiceProvider[] = [{ id: "L3_ROUTER_NAT", service_type: "L3_ROUTER_NAT", name: "axion", default: true, driver: "axion" }];
