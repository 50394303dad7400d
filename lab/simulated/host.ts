// A simulated hypervisor: a database that says what host it is and a switch, both of which connect to whom the database names, as ovsdb-server and
// ovs-vswitchd do. What is written there is there, flows are kept, and interfaces get OpenFlow ports; no packet flows. It costs far less than a
// real one, so that there can be hundreds.
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { uuid, type InputRow, type Json } from "ovsdb-client";
import { FakeOvsdbServer, type FakeRow } from "ovsdb-client/fake-server";
import { FakeSwitch } from "node-openflow/fake-switch";

export interface SimulatedOptions {
  /** Its system-id. */
  readonly id: string;
  /** From which it connects, and its tunnel endpoint: one of this machine's. */
  readonly address: string;
  /** Distinct numbers of hosts, from 1. */
  readonly number: number;
  /** What its operator names: "tcp:192.0.2.1:6640". */
  readonly managers: readonly string[];
  /** Ports of the API that are plugged there. */
  readonly ports: readonly string[];
}

export interface SimulatedState {
  readonly id: string;
  /** Address of the controller that the switch has for its master; null: none. */
  readonly master: string | null;
  /** Since when, in ms since the epoch. */
  readonly since: number;
  /** Flow-mods that the switch was sent, alone or in bundles, since its start. */
  readonly flowMods: number;
  /** Controllers that it is connected to. */
  readonly controllers: number;
}

const DATABASE = "Open_vSwitch";
/** As with ovs-vswitchd: a controller that is away is tried each second. */
const RETRY_MS = 1000;
/** OFPP_LOCAL, which is 65534 in the database. */
const LOCAL = 0xffff_fffe;
const SETTLE_MS = 20;
let schema: Json | undefined;

export class SimulatedHost {
  readonly id: string;
  private readonly options: SimulatedOptions;
  private readonly database: FakeOvsdbServer;
  private readonly device: FakeSwitch;
  private readonly links = new Set<string>();
  private readonly numbers = new Map<string, number>();
  private flowMods = 0;
  private master: string | null = null;
  private since = Date.now();
  private looking: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(options: SimulatedOptions) {
    this.options = options;
    this.id = options.id;
    const { id, address, number, managers, ports } = options;
    const dpid = (0x5100_0000 + number).toString(16).padStart(16, "0");
    const row = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
    const rows: Record<string, InputRow[]> = {
      Interface: ports.map((port, n) => ({ _uuid: row(2 * n + 100), name: `tap${n}`, external_ids: { "iface-id": port } })),
      Port: ports.map((_, n) => ({ _uuid: row(2 * n + 101), name: `tap${n}`, interfaces: [uuid(row(2 * n + 100))] })),
      Bridge: [{ _uuid: row(2), name: "br-int", datapath_id: dpid, ports: ports.map((_, n) => uuid(row(2 * n + 101))) }],
      Manager: managers.map((target, n) => ({ _uuid: row(10 + n), target })),
      Open_vSwitch: [{ _uuid: row(1), bridges: [uuid(row(2))], manager_options: managers.map((_, n) => uuid(row(10 + n))), ovs_version: "3.1.0", external_ids: { "system-id": id, hostname: id, "axion-encap-ip": address, "axion-encap-type": "geneve" } }],
    };
    schema ??= JSON.parse(readFileSync("/usr/share/openvswitch/vswitch.ovsschema", "utf8")) as Json;
    this.database = new FakeOvsdbServer({ databases: [{ schema, rows }] });
    // Nothing times out by the second here: a clock of its own spares it a timer.
    this.device = new FakeSwitch({ dpid, clock: () => Date.now() });
    this.database.on("message", (_connection, direction, message) => {
      if (direction === "in" && message.method === "transact") this.lookSoon();
    });
    this.device.on("message", (message) => {
      if (message.type === "flow_mod" || message.type === "bundle_add") this.flowMods++;
      if (message.type === "role_request") setImmediate(() => this.noteMaster());
    });
    this.device.on("disconnected", () => setImmediate(() => this.noteMaster()));
    this.look();
  }

  /** Whether its switch has a master. */
  get served(): boolean {
    return this.master !== null;
  }

  get state(): SimulatedState {
    return { id: this.id, master: this.master, since: this.since, flowMods: this.flowMods, controllers: this.device.channels().filter(({ helloSeen }) => helloSeen).length };
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.looking);
    await Promise.all([this.device.close(), this.database.close()]);
  }

  private noteMaster(): void {
    const master = this.device.channels().find(({ role }) => role === "primary")?.socket.remoteAddress ?? null;
    if (master === this.master) return;
    this.master = master;
    this.since = Date.now();
  }

  private lookSoon(): void {
    this.looking ??= setTimeout(() => {
      this.looking = undefined;
      this.look();
    }, SETTLE_MS);
  }

  /** Does what the database says now. */
  private look(): void {
    if (this.closed) return;
    const targets = (table: string): string[] => this.database.rows(DATABASE, table).map((row) => row.target as string);
    for (const target of targets("Manager")) this.keep("Manager", target);
    for (const target of targets("Controller")) this.keep("Controller", target);
    const fresh = this.database.rows(DATABASE, "Interface").filter((row) => !this.numbers.has(row._uuid));
    for (const row of fresh) this.addPort(row);
  }

  private addPort(row: FakeRow): void {
    const name = row.name as string;
    const wanted = Number(row.ofport_request);
    const number = name === "br-int" ? LOCAL : wanted > 0 ? wanted : this.numbers.size + 1;
    this.numbers.set(row._uuid, number);
    this.device.addPort({ port_no: number, name });
    const ofport = number === LOCAL ? 65_534 : number;
    void this.database.transactJson(DATABASE, [{ op: "update", table: "Interface", where: [["_uuid", "==", ["uuid", row._uuid]]], row: { ofport, link_state: "up", admin_state: "up" } }]);
  }

  /** A connection to a target as long as its row is there. */
  private keep(table: "Manager" | "Controller", target: string): void {
    const key = `${table} ${target}`;
    const [, host, port] = /^tcp:([\d.]+):(\d+)$/.exec(target) ?? [];
    if (host === undefined || this.links.has(key)) return;
    this.links.add(key);
    const dial = (): void => {
      if (this.closed || !this.database.rows(DATABASE, table).some((row) => row.target === target)) {
        this.links.delete(key);
        return;
      }
      const socket = connect({ host, port: Number(port), localAddress: this.options.address });
      socket.on("error", () => undefined);
      socket.on("connect", () => {
        if (table === "Manager") this.database.serve(socket);
        else this.device.connectTo(socket);
      });
      socket.on("close", () => setTimeout(dial, RETRY_MS));
    };
    dial();
  }
}

