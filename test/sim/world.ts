// Time, order and chance of a simulation, and the machines that live in it. While code of a machine runs, the clock, the timers and the random
// numbers of the process are the machine's (machine-globals.ts); everything that happens is an event of one queue, at a time of its own.
import { AsyncLocalStorage } from "node:async_hooks";
import { createHash } from "node:crypto";
import { SeededRandom } from "../../src/lib/random.ts";
import { realImmediate } from "./machine-globals.ts";

/** A process on a machine of its own. What it does ends when it crashes; while it is frozen, time passes without it. */
export interface Machine {
  readonly name: string;
  readonly random: SeededRandom;
  alive: boolean;
  frozen: boolean;
  /** By which its wall clock is ahead. */
  skewMs: number;
  /** What its monotonic clock read last. */
  read: number;
  /** What would have happened while it was frozen. */
  held: Happening[];
  /** How often it may yet send something before it crashes. */
  sendsLeft: number;
}

export interface Happening {
  at: number;
  order: number;
  readonly machine: Machine | undefined;
  fn: (() => void) | undefined;
}

/** Whose code is running. */
export const running = new AsyncLocalStorage<{ readonly world: World; readonly machine: Machine }>();

/** Some eight times what a run has. */
const MOST_EVENTS = 60_000;
/** Reading the clock takes time: a loop until a moment comes to its end. */
const READ_MS = 0.001;

export class World {
  /** Milliseconds since the simulation began. */
  now = 0;
  readonly startedAt = Date.UTC(2026, 0, 1);
  readonly random: SeededRandom;
  /** What broke a rule of the simulation at once. */
  readonly failures: string[] = [];
  private readonly queue: Happening[] = [];
  private order = 0;
  private readonly seed: number;
  private machines = 0;
  private readonly hash = createHash("sha256");
  /** How much happened. */
  events = 0;
  /** Called with each line that a controller logs. */
  logged: ((line: string) => void) | undefined;
  /** Called with each line that is hashed. */
  traced: ((line: string) => void) | undefined;

  /** Who is at an address where nobody is. */
  readonly nobody: Machine;

  constructor(seed: number) {
    this.seed = seed;
    this.random = new SeededRandom(seed);
    this.nobody = { ...this.machine("nobody"), alive: false };
  }

  machine(name: string): Machine {
    return { name, random: new SeededRandom(this.seed * 1009 + ++this.machines), alive: true, frozen: false, skewMs: 0, read: 0, held: [], sendsLeft: Infinity };
  }

  /** Of everything that was said with `trace` so far. */
  get digest(): string {
    return this.hash.copy().digest("hex").slice(0, 16);
  }

  trace(what: string, bytes?: Uint8Array): void {
    const line = `${this.now.toFixed(3)} ${what}`;
    this.hash.update(line);
    if (bytes !== undefined) this.hash.update(bytes);
    this.traced?.(bytes === undefined ? line : `${line} ${createHash("sha256").update(bytes).digest("hex").slice(0, 8)}`);
  }

  fail(what: string): void {
    if (this.failures.length < 20 && !this.failures.includes(what)) this.failures.push(what);
  }

  wall(machine: Machine): number {
    return this.startedAt + this.monotonic(machine) + machine.skewMs;
  }

  monotonic(machine: Machine): number {
    machine.read = Math.max(this.now, machine.read) + READ_MS;
    return machine.read;
  }

  /** `fn` runs as the machine's code, `ms` from now, in the order of times and, at one time, of calls. */
  after(ms: number, machine: Machine | undefined, fn: () => void): Happening {
    const happening = { at: this.now + Math.max(0, ms), order: this.order++, machine, fn };
    this.push(happening);
    return happening;
  }

  /** Until a time, or until nothing happens any more. */
  async run(untilMs: number, over: () => boolean = () => false): Promise<void> {
    while (!over()) {
      const next = this.queue[0];
      if (next === undefined || next.at > untilMs) break;
      this.pop();
      const { machine, fn } = next;
      if (fn === undefined || machine?.alive === false) continue;
      if (machine?.frozen === true) {
        machine.held.push(next);
        continue;
      }
      next.fn = undefined;
      this.now = Math.max(this.now, next.at);
      if (++this.events > MOST_EVENTS) {
        this.fail(`it does not come to rest: ${MOST_EVENTS} events by ${Math.round(this.now)} ms`);
        return;
      }
      if (machine === undefined) fn();
      else running.run({ world: this, machine }, fn);
      // What waits for promises goes on, to its end.
      await new Promise<void>((done) => void realImmediate(done));
    }
    if (!over()) this.now = Math.max(this.now, untilMs);
  }

  freeze(machine: Machine): void {
    machine.frozen = true;
  }

  /** It goes on where it was; what is due since happens now, in its order. */
  thaw(machine: Machine): void {
    machine.frozen = false;
    for (const happening of machine.held.splice(0)) {
      if (happening.fn === undefined) continue;
      happening.at = this.now;
      happening.order = this.order++;
      this.push(happening);
    }
  }

  // --- a heap of what is to come ---

  private static before(a: Happening, b: Happening): boolean {
    return a.at < b.at || (a.at === b.at && a.order < b.order);
  }

  private push(happening: Happening): void {
    const { queue } = this;
    let i = queue.length;
    queue.push(happening);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!World.before(happening, queue[parent]!)) break;
      queue[i] = queue[parent]!;
      i = parent;
    }
    queue[i] = happening;
  }

  private pop(): void {
    const { queue } = this;
    const last = queue.pop()!;
    if (queue.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= queue.length) break;
      if (child + 1 < queue.length && World.before(queue[child + 1]!, queue[child]!)) child++;
      if (!World.before(queue[child]!, last)) break;
      queue[i] = queue[child]!;
      i = child;
    }
    queue[i] = last;
  }
}
