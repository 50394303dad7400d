// bfd's entities: routers that speak BFD with their next hops outside, each session, and what is known of those that were up.
import { definePool, defineTable, type Row } from "#app";

/** A router with `enable_default_route_bfd`. `id` is the router's. */
export type BfdRouter = Row;
export const bfdRouterTable = defineTable<BfdRouter>()("bfd_router", {});

/** As many sessions has a router at most: those of its default routes, then of its other routes. */
export const SESSIONS_MAX = 64;

/** From an address of a router's gateway to a next hop on the link there (derived). `id` is `<gateway>|<next hop>`. */
export interface BfdSession extends Row {
  readonly router_id: string;
  /** Port of the gateway. */
  readonly gateway_id: string;
  readonly network_id: string;
  /** The gateway's leg, as of Leg. */
  readonly leg: string;
  /** The gateway's own, of the family. */
  readonly address: string;
  readonly nexthop: string;
}
export const bfdSessionTable = defineTable<BfdSession>()("bfd_session", { derived: true, indexes: { all: () => "" } });
export const sessionId = (gatewayId: string, nexthop: string): string => `${gatewayId}|${nexthop}`;

/**
 * A session that has been up (stored), so that a controller that starts goes on with it: a next hop without this has never spoken, and nothing is held
 * against it. `id` is the session's.
 */
export interface BfdPeer extends Row {
  readonly gateway_id: string;
  readonly up: boolean;
  /** Discriminators when it came up last, and how long the next hop may be silent, in milliseconds. */
  readonly local_discr: number;
  readonly remote_discr: number;
  readonly detection_time_ms: number;
}
export const bfdPeerTable = defineTable<BfdPeer>()("bfd_peer", { indexes: { all: () => "", gateway: (p) => p.gateway_id } });

/** A meter for each session, the same on every switch; so many sessions are there at most. */
export const bfdMeters = definePool({ name: "bfd-meter", of: "meter", min: 0x8009_0000, max: 0x8009_0fff, about: "meters of BFD that comes to the controller, one for each session" });
