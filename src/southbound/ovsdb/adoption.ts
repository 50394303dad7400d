// What has to change in a host's Open vSwitch database for it to be as wanted: rows in, operations out, nothing when all is
// as wanted. Pure, so that adopting a host, repairing it and finding it in order are one function.
//
// Ours are: the integration bridge (by its name; foreign ports on it stay), the Controller row marked axion-controller=ID,
// ports marked axion-port=true, rows marked axion-row, and the key axion-installed of interfaces on the bridge. Of other rows single
// columns are set while a rule wants it (owned-rows.ts). Nothing else is ever written.
import { insert, mutate, namedUuid, update, type InputValue, type Mutation, type Operation, type Row, type Value } from "ovsdb-client";
import type { OvsColumns, PortColumns } from "#app";
import type { DesiredRow } from "../../compiler/desired.ts";
import type { BridgeRow, HostRows, Ids, Note, RootRow } from "./host-rows.ts";
import { input, OWNED, ownedColumns, planRows, rowWish, textOf, unread, wantedText, type Resolve, type WantedRows } from "./owned-rows.ts";
import type { HostSettings } from "./settings.ts";

/** Columns the controller follows: none that changes by itself all the time. */
export const monitoredColumns = {
  Open_vSwitch: ["bridges", "external_ids", "ovs_version"],
  Bridge: ["name", "datapath_id", "datapath_type", "fail_mode", "protocols", "external_ids", "other_config", "ports", "controller", "mirrors", "ipfix", "sflow", "netflow"],
  Port: ["name", "interfaces", "external_ids", "qos", "tag", "trunks", "vlan_mode", "other_config"],
  Interface: ["name", "type", "options", "external_ids", "ofport", "ofport_request", "error", "bfd", "mtu_request", "ingress_policing_rate", "ingress_policing_burst", "other_config"],
  Controller: ["target", "external_ids", "max_backoff", "inactivity_probe", "connection_mode"],
  ...ownedColumns,
} as const;

const MANAGED = "axion-managed";
export const CONTROLLER = "axion-controller";
export const PORT = "axion-port";
export const INSTALLED = "axion-installed";

const MAX_BACKOFF_MS = 1000;
const INACTIVITY_PROBE_MS = 5000;

export interface Wanted {
  readonly settings: HostSettings;
  /** OpenFlow address for the switch, e.g. tcp:192.0.2.1:6653. */
  readonly target: string;
  /** Which controller's row it is. */
  readonly controllerId: string;
  /** undefined: not known yet, so ports and other rows are left as they are. */
  readonly rows: WantedRows | undefined;
  /** Whether the flows of an interface are confirmed; undefined: not known yet. */
  readonly installed: (interfaceName: string) => boolean | undefined;
}

export interface Plan {
  readonly operations: Operation[];
  readonly notes: Note[];
  /** Of operations that a rule's wish is the reason of: the wish. */
  readonly wishes: ReadonlyMap<Operation, string>;
}

export function plan(rows: HostRows, wanted: Wanted): Plan {
  const operations: Operation[] = [];
  const notes: Note[] = [];
  const wishes = new Map<Operation, string>();
  const root = rows.root;
  if (root === undefined) return { operations, notes, wishes };
  const release = planRelease(rows, wanted);
  operations.push(...release);
  const bridge = rows.bridge(wanted.settings.bridge);
  if (bridge === undefined) operations.push(...createBridge(root, wanted));
  else {
    operations.push(...repairBridge(bridge, wanted), ...planController(rows, bridge, wanted));
    // Port names that a release frees are free in the next transaction.
    if (release.length === 0 && wanted.rows !== undefined) {
      const owned = planRows(rows.replica, bridge, wanted.rows);
      planPorts(rows, bridge, wanted.rows, owned.resolve, operations, notes, wishes);
      for (const [operation, wish] of owned.wishes) wishes.set(operation, wish);
      operations.push(...owned.operations);
      notes.push(...owned.notes);
    }
    for (const port of rows.portsOf(bridge)) {
      for (const row of rows.interfacesOf(port)) {
        const installed = wanted.installed(row.name);
        if (installed !== undefined) operations.push(...setKey("Interface", row, "external_ids", INSTALLED, installed ? "true" : undefined));
      }
    }
  }
  return { operations, notes, wishes };
}

function createBridge(root: RootRow, { settings, target, controllerId }: Wanted): Operation[] {
  return [
    insert("Interface", { name: settings.bridge, type: "internal" }, { uuidName: "iface" }),
    insert("Port", { name: settings.bridge, interfaces: [namedUuid("iface")] }, { uuidName: "port" }),
    insert("Controller", controllerRow(target, controllerId), { uuidName: "controller" }),
    insert(
      "Bridge",
      {
        name: settings.bridge,
        ports: [namedUuid("port")],
        controller: [namedUuid("controller")],
        fail_mode: "secure",
        protocols: ["OpenFlow13"],
        datapath_type: settings.datapathType ?? "",
        external_ids: { [MANAGED]: "true" },
        other_config: { "disable-in-band": "true" },
      },
      { uuidName: "bridge" },
    ),
    mutate("Open_vSwitch", [["_uuid", "==", root._uuid]], [["bridges", "insert", namedUuid("bridge")]]),
  ];
}

function repairBridge(bridge: BridgeRow, { settings }: Wanted): Operation[] {
  const row: Record<string, InputValue> = {};
  if (bridge.fail_mode !== "secure") row.fail_mode = "secure";
  // An empty set stands for all versions. Others than ours are somebody's choice and stay.
  if (bridge.protocols.length > 0 && !bridge.protocols.includes("OpenFlow13")) row.protocols = [...bridge.protocols, "OpenFlow13"];
  const { datapathType } = settings;
  if (datapathType !== undefined && (bridge.datapath_type === "" ? "system" : bridge.datapath_type) !== datapathType) row.datapath_type = datapathType;
  const operations = Object.keys(row).length === 0 ? [] : [update("Bridge", byUuid(bridge), row)];
  return [...operations, ...setKey("Bridge", bridge, "other_config", "disable-in-band", "true")];
}

const controllerSettings = (target: string): Record<string, InputValue> => ({
  target,
  max_backoff: MAX_BACKOFF_MS,
  inactivity_probe: INACTIVITY_PROBE_MS,
  connection_mode: "out-of-band",
});
const controllerRow = (target: string, controllerId: string): Record<string, InputValue> => ({ ...controllerSettings(target), external_ids: { [CONTROLLER]: controllerId } });

function planController(rows: HostRows, bridge: BridgeRow, { target, controllerId }: Wanted): Operation[] {
  const all = rows.controllersOf(bridge);
  const ours = all.filter((c) => c.external_ids[CONTROLLER] === controllerId).sort((a, b) => (a._uuid < b._uuid ? -1 : 1));
  // Somebody else's row may already lead here; the switch keys its controllers by target, so a second one would be in its way.
  const served = all.some((c) => c.external_ids[CONTROLLER] !== controllerId && c.target === target);
  const keep = served ? undefined : (ours.find((c) => c.target === target) ?? ours[0]);
  const surplus = ours.filter((c) => c !== keep);
  const operations: Operation[] = [];
  const mutations: Mutation[] = [];
  if (surplus.length > 0) mutations.push(["controller", "delete", surplus.map((c) => c._uuid)]);
  if (!served && keep === undefined) {
    operations.push(insert("Controller", controllerRow(target, controllerId), { uuidName: "controller" }));
    mutations.push(["controller", "insert", namedUuid("controller")]);
  }
  if (keep !== undefined) {
    const inOrder =
      keep.target === target && keep.max_backoff === MAX_BACKOFF_MS && keep.inactivity_probe === INACTIVITY_PROBE_MS && keep.connection_mode === "out-of-band";
    if (!inOrder) {
      operations.push(update("Controller", byUuid(keep), controllerSettings(target)));
    }
  }
  if (mutations.length > 0) operations.push(mutate("Bridge", byUuid(bridge), mutations));
  return operations;
}

/** Columns of a port's two rows, with the marks that make them ours. */
interface WantedPort {
  readonly name: string;
  readonly interface: OvsColumns & { readonly type: string };
  readonly port: OvsColumns;
  readonly wish: string;
  /** Why nothing is done about it. */
  readonly problem: string | undefined;
}

function wantedPort(row: DesiredRow, refused: WantedRows["refused"]): WantedPort {
  const { interface: iface, port } = row.columns as PortColumns;
  const wish = rowWish(row);
  const problem = refused?.get(wish) ?? unread("Interface", iface, monitoredColumns.Interface) ?? unread("Port", port ?? {}, monitoredColumns.Port);
  const marks = (c: OvsColumns | undefined): OvsColumns => ({ ...c, external_ids: { ...((c?.external_ids as Ids | undefined) ?? {}), [PORT]: "true" } });
  return { name: row.key, interface: { ...marks(iface), type: iface.type }, port: marks(port), wish, problem };
}

function planPorts(rows: HostRows, bridge: BridgeRow, wanted: WantedRows, resolve: Resolve, operations: Operation[], notes: Note[], wishes: Map<Operation, string>): void {
  const ports = wanted.rows.filter((r) => r.table === "Port").map((r) => wantedPort(r, wanted.refused)).sort((a, b) => (a.name < b.name ? -1 : 1));
  const ours = new Map(rows.portsOf(bridge).filter((p) => p.external_ids[PORT] === "true").map((p) => [p.name, p]));
  const added: InputValue[] = [];
  const inputs = (columns: OvsColumns): Record<string, InputValue> => Object.fromEntries(Object.entries(columns).map(([c, v]) => [c, input(c, v, resolve)]));
  const differing = (row: Row, columns: OvsColumns): Record<string, InputValue> =>
    Object.fromEntries(Object.entries(columns).flatMap(([c, v]) => (textOf((row as unknown as Record<string, Value>)[c]) === wantedText(v, resolve) ? [] : [[c, input(c, v, resolve)]])));
  for (const [i, port] of ports.entries()) {
    if (port.problem !== undefined) {
      notes.push({ about: `port ${port.name}`, problem: port.problem });
      continue;
    }
    const operate = (...made: Operation[]): void => {
      operations.push(...made);
      for (const operation of made) wishes.set(operation, port.wish);
    };
    const row = ours.get(port.name);
    const iface = row === undefined ? undefined : rows.interfacesOf(row).find((f) => f.name === port.name);
    if (row === undefined || iface === undefined) {
      if (rows.nameTaken(port.name)) {
        notes.push({ about: `port ${port.name}`, problem: "the host has a port of this name that the controller did not make; it is left alone, and the tunnel is missing" });
        continue;
      }
      operate(
        insert("Interface", { ...inputs(port.interface), name: port.name }, { uuidName: `iface${i}` }),
        insert("Port", { ...inputs(port.port), name: port.name, interfaces: [namedUuid(`iface${i}`)] }, { uuidName: `port${i}` }),
      );
      added.push(namedUuid(`port${i}`));
      continue;
    }
    // The switch adds keys of its own to an interface's external_ids: ours have to be among them.
    const change = differing(iface, { ...port.interface, external_ids: { ...iface.external_ids, ...(port.interface.external_ids as Ids) } });
    if (Object.keys(change).length > 0) operate(update("Interface", byUuid(iface), change));
    const portChange = differing(row, { ...port.port, external_ids: { ...row.external_ids, ...(port.port.external_ids as Ids) } });
    // What an earlier wish set and this one does not name goes back to nothing.
    if (port.port.qos === undefined && row.qos !== undefined && isOwned(rows, row.qos)) portChange.qos = null;
    if (Object.keys(portChange).length > 0) operate(update("Port", byUuid(row), portChange));
    if (port.interface.bfd === undefined && Object.keys(iface.bfd).length > 0) operate(update("Interface", byUuid(iface), { bfd: {} }));
    const ofport = port.interface.ofport_request;
    if (iface.error !== undefined) notes.push({ about: `port ${port.name}`, problem: iface.error });
    else if (iface.ofport !== undefined && ofport !== undefined && iface.ofport !== ofport && change.ofport_request === undefined) {
      notes.push({ about: `port ${port.name}`, problem: `the switch gave it OpenFlow port ${iface.ofport} instead of ${ofport as number}` });
    }
  }
  const names = new Set(ports.map((p) => p.name));
  const gone = [...ours].filter(([name]) => !names.has(name)).map(([, row]) => row._uuid);
  const mutations: Mutation[] = [];
  if (gone.length > 0) mutations.push(["ports", "delete", gone]);
  if (added.length > 0) mutations.push(["ports", "insert", added as never]);
  if (mutations.length > 0) operations.push(mutate("Bridge", byUuid(bridge), mutations));
}

const isOwned = (rows: HostRows, qos: string): boolean => (rows.replica.table<Row & { readonly external_ids: Ids }>("QoS").get(qos)?.external_ids[OWNED] ?? undefined) !== undefined;

/** Takes back what was made on bridges that are not the integration bridge (any more), except the bridges themselves. */
function planRelease(rows: HostRows, { settings, controllerId }: Wanted): Operation[] {
  const operations: Operation[] = [];
  for (const bridge of rows.bridges()) {
    if (bridge.name === settings.bridge) continue;
    const mutations: Mutation[] = [];
    const controllers = rows.controllersOf(bridge).filter((c) => c.external_ids[CONTROLLER] === controllerId).map((c) => c._uuid);
    if (controllers.length > 0) mutations.push(["controller", "delete", controllers]);
    // Interfaces carry our marks only where we were: on a bridge whose controller we are or that we made.
    if (controllers.length > 0 || bridge.external_ids[MANAGED] === "true") {
      const ports = rows.portsOf(bridge);
      const ours = ports.filter((p) => p.external_ids[PORT] === "true").map((p) => p._uuid);
      if (ours.length > 0) mutations.push(["ports", "delete", ours]);
      for (const port of ports) for (const row of rows.interfacesOf(port)) operations.push(...setKey("Interface", row, "external_ids", INSTALLED, undefined));
    }
    if (mutations.length > 0) operations.push(mutate("Bridge", byUuid(bridge), mutations));
  }
  return operations;
}

/** Operations that make `column:key` of a row `value`, or absent; other keys of the map stay. */
function setKey(table: string, row: Row, column: "external_ids" | "other_config", key: string, value: string | undefined): Operation[] {
  const now = (row[column] as Ids)[key];
  if (now === value) return [];
  const mutations: Mutation[] = [];
  if (now !== undefined) mutations.push([column, "delete", [key]]);
  if (value !== undefined) mutations.push([column, "insert", { [key]: value }]);
  return [mutate(table, byUuid(row), mutations)];
}

const byUuid = (row: Row): [[string, "==", string]] => [["_uuid", "==", row._uuid]];
