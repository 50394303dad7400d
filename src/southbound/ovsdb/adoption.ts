// What has to change in a host's Open vSwitch database for it to be as wanted: rows in, operations out, nothing when all is
// as wanted. Pure, so that adopting a host, repairing it and finding it in order are one function.
//
// Ours are: the integration bridge (by its name; foreign ports on it stay), the Controller row marked axion-controller=ID,
// ports marked axion-port=true on any bridge (ports.ts), rows marked axion-row (owned-rows.ts), and the keys axion-installed of interfaces
// on the bridge and axion-confirmed of the bridge. Of other rows single columns or keys are set while a rule wants it (patches.ts). Nothing else is ever written.
import { insert, mutate, namedUuid, update, type InputValue, type Mutation, type Operation, type Row } from "ovsdb-client";
import { ovsColumns } from "#app";
import { byUuid } from "./columns.ts";
import type { BridgeRow, HostRows, Ids, Note, RootRow } from "./host-rows.ts";
import { ownedColumns, planRows, planRowsElsewhere } from "./owned-rows.ts";
import { Patches, planPatches, PORT } from "./patches.ts";
import { Ports, portsByBridge } from "./ports.ts";
import type { HostSettings } from "./settings.ts";
import { Draft, type WantedRows } from "./wishes.ts";

/** Columns the controller keeps in order, or reports: none that changes by itself all the time. What apps observe is followed apart (observer.ts). */
export const monitoredColumns = {
  Open_vSwitch: ["bridges", "external_ids", "other_config", "ovs_version"],
  Bridge: ["name", "datapath_id", "datapath_type", "fail_mode", "protocols", "external_ids", "other_config", "ports", "controller", "mirrors", "ipfix", "sflow", "netflow", "flow_tables"],
  Port: ["name", "interfaces", ...Object.keys(ovsColumns.Port)],
  Interface: ["name", "ofport", "error", ...Object.keys(ovsColumns.Interface)],
  Controller: ["target", "external_ids", "max_backoff", "inactivity_probe", "connection_mode"],
  ...ownedColumns,
} as const;

const MANAGED = "axion-managed";
export const CONTROLLER = "axion-controller";
export const INSTALLED = "axion-installed";
export const CONFIRMED = "axion-confirmed";

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
  /** What the bridge's flows were confirmed under; undefined: as it is. */
  readonly confirmed?: string | undefined;
}

export interface Plan {
  readonly operations: readonly Operation[];
  readonly notes: readonly Note[];
  /** Of operations that a rule's wish is the reason of: the wish. */
  readonly wishes: ReadonlyMap<Operation, string>;
}

export function plan(rows: HostRows, wanted: Wanted): Plan {
  const draft = new Draft();
  const root = rows.root;
  if (root === undefined) return draft;
  const release = planRelease(rows, wanted);
  draft.operate(undefined, ...release);
  const bridge = rows.bridge(wanted.settings.bridge);
  if (bridge === undefined) draft.operate(undefined, ...createBridge(root, wanted));
  else {
    draft.operate(undefined, ...repairBridge(bridge, wanted), ...planOwnController(rows, bridge, wanted));
    if (wanted.confirmed !== undefined) draft.operate(undefined, ...setKey("Bridge", bridge, "external_ids", CONFIRMED, wanted.confirmed));
    // Port names that a release frees are free in the next transaction.
    if (release.length === 0 && wanted.rows !== undefined) {
      const patches = new Patches(wanted.rows);
      const ports = new Ports(rows, bridge, wanted.rows, patches, draft);
      const owned = planRows(rows.replica, bridge, wanted.rows, (name) => ports.ref(name));
      ports.plan(owned.resolve, draft);
      draft.add(owned.draft);
      planPatches(rows.replica, patches, owned.resolve, draft);
    }
    rows.forEachInterface(bridge, (row) => {
      const installed = wanted.installed(row.name);
      const mark = installed === true ? "true" : undefined;
      if (installed !== undefined && row.external_ids[INSTALLED] !== mark) draft.operate(undefined, ...setKey("Interface", row, "external_ids", INSTALLED, mark));
    });
  }
  return draft;
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

/** The one row by which the switch is told of this controller. */
export function planOwnController(rows: HostRows, bridge: BridgeRow, { target, controllerId }: Pick<Wanted, "target" | "controllerId">): Operation[] {
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

/** Takes back what was made on bridges that are not the integration bridge (any more) and is not wanted there, except the bridges themselves. */
function planRelease(rows: HostRows, { settings, controllerId, rows: wanted }: Wanted): Operation[] {
  const operations: Operation[] = [];
  const others = [...rows.bridges()].filter((b) => b.name !== settings.bridge);
  const names = wanted && portsByBridge(wanted.rows, settings.bridge);
  for (const bridge of others) {
    const mutations: Mutation[] = [];
    const controllers = rows.controllersOf(bridge).filter((c) => c.external_ids[CONTROLLER] === controllerId).map((c) => c._uuid);
    if (controllers.length > 0) mutations.push(["controller", "delete", controllers]);
    const ports = rows.portsOf(bridge);
    // Until it is known what is wanted only a bridge that was the integration bridge gives back its ports.
    if (names !== undefined || controllers.length > 0) {
      const ours = ports.filter((p) => p.external_ids[PORT] === "true" && names?.get(bridge.name)?.has(p.name) !== true).map((p) => p._uuid);
      if (ours.length > 0) mutations.push(["ports", "delete", ours]);
    }
    // Interfaces carry our marks only where we were: on a bridge whose controller we are or that we made.
    if (controllers.length > 0 || bridge.external_ids[MANAGED] === "true") {
      for (const port of ports) for (const row of rows.interfacesOf(port)) operations.push(...setKey("Interface", row, "external_ids", INSTALLED, undefined));
    }
    if (mutations.length > 0) operations.push(mutate("Bridge", byUuid(bridge), mutations));
  }
  return [...operations, ...planRowsElsewhere(rows.replica, others, rows.bridge(settings.bridge))];
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

/** With what is in maps and sets: two transactions that set a column to different ones are not the same. */
export const textOf = (operations: readonly Operation[]): string =>
  JSON.stringify(operations, (_, value: unknown) => (value instanceof Map || value instanceof Set ? Array.from(value as Iterable<unknown>) : typeof value === "bigint" ? String(value) : value));
