// Ports that rules want, each with its Interface: on the integration bridge, or on a bridge of the operator's that they name. Ours are
// marked external_ids:axion-port=true, on whatever bridge; of their external_ids axion-keys names the keys that a wish set, so that
// those of others stay and ours go with the wish. Pure, as adoption.ts.
import { insert, mutate, namedUuid, update, uuid, type InputAtom, type InputValue, type Mutation } from "ovsdb-client";
import type { OvsColumns, PatchTable, PortColumns } from "#app";
import type { DesiredRow } from "../../compiler/desired.ts";
import { byUuid, differing, inputs, textOf, type Resolve } from "./columns.ts";
import type { BridgeRow, HostRows, Ids, InterfaceRow, PortRow } from "./host-rows.ts";
import { PORT, WAS, type Patches } from "./patches.ts";
import { patchWish, rowWish, unread, type Draft, type WantedRows } from "./wishes.ts";

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
  readonly wish: string;
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
  /** Names of ports of the integration bridge that stay as they are. */
  private readonly left = new Set<string>();

  constructor(rows: HostRows, bridge: BridgeRow, { rows: all, refused }: WantedRows, patches: Patches, draft: Draft) {
    this.rows = rows;
    this.bridge = bridge;
    this.patches = patches;
    const bridges = new Map([...rows.bridges()].map((b) => [b.name, { bridge: b, ours: new Map(rows.portsOf(b).filter((p) => p.external_ids[PORT] === "true").map((p) => [p.name, p])) }]));
    const ports = all.filter((r) => r.table === "Port").sort((a, b) => (a.key < b.key ? -1 : 1));
    for (const [n, port] of ports.entries()) {
      const name = port.key;
      const wish = rowWish(port);
      const columns = port.columns as PortColumns;
      const at = bridges.get(bridgeOf(port, bridge.name));
      if (at === undefined) {
        draft.note(`port ${name}`, `the host has no bridge ${bridgeOf(port, bridge.name)}; the port is made when it comes`);
        continue;
      }
      const row = at.ours.get(name);
      const problem = refused?.get(wish) ?? unread("Interface", columns.interface) ?? unread("Port", columns.port ?? {});
      if (problem !== undefined) {
        draft.note(`port ${name}`, problem);
        if (at.bridge === bridge) this.left.add(name);
        if (row !== undefined) patches.leave(name);
        continue;
      }
      const iface = row === undefined ? undefined : rows.interfacesOf(row).find((f) => f.name === name);
      if (iface === undefined && rows.nameTaken(name)) {
        draft.note(`port ${name}`, "the host has a port of this name that the controller did not make; it is left alone, and ours is missing");
        continue;
      }
      if (iface === undefined) this.made.set(name, namedUuid(`port${n}`));
      this.wanted.push({ name, columns, bridge: at.bridge, row, iface, n, wish });
    }
  }

  /** A port by its name, whoever made it. */
  ref(name: string): InputAtom | undefined {
    const row = this.rows.port(name);
    return row === undefined ? this.made.get(name) : uuid(row._uuid);
  }

  plan(resolve: Resolve, draft: Draft): void {
    const added = new Map<BridgeRow, InputAtom[]>();
    for (const port of this.wanted) {
      const { name, columns, bridge, row, iface, n, wish } = port;
      const ofInterface = this.patches.over("Interface", name, iface, columns.interface, resolve);
      const ofPort = this.patches.over("Port", name, row, columns.port ?? {}, resolve);
      if (row === undefined || iface === undefined) {
        // Columns that patches set as a whole come in the transaction after, where they cost nothing else when they are refused.
        draft.operate(
          wish,
          insert("Interface", { ...inputs("Interface", ofInterface.columns, resolve), external_ids: wantedIds({}, ofInterface.columns), name }, { uuidName: `iface${n}` }),
          insert("Port", { ...inputs("Port", ofPort.columns, resolve), external_ids: wantedIds({}, ofPort.columns), name, interfaces: [namedUuid(`iface${n}`)] }, { uuidName: `port${n}` }),
        );
        added.set(bridge, [...(added.get(bridge) ?? []), namedUuid(`port${n}`)]);
        continue;
      }
      const requested = setRow("Interface", iface, ofInterface, wish, resolve, draft);
      setRow("Port", row, ofPort, wish, resolve, draft);
      const request = requested.wanted.ofport_request as number | undefined;
      if (iface.error !== undefined) draft.note(`port ${name}`, iface.error);
      else if (iface.ofport !== undefined && request !== undefined && iface.ofport !== request && requested.change.ofport_request === undefined) {
        draft.note(`port ${name}`, `the switch gave it OpenFlow port ${iface.ofport} instead of ${request}`);
      }
    }
    const names = new Set([...this.left, ...this.wanted.filter((p) => p.bridge === this.bridge).map((p) => p.name)]);
    const gone = this.rows.portsOf(this.bridge).filter((p) => p.external_ids[PORT] === "true" && !names.has(p.name)).map((p) => p._uuid);
    for (const bridge of new Set([...(gone.length > 0 ? [this.bridge] : []), ...added.keys()])) {
      const mutations: Mutation[] = [];
      if (bridge === this.bridge && gone.length > 0) mutations.push(["ports", "delete", gone]);
      const come = added.get(bridge);
      if (come !== undefined) mutations.push(["ports", "insert", come]);
      draft.operate(undefined, mutate("Bridge", byUuid(bridge), mutations));
    }
  }
}

interface Done {
  readonly wanted: OvsColumns;
  readonly change: Readonly<Record<string, InputValue>>;
}

/** Makes a row of ours as its wish and the patches of it say; what a patch sets as a whole is the patch's own operation. */
function setRow(table: PatchTable, row: PortRow | InterfaceRow, { columns, whole }: ReturnType<Patches["over"]>, wish: string, resolve: Resolve, draft: Draft): Done {
  const wanted: OvsColumns = { ...columns, ...Object.fromEntries(whole.map(({ column, value }) => [column, value])) };
  const change = difference(table, row, wanted, resolve);
  for (const patch of whole) if (Object.hasOwn(change, patch.column)) draft.operate(patchWish(patch), update(table, byUuid(row), { [patch.column]: change[patch.column]! }));
  const own = Object.entries(change).filter(([column]) => !whole.some((p) => p.column === column));
  if (own.length > 0) draft.operate(wish, update(table, byUuid(row), Object.fromEntries(own)));
  return { wanted, change };
}

function difference(table: PatchTable, row: PortRow | InterfaceRow, columns: OvsColumns, resolve: Resolve): Record<string, InputValue> {
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
