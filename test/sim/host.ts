// A hypervisor: its database, and a switch that does what ovs-vswitchd does of it: makes the integration bridge as the database says, numbers its
// ports, connects to its controllers, asks silent ones for a sign of life. What the switch takes of whom is what decides whether masters are fenced,
// so each flow-mod that it carries out is noted with who sent it, and in which term.
import { readFileSync } from "node:fs";
import { FakeSwitch, type Channel } from "node-openflow/fake-switch";
import { FakeOvsdbServer, type ActiveConnection } from "ovsdb-client/fake-server";
import { insert, mutate, namedUuid, update } from "ovsdb-client";
import { SimSocket, type Network } from "./network.ts";
import { running, type Machine, type World } from "./world.ts";

const SCHEMA = JSON.parse(readFileSync("/usr/share/openvswitch/vswitch.ovsschema", "utf8")) as never;
const DB = "Open_vSwitch";
const BRIDGE = "br-int";
const RETRY_MS = 1000;
const PROBE_MS = 5000;

interface Vif {
  readonly name: string;
  readonly port: string;
}
type Row = Readonly<Record<string, unknown>> & { readonly _uuid: string };

export class SimHost {
  readonly name: string;
  readonly machine: Machine;
  sw: FakeSwitch;
  private readonly ovsdb: FakeOvsdbServer;
  private readonly world: World;
  private readonly network: Network;
  /** Interfaces that the hypervisor has, by name. */
  private readonly vifs = new Map<string, Vif>();
  private readonly ofports = new Map<string, number>();
  private readonly managers = new Map<string, ActiveConnection>();
  /** Connections to controllers, by target. */
  private readonly controllers = new Map<string, { channel: Channel | undefined; heardAt: number; asked: boolean; stopped: boolean }>();
  private looking = false;
  private readonly dpid: string;
  /** Called when the switch has carried out a flow-mod; `by`: the address of the controller. */
  onFlowMod: (by: string, role: string) => void = () => undefined;
  /** Called when something may stand in its tables that did not before. */
  onChanged: () => void = () => undefined;

  constructor(world: World, network: Network, i: number, managers: readonly string[]) {
    this.world = world;
    this.network = network;
    this.name = `hv${i}`;
    this.machine = world.machine(this.name);
    network.place(this.machine, `10.0.2.${i}`);
    this.dpid = `0000aa000000${i.toString(16).padStart(4, "0")}`;
    [this.ovsdb, this.sw] = running.run({ world, machine: this.machine }, () => [this.database(i, managers), this.makeSwitch()]);
    running.run({ world, machine: this.machine }, () => {
      this.ovsdb.on("message", (_connection, direction, { method }) => {
        if (direction === "in" && method === "transact") this.lookSoon();
      });
      this.lookSoon();
      setInterval(() => this.probe(), 1000);
    });
  }

  private database(i: number, managers: readonly string[]): FakeOvsdbServer {
    const rows = managers.map((target, n) => ({ _uuid: `00000000-0000-4000-8000-0000000${i}00${n}0`, target, max_backoff: RETRY_MS }));
    return new FakeOvsdbServer({ databases: [{ schema: SCHEMA, rows: {
      Manager: rows,
      Open_vSwitch: [{ ovs_version: "3.1.0", manager_options: rows.map(({ _uuid }) => _uuid), external_ids: { "system-id": this.name, hostname: this.name, "axion-encap-ip": this.network.addressOf(this.machine), "axion-encap-type": "geneve", "axion-datapath-type": "netdev" } }],
    } }] });
  }

  private makeSwitch(): FakeSwitch {
    const sw = new FakeSwitch({ dpid: this.dpid, clock: () => this.world.now });
    sw.on("message", (_message, channel) => this.heard(channel));
    sw.on("applied", (_mod, channel) => {
      this.onFlowMod((channel.socket as unknown as SimSocket).remoteAddress, channel.role);
      this.onChanged();
    });
    return sw;
  }

  /** Its address at which tunnels end. */
  get addressNumber(): bigint {
    return BigInt(this.network.addressOf(this.machine).split(".").reduce((sum, part) => sum * 256 + Number(part), 0));
  }

  /** What it has of flows, as text. */
  flows(): string[] {
    return this.sw.dump();
  }

  // --- what the hypervisor does ---

  plug(name: string, port: string): void {
    this.vifs.set(name, { name, port });
    this.asHost(() => this.lookSoon());
  }
  unplug(name: string): void {
    this.vifs.delete(name);
    this.asHost(() => this.lookSoon());
  }
  ofportOf(name: string): number | undefined {
    return this.ofports.get(name);
  }
  /** Port -> OpenFlow port, of interfaces that are there. */
  get plugged(): ReadonlyMap<string, number> {
    return new Map([...this.vifs.values()].flatMap(({ name, port }) => {
      const number = this.ofports.get(name);
      return number === undefined ? [] : [[port, number] as const];
    }));
  }

  /** The switch's process ends and is started again: its flows, roles and generation are gone, the database stays. */
  restartSwitch(): void {
    this.world.trace(`${this.name} the switch is restarted`);
    this.asHost(() => {
      for (const { channel } of this.controllers.values()) channel?.close();
      void this.sw.close();
      this.sw = this.makeSwitch();
      this.ofports.clear();
      this.onChanged();
      this.lookSoon();
    });
  }

  private asHost(fn: () => void): void {
    running.run({ world: this.world, machine: this.machine }, fn);
  }

  // --- what ovs-vswitchd and ovsdb-server do of the database ---

  private lookSoon(): void {
    if (this.looking) return;
    this.looking = true;
    setTimeout(() => {
      this.looking = false;
      void this.look().catch((error: unknown) => this.world.fail(`${this.name}: ${(error as Error).stack ?? String(error)}`));
    }, 1);
  }

  private rows(table: string): ReadonlyMap<string, Row> {
    return new Map(this.ovsdb.rows(DB, table).map((row) => [row._uuid, row]));
  }

  private async look(): Promise<void> {
    const [root] = [...this.rows("Open_vSwitch").values()];
    const managers = this.rows("Manager");
    this.follow(this.managers, (root!.manager_options as readonly string[]).map((uuid) => managers.get(uuid)?.target as string), (target) => this.manage(target), (one) => one.close());
    const bridge = [...this.rows("Bridge").values()].find((row) => row.name === BRIDGE);
    if (bridge === undefined) return;
    const controllers = this.rows("Controller");
    this.follow(this.controllers, (bridge.controller as readonly string[]).map((uuid) => controllers.get(uuid)?.target as string), (target) => this.control(target), (one) => {
      one.stopped = true;
      one.channel?.close();
    });
    await this.number(bridge);
  }

  private follow<T>(there: Map<string, T>, wanted: readonly string[], make: (target: string) => T, end: (one: T) => void): void {
    for (const [target, one] of [...there]) {
      if (wanted.includes(target)) continue;
      there.delete(target);
      end(one);
    }
    for (const target of wanted) if (!there.has(target)) there.set(target, make(target));
  }

  /** Ports and their numbers; interfaces that the hypervisor has or has not any more. */
  private async number(bridge: Row): Promise<void> {
    const ports = this.rows("Port");
    const interfaces = this.rows("Interface");
    const operations = [];
    if (bridge.datapath_id !== this.dpid) operations.push(update("Bridge", [["_uuid", "==", bridge._uuid]], { datapath_id: this.dpid }));
    const here = new Map<string, string>();
    const now = new Set<string>();
    for (const uuid of bridge.ports as readonly string[]) {
      for (const id of ports.get(uuid)?.interfaces as readonly string[] ?? []) {
        const row = interfaces.get(id)!;
        const name = row.name as string;
        now.add(name);
        if (name.startsWith("tap")) here.set(name, uuid);
        let number = this.ofports.get(name);
        if (number === undefined) {
          number = name === BRIDGE ? 65534 : this.numberOf(row);
          this.ofports.set(name, number);
          if (number !== 65534) this.sw.addPort({ port_no: number, name });
        }
        if (row.ofport !== number) operations.push(update("Interface", [["_uuid", "==", id]], { ofport: number }));
      }
    }
    for (const [name, number] of [...this.ofports]) {
      if (now.has(name)) continue;
      this.ofports.delete(name);
      if (number !== 65534) this.sw.removePort(number);
    }
    for (const { name, port } of this.vifs.values()) {
      if (here.has(name)) continue;
      operations.push(
        insert("Interface", { name, external_ids: { "iface-id": port } }, { uuidName: `i${name}` }),
        insert("Port", { name, interfaces: [namedUuid(`i${name}`)] }, { uuidName: `p${name}` }),
        mutate("Bridge", [["_uuid", "==", bridge._uuid]], [["ports", "insert", namedUuid(`p${name}`)]]),
      );
    }
    for (const [name, uuid] of here) if (!this.vifs.has(name)) operations.push(mutate("Bridge", [["_uuid", "==", bridge._uuid]], [["ports", "delete", [uuid]]]));
    if (operations.length === 0) return;
    await this.ovsdb.transact(DB, operations);
    this.lookSoon();
  }

  /** The one that is asked for, else the one that it had, else one that none had before (ofproto's alloc_ofp_port: a number that is given up rests for an hour). */
  private numberOf(row: Row): number {
    const taken = new Set(this.ofports.values());
    for (const wanted of [row.ofport_request, row.ofport] as (number | undefined)[]) if (wanted !== undefined && wanted > 0 && wanted < 0xff00 && !taken.has(wanted)) return wanted;
    return this.lastNumber++;
  }
  private lastNumber = 1;

  private dial(target: string, kind: string): SimSocket {
    const to = target.replace(/^tcp:/, "");
    return new SimSocket(this.network.dial(this.machine, to, kind), this.network.addressOf(this.machine), to);
  }

  private manage(target: string): ActiveConnection {
    let closed = false;
    let session: { end(): void } | undefined;
    const open = (): void => {
      if (closed) return;
      const socket = this.dial(target, "ovsdb");
      socket.once("connect", () => (session = this.ovsdb.serve(socket as never)));
      socket.on("error", () => undefined);
      socket.once("close", () => {
        session = undefined;
        setTimeout(open, RETRY_MS);
      });
    };
    open();
    return { get connected() { return session !== undefined; }, close: () => {
      closed = true;
      session?.end();
    } };
  }

  private control(target: string): { channel: Channel | undefined; heardAt: number; asked: boolean; stopped: boolean } {
    const state = { channel: undefined as Channel | undefined, heardAt: this.world.now, asked: false, stopped: false };
    const open = (): void => {
      if (state.stopped) return;
      const socket = this.dial(target, "openflow");
      socket.once("connect", () => {
        state.heardAt = this.world.now;
        state.channel = this.sw.connectTo(socket as never);
      });
      socket.on("error", () => undefined);
      socket.once("close", () => {
        state.channel = undefined;
        setTimeout(open, RETRY_MS);
      });
    };
    open();
    return state;
  }

  private heard(channel: Channel): void {
    for (const state of this.controllers.values()) {
      if (state.channel !== channel) continue;
      state.heardAt = this.world.now;
      state.asked = false;
    }
  }

  /** A silent controller is asked, and given up when it is silent as long again. */
  private probe(): void {
    this.sw.tick();
    for (const state of this.controllers.values()) {
      const { channel } = state;
      if (channel === undefined) continue;
      const silent = this.world.now - state.heardAt;
      if (silent > 2 * PROBE_MS) {
        channel.close();
        channel.socket.destroy();
      } else if (silent > PROBE_MS && !state.asked) {
        state.asked = true;
        channel.send({ type: "echo_request" });
      }
    }
  }
}
