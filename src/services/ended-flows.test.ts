// Flows that come and go while a switch is asked what they have counted: in whatever order questions, changes and answers follow each other, what counters make of it is
// what the switch counted, to the packet, and never more on the way.
import fc from "fast-check";
import { encodeFlowMod, FLOW_KEY_OFFSET, FLOW_MOD_MATCH_OFFSET } from "node-openflow";
import { expect, test } from "vitest";
import { Totals } from "../app/counting/totals.ts";
import { FlowCounter, type PlacedFlow } from "./flow-counts.ts";

const KEYS: readonly number[] = [1, 2];

function flow(priority: number): PlacedFlow {
  const slab = Buffer.alloc(256);
  encodeFlowMod(slab, 0, { command: "add", table_id: 3, priority, cookie: 7n, match: {} });
  return { cookieHi: 0, cookieLo: 7, table: 3, len: FLOW_MOD_MATCH_OFFSET + 16, matchLen: 8, key: slab.toString("latin1", FLOW_KEY_OFFSET, FLOW_MOD_MATCH_OFFSET + 8) };
}
const flows = new Map(KEYS.map((priority) => [priority, flow(priority)]));

/** OFPMP_FLOW reply, OpenFlow 1.3.5 section 7.3.5.2. */
function reply(counts: ReadonlyMap<number, number>): Buffer {
  const out = Buffer.alloc(16 + 56 * counts.size);
  out.set([4, 19], 0);
  out.writeUInt16BE(out.length, 2);
  out.writeUInt16BE(1, 8);
  [...counts].forEach(([priority, packets], i) => {
    const off = 16 + 56 * i;
    out.writeUInt16BE(56, off);
    out[off + 2] = 3;
    out.writeUInt16BE(priority, off + 12);
    out.writeBigUInt64BE(7n, off + 24);
    out.writeBigUInt64BE(BigInt(packets), off + 32);
    out.writeBigUInt64BE(BigInt(packets * 100), off + 40);
    out.writeUInt16BE(1, off + 48);
    out.writeUInt16BE(4, off + 50);
  });
  return out;
}

/** A switch at the other end of a connection, on which both sides are read in order; and a controller that sends it one set of changes at a time. */
class Scene {
  counted = 0;
  private seconds = 0;
  private readonly installed = new Map<number, number>();
  private readonly desired = new Set<number>();
  private readonly pending = new Map<number, boolean>();
  private busy = false;
  private readonly toSwitch: (() => void)[] = [];
  private readonly toController: (() => void)[] = [];
  private looking: Promise<void> | undefined;
  private readonly totals = new Totals(undefined, true);
  private readonly counter = new FlowCounter({
    clock: { now: () => this.seconds * 1000, monotonic: () => this.seconds * 1000 }, wanted: () => [], tableName: () => undefined,
    placed: () => Array.from(this.desired, (key) => ({ flow: flows.get(key)!, chassis: ["hv1"] })),
    ask: () => new Promise((resolve) => {
      this.toSwitch.push(() => {
        const answer = reply(this.installed);
        this.toController.push(() => resolve([answer]));
      });
    }),
  });

  packet(key: number): void {
    const before = this.installed.get(key);
    if (before === undefined) return;
    this.installed.set(key, before + 1);
    this.counted++;
  }
  /** Whether a flow is desired. What was not sent yet is left as it is: the switch has it throughout. */
  toggle(key: number): void {
    if (this.pending.has(key)) return;
    const add = !this.desired.has(key);
    this.pending.set(key, add);
    if (add) this.desired.add(key);
    else this.desired.delete(key);
  }
  deliver(): void {
    if (this.busy || this.pending.size === 0) return;
    this.busy = true;
    const changes = [...this.pending];
    this.pending.clear();
    // Questions and commit.
    this.toSwitch.push(() => {
      const ended = changes.flatMap(([key, add]) => (add ? [] : [[key, this.installed.get(key)!] as const]));
      for (const [key, add] of changes) {
        if (add) this.installed.set(key, 0);
        else this.installed.delete(key);
      }
      this.toController.push(() => {
        for (const [key, packets] of ended) this.counter.end("app", "rule", "entity", { chassis: "hv1", key: flows.get(key)!.key, table: 3, packets, bytes: packets * 100 });
        this.busy = false;
      });
    });
  }
  switchReads(): void {
    this.toSwitch.shift()?.();
  }
  controllerReads(): void {
    this.toController.shift()?.();
  }
  look(): void {
    this.seconds += 10;
    this.looking ??= this.counter.of("app", "rule", "entity", "/turns").then((counts) => {
      const before = this.totals.now.packets;
      const { packets } = this.totals.look(counts);
      expect(this.totals.now.packets).toBe(before + packets);
      expect(this.totals.now.packets).toBeLessThanOrEqual(this.counted);
      this.looking = undefined;
    });
  }
  async drain(): Promise<void> {
    while (this.toSwitch.length + this.toController.length + this.pending.size > 0) {
      this.deliver();
      this.switchReads();
      this.controllerReads();
      await turn();
    }
    await this.looking;
  }
  async end(): Promise<number> {
    await this.drain();
    this.look();
    await this.drain();
    return this.totals.now.packets;
  }
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("totals are what the switch counted, whatever comes between what", async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...KEYS).map((key) => (s: Scene) => s.packet(key)) },
    { weight: 3, arbitrary: fc.constantFrom(...KEYS).map((key) => (s: Scene) => s.toggle(key)) },
    { weight: 9, arbitrary: fc.constantFrom<(s: Scene) => void>((s) => s.deliver(), (s) => s.switchReads(), (s) => s.controllerReads()) },
    { weight: 2, arbitrary: fc.constant((s: Scene) => s.look()) },
    { weight: 3, arbitrary: fc.constant(turn) },
  );
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async (steps) => {
    const scene = new Scene();
    for (const one of steps) await (one)(scene);
    expect(await scene.end()).toBe(scene.counted);
  }), { numRuns: 500 });
});
