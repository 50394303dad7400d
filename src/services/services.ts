// Runs the services of apps: each has a host of its own, whose timers, subscriptions and requests end with it.
import { AsyncLocalStorage } from "node:async_hooks";
import {
  FetchError, PacketRateError, type AnySoftTable, type AnyTable, type App, type Caller, type Cancel, type Clock, type DropCount, type Endpoint, type ExchangeOptions, type Fact, type FetchAnswer, type FetchOptions, type FlowCounts, type PortCount, type LiveView, type OpsCounter, type PacketIn, type PacketLimits, type PacketOut,
  type Random, type ResourceHandle, type Row, type RowChange, type Scope, type ServiceDecl, type ServiceHost, type StageOut, type Tx,
} from "#app";
import type { Logger } from "pino";
import type { HookGuard } from "../lib/hook-guard.ts";
import type { Model } from "../model/model.ts";
import type { Asked } from "./asked.ts";
import { Allowance, Mailbox } from "./mailbox.ts";
import { Exchanges, type ExchangeNetwork } from "./exchanges.ts";
import { Outbound, type HttpClient } from "./outbound.ts";
import type { Share } from "./share.ts";

export interface ServicesOptions {
  readonly apps: readonly App[];
  /** Every table that an app may ask to hear of. */
  readonly tables: readonly AnyTable[];
  readonly view: LiveView;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly guard: HookGuard;
  readonly model: Pick<Model, "transact">;
  /** Tells what compiled commits changed. */
  readonly onChanges: (observer: (changes: readonly RowChange[], generation: number) => void) => () => void;
  /** What switches have confirmed, and who is told of it. */
  readonly receipts: { confirmed(chassis: string): number; synced(chassis: string): boolean | undefined; onConfirmed(listener: (chassis: string, generation: number) => void): () => void };
  readonly send: (app: string, packets: Iterable<PacketOut | StageOut>) => void;
  readonly learn: (facts: Iterable<Fact>) => void;
  /** One more of a counter of an app. @throws Error when it lists no such counter, or the counter has no such value */
  readonly count: (app: string, counter: OpsCounter, value: string) => void;
  /** @throws Error when the table is none of the app */
  readonly forget: (app: string, table: AnySoftTable, ids: Iterable<string>) => void;
  /** Which chassis have a scope. */
  readonly scopes: { having(scope: Scope): Iterable<string>; has(chassis: string, scope: Scope): boolean };
  /** Gives a listener what flows of a table of the app punt. @throws Error when the table is none of the app */
  readonly onPacket: (app: string, table: string, listener: (packet: PacketIn) => void) => Cancel;
  /** Told of a packet that a service did not get, or of a change because of one that was refused. */
  readonly dropped?: (app: string, service: string, limit: "port" | "total" | "writes") => void;
  readonly share: Share;
  /** What flows of a rule of an app have counted. */
  readonly flowCounts: (app: string, rule: string, entity: string, payer: string) => Promise<FlowCounts>;
  /** What flows have counted that drop packets of these entities on a switch. */
  readonly dropCounts: (chassis: string, entities: readonly string[]) => Promise<readonly DropCount[] | undefined>;
  /** What flows that count for a row of a resource have counted under a counter. */
  readonly countsOf: (resource: string, id: string, counter: string, payer: string) => Promise<FlowCounts>;
  readonly portCounts: (chassis: string) => Promise<readonly PortCount[] | undefined>;
  readonly asked: Asked;
  /** Asks others in the controller's own name; undefined: it has none, and its requests carry none. */
  readonly asController?: ((ask: (token: string) => Promise<FetchAnswer>) => Promise<FetchAnswer>) | undefined;
  /** Default: the machine's network. */
  readonly http?: HttpClient;
  readonly exchanges?: ExchangeNetwork;
}

const PER_PORT = 16;
const TOTAL = 1024;
/** Changes because of packets, for each port and in all of a service. */
const PORT_WRITES = { burst: 5, perSecond: 1 };
const WRITES = { burst: 100, perSecond: 50 };

/** The port because of whose packet something runs, and whose that packet is; undefined: it is not because of a packet. */
interface Because {
  readonly port: string;
  readonly owner: string | undefined;
}
const becauseOf = new AsyncLocalStorage<Because | undefined>();

/** A stop that does not end is not waited for longer. */
const STOP_MS = 3000;

export class Services {
  private readonly options: ServicesOptions;
  private readonly running: { readonly host: Host; readonly stop: (() => void | Promise<void>) | undefined }[] = [];

  constructor(options: ServicesOptions) {
    this.options = options;
  }

  /** In the order of apps, as they require each other. */
  start(): void {
    for (const app of this.options.apps) for (const decl of app.services ?? []) this.startOne(app, decl);
  }

  private startOne(app: App, decl: ServiceDecl): void {
    const host = new Host(this.options, app.name, decl.name);
    let started = false;
    const stop = this.options.guard(host.hook, host.about, () => {
      const undo = decl.start(host);
      started = true;
      return undo;
    }, undefined);
    if (started) this.running.push({ host, stop });
    else host.end();
  }

  /** Last started, first stopped. */
  async stop(): Promise<void> {
    const { guard, log, clock } = this.options;
    for (const { host, stop } of this.running.splice(0).reverse()) {
      host.quieten();
      const endings: Promise<void>[] = [];
      guard<unknown>(host.hook, host.about, () => {
        const made = stop?.();
        if (made instanceof Promise) endings.push(made);
        return made;
      }, undefined);
      for (const ending of endings) {
        let cancel: Cancel = () => undefined;
        const late = new Promise<boolean>((resolve) => (cancel = clock.setTimeout(() => resolve(true), STOP_MS)));
        if (await Promise.race([late, ending.then(() => false, () => false)])) log.warn({ ...host.about, app: host.hook.app }, "service did not stop in time; it is not waited for");
        cancel();
      }
      host.end();
    }
  }
}

class Host implements ServiceHost {
  readonly view: LiveView;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly hook: { readonly app: string; readonly hook: string };
  readonly about: { readonly service: string };
  private readonly options: ServicesOptions;
  private readonly cancels = new Set<Cancel>();
  private readonly outbound: Outbound;
  private readonly exchanges: Exchanges;
  private readonly writes: Allowance;
  private quiet = false;
  private ended = false;

  constructor(options: ServicesOptions, app: string, service: string) {
    this.options = options;
    this.hook = { app, hook: `service ${service}` };
    this.about = { service };
    this.view = options.view;
    this.clock = options.clock;
    this.random = options.random;
    this.log = options.log.child({ app, service });
    this.outbound = new Outbound(options.clock, options.http);
    this.exchanges = new Exchanges(options.clock, options.exchanges);
    this.writes = new Allowance(options.clock, PORT_WRITES, WRITES);
  }

  /** Nothing that it was given is called any more; its stop may still send, ask and write. */
  quieten(): void {
    this.quiet = true;
    for (const cancel of [...this.cancels]) cancel();
  }

  end(): void {
    this.quieten();
    this.ended = true;
    this.outbound.stop();
    this.exchanges.stop();
  }

  every(seconds: number, fn: () => void | Promise<void>): Cancel {
    if (!(seconds > 0 && Number.isFinite(seconds))) throw new RangeError(`every ${seconds} seconds: a number above 0 is needed`);
    let busy = false;
    return this.until(this.clock.setInterval(() => {
      if (busy) return;
      this.call(() => {
        const doing = fn();
        if (!(doing instanceof Promise)) return undefined;
        busy = true;
        return doing.finally(() => (busy = false));
      });
    }, seconds * 1000));
  }

  after(seconds: number, fn: () => void | Promise<void>): Cancel {
    if (!(seconds >= 0 && Number.isFinite(seconds))) throw new RangeError(`after ${seconds} seconds: a number from 0 is needed`);
    const because = becauseOf.getStore();
    const cancel = this.until(this.clock.setTimeout(() => {
      cancel();
      this.call(fn, because);
    }, seconds * 1000));
    return cancel;
  }

  onCommit(tables: readonly AnyTable[], fn: (changes: readonly RowChange[], generation: number) => void | Promise<void>): Cancel {
    for (const { name } of tables) if (!this.options.tables.some((t) => t.name === name)) throw new Error(`service ${this.about.service} of ${this.hook.app} wants to hear of table ${name}, which no app lists in its tables`);
    const names = new Set(tables.map((t) => t.name));
    return this.until(this.options.onChanges((changes, generation) => {
      const mine = changes.filter((c) => names.has(c.table.name));
      if (mine.length > 0) this.call(() => fn(net(mine), generation));
    }));
  }

  confirmed(chassis: string): number {
    return this.options.receipts.confirmed(chassis);
  }

  synced(chassis: string): boolean | undefined {
    return this.options.receipts.synced(chassis);
  }

  onConfirmed(fn: (chassis: string, generation: number) => void | Promise<void>): Cancel {
    return this.until(this.options.receipts.onConfirmed((chassis, generation) => this.call(() => fn(chassis, generation))));
  }

  onPacket(table: string, fn: (packet: PacketIn) => void | Promise<void>, { perPort = PER_PORT, total = TOTAL, owner, port: key = "in_port_key" }: PacketLimits = {}): Cancel {
    const { app } = this.hook;
    const box = new Mailbox<PacketIn>({
      perPort, total,
      dropped: (limit) => this.options.dropped?.(app, this.about.service, limit),
      handle: (packet, port, of) => this.doing(() => becauseOf.run({ port, owner: of }, () => fn(packet))),
    });
    const ownerOf = (packet: PacketIn): string | undefined => (owner === undefined ? undefined : this.options.guard(this.hook, this.about, () => owner(packet), undefined));
    const cancel = this.options.onPacket(app, table, (packet) => box.push(`${packet.chassis} ${packet.register(key)}`, { ...packet, data: Buffer.from(packet.data) }, ownerOf(packet)));
    return this.until(() => {
      cancel();
      box.stop();
    });
  }

  async transact<T>(what: string, fn: (tx: Tx) => T): Promise<{ readonly result: T; readonly generation: number }> {
    this.check();
    const because = becauseOf.getStore();
    if (because !== undefined && !this.writes.take(because.port, because.owner)) {
      this.options.dropped?.(this.hook.app, this.about.service, "writes");
      throw new PacketRateError(`too many changes because of packets of port ${because.port}`);
    }
    return this.options.model.transact({ requestId: `req-${this.random.uuid()}`, call: `${this.hook.app} ${this.about.service}: ${what}`, own: true }, fn);
  }

  send(packets: Iterable<PacketOut | StageOut>): void {
    this.check();
    this.options.send(this.hook.app, packets);
  }

  count(counter: OpsCounter, value: string): void {
    this.options.count(this.hook.app, counter, value);
  }

  learn(facts: Iterable<Fact>): void {
    this.check();
    this.options.learn(facts);
  }

  forget(table: AnySoftTable, ids: Iterable<string>): void {
    this.check();
    this.options.forget(this.hook.app, table, ids);
  }

  having(scope: Scope): Iterable<string> {
    return this.options.scopes.having(scope);
  }

  has(chassis: string, scope: Scope): boolean {
    return this.options.scopes.has(chassis, scope);
  }

  async fetch(url: string, options: FetchOptions = {}): Promise<FetchAnswer> {
    const { asController } = this.options;
    if (options.ownToken !== true || asController === undefined) return this.outbound.fetch(url, options);
    try {
      return await asController((token) => this.outbound.fetch(url, { ...options, headers: { ...options.headers, "x-auth-token": token } }));
    } catch (error) {
      throw error instanceof FetchError ? error : new FetchError("UNREACHABLE", (error as Error).message, error);
    }
  }

  exchange(to: Endpoint, data: Uint8Array, options?: ExchangeOptions): Promise<Buffer> {
    return this.exchanges.exchange(to, data, options);
  }

  nameServers(): readonly Endpoint[] {
    return this.exchanges.nameServers();
  }

  flowCounts(rule: string, entity: string, payer: string): Promise<FlowCounts> {
    this.check();
    return this.options.flowCounts(this.hook.app, rule, entity, payer);
  }

  countsOf(resource: string, id: string, counter: string, payer: string): Promise<FlowCounts> {
    this.check();
    return this.options.countsOf(resource, id, counter, payer);
  }

  portCounts(chassis: string): Promise<readonly PortCount[] | undefined> {
    this.check();
    return this.options.portCounts(chassis);
  }

  dropCounts(chassis: string, entities: readonly string[]): Promise<readonly DropCount[] | undefined> {
    this.check();
    return this.options.dropCounts(chassis, entities);
  }

  onAsked<R extends Row>(resource: ResourceHandle<R>, attributes: readonly string[], fn: (rows: readonly R[], caller: Caller) => void | Promise<void>): Cancel {
    return this.until(this.options.asked.listen({ resource: resource.name, attributes, look: (rows, caller) => this.doing(() => fn(rows as readonly R[], caller)) }));
  }

  masters(chassis: string): boolean {
    return this.options.share.masters(chassis);
  }

  acts(key: string): boolean {
    return this.options.share.acts(key);
  }

  onShare(fn: () => void | Promise<void>): Cancel {
    return this.until(this.options.share.onChange(() => this.call(() => fn())));
  }

  private check(): void {
    if (this.ended) throw new Error(`service ${this.about.service} of ${this.hook.app} is stopped`);
  }

  private call(fn: () => void | Promise<void>, because?: Because): void {
    void this.doing(fn, because);
  }

  /** Settles, always well, when what `fn` does is done; undefined: it is done. */
  private doing(fn: () => void | Promise<void>, because?: Because): Promise<void> | undefined {
    if (this.quiet) return undefined;
    let doing: Promise<void> | undefined;
    void this.options.guard<void | Promise<void>>(this.hook, this.about, () => {
      const made = becauseOf.run(because, fn);
      if (made instanceof Promise) doing = made.catch(() => undefined);
      return made;
    }, undefined);
    return doing;
  }

  /** What is set after the end is taken back at once. */
  private until(cancel: Cancel): Cancel {
    if (this.quiet) {
      cancel();
      return () => undefined;
    }
    const undo = (): void => {
      this.cancels.delete(undo);
      cancel();
    };
    this.cancels.add(undo);
    return undo;
  }
}

/** Each row once, from what it was to what it is. */
function net(changes: readonly RowChange[]): RowChange[] {
  const out = new Map<string, RowChange>();
  for (const change of changes) {
    const key = `${change.table.name} ${change.id}`;
    const first = out.get(key);
    out.set(key, first === undefined ? change : { ...change, before: first.before });
  }
  return [...out.values()].filter((c) => c.before !== undefined || c.after !== undefined);
}
