// What other apps have to do with packets on the host where these cross a gateway: a joint each, by rows of theirs.
import { defineTable, next, toEntrance, type Entrance, type FlowAction, type ReadView, type Row } from "#app";

/**
 * A table that what leaves by a gateway passes, on the host where it leaves, before it is translated. A joint (derived): an app that requires this one says
 * so of the gateways that it is about, and others pay nothing; the table stands in the stage `translate_out`, behind gateway_here and before nat_out, and hands on by `next`.
 * Rows carry `<app>/...` as id; of several of one gateway the first by id counts.
 */
export interface GatewayPassage extends Row {
  readonly gateway_id: string;
  readonly table: Entrance;
}
export const gatewayPassageTable = defineTable<GatewayPassage>()("gateway_passage", { derived: true, open: true, indexes: { gateway: (p) => p.gateway_id } });

/**
 * Tables in which packets may be dropped where they cross a gateway, or an address that leads to its router by it: `out` in the stage `translate_out`, of what leaves, before it is
 * translated and before gateway_passage; `in` in the stage `translate`, of what comes in, as it comes. Packets come back from them: they hand on to nobody.
 * A joint (derived): an app that requires this one says so of the gateways that it is about, and others pay nothing. Rows carry `<app>/...` as id.
 */
export interface GatewayLimit extends Row {
  readonly gateway_id: string;
  readonly out: Entrance;
  readonly in: Entrance;
}
export const gatewayLimitTable = defineTable<GatewayLimit>()("gateway_limit", { derived: true, open: true, indexes: { gateway: (l) => l.gateway_id } });
const limitsOf = (view: ReadView, gatewayId: string): readonly GatewayLimit[] => view.by(gatewayLimitTable, "gateway", gatewayId).toSorted((a, b) => (a.id < b.id ? -1 : 1));

/** Out by a gateway, on the host where that is, from gateway_out. */
export function onwardBy(view: ReadView, gatewayId: string): readonly FlowAction<never, never>[] {
  const [passage] = view.by(gatewayPassageTable, "gateway", gatewayId).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return [...limitsOf(view, gatewayId).map((limit) => toEntrance(limit.out)), passage === undefined ? next : toEntrance(passage.table)];
}

/** What comes in by a gateway, or an address that leads to its router by it, goes through these on its way into the router. */
export const inwardBy = (view: ReadView, gatewayId: string): readonly Entrance[] => limitsOf(view, gatewayId).map((limit) => limit.in);
