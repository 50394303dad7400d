// One project as the tenant API has it, read through POST /call: what the editor draws, and what forms offer.
import { ask } from "../api.svelte.ts";

/** Of each list; more nobody draws by hand. */
const MOST = 300;

export interface Named {
  readonly id: string;
  readonly name: string;
}
export interface Network extends Named {
  readonly "router:external": boolean;
  readonly project_id: string;
}
export interface Subnet extends Named {
  readonly network_id: string;
  readonly cidr: string;
}
export interface Router extends Named {
  readonly external_gateway_info: { readonly network_id: string } | null;
}
export interface Port extends Named {
  readonly network_id: string;
  readonly device_id: string;
  readonly device_owner: string;
  readonly status: string;
  readonly fixed_ips: readonly { readonly subnet_id: string; readonly ip_address: string }[];
  readonly security_groups: readonly string[];
}
export interface Project {
  readonly networks: readonly Network[];
  /** Of others, that lead outside. */
  readonly external: readonly Network[];
  readonly subnets: readonly Subnet[];
  readonly routers: readonly Router[];
  readonly ports: readonly Port[];
  readonly groups: readonly Named[];
  /** Lists of which there is more than is here. */
  readonly cut: readonly string[];
}

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
}
export interface Answered {
  readonly generation: number | undefined;
  readonly body: unknown;
}

/** Makes a call of the tenant API as an administrator, or as one of `project`. `plan`: only if it still comes to that. @throws OpsError */
export async function call({ method, path, body }: Call, project = "", plan?: string): Promise<Answered> {
  const response = await ask("/call", { method: "POST", body: JSON.stringify({ method, path, ...(body !== undefined && { body }), ...(project !== "" && { project }), ...(plan !== undefined && { plan }) }) });
  const text = await response.text();
  const generation = response.headers.get("x-axion-generation");
  return { generation: generation === null ? undefined : Number(generation), body: text === "" ? undefined : (JSON.parse(text) as unknown) };
}

export async function readProject(project: string): Promise<Project> {
  const cut: string[] = [];
  const list = async <T>(collection: string, query: Readonly<Record<string, string>>): Promise<readonly T[]> => {
    const search = new URLSearchParams({ ...query, limit: String(MOST + 1) });
    const items = Object.values((await call({ method: "GET", path: `/v2.0/${collection}?${search}` })).body as Record<string, readonly T[]>).find(Array.isArray) as readonly T[];
    if (items.length > MOST) cut.push(collection);
    return items.slice(0, MOST);
  };
  const of = { project_id: project };
  const [networks, external, subnets, routers, ports, groups] = await Promise.all([
    list<Network>("networks", of), list<Network>("networks", { "router:external": "true" }), list<Subnet>("subnets", of), list<Router>("routers", of), list<Port>("ports", of), list<Named>("security-groups", of),
  ]);
  return { networks, external: external.filter(({ project_id }) => project_id !== project), subnets, routers, ports, groups, cut };
}
