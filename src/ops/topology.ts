// GET /topology: everything there is as a picture, never all at once. What is counted and where it stands is kept by what changes; an
// answer is bounded, reads what it shows, and says what it left out.
import { chassisTable, type AnyTable, type App, type MapLink, type MapList, type MapPart, type MapPorts, type MapView, type Row } from "#app";
import { EVENLY, hostPlace, memberPlace, portPlace, projectPlace, Slots, type Place } from "./places.ts";
import type { ShownHost, ShownNetwork, ShownPort, ShownProject, ShownRouter, TopologyAnswer } from "./topology-answer.ts";
import { Named, noProject } from "./named.ts";
import { BadQuery, queryOf, type OpsServer } from "./server.ts";

/** Things of a list in one answer; of all lists together where nobody said how deep to look; links of one router, and hosts of one network. */
const LISTED = 2000;
const UNASKED = 500;
const LINKS = 200;
/** Things that are shown beside, at most: those on the way of a packet. */
const BESIDE = 64;
/** Numbers from which the first projects draw theirs. */
const PROJECTS = 4;

export interface TopologyQuery {
  readonly project?: string;
  readonly network?: string;
  readonly depth?: 1 | 2 | 3;
  /** Ids of ports, networks, and routers that are shown whatever else is. */
  readonly with?: readonly string[];
}

export interface TopologyParts {
  readonly apps: readonly Pick<App, "map">[];
  readonly view: MapView;
  readonly generation: () => number;
  readonly switches: () => Iterable<{ readonly id: string; readonly hostname?: string; readonly state?: string }>;
  readonly onChanges: (observer: (changes: readonly { readonly table: AnyTable; readonly id: string; readonly before: Row | undefined; readonly after: Row | undefined }[]) => void) => () => void;
}

/** What every row of a list has. */
interface Owned extends Row {
  readonly project_id: string;
  readonly name: string;
  readonly created_at: string;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

class Project {
  // Each counts by itself, by the order of its own; networks have the even numbers of both.
  readonly networks = new Slots(EVENLY / 2);
  readonly routers = new Slots(EVENLY / 2);
  ports = 0;

  get isEmpty(): boolean {
    return this.ports + this.networks.size + this.routers.size === 0;
  }
  slotOf(id: string): number | undefined {
    const network = this.networks.of(id);
    if (network !== undefined) return 2 * network;
    const router = this.routers.of(id);
    return router === undefined ? undefined : 2 * router + 1;
  }
}

export class Topology {
  private readonly parts: TopologyParts;
  private readonly maps: readonly MapPart[];
  private readonly networks: MapList | undefined;
  private readonly routers: MapList | undefined;
  private readonly ports: MapPorts | undefined;
  private readonly projects = new Map<string, Project>();
  private readonly projectSlots = new Slots(PROJECTS);
  private readonly counts = { networks: 0, routers: 0, ports: 0 };
  /** Stops following changes. */
  readonly stop: () => void;

  constructor(parts: TopologyParts) {
    this.parts = parts;
    this.maps = parts.apps.flatMap(({ map }) => map ?? []);
    this.networks = this.maps.find(({ networks }) => networks)?.networks;
    this.routers = this.maps.find(({ routers }) => routers)?.routers;
    this.ports = this.maps.find(({ ports }) => ports)?.ports;
    this.addAll();
    this.stop = parts.onChanges((changes) => {
      for (const { table, before, after } of changes) {
        const list = table === this.ports?.table ? "ports" : table === this.networks?.table ? "networks" : table === this.routers?.table ? "routers" : undefined;
        if (list === undefined || (before !== undefined && after !== undefined && (before as Owned).project_id === (after as Owned).project_id)) continue;
        if (before !== undefined) this.remove(list, before as Owned);
        if (after !== undefined) this.add(list, after as Owned);
      }
    });
  }

  /** In the order in which they came, so that each finds free what it found free then. */
  private addAll(): void {
    const came = new Map<string, { readonly at: string; readonly order: number }>();
    const lists = (["networks", "routers", "ports"] as const).flatMap((list) => {
      const of = this[list];
      if (of === undefined) return [];
      const rows = [...(this.parts.view.all(of.table) as Iterable<Owned>)];
      const order = "order" in of ? of.order : () => Infinity;
      for (const row of rows) {
        const one = { at: row.created_at, order: order(row) };
        const first = came.get(row.project_id);
        if (first === undefined || one.at < first.at || (one.at === first.at && one.order < first.order)) came.set(row.project_id, one);
      }
      return [{ list, rows: list === "ports" ? rows : rows.sort((a, b) => order(a) - order(b)) }];
    });
    for (const [id] of [...came].sort(([a, { at, order }], [b, other]) => compare(at, other.at) || (order === other.order ? 0 : order - other.order) || compare(a, b))) this.projectSlots.take(id);
    for (const { list, rows } of lists) for (const row of rows) this.add(list, row);
  }

  private add(list: "networks" | "routers" | "ports", { id, project_id: owner }: Owned): void {
    let project = this.projects.get(owner);
    if (project === undefined) this.projects.set(owner, (project = new Project()));
    this.projectSlots.take(owner);
    this.counts[list]++;
    if (list === "ports") project.ports++;
    else project[list].take(id);
  }

  private remove(list: "networks" | "routers" | "ports", { id, project_id: owner }: Owned): void {
    const project = this.projects.get(owner);
    if (project === undefined) return;
    this.counts[list]--;
    if (list === "ports") project.ports--;
    else project[list].give(id);
    if (!project.isEmpty) return;
    this.projects.delete(owner);
    this.projectSlots.give(owner);
  }

  /** `network`: its id or name. @throws BadQuery for one that there is not or that is of another project, and for a name that several have */
  answer(query: TopologyQuery): TopologyAnswer {
    const { view } = this.parts;
    const { network, project } = query;
    const named = new Named(this.networks === undefined ? [] : [this.networks.table], view);
    const id = network === undefined ? undefined : named.idOf("network", network, { project });
    const asked = id === undefined ? undefined : (view.get(this.networks!.table, id) as Owned | undefined);
    if (network !== undefined && asked === undefined) throw named.none("network", network, ["network"]);
    if (asked !== undefined && project !== undefined && asked.project_id !== project) throw named.another("network", asked.id, project) ?? new BadQuery("network", `network ${asked.id} is of no project`);
    return new Picture(this, asked, query.project).draw(query.depth, query.with ?? []);
  }

  // What follows is for Picture.

  get reading(): Pick<TopologyParts, "view" | "generation" | "switches"> & { readonly lists: { readonly networks?: MapList | undefined; readonly routers?: MapList | undefined; readonly ports?: MapPorts | undefined } } {
    const { view, generation, switches } = this.parts;
    return { view, generation, switches, lists: { networks: this.networks, routers: this.routers, ports: this.ports } };
  }
  links(router: string): MapLink[] {
    return this.maps.flatMap((map) => map.links?.(this.parts.view, router) ?? []);
  }
  routersOn(network: string): string[] {
    return [...new Set(this.maps.flatMap((map) => map.routersOn?.(this.parts.view, network) ?? []))];
  }
  isExternal(network: string): boolean {
    return this.maps.some((map) => map.external?.(this.parts.view, network) === true);
  }
  total(project: string | undefined): { readonly networks: number; readonly routers: number; readonly ports: number } {
    if (project === undefined) return this.counts;
    const one = this.projects.get(project);
    return { networks: one?.networks.size ?? 0, routers: one?.routers.size ?? 0, ports: one?.ports ?? 0 };
  }
  *idsOf(list: "networks" | "routers", project: string | undefined): Iterable<string> {
    if (project !== undefined) yield* this.projects.get(project)?.[list].ids() ?? [];
    else for (const one of this.projects.values()) yield* one[list].ids();
  }
  *projectsShown(only: string | undefined): Iterable<ShownProject> {
    for (const id of only === undefined ? this.projectSlots.ids() : [only]) {
      const place = this.placeOfProject(id);
      if (place !== undefined) yield { id, ...this.total(id), place };
    }
  }
  get projectCount(): number {
    return this.projects.size;
  }
  placeOfProject(id: string): Place | undefined {
    const slot = this.projectSlots.of(id);
    return slot === undefined ? undefined : projectPlace(slot);
  }
  placeOf({ id, project_id: owner }: Owned): Place | undefined {
    const around = this.placeOfProject(owner);
    const slot = this.projects.get(owner)?.slotOf(id);
    return around === undefined || slot === undefined ? undefined : memberPlace(around, slot);
  }
  placeOfHost(id: string): Place | undefined {
    const key = this.parts.view.get(chassisTable, id)?.key;
    return key === undefined ? undefined : hostPlace(key);
  }
}

/** One answer while it is put together. */
class Picture {
  private readonly of: Topology;
  private readonly asked: Owned | undefined;
  private readonly project: string | undefined;
  private readonly hosts = new Set<string>();
  private readonly networks = new Map<string, ShownNetwork>();
  private readonly external = new Map<string, ShownNetwork>();
  private readonly routers = new Map<string, ShownRouter>();
  private readonly ports = new Map<string, ShownPort>();

  constructor(of: Topology, asked: Owned | undefined, project: string | undefined) {
    this.of = of;
    this.asked = asked;
    this.project = project;
  }

  draw(wanted: 1 | 2 | 3 | undefined, beside: readonly string[]): TopologyAnswer {
    const { of, asked, project } = this;
    const { generation, lists, view } = of.reading;
    const whose = asked?.project_id ?? project;
    const all = asked === undefined ? of.total(project) : { networks: 1, routers: of.routersOn(asked.id).length, ports: lists.ports?.countIn(view, asked.id) ?? 0 };
    const depth = wanted ?? (asked !== undefined || all.networks + all.routers + all.ports <= UNASKED ? 3 : all.networks + all.routers <= UNASKED ? 2 : 1);
    if (depth >= 2) this.addInside();
    const own = this.networks.size + this.external.size;
    if (depth >= 3) this.addPorts();
    const ownPorts = this.ports.size;
    const ownRouters = this.routers.size;
    // Last: they are shown beside, not asked for.
    for (const id of beside.slice(0, BESIDE)) this.addBeside(id);
    for (const { links } of [...this.routers.values()]) for (const { network } of links) this.addNetwork(network);
    const hosts = this.hostsShown();
    const projects = [...take(of.projectsShown(whose), LISTED)];
    return {
      generation: generation(), depth, hosts: hosts.shown, projects, networks: [...this.networks.values()], routers: [...this.routers.values()], ports: [...this.ports.values()], external: [...this.external.values()],
      left_out: {
        hosts: hosts.leftOut, projects: whose === undefined ? of.projectCount - projects.length : 0, networks: Math.max(0, all.networks - own), routers: Math.max(0, all.routers - ownRouters), ports: Math.max(0, all.ports - ownPorts),
      },
    };
  }

  private addInside(): void {
    const { of, asked, project } = this;
    for (const id of asked === undefined ? of.idsOf("networks", project) : [asked.id]) if (!this.addNetwork(id)) break;
    for (const id of asked === undefined ? of.idsOf("routers", project) : of.routersOn(asked.id)) {
      if (this.routers.size >= LISTED) break;
      this.addRouter(id);
    }
  }

  /** False: there are enough. */
  private addNetwork(id: string): boolean {
    if (this.networks.has(id) || this.external.has(id)) return true;
    if (this.networks.size + this.external.size >= LISTED) return false;
    const { view, lists: { networks, ports } } = this.of.reading;
    const row = networks === undefined ? undefined : (view.get(networks.table, id) as Owned | undefined);
    const place = row === undefined ? undefined : this.of.placeOf(row);
    if (row === undefined || place === undefined) return true;
    const at = ports?.hosts(view, id) ?? [];
    const hosts = at.toSorted().slice(0, LINKS);
    for (const host of hosts) this.hosts.add(host);
    const shown = { id, name: row.name, state: networks!.state(view, row), place, project: row.project_id, ports: ports?.countIn(view, id) ?? 0, hosts, host_count: at.length };
    (this.of.isExternal(id) ? this.external : this.networks).set(id, shown);
    return true;
  }

  private addRouter(id: string): void {
    const { view, lists: { routers } } = this.of.reading;
    const row = routers === undefined ? undefined : (view.get(routers.table, id) as Owned | undefined);
    const place = row === undefined ? undefined : this.of.placeOf(row);
    if (row === undefined || place === undefined) return;
    const links = this.of.links(id).sort((a, b) => (a.port < b.port ? -1 : 1));
    this.routers.set(id, { id, name: row.name, state: routers!.state(view, row), place, project: row.project_id, links: links.slice(0, LINKS), link_count: links.length });
  }

  private addPorts(): void {
    const { view, lists: { ports } } = this.of.reading;
    if (ports === undefined) return;
    const { asked, project } = this;
    const networks = asked !== undefined ? [asked.id] : project !== undefined ? [undefined] : [...this.networks.keys(), ...this.external.keys()];
    for (const network of networks) {
      const left = LISTED - this.ports.size;
      if (left <= 0) return;
      for (const row of network === undefined ? ports.of(view, project!, left) : ports.in(view, network, left)) this.addPort(ports, row as Owned);
    }
  }

  private addPort(ports: MapPorts, row: Owned): void {
    const { view } = this.of.reading;
    const network = ports.network(row);
    this.addNetwork(network);
    const around = this.networks.get(network) ?? this.external.get(network);
    if (around === undefined) return;
    const { id: device_id, owner: device_owner } = ports.device(row);
    const host = ports.host(view, row) ?? null;
    if (host !== null) this.hosts.add(host);
    this.ports.set(row.id, { id: row.id, name: row.name, state: ports.state(view, row), place: portPlace(around.place, row.id), project: row.project_id, network, host, device_id, device_owner });
  }

  /** What nobody has that id is on the way of no packet any more. */
  private addBeside(id: string): void {
    const { view, lists: { networks, routers, ports } } = this.of.reading;
    const port = ports === undefined ? undefined : view.get(ports.table, id);
    if (port !== undefined) this.addPort(ports!, port as Owned);
    else if (networks !== undefined && view.get(networks.table, id) !== undefined) this.addNetwork(id);
    else if (routers !== undefined && view.get(routers.table, id) !== undefined) this.addRouter(id);
    else if (this.of.placeOfHost(id) !== undefined) this.hosts.add(id);
  }

  private hostsShown(): { readonly shown: ShownHost[]; readonly leftOut: number } {
    const { view, switches, lists: { ports } } = this.of.reading;
    const shown: ShownHost[] = [];
    let leftOut = 0;
    for (const { id, hostname, state } of switches()) {
      const place = this.of.placeOfHost(id);
      if (place === undefined || ((this.asked !== undefined || this.project !== undefined) && !this.hosts.has(id))) continue;
      if (shown.length >= LISTED) leftOut++;
      else shown.push({ id, name: hostname ?? "", state: state ?? "", place, ports: ports?.countAt(view, id) ?? 0 });
    }
    return { shown, leftOut };
  }
}

function* take<T>(items: Iterable<T>, most: number): Iterable<T> {
  let n = 0;
  for (const item of items) {
    if (n++ >= most) return;
    yield item;
  }
}

/** Adds `GET /topology`. */
export function topologyRoutes(server: OpsServer, topology: Topology, named: Pick<Named, "hasProject">): void {
  server.get("/topology", (request) => {
    const query = queryOf(request.url, ["project", "network", "depth", "with"]);
    const depth = query.get("depth");
    if (depth !== undefined && !["1", "2", "3"].includes(depth)) throw new BadQuery("depth", `'${depth.slice(0, 64)}' is not one of 1, 2, 3`);
    const project = query.get("project");
    const network = query.get("network");
    if (network === "") throw new BadQuery("network", "is empty");
    if (project !== undefined && project !== "" && !named.hasProject(project)) throw noProject("project", project);
    const ids = query.get("with")?.split(",");
    if (ids !== undefined && ids.length > BESIDE) throw new BadQuery("with", `names ${ids.length} things; ${BESIDE} are the most`);
    return topology.answer({ ...(ids !== undefined && { with: ids }), ...(project !== undefined && { project }), ...(network !== undefined && { network }), ...(depth !== undefined && { depth: Number(depth) as 1 | 2 | 3 }) });
  });
}
