// qos_policy_id of floating IPs, and of a router's gateway within external_gateway_info.
import { answer, extendResource, orNull, reference, type Alias, type KeyCheck, type ReadView, type Tx, type Values } from "#app";
import { gatewaySaid, routerGatewaysOf, routerGatewayTable, shownGateway, type RouterGateway } from "../gateway/model.ts";
import { portResource } from "../l2/model.ts";
import { routerResource, routerTable } from "../l3/model.ts";
import { floatingIpResource, floatingIpTable } from "../nat/model.ts";
import { keepPolicy, qosUseTable } from "../qos/model.ts";
import { gatewayUse } from "./model.ts";

const said = ({ qos_policy_id }: Values): string | null | undefined => qos_policy_id as string | null | undefined;
const policyOf = (view: ReadView, id: string): string | null => view.get(qosUseTable, id)?.policy_id ?? null;
const forget = (tx: Tx, id: string): void => {
  if (tx.get(qosUseTable, id) !== undefined) tx.delete(qosUseTable, id);
};

const ofFloatingIp = extendResource(floatingIpResource, {
  attributes: {
    qos_policy_id: { type: "uuid|null", about: "The QoS policy of what is sent to it, and leaves from where it leads; null: that of its network counts.", post: true, put: true, default: null, check: orNull({ type: "uuid" }), alias: "qos-fip" },
    qos_network_policy_id: { type: "uuid|null", about: "That of its network.", alias: "qos-fip-network-policy" },
  },
  create: (tx, { id, project_id }, input, ctx) => keepPolicy(tx, ctx, { id, kind: "floatingip", project_id }, said(input)),
  update: (tx, { id, project_id }, changes, ctx) => keepPolicy(tx, ctx, { id, kind: "floatingip", project_id }, said(changes)),
  remove: (tx, { id }) => forget(tx, id),
  present: (view, { id, floating_network_id }) => ({ qos_policy_id: policyOf(view, id), qos_network_policy_id: policyOf(view, floating_network_id) }),
});

const withPolicy = (view: ReadView, gateway: RouterGateway): Values => ({ ...shownGateway(view, gateway), qos_policy_id: policyOf(view, gatewayUse(gateway.id)) });

const ofRouter = extendResource(routerResource, {
  instead: {
    external_gateway_info(view, { id }) {
      const [first] = routerGatewaysOf(view, id);
      return first === undefined ? null : withPolicy(view, first);
    },
    external_gateways: (view, { id }) => routerGatewaysOf(view, id).map((gateway) => withPolicy(view, gateway)),
  },
});

const ofPort = extendResource(portResource, { remove: (tx, { id }) => forget(tx, gatewayUse(id)) });

export const keys: Readonly<Record<string, Readonly<Record<string, KeyCheck>>>> = { "gateway-info": { qos_policy_id: { check: orNull({ type: "uuid" }) } } };
export const answers = [
  answer(gatewaySaid, (tx, { id, router_id }, info, ctx) => keepPolicy(tx, ctx, { id: gatewayUse(id), kind: "router", of: router_id, project_id: tx.get(routerTable, router_id)?.project_id ?? "" }, said(info))),
];
export const extend = [ofFloatingIp, ofRouter, ofPort];
export const references = [
  reference(qosUseTable, { to: floatingIpTable, ids: ({ id, kind }) => (kind === "floatingip" ? id : undefined), gone: (tx, { id }) => forget(tx, id) }),
  reference(qosUseTable, { to: routerGatewayTable, ids: ({ id, kind }) => (kind === "router" ? id.slice(gatewayUse("").length) : undefined), gone: (tx, { id }) => forget(tx, id) }),
];
export const aliases: readonly Alias[] = [
  { alias: "qos-fip", name: "Floating IP QoS", description: "Floating IPs have QoS policies.", updated: "2017-07-20T00:00:00-00:00" },
  { alias: "qos-fip-network-policy", name: "QoS floating IP network policy ID", description: "Floating IPs show the policy of their network.", updated: "2021-11-15T10:00:00-00:00" },
  { alias: "qos-gateway-ip", name: "Router gateway IP QoS", description: "Gateways of routers have QoS policies.", updated: "2018-02-24T00:00:00-00:00" },
];
