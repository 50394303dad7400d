// A controller without switches with something of every resource in it, of several projects: where random calls of the API begin.
import { SeededRandom } from "../../../src/lib/random.ts";
import { Harness } from "../harness.ts";
import { Requests, routesOf, type Description, type Known, type Route } from "./api-requests.ts";
import { collectionOf } from "../process.ts";
import { strictJson } from "./strict-json.ts";

export const HOSTS = ["hv0", "hv1", "hv2"];
export const PROJECTS = ["p1", "p2"];
export type Headers = Readonly<Record<string, string>>;
export const ADMIN: Headers = {};
export const as = (project: string, role = "member"): Headers => ({ "x-project-id": project, "x-roles": role });

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** Refusals that OpenStack has as 503: what is not offered now may be again. */
const NOT_OFFERED = /^\{"NeutronError":\{"type":"(FlavorDisabled|ServiceProfileDisabled)"/;
/** No answer to a request, whatever it was. */
export const isFault = ({ status, text }: Pick<RawAnswer, "status" | "text">): boolean => status >= 500 && !(status === 503 && NOT_OFFERED.test(text));

type Shown = Readonly<Record<string, unknown>> & { readonly id: string };

export class ApiWorld {
  h: Harness;
  /** Rows of the last commit. */
  changed: readonly string[] = [];
  readonly routes: readonly Route[];
  readonly requests: Requests;
  /** Ids by kind, as they were last listed, and some of what is gone. */
  private readonly ids: Map<string, string[]>;
  private readonly parents: Map<string, string>;
  private readonly values: { readonly addresses: string[]; readonly prefixes: string[]; readonly macs: string[] };

  private constructor(h: Harness, routes: readonly Route[], requests: Requests, ids: Map<string, string[]>, parents: Map<string, string>, values: ApiWorld["values"]) {
    this.h = h;
    this.routes = routes;
    this.requests = requests;
    this.ids = ids;
    this.parents = parents;
    this.values = values;
    this.watch();
  }

  private watch(): void {
    this.h.model.onCommit(({ changes }) => (this.changed = changes.map(({ table, id }) => `${table.name} ${id}`)));
  }

  /** Ids of a resource, some of which may be gone. */
  known(kind: string): readonly string[] {
    return this.ids.get(kind) ?? [];
  }

  /** Another controller on the same store. */
  async restart(): Promise<void> {
    this.h = await this.h.restart();
    this.watch();
  }

  /** `mistakes`: see Requests. */
  static async make(seed: number, mistakes: number): Promise<ApiWorld> {
    const h = await Harness.make([], undefined, { seed });
    const description = (await h.call("GET", "/openapi.json")).body as Description;
    const ids = new Map<string, string[]>();
    const known = { addresses: [], prefixes: ["0.0.0.0/0", "::/0"], macs: [] };
    const parents = new Map<string, string>();
    const shared: Known = { ids, parents, projects: PROJECTS, hosts: [...HOSTS, "nowhere"], ...known };
    const world = new ApiWorld(h, routesOf(description), new Requests(new SeededRandom(seed), description, shared, mistakes), ids, parents, known);
    await world.fill();
    await world.look();
    return world;
  }

  /** One of everything that one can have, and something for a second project. */
  private async fill(): Promise<void> {
    const { h } = this;
    for (const [n, host] of HOSTS.entries()) await h.addChassis(host, { key: n + 1, bridge_mappings: { phys0: "br-phys0" }, gateway: n > 0 });
    const outside = await h.create("network", { name: "outside", "router:external": true, is_default: true, project_id: "p2" });
    for (const [ip_version, cidr] of [[4, "203.0.113.0/24"], [6, "2001:db8:f::/64"]] as const) await h.create("subnet", { network_id: outside.id, ip_version, cidr, project_id: "p2" });
    await h.create("subnetpool", { name: "pool", prefixes: ["10.128.0.0/16"], default_prefixlen: 26, is_default: true, shared: true, project_id: "p2" });
    for (const [n, project] of PROJECTS.entries()) {
      const who = as(project);
      const network = await h.create("network", { name: "in" }, who);
      const four = await h.create("subnet", { network_id: network.id, ip_version: 4, cidr: `10.${n}.0.0/24` }, who);
      const six = await h.create("subnet", { network_id: network.id, ip_version: 6, cidr: `2001:db8:${n + 1}::/64` }, who);
      await h.create("subnetpool", { name: "own", prefixes: ["10.64.0.0/16"], default_prefixlen: 26 }, who);
      const addresses = await h.create("address_group", { name: "a", addresses: ["192.0.2.0/24"] }, who);
      const group = await h.create("security_group", { name: "g" }, who);
      await h.create("security_group_rule", { security_group_id: group.id, direction: "ingress", remote_group_id: group.id }, who);
      await h.create("security_group_rule", { security_group_id: group.id, direction: "ingress", protocol: "tcp", port_range_min: 80, port_range_max: 90, remote_address_group_id: addresses.id }, who);
      const ports: Shown[] = [];
      for (let i = 0; i < 3; i++) {
        const port = await h.create("port", { network_id: network.id, device_owner: "compute:nova", security_groups: [group.id] }, who) as Shown;
        ports.push(port);
        await h.plug(HOSTS[i]!, port.id, 10 + n * 3 + i);
      }
      const router = await h.create("router", { external_gateway_info: { network_id: outside.id }, enable_ndp_proxy: true }, who);
      for (const subnet of [four, six]) await this.must("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id }, who);
      await h.create("floatingip", { floating_network_id: outside.id, port_id: ports[0]!.id }, who);
      const forwarding = await h.create("floatingip", { floating_network_id: outside.id }, who);
      const address = (ports[1]!.fixed_ips as readonly { readonly ip_address: string }[]).find((f) => f.ip_address.includes("."))!.ip_address;
      await this.must("POST", `/v2.0/floatingips/${forwarding.id}/port_forwardings`, { port_forwarding: { internal_port_id: ports[1]!.id, internal_ip_address: address, protocol: "tcp", internal_port: 80, external_port: 8080 } }, who);
      await this.must("POST", `/v2.0/routers/${router.id}/conntrack_helpers`, { conntrack_helper: { protocol: "tcp", port: 21, helper: "ftp" } }, who);
      await h.create("ndp_proxy", { router_id: router.id, port_id: ports[2]!.id }, who);
      if (n > 0) await h.create("rbac_policy", { object_type: "security_group", object_id: group.id, action: "access_as_shared", target_tenant: PROJECTS[0] }, who);
    }
    await this.h.settled();
  }

  private async must(method: "POST" | "PUT", url: string, body: unknown, who: Headers): Promise<void> {
    const answer = await this.h.call(method, url, body, who);
    if (answer.status >= 300) throw new Error(`${method} ${url}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }

  /** Every list, as text. */
  async lists(): Promise<Map<string, string>> {
    const out = new Map<string, string>();
    for (const { method, path } of this.routes) if (method === "GET" && !path.includes("{")) out.set(path, (await this.raw("GET", path, undefined, ADMIN)).text);
    return out;
  }

  /** Learns what there is, for requests to name. */
  async look(): Promise<void> {
    for (const { method, path, kind } of this.routes) {
      if (method !== "GET" || path.endsWith("}")) continue;
      const collection = collectionPathOf(path);
      if (collection === undefined) continue;
      const parents = collection.parent === undefined ? [""] : (this.ids.get(collection.parent) ?? []);
      const found: string[] = [];
      for (const parent of parents) {
        const answer = await this.h.call("GET", path.replace(/\{[^}]+\}/, parent));
        for (const row of listed(answer.body, collection.name)) {
          if (typeof row.id === "string") found.push(row.id);
          if (typeof row.id === "string" && parent !== "") this.parents.set(row.id, parent);
          this.note(row);
        }
      }
      if (collection.name !== collectionOf(kind).replaceAll("-", "_") && found.length === 0) continue;
      const gone = (this.ids.get(kind) ?? []).filter((id) => !found.includes(id)).slice(-2);
      this.ids.set(kind, [...found, ...gone]);
    }
  }

  private note(row: Readonly<Record<string, unknown>>): void {
    const { addresses, prefixes, macs } = this.values;
    const add = (list: string[], value: unknown): void => {
      if (typeof value !== "string" || list.includes(value)) return;
      if (list.length > 60) list.splice(0, 20);
      list.push(value);
    };
    add(prefixes, row.cidr);
    add(macs, row.mac_address);
    for (const value of [row.gateway_ip, row.floating_ip_address, ...((row.fixed_ips as readonly { readonly ip_address: string }[] | undefined) ?? []).map((f) => f.ip_address)]) add(addresses, value);
  }

  async raw(method: string, url: string, body: string | undefined, headers: Headers): Promise<RawAnswer> {
    const answer = await this.h.api.inject({ method: method as "GET", url, headers, ...(body === undefined ? {} : { payload: body }) });
    if (String(answer.headers["content-type"]).startsWith("application/json") && answer.payload !== "") strictJson(answer.payload);
    return { status: answer.statusCode, headers: answer.headers, text: answer.payload };
  }
}

/** Name and parent of a path that lists. */
function collectionPathOf(path: string): { readonly name: string; readonly parent: string | undefined } | undefined {
  const segments = path.split("/").slice(2);
  const name = segments.at(-1)!.replaceAll("-", "_");
  if (segments.length === 1) return { name, parent: undefined };
  const within = /^\{(\w+)_id\}$/.exec(segments[1]!);
  return segments.length === 3 && within !== null ? { name, parent: within[1]! } : undefined;
}

const listed = (body: unknown, name: string): readonly Readonly<Record<string, unknown>>[] => {
  const rows = (body as Readonly<Record<string, unknown>> | undefined)?.[name];
  return Array.isArray(rows) ? (rows as readonly Readonly<Record<string, unknown>>[]) : [];
};
