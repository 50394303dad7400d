// gateway's entities: which networks are external, the gateways of routers on them, and what follows from both: which hosts a gateway is on.
import { defineTable, type Row } from "#app";

/** A network that leads outside of the cloud. `id` is the network's. */
export type ExternalNetwork = Row;
export const externalNetworkTable = defineTable<ExternalNetwork>()("external_network", { indexes: { all: () => "" } });

/** Where a router leaves for an external network. `id` is its port's there, which has its MAC and addresses. */
export interface RouterGateway extends Row {
  readonly router_id: string;
  readonly network_id: string;
  /** Of several gateways of a router the one at 0 is `external_gateway_info`. */
  readonly position: number;
  /** Whether sources are to be translated; an app that does so reads it. Without one nothing of IPv4 leaves. */
  readonly enable_snat: boolean;
}
export const routerGatewayTable = defineTable<RouterGateway>()("router_gateway", { indexes: { router: (g) => g.router_id, network: (g) => g.network_id } });
