// The rows of one host's Open vSwitch database, as the controller reads them.
import type { UplinkQueue } from "#app";
import type { Replica, Row } from "ovsdb-client";

export type Ids = Readonly<Record<string, string>>;
export type RootRow = Row & { readonly bridges: readonly string[]; readonly external_ids: Ids; readonly other_config: Ids; readonly ovs_version: string | undefined; readonly manager_options?: readonly string[] };
export type BridgeRow = Row & {
  readonly name: string;
  readonly datapath_id: string | undefined;
  readonly datapath_type: string;
  readonly fail_mode: string | undefined;
  readonly protocols: readonly string[];
  readonly external_ids: Ids;
  readonly other_config: Ids;
  readonly ports: readonly string[];
  readonly controller: readonly string[];
  readonly mirrors: readonly string[];
  readonly ipfix: string | undefined;
  readonly sflow: string | undefined;
  readonly netflow: string | undefined;
  /** Table number -> Flow_Table. */
  readonly flow_tables: ReadonlyMap<number, string>;
};
export type PortRow = Row & { readonly name: string; readonly interfaces: readonly string[]; readonly external_ids: Ids; readonly qos: string | undefined };
export type InterfaceRow = Row & {
  readonly name: string;
  readonly type: string;
  readonly options: Ids;
  readonly external_ids: Ids;
  readonly ofport: number | undefined;
  readonly ofport_request: number | undefined;
  readonly error: string | undefined;
  readonly bfd: Ids;
};
export type ControllerRow = Row & {
  readonly target: string;
  readonly external_ids: Ids;
  readonly max_backoff: number | undefined;
  readonly inactivity_probe: number | undefined;
  readonly connection_mode: string | undefined;
};

export type ManagerRow = Row & { readonly target: string; readonly external_ids: Ids };

type QosRow = Row & { readonly type: string; readonly queues: ReadonlyMap<number, string>; readonly external_ids: Ids };
type QueueRow = Row & { readonly other_config: Ids };
/** Types of QoS whose queues have least rates. */
const QUEUEING: ReadonlySet<string> = new Set(["linux-htb", "linux-hfsc"]);
/** Of one physical network at a host. */
const QUEUES_MAX = 256;
/** Of rows that the controller made: the key by which it knows them. */
export const OWNED = "axion-row";

/** The rows of one host, found by name. */
export class HostRows {
  readonly replica: Pick<Replica, "table">;

  constructor(replica: Pick<Replica, "table">) {
    this.replica = replica;
  }

  get root(): RootRow | undefined {
    return this.replica.table<RootRow>("Open_vSwitch").values().next().value;
  }

  /** Those that the switch has: a row may be kept by what refers to it when its bridge is gone. */
  bridges(): BridgeRow[] {
    return this.pick<BridgeRow>("Bridge", this.root?.bridges ?? []);
  }

  bridge(name: string): BridgeRow | undefined {
    for (const row of this.bridges()) if (row.name === name) return row;
    return undefined;
  }

  portsOf(bridge: BridgeRow): PortRow[] {
    return this.pick<PortRow>("Port", bridge.ports);
  }

  interfacesOf(port: PortRow): InterfaceRow[] {
    return this.pick<InterfaceRow>("Interface", port.interfaces);
  }

  /** Of all ports of the bridge of that name. */
  interfacesOn(name: string | undefined): InterfaceRow[] {
    const bridge = name === undefined ? undefined : this.bridge(name);
    const found: InterfaceRow[] = [];
    if (bridge !== undefined) this.forEachInterface(bridge, (row) => void found.push(row));
    return found;
  }

  /** Of all ports of the bridge, without a list for each: there may be tens of thousands. */
  forEachInterface(bridge: BridgeRow, visit: (row: InterfaceRow, port: PortRow) => void): void {
    const ports = this.replica.table<PortRow>("Port");
    const interfaces = this.replica.table<InterfaceRow>("Interface");
    for (const uuid of bridge.ports) {
      const port = ports.get(uuid);
      if (port === undefined) continue;
      for (const id of port.interfaces) {
        const row = interfaces.get(id);
        if (row !== undefined) visit(row, port);
      }
    }
  }

  controllersOf(bridge: BridgeRow): ControllerRow[] {
    return this.pick<ControllerRow>("Controller", bridge.controller);
  }

  /** Those that the database server connects to; none where they are not followed. */
  managers(): ManagerRow[] {
    const { root } = this;
    return root?.manager_options === undefined ? [] : this.pick<ManagerRow>("Manager", root.manager_options);
  }

  port(name: string): PortRow | undefined {
    for (const row of this.replica.table<PortRow>("Port").values()) if (row.name === name) return row;
    return undefined;
  }

  /**
   * Queues with a least rate at the ports that bridges of physical networks have, as their operator made them: what is ours there is no uplink's. Of several ports of one bridge the first
   * that has any. ovs-vswitchd.conf.db(5), QoS and Queue.
   */
  uplinkQueues(mappings: Ids): UplinkQueue[] {
    const qos = this.replica.table<QosRow>("QoS");
    const queues = this.replica.table<QueueRow>("Queue");
    return Object.entries(mappings).flatMap(([physical_network, name]) => {
      const bridge = this.bridge(name);
      const of = (bridge === undefined ? [] : this.portsOf(bridge)).flatMap((port) => {
        const row = port.qos === undefined ? undefined : qos.get(port.qos);
        return row === undefined || !QUEUEING.has(row.type) || row.external_ids[OWNED] !== undefined ? [] : [{ port, row }];
      }).sort((a, b) => (a.port.name < b.port.name ? -1 : 1))[0];
      return of === undefined ? [] : [...of.row.queues].flatMap(([queue, id]) => {
        const bits = queues.get(id)?.other_config["min-rate"] ?? "";
        const min_kbps = /^\d{1,15}$/.test(bits) ? Math.floor(Number(bits) / 1000) : 0;
        return min_kbps === 0 ? [] : [{ physical_network, queue, min_kbps }];
      }).sort((a, b) => a.queue - b.queue).slice(0, QUEUES_MAX);
    });
  }

  /** Names that a new port may not have, anywhere on the host. */
  nameTaken(name: string): boolean {
    if (this.port(name) !== undefined) return true;
    for (const row of this.replica.table<InterfaceRow>("Interface").values()) if (row.name === name) return true;
    return false;
  }

  private pick<R extends Row>(table: string, uuids: readonly string[]): R[] {
    const rows = this.replica.table<R>(table);
    return uuids.map((uuid) => rows.get(uuid)).filter((row) => row !== undefined);
  }
}

/** Something the operator should know; logged once as long as it holds. */
export interface Note {
  readonly about: string;
  readonly problem: string;
  /** What sort of problem it is; default: host. */
  readonly kind?: "bridge_mapping" | "interface_error";
  /** What helps, where that is more than to correct it. */
  readonly cure?: string;
}
