// The tenant API over a model in memory, without a socket: what the API tests of the apps call.
import { pino } from "pino";
import { expect } from "vitest";
import type { AnyTable, App, Tx } from "#app";
import * as ag from "../../../apps/address-groups/api.ts";
import * as scopes from "../../../apps/address-scopes/api.ts";
import { addressScopeTable, scopedPoolTable } from "../../../apps/address-scopes/model.ts";
import { addressGroupTable } from "../../../apps/address-groups/model.ts";
import * as auto from "../../../apps/auto-allocated/api.ts";
import { autoAllocatedTopologyTable, defaultNetworkTable } from "../../../apps/auto-allocated/model.ts";
import * as helpers from "../../../apps/conntrack-helpers/api.ts";
import { conntrackHelperTable } from "../../../apps/conntrack-helpers/model.ts";
import * as gateway from "../../../apps/gateway/api.ts";
import { defaultRouteEcmpTable, externalNetworkTable, gatewayNeighbourTable, routerGatewayTable } from "../../../apps/gateway/model.ts";
import * as availability from "../../../apps/ip-availability/api.ts";
import * as ipam from "../../../apps/ipam/api.ts";
import * as ipamc from "../../../apps/ipam/checks.ts";
import { subnetTable } from "../../../apps/ipam/model.ts";
import * as l2 from "../../../apps/l2/api.ts";
import * as l2c from "../../../apps/l2/checks.ts";
import * as l2m from "../../../apps/l2/model.ts";
import * as l3 from "../../../apps/l3/api.ts";
import { routerInterfaceTable, routerLinkTable, routerTable } from "../../../apps/l3/model.ts";
import * as nat from "../../../apps/nat/api.ts";
import * as natg from "../../../apps/nat/guards.ts";
import { floatingIpActiveTable, floatingIpTable, portForwardingTable } from "../../../apps/nat/model.ts";
import * as ndp from "../../../apps/ndp-proxy/api.ts";
import { ndpProxyTable, ndpRouterTable } from "../../../apps/ndp-proxy/model.ts";
import * as overlay from "../../../apps/overlay/api.ts";
import * as rbac from "../../../apps/rbac/api.ts";
import { rbacPolicyTable } from "../../../apps/rbac/model.ts";
import * as sg from "../../../apps/security-groups/api.ts";
import { ruleCountTable } from "../../../apps/security-groups/usage/counters.ts";
import * as sgm from "../../../apps/security-groups/model.ts";
import * as sgc from "../../../apps/security-groups/rule-checks.ts";
import * as pools from "../../../apps/subnet-pools/api.ts";
import { pooledSubnetTable, poolUseTable, subnetPoolTable } from "../../../apps/subnet-pools/model.ts";
import { spaceTable } from "../../../apps/subnet-pools/space.ts";
import { chassisTable, vifTable, type Chassis } from "../../../src/app/inventory.ts";
import { poolNumberTable } from "../../../src/app/pools.ts";
import { Model } from "../../../src/model/model.ts";
import { createNorthbound, type Northbound } from "../../../src/northbound/index.ts";
import { openMemory } from "../../../src/store/memory.ts";
import { strictJson } from "./strict-json.ts";

/** The API side of the first apps, without their rules. */
const apps: readonly App[] = [
  { name: "l2", about: "", tables: [l2m.networkTable, l2m.portTable, l2m.portBindingTable, l2m.inactiveBindingTable, l2m.arrivalTable, l2m.portStatusTable, l2m.addressTable, l2m.addressHolderTable, l2m.chosenSegmentTable], resources: l2.resources, converters: l2c.converters, aliases: l2.aliases, policies: l2.policies, vif: l2.vif },
  { name: "ipam", about: "", requires: ["l2"], tables: [subnetTable, ...ipam.tables], resources: ipam.resources, converters: ipamc.converters, extend: ipam.extend, aliases: ipam.aliases },
  { name: "ip-availability", about: "", requires: ["l2", "ipam"], resources: availability.resources, aliases: availability.aliases },
  {
    name: "subnet-pools", about: "", requires: ["l2", "ipam"], tables: [subnetPoolTable, pooledSubnetTable, poolUseTable, spaceTable], resources: pools.resources, converters: pools.converters, extend: pools.extend,
    aliases: pools.aliases, policies: pools.policies,
  },
  { name: "overlay", about: "", requires: ["l2"], extend: overlay.extend, aliases: overlay.aliases },
  { name: "l3", about: "", requires: ["l2", "ipam"], tables: [routerTable, routerInterfaceTable, routerLinkTable], resources: l3.resources, converters: l3.converters, extend: l3.extend, aliases: l3.aliases },
  { name: "address-scopes", about: "", requires: ["l2", "ipam", "l3", "subnet-pools"], tables: [addressScopeTable, scopedPoolTable], resources: scopes.resources, answers: scopes.answers, extend: scopes.extend, extendAll: scopes.extendAll, aliases: scopes.aliases, policies: scopes.policies },
  { name: "gateway", about: "", requires: ["l2", "ipam", "l3"], tables: [externalNetworkTable, routerGatewayTable, defaultRouteEcmpTable, gatewayNeighbourTable], extend: gateway.extend, aliases: gateway.aliases },
  { name: "auto-allocated", about: "", requires: ["l2", "ipam", "l3", "gateway", "subnet-pools"], tables: [autoAllocatedTopologyTable, defaultNetworkTable], resources: auto.resources, extend: auto.extend, aliases: auto.aliases },
  { name: "nat", about: "", requires: ["l2", "ipam", "l3", "gateway"], tables: [floatingIpTable, floatingIpActiveTable, portForwardingTable], resources: nat.resources, extend: natg.extend, aliases: nat.aliases },
  { name: "conntrack-helpers", about: "", requires: ["l2", "l3", "nat"], tables: [conntrackHelperTable], resources: helpers.resources, extend: helpers.extend, aliases: helpers.aliases },
  { name: "ndp-proxy", about: "", requires: ["l2", "ipam", "l3", "gateway"], tables: [ndpProxyTable, ndpRouterTable], resources: ndp.resources, extend: ndp.extend, aliases: ndp.aliases },
  {
    name: "security-groups", about: "", requires: ["l2", "ipam"], tables: [sgm.groupTable, sgm.ruleTable, sgm.defaultRuleTable, sgm.shippedTable, sgm.portGroupsTable, sgm.policyTable, sgm.remoteUseTable, ruleCountTable], resources: sg.resources, converters: sgc.converters, extend: sg.extend,
    aliases: sg.aliases, policies: sg.policies,
  },
  { name: "address-groups", about: "", requires: ["security-groups"], tables: [addressGroupTable], resources: ag.resources, converters: ag.converters, extend: ag.extend, aliases: ag.aliases, policies: ag.policies },
  { name: "rbac", about: "", requires: ["l2"], tables: [rbacPolicyTable], resources: rbac.resources, extendAll: rbac.extendAll, aliases: rbac.aliases },
];

/** A resource as the API shows it: what tests look into by name. */
export interface Shown {
  readonly id: string;
  readonly project_id: string;
  readonly revision_number: number;
  readonly status: string;
  readonly mac_address: string;
  readonly fixed_ips: readonly { readonly subnet_id: string; readonly ip_address: string }[];
  readonly allowed_address_pairs: readonly { readonly ip_address: string; readonly mac_address: string }[];
  readonly security_groups: readonly string[];
  readonly security_group_rules: readonly Shown[];
  readonly subnet_ids: readonly string[];
  readonly port_id: string;
  readonly [key: string]: unknown;
}

export interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Who asks: nobody in particular is the administrator. */
export interface Who {
  readonly project?: string;
  /** Comma-separated; default member. */
  readonly roles?: string;
}

export class Api {
  readonly model: Model;
  readonly server: Northbound;

  private constructor(model: Model, server: Northbound) {
    this.model = model;
    this.server = server;
  }

  static async open(): Promise<Api> {
    const tables: AnyTable[] = [chassisTable, vifTable, poolNumberTable, ...apps.flatMap((a) => a.tables ?? [])];
    const model = await Model.open(openMemory(), tables);
    return new Api(model, createNorthbound({ apps, model, auth: "none", log: pino({ level: "error" }) }));
  }

  async call(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: unknown, who: Who = {}): Promise<Answer> {
    const headers: Record<string, string> = { "content-type": "application/json" };
    if (who.project !== undefined) headers["x-project-id"] = who.project;
    if (who.roles !== undefined) headers["x-roles"] = who.roles;
    const answer = await this.server.inject({ method, url: `/v2.0/${path}`, headers, ...(body === undefined ? {} : { payload: JSON.stringify(body) }) });
    return { status: answer.statusCode, body: answer.body === "" ? {} : (strictJson(answer.body) as Record<string, unknown>) };
  }

  get = (path: string, who?: Who): Promise<Answer> => this.call("GET", path, undefined, who);
  put = (path: string, body: unknown, who?: Who): Promise<Answer> => this.call("PUT", path, body, who);

  /** The resources of a list: collection and query. */
  async list(path: string, who?: Who): Promise<readonly Shown[]> {
    const answer = await this.get(path, who);
    expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 200 });
    return answer.body[path.split("?")[0]!.replaceAll("-", "_")] as readonly Shown[];
  }

  /** The created resource. `path`: its collection; the body key is the singular. */
  async make(kind: string, values: Record<string, unknown>, who: Who = { project: "p1" }): Promise<Shown> {
    const answer = await this.call("POST", `${kind}s`, { [kind]: values }, who);
    expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 201 });
    return answer.body[kind] as Shown;
  }

  /** The member after the change. */
  async change(kind: string, id: string, values: Record<string, unknown>, who: Who = { project: "p1" }): Promise<Shown> {
    const answer = await this.call("PUT", `${kind}s/${id}`, { [kind]: values }, who);
    expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 200 });
    return answer.body[kind] as Shown;
  }

  async show(kind: string, id: string, who: Who = {}): Promise<Shown> {
    return (await this.get(`${kind}s/${id}`, who)).body[kind] as Shown;
  }

  async delete(kind: string, id: string, who: Who = { project: "p1" }): Promise<void> {
    const answer = await this.call("DELETE", `${kind}s/${id}`, undefined, who);
    expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 204 });
  }

  /** The call is refused with this status and type, and nothing was written. */
  async refused(status: number, type: string, method: "POST" | "PUT" | "DELETE", path: string, body?: unknown, who: Who = { project: "p1" }): Promise<string> {
    const before = this.model.generation;
    const answer = await this.call(method, path, body, who);
    const error = answer.body.NeutronError as { type: string; message: string } | undefined;
    expect([answer.status, error?.type], JSON.stringify(answer.body)).toEqual([status, type]);
    expect(this.model.generation).toBe(before);
    return error!.message;
  }

  /** What the controller itself does: inventory, plugging. */
  async tx<T>(fn: (tx: Tx) => T): Promise<T> {
    return (await this.model.transact({ requestId: "req-test", call: "test" }, fn)).result;
  }

  chassis(id: string, key: number, more: Partial<Chassis> = {}): Promise<void> {
    return this.tx((tx) =>
      tx.put(chassisTable, {
        id, key, hostname: `${id}.example`, bridge: "br-int", dpid: "", datapath_type: "system", encap_ip: `192.0.2.${key}`, encap_types: ["geneve"], bridge_mappings: {}, gateway: false,
        ovs_version: "3.1.0", ...more,
      }),
    );
  }
}
