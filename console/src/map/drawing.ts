// From what GET /topology says to dots and lines, and to rows of the table that says the same in words.
import type { Topology } from "../types.ts";
import type { Dot, Line } from "./picture.ts";

/** What a click on a dot is: its kind, and its id there. */
export interface Thing {
  readonly kind: "host" | "project" | "network" | "router" | "port";
  readonly id: string;
}

export interface Row extends Thing {
  readonly name: string;
  readonly state: string;
  readonly about: string;
}

export interface Drawing {
  readonly dots: readonly Dot[];
  readonly lines: readonly Line[];
  readonly rows: readonly Row[];
}

export interface Colours {
  readonly project: string;
  readonly network: string;
  readonly external: string;
  readonly router: string;
  readonly port: string;
  readonly host: string;
  readonly down: string;
  readonly line: string;
  readonly traced: string;
}
export const coloursOf = (dark: boolean): Colours =>
  dark
    ? { project: "rgba(120, 150, 200, 0.14)", network: "#3c7ad6", external: "#a06bd6", router: "#d9913a", port: "#7fb2ff", host: "#3fa66a", down: "#8b3a38", line: "#5a6675", traced: "#ffd34d" }
    : { project: "rgba(31, 95, 191, 0.08)", network: "#2f6fd0", external: "#8a4fc4", router: "#c77415", port: "#174a96", host: "#2b8a50", down: "#b3403d", line: "#9aa6b5", traced: "#d6006c" };

const short = (name: string, id: string): string => (name === "" ? id.slice(0, 8) : name);
export const projectName = (id: string): string => (id === "" ? "no project" : id);

/** `traced`: ids on the way of a packet, in order; they and the lines between them stand out. */
export function drawing(topology: Topology, colours: Colours, traced: readonly string[] = []): Drawing {
  const dots: Dot[] = [];
  const lines: Line[] = [];
  const rows: Row[] = [];
  const way = new Set(traced);
  const colour = (id: string, usual: string, state = "ACTIVE"): string => (way.has(id) ? colours.traced : state === "DOWN" || state === "disconnected" ? colours.down : usual);
  const add = (row: Row, label: string, { x, y, r }: { x: number; y: number; r: number }, color: string): void => {
    dots.push({ id: `${row.kind}/${row.id}`, label, x, y, r, color });
    rows.push(row);
  };
  for (const { id, place, networks, routers, ports } of topology.projects) {
    add({ kind: "project", id, name: projectName(id), state: "", about: `${networks} networks, ${routers} routers, ${ports} ports` }, projectName(id), place, colours.project);
  }
  for (const { id, name, state, place, ports } of topology.hosts) add({ kind: "host", id, name: name === "" ? id : name, state, about: `${ports} ports` }, id, place, colour(id, colours.host, state));
  const networks = [...topology.networks, ...topology.external];
  const outside = new Set(topology.external.map(({ id }) => id));
  for (const { id, name, state, place, ports, hosts, host_count } of networks) {
    const about = `${outside.has(id) ? "leads outside, " : ""}${ports} ports${host_count === 0 ? "" : ` at ${host_count > 4 ? `${host_count} hosts` : hosts.join(", ")}${host_count > hosts.length ? ` (lines lead to ${hosts.length} of them)` : ""}`}`;
    add({ kind: "network", id, name: short(name, id), state, about }, short(name, id), place, colour(id, outside.has(id) ? colours.external : colours.network, state));
    for (const host of hosts) lines.push({ from: `network/${id}`, to: `host/${host}`, color: colours.line, width: 0.004 });
  }
  const named = new Map(networks.map(({ id, name }) => [id, short(name, id)]));
  for (const { id, name, state, place, links, link_count } of topology.routers) {
    const on = [...new Set(links.map(({ network }) => named.get(network) ?? network.slice(0, 8)))];
    const more = on.length - 8 + link_count - links.length;
    add({ kind: "router", id, name: short(name, id), state, about: `on ${on.slice(0, 8).join(", ") || "no network"}${more > 0 ? ` and ${more} more` : ""}` }, short(name, id), place, colour(id, colours.router, state));
    for (const { network, kind } of links) lines.push({ from: `router/${id}`, to: `network/${network}`, color: kind === "gateway" ? colours.external : colours.router, width: 0.008 });
  }
  for (const { id, name, state, place, network, host, device_owner } of topology.ports) {
    add({ kind: "port", id, name: short(name, id), state, about: `in ${named.get(network) ?? network.slice(0, 8)}${host === null ? "" : ` at ${host}`}${device_owner === "" ? "" : `, ${device_owner}`}` }, short(name, id), place, colour(id, colours.port, state));
  }
  const there = new Map(dots.map(({ id }) => [id.slice(id.indexOf("/") + 1), id]));
  const steps = traced.flatMap((id) => there.get(id) ?? []);
  for (let i = 1; i < steps.length; i++) lines.push({ from: steps[i - 1]!, to: steps[i]!, color: colours.traced, width: 0.02 });
  return { dots, lines, rows };
}
