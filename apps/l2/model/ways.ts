// How what leaves a host gets to the others of a network where that is not by one copy to each of them: for apps that carry networks. 0 as a host
// is none: what goes to it is left to the tables behind l2's in `locate`.
import { callStage, load, toStage, type Outputs, type ReadView, type Scope } from "#app";
import { l2 } from "../tables.ts";
import { apart, callParts, FLOOD_LIST, floodParts, partKey, type Spread } from "./copies.ts";
import { learningTable } from "./holders.ts";
import { chosenSegments, isPhysical } from "./places.ts";
import { GROUP_MAC } from "./ports.ts";

type Net = { readonly id: string; readonly key: number };

/** Whether the app that carries the network says how its packets leave; else they go to each host that has a port of it. */
export const isCarried = (view: ReadView, networkId: string): boolean => chosenSegments(view, networkId).some((s) => isPhysical(s) || s.type === "local");

const copies = (hosts: readonly number[]) => hosts.flatMap((host) => [load("out_host", host), callStage("locate")] as const);

/** Hosts of a list that may be long: of few their keys, of more the parts that they are in, which `floodPart` fills. */
export type HostsInParts = readonly number[] | { readonly parts: Iterable<number>; readonly spread: Exclude<Spread, "whole"> };

/** What goes to all of a network, from here: one copy to each of these hosts (COPIES at the most), and to each of a list. */
export function floodTo(out: Outputs, scope: Scope, { key }: Net, hosts: readonly number[], list: HostsInParts = []): void {
  const into = l2.through(out);
  const more = "parts" in list ? callParts(floodParts, FLOOD_LIST.flood_remote, list.parts, list.spread) : copies(list);
  into.flow(scope, "flood_remote", { priority: 110, match: { "reg:net": key }, actions: [...copies(hosts), ...more] });
  if ("parts" in list && list.spread === "apart") apart(into, scope, floodParts);
}
/** A part of the list. */
export function floodPart(out: Outputs, scope: Scope, { key }: Pick<Net, "key">, part: number, hosts: readonly number[]): void {
  l2.through(out).flow(scope, "flood_parts", { priority: 100, match: { "reg:net": key, "reg:flood_part": partKey(FLOOD_LIST.flood_remote, part) }, actions: copies(hosts) });
}

/** What came from afar for all of a network goes on to these hosts too. */
export function handOn(out: Outputs, scope: Scope, net: Net, hosts: readonly number[], view: ReadView): void {
  const into = l2.through(out);
  const from = { "reg:net": net.key, "reg:from_tunnel": 1 } as const;
  // What the controller says in a port's name goes to ports here alone: the port itself was heard, from where it is.
  into.flow(scope, "l2_lookup", { priority: 60, match: { ...from, "reg:from_network": 0, eth_dst: GROUP_MAC }, actions: [...copies(hosts), { type: "table", table: "flood_local" }] });
  const nowhere = [load("out_port_key", 0), ...copies(hosts)] as const;
  if (view.get(learningTable, net.id)?.macs === true) {
    into.flow(scope, "mac_unknown", { priority: 110, match: from, actions: [...nowhere, load("out_host", 0), { type: "call", table: "mac_learned" }, { type: "table", table: "mac_verdict" }] });
  } else into.flow(scope, "mac_unknown", { priority: 50, match: from, actions: nowhere });
}

/** What is sent here to a MAC that nobody knows goes to these hosts. Where MACs are learned it goes where `floodTo` says. */
export function sendUnknown(out: Outputs, scope: Scope, { key }: Net, hosts: readonly number[]): void {
  const [only, ...more] = hosts;
  const where = only !== undefined && more.length === 0 ? [load("out_host", only), toStage("locate")] as const : copies(hosts);
  l2.through(out).flow(scope, "mac_unknown", { priority: 50, match: { "reg:net": key, "reg:from_tunnel": 0 }, actions: [load("out_port_key", 0), ...where] });
}
