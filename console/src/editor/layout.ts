// Where the editor draws a project: what leads outside on top, routers below it, networks with their subnets, and their ports below these. What is drafted stands
// where it will be.
import type { Edge, Node } from "@xyflow/svelte";
import type { Step } from "./draft.svelte.ts";
import type { Project } from "./project.ts";

const WIDTH = 230;
const ROWS = { outside: 0, router: 110, network: 240, port: 370, step: 62 } as const;
/** Ports of a network that are drawn; the others are counted. */
const PORTS = 12;

/** `short("", id)`: the beginning of the id. */
export const short = (name: string, id: string): string => (name === "" ? id.slice(0, 8) : name);

export interface Drawn {
  readonly nodes: Node[];
  readonly edges: Edge[];
}

interface Thing {
  readonly id: string;
  readonly name: string;
  readonly isDraft: boolean;
}

/** The project with what is drafted, as if it were there. */
export function withDraft(project: Project, steps: readonly Step[]): { readonly [K in "networks" | "external" | "subnets" | "routers" | "ports" | "groups"]: readonly (Thing & Readonly<Record<string, unknown>>)[] } & { readonly links: readonly { readonly router: string; readonly network: string; readonly isDraft: boolean }[] } {
  const there = (rows: readonly object[]): (Thing & Record<string, unknown>)[] => rows.map((row) => ({ ...(row as Thing), isDraft: false }));
  const drafted = (kind: string): (Thing & Record<string, unknown>)[] =>
    steps.flatMap(({ key, kind: of, body, done }) => {
      if (of !== kind || done !== undefined) return [];
      const [row] = Object.values(body as Record<string, Record<string, unknown>>);
      return [{ name: "", ...row, id: key, isDraft: true }];
    });
  const subnets = [...there(project.subnets), ...drafted("subnet")];
  const interfaces = project.ports.filter(({ device_owner }) => /^network:(router_interface|ha_router_replicated_interface|router_interface_distributed)/.test(device_owner));
  const links = interfaces.map(({ device_id: router, network_id: network }) => ({ router, network, isDraft: false }));
  for (const { kind, path, body, done } of steps) {
    if (kind !== "interface" || done !== undefined) continue;
    const network = subnets.find(({ id }) => id === (body as { subnet_id: string }).subnet_id)?.network_id;
    if (typeof network === "string") links.push({ router: path.split("/")[3]!, network, isDraft: true });
  }
  return {
    networks: [...there(project.networks), ...drafted("network")], external: there(project.external), subnets, routers: [...there(project.routers), ...drafted("router")],
    ports: [...there(project.ports.filter(({ device_owner }) => !device_owner.startsWith("network:"))), ...drafted("port")], groups: [...there(project.groups), ...drafted("group")], links,
  };
}

export function drawn(project: Project, steps: readonly Step[]): Drawn {
  const all = withDraft(project, steps);
  const nodes: Node[] = [];
  const edges: Edge[] = [];
  const at = new Map<string, number>();
  const add = (kind: string, { id, isDraft }: Thing, label: string, x: number, y: number): void => {
    at.set(id, x);
    nodes.push({ id, data: { label }, position: { x, y }, class: `${kind}${isDraft ? " draft" : ""}`, ariaLabel: `${kind} ${label.replaceAll("\n", ", ")}${isDraft ? ", drafted" : ""}`, deletable: false, connectable: false });
  };
  const join = (source: string, target: string, isDraft: boolean): void => {
    if (at.has(source) && at.has(target)) edges.push({ id: `${source} ${target} ${edges.length}`, source, target, animated: isDraft, deletable: false });
  };
  all.networks.forEach((network, i) => {
    const cidrs = all.subnets.filter(({ network_id }) => network_id === network.id).map(({ cidr }) => String(cidr));
    add("network", network, [short(network.name, network.id), ...cidrs.slice(0, 2), ...(cidrs.length > 2 ? [`and ${cidrs.length - 2} more`] : [])].join("\n"), i * WIDTH, ROWS.network);
    const ports = all.ports.filter(({ network_id }) => network_id === network.id);
    ports.slice(0, PORTS).forEach((port, n) => {
      const addresses = (port.fixed_ips as readonly { readonly ip_address: string }[] | undefined)?.map(({ ip_address }) => ip_address) ?? [];
      add("port", port, [short(port.name, port.id), ...addresses.slice(0, 1)].join("\n"), i * WIDTH + 20, ROWS.port + n * ROWS.step);
    });
    if (ports.length > PORTS) add("port", { id: `more ${network.id}`, name: "", isDraft: false }, `and ${ports.length - PORTS} more`, i * WIDTH + 20, ROWS.port + PORTS * ROWS.step);
  });
  all.external.forEach((network, i) => add("outside", network, short(network.name, network.id), i * WIDTH, ROWS.outside));
  const taken = new Set<number>();
  for (const router of all.routers) {
    const on = all.links.flatMap(({ router: id, network }) => (id === router.id ? (at.get(network) ?? []) : []));
    let x = on.length === 0 ? 0 : Math.round(on.reduce((sum, one) => sum + one, 0) / on.length);
    while ([...taken].some((other) => Math.abs(other - x) < WIDTH)) x += WIDTH / 2;
    taken.add(x);
    add("router", router, short(router.name, router.id), x, ROWS.router);
    const outside = (router.external_gateway_info as { readonly network_id: string } | null | undefined)?.network_id;
    if (outside !== undefined) join(outside, router.id, router.isDraft);
  }
  for (const { router, network, isDraft } of all.links) join(router, network, isDraft);
  for (const port of all.ports) join(String(port.network_id), port.id, port.isDraft);
  return { nodes, edges };
}
