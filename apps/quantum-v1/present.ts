// Networks and ports of v2.0 as v1 shows them, and the filters of its lists.
import type { Values } from "#app";
import { ATTACHMENT } from "./api.ts";
import type { Version } from "./faults.ts";
import type { Item } from "./format.ts";

export type Matches = (values: Values) => boolean;

/** Ports that functions of the network made: v1 has none. */
export const isTenantPort = (port: Values): boolean => !String(port.device_owner).startsWith("network:");

export const stateOf = (port: Values): string => (port.admin_state_up === true ? "ACTIVE" : "DOWN");

/** Of either. What is down by its owner's will is down. */
export function opStatusOf({ admin_state_up: up, status }: Values): string {
  if (up !== true || status === "DOWN") return "DOWN";
  return status === "ACTIVE" ? "UP" : status === "BUILD" ? "PROVISIONING" : "UNKNOWN";
}

/** The id of what uses a port. A device of v2.0 plugs its interface by the port's own id, if it has not yet. */
export function attachmentOf(port: Values): string | undefined {
  const id = port[ATTACHMENT] as string;
  if (id !== "") return id;
  return port.device_id === "" ? undefined : (port.id as string);
}
/** Whether it is for v1 to unplug it. */
export const isNamed = (port: Values): boolean => ![port.id, ""].includes(port[ATTACHMENT]);

const opStatus = (values: Values, version: Version): Item => (version.opStatus ? { "op-status": opStatusOf(values) } : {});

export const networkItem = (network: Values, version: Version): Item => ({ id: network.id, name: network.name, ...opStatus(network, version) });
export const portItem = (port: Values, version: Version): Item => ({ id: port.id, state: stateOf(port), ...opStatus(port, version) });
export function portDetail(port: Values, version: Version): Item {
  const attachment = attachmentOf(port);
  return { ...portItem(port, version), ...(attachment === undefined ? {} : { attachment: { id: attachment } }) };
}

const given = (query: URLSearchParams, name: string): string | undefined => query.getAll(name).at(-1);
const isTrue = (text: string): boolean => text.toLowerCase() === "true";

/** Of these filters those that are given, with their values. */
const asked = (query: URLSearchParams, filters: Readonly<Record<string, (value: string) => Matches>>): Matches[] =>
  Object.entries(filters).flatMap(([name, filter]) => {
    const value = given(query, name);
    return value === undefined ? [] : [filter(value)];
  });
const all = (wanted: readonly Matches[]): Matches => (values) => wanted.every((matches) => matches(values));

export const portFilter = (query: URLSearchParams): Matches => all(asked(query, {
  state: (value) => (p) => stateOf(p) === value,
  "op-status": (value) => (p) => opStatusOf(p) === value,
  "has-attachment": (value) => (p) => (attachmentOf(p) !== undefined) === isTrue(value),
  attachment: (value) => (p) => attachmentOf(p) === value,
}));

export const networkFilter = (query: URLSearchParams): Matches => all(asked(query, {
  name: (value) => (n) => n.name === value,
  "op-status": (value) => (n) => opStatusOf(n) === value,
}));

/** Filters of networks by their ports; undefined: none is given, and ports need not be read. */
export function networkPortsFilter(query: URLSearchParams): ((ports: readonly Values[]) => boolean) | undefined {
  const wanted = asked(query, {
    "port-state": (value) => (p) => stateOf(p) === value,
    "port-op-status": (value) => (p) => opStatusOf(p) === value,
    attachment: (value) => (p) => attachmentOf(p) === value,
    port: (value) => (p) => p.id === value,
  });
  const has = given(query, "has-attachment");
  if (wanted.length === 0 && has === undefined) return undefined;
  return (ports) => wanted.every((matches) => ports.some(matches)) && (has === undefined || ports.some((p) => attachmentOf(p) !== undefined) === isTrue(has));
}
