// Whether what leaves by a gateway is translated, which is another app's business: only whether somebody does is asked here.
import type { ReadView } from "#app";
import { translationTable } from "../l3/model.ts";
import { routerGatewayTable, type GatewayPlan } from "./model.ts";

/** A gateway is to translate sources and nothing is there that does: addresses of the inside do not leave. */
export const keepsIn = (plan: GatewayPlan, view: ReadView): boolean =>
  view.get(routerGatewayTable, plan.id)?.enable_snat === true && !view.by(translationTable, "router", plan.router_id).some((t) => t.out === plan.network_id);
