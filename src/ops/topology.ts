// GET /topology: everything there is as a picture, never all at once. What is counted and where it stands is kept by what changes; an
// answer is bounded, reads what it shows, and says what it left out.
import { chassisTable, type AnyTable, type App, type LiveView, type MapLink, type MapList, type MapPart, type MapPorts, type Row } from "#app";
import { hostPlace, memberPlace, portPlace, projectPlace, Slots, type Place } from "./places.ts";
import { BadQuery, queryOf, type OpsServer } from "./server.ts";

/** Things of a list in one answer; of all lists together where nobody said how deep to look; links of one router, and hosts of one network. */
const LISTED = 2000;
const UNASKED = 500;
const LINKS = 200;

/** `state` in the API's words, of hosts as in GET /switches. */
export interface Shown {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly place: Place;
}
export interface ShownHost extends Shown {
  readonly ports: number;
}
export interface ShownProject {
  /** "": of no project. */
  readonly id: string;
  readonly networks: number;
  readonly routers: number;
  readonly ports: number;
  readonly place: Place;
}
export interface ShownNetwork extends Shown {
  readonly project: string;
  readonly ports: number;
  /** Those that have ports of it, at most 200. */
  readonly hosts: readonly string[];
}
export interface ShownRouter extends Shown {
  readonly project: string;
  /** At most 200. */
  readonly links: readonly MapLink[];
}
export interface ShownPort extends Shown {
  readonly project: string;
  readonly network: string;
  readonly host: string | null;
  readonly device_id: string;
  readonly device_owner: string;
}

export interface TopologyAnswer {
  readonly generation: number;
  /** 1: hosts and projects; 2: networks and routers too; 3: ports too. */
  readonly depth: number;
  readonly hosts: readonly ShownHost[];
  readonly projects: readonly ShownProject[];
  readonly networks: readonly ShownNetwork[];
  readonly routers: readonly ShownRouter[];
  readonly ports: readonly ShownPort[];
  /** Networks that lead outside. */
  readonly external: readonly ShownNetwork[];
  /** How many there are in all of what was asked for that are not shown, by list. */
  readonly left_out: { readonly hosts: number; readonly projects: number; readonly networks: number; readonly routers: number; readonly ports: number };
}

export interface TopologyQuery {
  readonly project?: string;
  readonly network?: string;
  readonly depth?: 1 | 2 | 3;
}

export interface TopologyParts {
  readonly apps: readonly Pick<App, "map">[];
  readonly view: LiveView;
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
  readonly networks = new Set<string>();
  readonly routers = new Set<string>();
  /** Of both. */
  readonly slots = new Slots();
  ports = 0;
}

export class Topology {
  private readonly parts: TopologyParts;
  private readonly maps: readonly MapPart[];
  private readonly networks: MapList | undefined;
  private readonly routers: MapList | undefined;
  private readonly ports: MapPorts | undefined;
  private readonly projects = new Map<string, Project>();
  private readonly projectSlots = new Slots();
  private readonly hostSlots = new Slots();
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
    for (const id of [...parts.view.all(chassisTable)].map((chassis) => chassis.id).sort()) this.hostSlots.take(id);
    this.stop = parts.onChanges((changes) => {
      for (const { table, id, before, after } of changes) {
        if (table === chassisTable) {
          if (after === undefined) this.hostSlots.give(id);
          else this.hostSlots.take(id);
          continue;
        }
        const list = table === this.ports?.table ? "ports" : table === this.networks?.table ? "networks" : table === this.routers?.table ? "routers" : undefined;
        if (list === undefined || (before !== undefined && after !== undefined && (before as Owned).project_id === (after as Owned).project_id)) continue;
        if (before !== undefined) this.remove(list, before as Owned);
        if (after !== undefined) this.add(list, after as Owned);
      }
    });
  }

  /** In the order in which they came, so that they stand where they stood before a restart, unless others went meanwhile. */
  private addAll(): void {
    const rows: { readonly list: "networks" | "routers" | "ports"; readonly row: Owned }[] = [];
    const came = new Map<string, string>();
    for (const list of ["networks", "routers", "ports"] as const) {
      if (this[list] === undefined) continue;
      for (const row of this.parts.view.all(this[list].table) as Iterable<Owned>) {
        if (list !== "ports") rows.push({ list, row });
        const first = came.get(row.project_id);
        if (first === undefined || row.created_at < first) came.set(row.project_id, row.created_at);
      }
    }
    for (const [id] of [...came].sort(([a, first], [b, second]) => compare(first, second) || compare(a, b))) this.projectSlots.take(id);
    for (const { list, row } of rows.sort((a, b) => compare(a.row.created_at, b.row.created_at) || compare(a.row.id, b.row.id))) this.add(list, row);
    if (this.ports !== undefined) for (const row of this.parts.view.all(this.ports.table)) this.add("ports", row as Owned);
  }

  private add(list: "networks" | "routers" | "ports", { id, project_id: owner }: Owned): void {
    let project = this.projects.get(owner);
    if (project === undefined) this.projects.set(owner, (project = new Project()));
    this.projectSlots.take(owner);
    this.counts[list]++;
    if (list === "ports") project.ports++;
    else {
      project[list].add(id);
      project.slots.take(id);
    }
  }

  private remove(list: "networks" | "routers" | "ports", { id, project_id: owner }: Owned): void {
    const project = this.projects.get(owner);
    if (project === undefined) return;
    this.counts[list]--;
    if (list === "ports") project.ports--;
    else {
      project[list].delete(id);
      project.slots.give(id);
    }
    if (project.ports + project.slots.size > 0) return;
    this.projects.delete(owner);
    this.projectSlots.give(owner);
  }

  /** @throws BadQuery 404 for a network that there is not */
  answer(query: TopologyQuery): TopologyAnswer {
    const { view } = this.parts;
    const asked = query.network === undefined ? undefined : this.networks === undefined ? undefined : (view.get(this.networks.table, query.network) as Owned | undefined);
    if (query.network !== undefined && asked === undefined) throw new BadQuery("network", `there is no network '${query.network.slice(0, 64)}'`, 404);
    if (asked !== undefined && query.project !== undefined && asked.project_id !== query.project) throw new BadQuery("network", `network ${asked.id} is of another project`, 404);
    const picture = new Picture(this, asked, query.project);
    return picture.draw(query.depth);
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
    if (project !== undefined) yield* this.projects.get(project)?.[list] ?? [];
    else for (const one of this.projects.values()) yield* one[list];
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
    const slot = this.projects.get(owner)?.slots.of(id);
    return around === undefined || slot === undefined ? undefined : memberPlace(around, slot);
  }
  placeOfHost(id: string): Place | undefined {
    const slot = this.hostSlots.of(id);
    return slot === undefined ? undefined : hostPlace(slot);
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
  private readonly ports: ShownPort[] = [];

  constructor(of: Topology, asked: Owned | undefined, project: string | undefined) {
    this.of = of;
    this.asked = asked;
    this.project = project;
  }

  draw(wanted: 1 | 2 | 3 | undefined): TopologyAnswer {
    const { of, asked, project } = this;
    const { generation, lists, view } = of.reading;
    const whose = asked?.project_id ?? project;
    const all = asked === undefined ? of.total(project) : { networks: 1, routers: of.routersOn(asked.id).length, ports: lists.ports?.countIn(view, asked.id) ?? 0 };
    const depth = wanted ?? (asked !== undefined || all.networks + all.routers + all.ports <= UNASKED ? 3 : all.networks + all.routers <= UNASKED ? 2 : 1);
    if (depth >= 2) this.addInside();
    const own = this.networks.size + this.external.size;
    if (depth >= 3) this.addPorts();
    // Last: they are shown beside, not asked for.
    const ownRouters = this.routers.size;
    for (const { links } of [...this.routers.values()]) for (const { network } of links) this.addNetwork(network);
    const hosts = this.hostsShown();
    const projects = [...take(of.projectsShown(whose), LISTED)];
    return {
      generation: generation(), depth, hosts: hosts.shown, projects, networks: [...this.networks.values()], routers: [...this.routers.values()], ports: this.ports, external: [...this.external.values()],
      left_out: {
        hosts: hosts.leftOut, projects: whose === undefined ? of.projectCount - projects.length : 0, networks: Math.max(0, all.networks - own), routers: Math.max(0, all.routers - ownRouters), ports: Math.max(0, all.ports - this.ports.length),
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
    const hosts = (ports?.hosts(view, id) ?? []).slice(0, LINKS).sort();
    for (const host of hosts) this.hosts.add(host);
    const shown = { id, name: row.name, state: networks!.state(view, row), place, project: row.project_id, ports: ports?.countIn(view, id) ?? 0, hosts };
    (this.of.isExternal(id) ? this.external : this.networks).set(id, shown);
    return true;
  }

  private addRouter(id: string): void {
    const { view, lists: { routers } } = this.of.reading;
    const row = routers === undefined ? undefined : (view.get(routers.table, id) as Owned | undefined);
    const place = row === undefined ? undefined : this.of.placeOf(row);
    if (row === undefined || place === undefined) return;
    const links = this.of.links(id).sort((a, b) => (a.port < b.port ? -1 : 1)).slice(0, LINKS);
    this.routers.set(id, { id, name: row.name, state: routers!.state(view, row), place, project: row.project_id, links });
  }

  private addPorts(): void {
    const { view, lists: { ports } } = this.of.reading;
    if (ports === undefined) return;
    const { asked, project } = this;
    const within = asked !== undefined ? [ports.in(view, asked.id)] : project !== undefined ? [ports.of(view, project)] : [...this.networks.keys(), ...this.external.keys()].map((network) => ports.in(view, network));
    for (const rows of within) {
      for (const row of rows as readonly Owned[]) {
        if (this.ports.length >= LISTED) return;
        const network = ports.network(row);
        this.addNetwork(network);
        const around = this.networks.get(network) ?? this.external.get(network);
        if (around === undefined) continue;
        const { id: device_id, owner: device_owner } = ports.device(row);
        this.ports.push({ id: row.id, name: row.name, state: ports.state(view, row), place: portPlace(around.place, row.id), project: row.project_id, network, host: ports.host(view, row) ?? null, device_id, device_owner });
      }
    }
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
export function topologyRoutes(server: OpsServer, topology: Topology): void {
  server.get("/topology", (request) => {
    const query = queryOf(request.url, ["project", "network", "depth"]);
    const depth = query.get("depth");
    if (depth !== undefined && !["1", "2", "3"].includes(depth)) throw new BadQuery("depth", `'${depth.slice(0, 64)}' is not one of 1, 2, 3`);
    const project = query.get("project");
    const network = query.get("network");
    if (network === "") throw new BadQuery("network", "is empty");
    return topology.answer({ ...(project !== undefined && { project }), ...(network !== undefined && { network }), ...(depth !== undefined && { depth: Number(depth) as 1 | 2 | 3 }) });
  });
}
