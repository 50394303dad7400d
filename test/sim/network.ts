// The network between simulated machines. A connection keeps the order of what is sent on it and loses nothing in the middle, as TCP does; each has a
// delay of its own at each time, so what goes by two of them comes in any order. Between two machines it may be interrupted: what was sent comes
// when that is over. Who crashes closes his connections, unless his machine went with him.
import { Duplex } from "node:stream";
import type { Server } from "node:net";
import { listenBy, listeners } from "./machine-globals.ts";
import { running, type Machine, type World } from "./world.ts";

interface Packet {
  readonly at: number;
  readonly kind: "open" | "data" | "fin" | "rst";
  readonly bytes?: Buffer | undefined;
  readonly message?: unknown;
}

export interface EndHandlers {
  readonly opened?: () => void;
  readonly data: (bytes: Buffer, message: unknown) => void;
  readonly ended: () => void;
  readonly reset: () => void;
}

/** One end of a connection. */
export class End {
  readonly machine: Machine;
  readonly label: string;
  handlers: EndHandlers | undefined;
  peer!: End;
  open = true;
  /** Bytes that were sent and have not arrived. */
  flying = 0;
  onArrived: (() => void) | undefined;
  private readonly network: Network;
  private readonly way: Packet[] = [];
  private lastAt = 0;
  private finished = false;

  constructor(network: Network, machine: Machine, label: string) {
    this.network = network;
    this.machine = machine;
    this.label = label;
  }

  send(bytes: Buffer, message?: unknown): void {
    this.put("data", bytes, message);
  }
  opens(): void {
    this.put("open");
  }
  finish(): void {
    if (this.finished) return;
    this.put("fin");
    this.finished = true;
  }
  /** Who has said that he is done and goes says no more; what still comes for him is answered with a reset. */
  reset(): void {
    if (!this.open) return;
    if (!this.finished) this.put("rst");
    this.open = false;
  }

  private put(kind: Packet["kind"], bytes?: Buffer, message?: unknown): void {
    if (!this.open || this.finished && kind !== "rst" || !this.network.maySend(this.machine)) return;
    const { world } = this.network;
    const at = Math.max(this.lastAt, world.now + this.network.delay(this.machine, this.peer.machine));
    this.lastAt = at;
    this.flying += bytes?.length ?? 0;
    this.way.push({ at, kind, bytes, message });
    world.after(at - world.now, undefined, () => this.pump());
  }

  /** Hands over what has arrived. */
  pump(): void {
    const { network, way, peer } = this;
    while (way.length > 0 && way[0]!.at <= network.world.now && !network.interrupted(this.machine, peer.machine)) {
      const packet = way.shift()!;
      network.world.after(0, peer.machine, () => peer.take(packet));
    }
  }

  private take({ kind, bytes, message }: Packet): void {
    const { world, observed } = this.network;
    world.trace(`${this.peer.machine.name}>${this.machine.name} ${this.label} ${kind}`, observed(this.label, bytes));
    if (bytes !== undefined) {
      this.peer.flying -= bytes.length;
      const { onArrived, machine } = this.peer;
      if (onArrived !== undefined) world.after(0, machine, onArrived);
    }
    if (!this.open) {
      if (kind === "data") this.network.refuse(this, this.peer);
      return;
    }
    if (kind === "rst") {
      this.open = false;
      this.handlers?.reset();
    } else if (kind === "fin") this.handlers?.ended();
    else if (kind === "open") this.handlers?.opened?.();
    else this.handlers?.data(bytes!, message);
  }
}

export type Acceptor = (end: End, from: string) => void;

export class Network {
  readonly world: World;
  /** Milliseconds; and as much again by chance. */
  delayMs = 0.2;
  onCrash: (machine: Machine) => void = () => undefined;
  private readonly acceptors = new Map<string, { readonly machine: Machine; readonly accept: Acceptor }>();
  private readonly ends = new Map<Machine, Set<End>>();
  private readonly cuts = new Set<string>();
  private readonly addresses = new Map<string, string>();
  /** What listens for machines. */
  readonly servers = new WeakMap<Machine, Server[]>();
  private connections = 0;
  private ports = 20_000;

  constructor(world: World) {
    this.world = world;
  }

  /** Of a connection to a web server the date in heads of answers is Node's own. */
  readonly observed = (label: string, bytes: Buffer | undefined): Uint8Array | undefined =>
    bytes !== undefined && label.startsWith("http") ? Buffer.from(bytes.toString("latin1").replace(/^date: .*$/gim, ""), "latin1") : bytes;

  /** Gives a machine an address. */
  place(machine: Machine, address: string): void {
    this.addresses.set(machine.name, address);
    networks.set(machine, this);
  }
  addressOf(machine: Machine): string {
    return this.addresses.get(machine.name)!;
  }

  delay(a: Machine, b: Machine): number {
    return a.name === b.name ? 0.05 : this.delayMs * (1 + this.world.random.next());
  }

  listen(machine: Machine, port: number, accept: Acceptor): () => void {
    const key = `${this.addressOf(machine)}:${port}`;
    const acceptor = { machine, accept };
    this.acceptors.set(key, acceptor);
    return () => {
      if (this.acceptors.get(key) === acceptor) this.acceptors.delete(key);
    };
  }

  /** `label` begins with the kind of conversation. The end is reset when nobody listens; while the way is interrupted nothing comes of it. */
  dial(machine: Machine, to: string, kind: string): End {
    const label = `${kind}#${++this.connections}`;
    const mine = this.end(machine, label);
    const acceptor = this.acceptors.get(to);
    const target = acceptor?.machine ?? this.nobody(to);
    const theirs = this.end(target, label);
    [mine.peer, theirs.peer] = [theirs, mine];
    mine.opens();
    theirs.handlers = {
      opened: () => {
        theirs.opens();
        acceptor!.accept(theirs, `${this.addressOf(machine)}:${this.ports++}`);
      },
      data: () => undefined, ended: () => undefined, reset: () => undefined,
    };
    if (acceptor?.machine.alive !== true && !this.dark.has(to.slice(0, to.lastIndexOf(":")))) this.refuse(theirs, mine);
    return mine;
  }

  /** Addresses whose machines are off: nothing comes back from there. */
  readonly dark = new Set<string>();

  private nobody(at: string): Machine {
    const address = at.slice(0, at.lastIndexOf(":"));
    const name = [...this.addresses].find(([, one]) => one === address)?.[0] ?? "nobody";
    return { ...this.world.nobody, name };
  }

  /** `end` is told that there is nobody at the other. */
  refuse(from: End, end: End): void {
    this.world.after(2 * this.delay(from.machine, end.machine), undefined, () => this.whenReachable(from.machine, end.machine, () => this.world.after(0, end.machine, () => {
      if (!end.open) return;
      end.open = false;
      end.handlers?.reset();
    })));
  }

  private end(machine: Machine, label: string): End {
    const end = new End(this, machine, label);
    let ends = this.ends.get(machine);
    if (ends === undefined) this.ends.set(machine, (ends = new Set()));
    ends.add(end);
    if (ends.size > 256) for (const old of ends) if (!old.open) ends.delete(old);
    return end;
  }

  /** Counts what a machine sends, which may be the last that it does. */
  maySend(machine: Machine): boolean {
    if (!machine.alive) return false;
    if (machine.sendsLeft-- > 0) return true;
    this.onCrash(machine);
    return false;
  }

  /** Its process is gone: the kernel closes its connections, or, with its machine, nobody does. */
  crashed(machine: Machine, silently: boolean): void {
    for (const [key, acceptor] of this.acceptors) if (acceptor.machine === machine) this.acceptors.delete(key);
    machine.alive = false;
    for (const server of this.servers.get(machine) ?? []) running.exit(() => server.close()); // what node:http has of timers for it
    for (const end of this.ends.get(machine) ?? []) {
      if (!end.open) continue;
      end.open = false;
      const { peer } = end;
      if (silently) continue;
      this.world.after(this.delay(machine, peer.machine), undefined, () => this.whenReachable(machine, peer.machine, () => {
        this.world.after(0, peer.machine, () => {
          if (!peer.open) return;
          this.world.trace(`${machine.name}>${peer.machine.name} ${end.label} gone`);
          peer.open = false;
          peer.handlers?.reset();
        });
      }));
    }
    this.ends.delete(machine);
  }

  private readonly waiting: { readonly a: string; readonly b: string; readonly fn: () => void }[] = [];
  private whenReachable(a: Machine, b: Machine, fn: () => void): void {
    if (this.interrupted(a, b)) this.waiting.push({ a: a.name, b: b.name, fn });
    else fn();
  }

  interrupted(a: Machine, b: Machine): boolean {
    return this.cuts.size > 0 && this.cuts.has(pair(a.name, b.name));
  }
  interrupt(a: string, b: string): void {
    this.cuts.add(pair(a, b));
  }
  /** Without names: everywhere. */
  mend(a?: string, b?: string): void {
    if (a === undefined) this.cuts.clear();
    else this.cuts.delete(pair(a, b!));
    for (const ends of this.ends.values()) for (const end of ends) end.pump();
    for (const one of this.waiting.splice(0)) {
      if (this.cuts.has(pair(one.a, one.b))) this.waiting.push(one);
      else one.fn();
    }
  }

  /** Breaks the connections between two machines, of a kind if one is given: both ends are told. */
  breakOff(a: string, b: string, kind = ""): void {
    for (const [machine, ends] of this.ends) {
      if (machine.name !== a) continue;
      for (const end of ends) {
        const { peer } = end;
        if (!end.open || peer.machine.name !== b || !end.label.startsWith(kind)) continue;
        for (const one of [end, peer]) {
          this.world.after(this.delay(machine, peer.machine), one.machine, () => {
            if (!one.open) return;
            one.open = false;
            one.handlers?.reset();
          });
        }
      }
    }
  }
}

const pair = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);
const networks = new WeakMap<Machine, Network>();

const WINDOW = 256 * 1024;

/** What node:net calls a socket, over a connection of the simulation. */
export class SimSocket extends Duplex {
  readonly end_: End;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort = 0;
  connecting = false;
  private waits: (() => void) | undefined;
  private idle: NodeJS.Timeout | undefined;

  constructor(end: End, local: string, remote: string, allowHalfOpen = false) {
    super({ allowHalfOpen });
    this.end_ = end;
    this.localAddress = local;
    const colon = remote.lastIndexOf(":");
    this.remoteAddress = remote.slice(0, colon);
    this.remotePort = Number(remote.slice(colon + 1));
    end.handlers = {
      opened: () => this.emit("connect"),
      data: (bytes) => void this.push(bytes),
      ended: () => void this.push(null),
      reset: () => void this.destroy(Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" })),
    };
    end.onArrived = () => {
      const { waits } = this;
      if (waits === undefined || end.flying > WINDOW) return;
      this.waits = undefined;
      waits();
    };
  }

  override _read(): void {
    // what comes is pushed
  }
  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.end_.send(Buffer.from(chunk));
    if (this.end_.flying > WINDOW && this.end_.open) this.waits = done;
    else done();
  }
  override _final(done: () => void): void {
    this.end_.finish();
    done();
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.idle);
    this.end_.reset();
    done(error);
  }
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  setTimeout(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}

listenBy({
  listen(world: World, machine: Machine, server: Server, args: readonly unknown[]) {
    const network = networks.get(machine)!;
    const done = args.findLast((arg) => typeof arg === "function") as (() => void) | undefined;
    const port = typeof args[0] === "number" ? args[0] : (args[0] as { port: number }).port;
    const kind = "maxHeadersCount" in server;
    const sockets = new Set<SimSocket>();
    network.servers.set(machine, [...(network.servers.get(machine) ?? []), server]);
    let closing: (() => void) | undefined;
    let open = true;
    const stop = network.listen(machine, port, (end, from) => {
      const socket = new SimSocket(end, network.addressOf(machine), from, kind);
      sockets.add(socket);
      socket.once("close", () => {
        sockets.delete(socket);
        if (!open && sockets.size === 0) closed();
      });
      server.emit("connection", socket);
    });
    const closed = (): void => {
      server.emit("close");
      closing?.();
    };
    listeners.set(server, {
      address: { address: network.addressOf(machine), family: "IPv4", port },
      connections: () => sockets.size,
      close: (fn) => {
        closing = fn;
        if (!open) return fn?.();
        open = false;
        stop();
        if (sockets.size === 0) world.after(0, machine, closed);
      },
    });
    Object.defineProperty(server, "listening", { configurable: true, get: () => open });
    if (done !== undefined) server.once("listening", done);
    world.after(0, machine, () => server.emit("listening"));
  },
});
