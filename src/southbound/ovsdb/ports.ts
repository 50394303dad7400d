// Ports that rules want, each with its Interface: on the integration bridge, or on a bridge of the operator's that they name. Ours are
// marked external_ids:axion-port=true, on whatever bridge; of their external_ids axion-keys names the keys that a wish set, so that
// those of others stay and ours go with the wish. Pure, as adoption.ts.
import { insert, mutate, namedUuid, update, uuid, type InputAtom, type InputValue, type Mutation, type Operation } from "ovsdb-client";
import type { OvsColumns, PortColumns } from "#app";
import type { DesiredRow } from "../../compiler/desired.ts";
import { byUuid, differing, inputs, textOf, type Resolve } from "./columns.ts";
import type { BridgeRow, HostRows, Ids, InterfaceRow, Note, PortRow } from "./host-rows.ts";
import { PORT, WAS, type Patches } from "./patches.ts";

const KEYS = "axion-keys";

interface WantedPort {
  readonly name: string;
  readonly columns: PortColumns;
  readonly bridge: BridgeRow;
  /** Ours, as it is. */
  readonly row: PortRow | undefined;
  readonly iface: InterfaceRow | undefined;
  /** Names its inserts. */
  readonly n: number;
}

/** Bridge that a port is wanted on. */
const bridgeOf = ({ columns }: DesiredRow, integration: string): string => (columns as PortColumns).bridge ?? integration;

/** Names of ports that are wanted on each bridge. */
export function portsByBridge(rows: readonly DesiredRow[], integration: string): ReadonlyMap<string, ReadonlySet<string>> {
  const out = new Map<string, Set<string>>();
  for (const row of rows) if (row.table === "Port") out.set(bridgeOf(row, integration), (out.get(bridgeOf(row, integration)) ?? new Set<string>()).add(row.key));
  return out;
}

export class Ports {
  private readonly rows: HostRows;
  private readonly bridge: BridgeRow;
  private readonly patches: Patches;
  private readonly wanted: WantedPort[] = [];
  private readonly made = new Map<string, InputAtom>();
  readonly notes: Note[] = [];

  constructor(rows: HostRows, bridge: BridgeRow, wanted: readonly DesiredRow[], patches: Patches) {
    this.rows = rows;
    this.bridge = bridge;
    this.patches = patches;
    const bridges = new Map([...rows.bridges()].map((b) => [b.name, { bridge: b, ours: new Map(rows.portsOf(b).filter((p) => p.external_ids[PORT] === "true").map((p) => [p.name, p])) }]));
    const ports = wanted.filter((r) => r.table === "Port").sort((a, b) => (a.key < b.key ? -1 : 1));
    for (const [n, port] of ports.entries()) {
      const name = port.key;
      const at = bridges.get(bridgeOf(port, bridge.name));
      if (at === undefined) {
        this.notes.push({ about: `port ${name}`, problem: `the host has no bridge ${bridgeOf(port, bridge.name)}; the port is made when it comes` });
        continue;
      }
      const row = at.ours.get(name);
      const iface = row === undefined ? undefined : rows.interfacesOf(row).find((f) => f.name === name);
      if (iface === undefined && rows.nameTaken(name)) {
        this.notes.push({ about: `port ${name}`, problem: "the host has a port of this name that the controller did not make; it is left alone, and ours is missing" });
        continue;
      }
      if (iface === undefined) this.made.set(name, namedUuid(`port${n}`));
      this.wanted.push({ name, columns: port.columns as PortColumns, bridge: at.bridge, row, iface, n });
    }
  }

  /** A port by its name, whoever made it. */
  ref(name: string): InputAtom | undefined {
    const row = this.rows.port(name);
    return row === undefined ? this.made.get(name) : uuid(row._uuid);
  }

  plan(resolve: Resolve): Operation[] {
    const operations: Operation[] = [];
    const added = new Map<BridgeRow, InputAtom[]>();
    for (const port of this.wanted) {
      const { name, columns, bridge, row, iface, n } = port;
      const ofInterface = this.patches.over("Interface", name, columns.interface, resolve);
      const ofPort = this.patches.over("Port", name, columns.port ?? {}, resolve);
      if (row === undefined || iface === undefined) {
        operations.push(
          insert("Interface", { ...inputs("Interface", ofInterface, resolve), external_ids: wantedIds({}, ofInterface), name }, { uuidName: `iface${n}` }),
          insert("Port", { ...inputs("Port", ofPort, resolve), external_ids: wantedIds({}, ofPort), name, interfaces: [namedUuid(`iface${n}`)] }, { uuidName: `port${n}` }),
        );
        added.set(bridge, [...(added.get(bridge) ?? []), namedUuid(`port${n}`)]);
        continue;
      }
      const change = difference("Interface", iface, ofInterface, resolve);
      if (Object.keys(change).length > 0) operations.push(update("Interface", byUuid(iface), change));
      const portChange = difference("Port", row, ofPort, resolve);
      if (Object.keys(portChange).length > 0) operations.push(update("Port", byUuid(row), portChange));
      const request = ofInterface.ofport_request as number | undefined;
      if (iface.error !== undefined) this.notes.push({ about: `port ${name}`, problem: iface.error });
      else if (iface.ofport !== undefined && request !== undefined && iface.ofport !== request && change.ofport_request === undefined) {
        this.notes.push({ about: `port ${name}`, problem: `the switch gave it OpenFlow port ${iface.ofport} instead of ${request}` });
      }
    }
    const names = new Set(this.wanted.filter((p) => p.bridge === this.bridge).map((p) => p.name));
    const gone = this.rows.portsOf(this.bridge).filter((p) => p.external_ids[PORT] === "true" && !names.has(p.name)).map((p) => p._uuid);
    for (const bridge of new Set([...(gone.length > 0 ? [this.bridge] : []), ...added.keys()])) {
      const mutations: Mutation[] = [];
      if (bridge === this.bridge && gone.length > 0) mutations.push(["ports", "delete", gone]);
      const come = added.get(bridge);
      if (come !== undefined) mutations.push(["ports", "insert", come]);
      operations.push(mutate("Bridge", byUuid(bridge), mutations));
    }
    return operations;
  }
}

function difference(table: "Port" | "Interface", row: PortRow | InterfaceRow, columns: OvsColumns, resolve: Resolve): Record<string, InputValue> {
  const change = differing(table, row, columns, resolve);
  const ids = wantedIds(row.external_ids, columns);
  if (textOf(row.external_ids) !== textOf(ids)) change.external_ids = ids;
  return change;
}

/** The external_ids of a row of ours: what others put there, what the wish says, and our marks. */
function wantedIds(now: Ids, columns: OvsColumns): Ids {
  const wish = (columns.external_ids as Ids | undefined) ?? {};
  const before = keysOf(now[KEYS]);
  const others = Object.fromEntries(Object.entries(now).filter(([k]) => k !== KEYS && !k.startsWith(WAS) && !before.has(k)));
  const keys = Object.keys(wish).sort();
  return { ...others, ...wish, [PORT]: "true", ...(keys.length > 0 && { [KEYS]: JSON.stringify(keys) }) };
}

function keysOf(mark: string | undefined): ReadonlySet<string> {
  try {
    const keys: unknown = JSON.parse(mark ?? "[]");
    return new Set(Array.isArray(keys) ? keys.map(String) : []);
  } catch {
    return new Set(); // somebody wrote into our mark
  }
}
