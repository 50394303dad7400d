// The one place where code under simulation is given another clock, other timers, other chance and other listeners than the process has. Each stands
// in front of Node's own and lets everything pass that is not asked by a simulated machine, so that the test runner beside it goes on as ever.
//
// Under a simulation compression is done at once: the real one comes back from another thread, at a moment that nobody knows.
import { createRequire, syncBuiltinESMExports } from "node:module";
import type { AsyncLocalStorage } from "node:async_hooks";
import type { Happening, Machine, World } from "./world.ts";

export const realImmediate = globalThis.setImmediate;

/** A timer of a simulated machine. */
class SimTimer {
  happening: Happening | undefined;
  cleared = false;
  readonly begin: () => void;
  constructor(begin: (timer: SimTimer) => void) {
    this.begin = () => begin(this);
    this.begin();
  }
  stop(): void {
    this.cleared = true;
    if (this.happening !== undefined) this.happening.fn = undefined;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  hasRef(): boolean {
    return true;
  }
  refresh(): this {
    if (this.happening !== undefined) this.happening.fn = undefined;
    if (!this.cleared) this.begin();
    return this;
  }
  close(): this {
    this.stop();
    return this;
  }
  [Symbol.dispose](): void {
    this.stop();
  }
}

type Context = AsyncLocalStorage<{ readonly world: World; readonly machine: Machine }>;
type Fn = (...args: unknown[]) => unknown;

export function install(running: Context): void {
  const require = createRequire(import.meta.url);
  const at = (): { readonly world: World; readonly machine: Machine } | undefined => running.getStore();

  // --- time ---
  const RealDate = globalThis.Date;
  const now = (): number => {
    const here = at();
    return here === undefined ? RealDate.now() : Math.floor(here.world.wall(here.machine));
  };
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args: unknown[], as) => Reflect.construct(target, args.length === 0 ? [now()] : args, as) as object,
    get: (target, key) => (key === "now" ? now : (Reflect.get(target, key) as unknown)),
  });
  const realNow = performance.now.bind(performance);
  Object.defineProperty(performance, "now", { configurable: true, writable: true, value: () => {
    const here = at();
    return here === undefined ? realNow() : here.world.monotonic(here.machine);
  } });

  const real = { setTimeout: globalThis.setTimeout, setInterval: globalThis.setInterval, setImmediate: globalThis.setImmediate, clearTimeout: globalThis.clearTimeout, clearInterval: globalThis.clearInterval, clearImmediate: globalThis.clearImmediate };
  const later = (name: "setTimeout" | "setImmediate", every: boolean): Fn => (fn: unknown, ...rest: unknown[]) => {
    const here = at();
    if (here === undefined) return (real[every ? "setInterval" : name] as unknown as Fn)(fn, ...rest);
    const ms = name === "setImmediate" ? 0 : Math.max(1, Number(rest.shift() ?? 1) || 1);
    return new SimTimer((timer) => {
      const fire = (): void => {
        if (every && !timer.cleared) timer.happening = here.world.after(ms, here.machine, fire);
        (fn as Fn)(...rest);
      };
      timer.happening = here.world.after(ms, here.machine, fire);
    });
  };
  const stop = (name: "clearTimeout" | "clearInterval" | "clearImmediate"): Fn => (timer: unknown) => (timer instanceof SimTimer ? timer.stop() : (real[name] as unknown as Fn)(timer));
  Object.assign(globalThis, { setTimeout: later("setTimeout", false), setInterval: later("setTimeout", true), setImmediate: later("setImmediate", false), clearTimeout: stop("clearTimeout"), clearInterval: stop("clearInterval"), clearImmediate: stop("clearImmediate") });

  const promises = require("node:timers/promises") as Record<string, Fn>;
  for (const name of ["setTimeout", "setImmediate"] as const) {
    const before = promises[name]!;
    promises[name] = (...args) => {
      if (at() === undefined) return before(...args);
      const [ms, value] = name === "setTimeout" ? args : [0, args[0]];
      return new Promise((done) => {
        if (name === "setTimeout") globalThis.setTimeout(done, ms as number, value);
        else globalThis.setImmediate(done, value);
      });
    };
  }

  // --- chance ---
  const realRandom = Math.random;
  Math.random = () => at()?.machine.random.next() ?? realRandom();
  const crypto = require("node:crypto") as Record<string, Fn>;
  const [bytes, uuid] = [crypto.randomBytes!, crypto.randomUUID!];
  crypto.randomBytes = (...args) => {
    const here = at();
    return here === undefined ? bytes(...args) : here.machine.random.bytes(args[0] as number);
  };
  crypto.randomUUID = (...args) => at()?.machine.random.uuid() ?? uuid(...args);

  // --- compression ---
  const zlib = require("node:zlib") as Record<string, Fn>;
  for (const name of ["deflateRaw", "inflateRaw"]) {
    const before = zlib[name]!;
    const sync = zlib[`${name}Sync`]!;
    const standIn: Fn = (...args) => {
      if (at() === undefined) return before(...args);
      const done = args.pop() as (error: unknown, value?: unknown) => void;
      let value: unknown;
      try {
        value = sync(...args);
      } catch (error) {
        done(error);
        return;
      }
      done(null, value);
    };
    zlib[name] = standIn;
  }
  syncBuiltinESMExports();

  // --- listeners ---
  const { Server } = require("node:net") as { Server: { prototype: Record<string, Fn> } };
  const { listen, close, address, getConnections } = Server.prototype as { listen: Fn; close: Fn; address: Fn; getConnections: Fn };
  const simulated = (server: unknown): Listening | undefined => listeners.get(server as object);
  Server.prototype.listen = function (this: object, ...args: unknown[]) {
    const here = at();
    if (here === undefined || host === undefined) return listen.apply(this, args);
    host.listen(here.world, here.machine, this as never, args);
    return this;
  };
  Server.prototype.close = function (this: object, ...args: unknown[]) {
    const mine = simulated(this);
    if (mine === undefined) return close.apply(this, args);
    mine.close(args[0] as (() => void) | undefined);
    return this;
  };
  Server.prototype.address = function (this: object) {
    return simulated(this)?.address ?? address.apply(this, []);
  };
  Server.prototype.getConnections = function (this: object, ...args: unknown[]) {
    const mine = simulated(this);
    if (mine === undefined) return getConnections.apply(this, args);
    (args[0] as (error: unknown, count: number) => void)(null, mine.connections());
    return this;
  };
}

/** A node:net server that listens in a simulated network. */
export interface Listening {
  readonly address: { readonly address: string; readonly family: string; readonly port: number };
  close(done?: () => void): void;
  connections(): number;
}
export const listeners = new WeakMap<object, Listening>();

/** What listens for servers of simulated machines. */
let host: { listen(world: World, machine: Machine, server: import("node:net").Server, args: readonly unknown[]): void } | undefined;
export function listenBy(network: NonNullable<typeof host>): void {
  host = network;
}
