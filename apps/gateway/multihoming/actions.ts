// Several gateways of a router: the actions that add, replace and take away some of them (extension external-gateway-multihoming).
import { memberOf, type Action, type Check, type Tx, type Values, type ApiContext } from "#app";
import { routerResource, type Router } from "../../l3/model.ts";
import { routerGatewaysOf } from "../model.ts";
import { addGateway, changeGateway, gatewayInfo, GATEWAYS_MAX, matching, putFirst, removeGateways, unableToMatch, unableToRemove, type GatewayInfo } from "./gateways.ts";

const ADMIN = "rule:admin_only";
const MEMBER = memberOf();

const body: Check = { dict: { router: { check: { dict: { external_gateways: { check: { null: undefined, else: { list: gatewayInfo, max: GATEWAYS_MAX } } } } }, required: true } } };

type Change = (tx: Tx, router: Router, infos: readonly GatewayInfo[], ctx: ApiContext) => void;

const action = (about: string, administrators: readonly (keyof GatewayInfo)[], change: Change): Action<Router> => ({
  about,
  policy: MEMBER,
  gives: { attribute: "external_gateways", policy: MEMBER, ...(administrators.length > 0 && { keys: { network_id: MEMBER, ...Object.fromEntries(administrators.map((key) => [key, ADMIN])) } }) },
  check: body,
  shows: true,
  run(tx, router, given: Values, ctx) {
    const infos = (given.router as { readonly external_gateways?: readonly GatewayInfo[] }).external_gateways;
    if (infos === undefined) return;
    change(tx, router, infos, ctx);
    // What other apps say of the gateways that a router has left.
    ctx.update(routerResource, router.id, { external_gateways: infos });
  },
});

const add: Change = (tx, router, infos, ctx) => {
  for (const info of infos) addGateway(tx, router, info, ctx);
};

const remove: Change = (tx, router, infos, ctx) => {
  if (infos.length === 0) return;
  if (routerGatewaysOf(tx, router.id).length === 0) throw unableToRemove(router.id);
  const ids = infos.map((info) => {
    const found = matching(tx, router.id, info);
    if (found === undefined) throw unableToMatch(router.id, `none on network ${info.network_id} is what was said`);
    return found.id;
  });
  removeGateways(tx, router.id, new Set(ids), ctx);
};

/** Those that are said stay, or are made; the others go. */
const replace: Change = (tx, router, infos, ctx) => {
  const kept = new Set<string>();
  const matched = infos.map((info) => {
    const found = matching(tx, router.id, info, kept);
    if (found !== undefined) kept.add(found.id);
    return found;
  });
  removeGateways(tx, router.id, routerGatewaysOf(tx, router.id).filter((g) => !kept.has(g.id)).map((g) => g.id), ctx);
  const [first, ...others] = infos.map((info, i) => ({ info, found: matched[i] }));
  for (const { info, found } of [...(first === undefined ? [] : [first]), ...others]) {
    if (found === undefined) addGateway(tx, router, info, ctx);
    else changeGateway(tx, routerGatewaysOf(tx, router.id).find((g) => g.id === found.id)!, info, ctx);
  }
  if (first === undefined) return;
  putFirst(tx, first.found?.id ?? newest(tx, router.id, first.info, kept));
};

/** Of those that were not there before the one that was made for the first. */
const newest = (tx: Tx, routerId: string, info: GatewayInfo, kept: ReadonlySet<string>): string => routerGatewaysOf(tx, routerId).find((g) => !kept.has(g.id) && g.network_id === info.network_id)!.id;

export const actions: Readonly<Record<string, Action<Router>>> = {
  add_external_gateways: action("Adds gateways; of a router without any the first is the one that external_gateway_info shows.", ["enable_snat", "external_fixed_ips"], add),
  update_external_gateways: action("Gateways as they are to be, the first in external_gateway_info: known by network and addresses, others are made, and those not named go.", ["enable_snat", "external_fixed_ips"], replace),
  remove_external_gateways: action("Takes gateways away, known by network and addresses; without the first the next is.", [], remove),
};
