// What carries a packet through the tables of a switch: passes, each from the packet's arrival, or from where it comes back, to its end; lookups;
// lists of actions, and what is left of a list while the packet is away. What each action does is in interpreter.ts. ofproto-dpif-xlate.c of Open vSwitch.
import { fields } from "node-openflow";
import { actionSetList } from "./action-set.ts";
import { ctNext, type Conntrack } from "./conntrack.ts";
import { clearConntrack, readInner } from "./edit.ts";
import type { Op, TraceFlow } from "./flow.ts";
import type { LearnedFlow } from "./learn.ts";
import { UNSET, type Packet } from "./packet/packet.ts";
import { at } from "./packet/places.ts";
import type { Choice, CtAssumption, CtUse, Did, Drop, Output, Pass, Punt, Step, Trace, TraceError, TraceErrorName } from "./result.ts";
import type { TraceSwitch } from "./switch.ts";
import { tunnelDestination } from "./tunnel.ts";

/** MAX_DEPTH and MAX_RESUBMITS of Open vSwitch; a pass at most gets 64 kB of stack. */
export const limits = { depth: 64, resubmits: 4096, stackBytes: 65_536, passes: 256 } as const;

export interface TraceOptions {
  /** Default: every connection is new, see ctNext. */
  readonly conntrack?: Conntrack;
  /** Where a switch has a choice: the place in `options` that it takes. Default the first. */
  readonly choose?: (choice: Omit<Choice, "taken">) => number;
}

/** Goes on as if nothing had happened in between: what a frozen list remembers of where it was. */
interface Unroll<R> {
  readonly type: "unroll";
  readonly table: number;
  readonly flow: TraceFlow<R> | undefined;
}
export type Frozen<R> = Op | Unroll<R>;

interface Fork<R> {
  readonly from: Pass<R>["from"];
  readonly packet: Packet;
  readonly table: number;
  readonly ops: readonly Frozen<R>[];
  readonly stack: readonly StackValue[];
  readonly actionSet: readonly Op[];
  readonly conntracked: boolean;
}

interface StackValue {
  readonly value: bigint;
  readonly bits: number;
}

interface Waiting {
  readonly paused: boolean;
}

export abstract class Passes<R> {
  protected readonly sw: TraceSwitch<R>;
  protected readonly conntrack: Conntrack;
  protected readonly options: TraceOptions;
  protected readonly passes: Pass<R>[] = [];
  protected outputs: Output<R>[] = [];
  protected punts: Punt<R>[] = [];
  protected readonly drops: Drop<R>[] = [];
  protected uses: CtUse<R>[] = [];
  protected readonly assumptions: CtAssumption<R>[] = [];
  protected meters: number[] = [];
  protected learned: LearnedFlow[] = [];
  protected readonly choices: Choice[] = [];
  protected readonly forks: Fork<R>[] = [];

  // --- of the pass under way ---
  protected packet!: Packet;
  protected steps: Step<R>[] = [];
  protected did: Did<R> | undefined;
  protected table = 0;
  protected flow: TraceFlow<R> | undefined;
  protected depth = 0;
  protected resubmits = 0;
  protected stack: StackValue[] = [];
  protected stackBytes = 0;
  protected actionSet: Op[] = [];
  protected setHasGroup = false;
  protected inActionSet = false;
  protected exit = false;
  protected error: TraceError | undefined;
  protected conntracked = false;
  protected wasMpls = false;
  /** Actions that wait for the packet to come back, when it is on its way out for that. */
  protected frozen: Frozen<R>[] | undefined;
  protected waiting: Waiting | undefined;
  protected tunnelDst = "";
  /** The packet as the datapath had it when the pass began. */
  protected base!: Packet;

  constructor(sw: TraceSwitch<R>, options: TraceOptions) {
    this.sw = sw;
    this.options = options;
    this.conntrack = options.conntrack ?? ctNext();
  }

  all(packet: Packet): Trace<R> {
    const tracked = (packet.words[at.ct_state]! & 0x20) !== 0;
    this.forks.push({ from: undefined, packet: packet.clone(), table: 0, ops: [], stack: [], actionSet: [], conntracked: tracked });
    let error: TraceError | undefined;
    for (let fork = this.forks.shift(); fork !== undefined; fork = this.forks.shift()) {
      if (this.passes.length === limits.passes) {
        error ??= { name: "TOO_MANY_RECIRCULATIONS", text: `the packet came back ${limits.passes} times` };
        break;
      }
      this.pass(fork);
      error ??= this.error;
    }
    const { passes, outputs, punts, drops, uses, assumptions, meters, learned, choices } = this;
    return { passes, outputs, punts, drops, conntrack: uses, assumptions, meters, learned, choices, error };
  }

  protected pass(fork: Fork<R>): void {
    const { packet, from } = fork;
    this.packet = packet;
    this.steps = [];
    this.table = fork.table;
    this.flow = undefined;
    this.depth = this.resubmits = 0;
    this.stack = [...fork.stack];
    this.stackBytes = this.stack.reduce((sum, { bits }) => sum + Math.ceil(bits / 8), 0);
    this.actionSet = [];
    this.setHasGroup = false;
    this.exit = this.wasMpls = false;
    this.error = this.frozen = this.waiting = undefined;
    this.conntracked = fork.conntracked;
    packet.words[at.actset_output] = UNSET;
    if (from?.ct !== undefined) this.resume(from.ct);
    else if (from !== undefined) readInner(packet);
    if (!this.conntracked && from !== undefined) clearConntrack(packet);
    this.tunnelDst = tunnelDestination(packet);
    if (fork.actionSet.length > 0) this.writeActions(fork.actionSet);
    const start = (this.base = packet.clone());
    const { steps } = this;
    const before = { outputs: this.outputs.length, punts: this.punts.length, uses: this.uses.length, meters: this.meters.length, learned: this.learned.length, forks: this.forks.length };
    if (fork.ops.length > 0) this.run(fork.ops);
    else this.descend(this.match(packet.words[at.in_port]!), undefined);
    if (this.error === undefined) {
      if (this.frozen === undefined) this.executeActionSet();
      if (this.frozen !== undefined) this.thawLater();
    }
    const error = this.error as TraceError | undefined;
    if (error !== undefined) {
      // Open vSwitch forgets what the translation did so far.
      this.outputs.length = before.outputs;
      this.punts.length = before.punts;
      this.uses.length = before.uses;
      this.meters.length = before.meters;
      this.learned.length = before.learned;
      this.forks.length = before.forks;
      this.drop(error.text);
    }
    this.passes.push({ number: this.passes.length, from, packet: start, steps, final: this.packet, error });
  }

  protected resume(use: CtUse<R>): void {
    const { packet } = this;
    packet.words[at.ct_zone] = use.zone;
    const answer = this.conntrack(use);
    packet.words[at.ct_state] = answer.state;
    if (answer.mark !== undefined) packet.set("ct_mark", BigInt(answer.mark));
    if (answer.label !== undefined) packet.set("ct_label", answer.label);
    answer.change?.(packet);
    this.assumptions.push({ use, state: answer.state });
  }

  // --- tables ---

  protected lookup(inPort: number, table: number): void {
    if (!this.mayResubmit()) return;
    const old = this.table;
    this.table = table;
    this.descend(this.match(inPort), table <= old);
    this.table = old;
  }

  protected mayResubmit(): boolean {
    if (this.depth >= limits.depth) this.fail("RECURSION_TOO_DEEP", `over max translation depth ${limits.depth}`);
    else if (this.resubmits >= limits.resubmits) this.fail("TOO_MANY_RESUBMITS", `over ${limits.resubmits} resubmit actions`);
    else if (this.stackBytes >= limits.stackBytes) this.fail("STACK_TOO_DEEP", "resubmits yielded over 64 kB of stack");
    else return true;
    return false;
  }

  /** In "drop" mode a fragment matches nothing, and otherwise one that matches as if it had no ports. */
  protected match(inPort: number): TraceFlow<R> | undefined {
    const { words } = this.packet;
    const fragment = words[at.nw_frag] !== 0 && this.sw.fragments !== "nx-match";
    if (fragment && this.sw.fragments === "drop") return undefined;
    const saved = [words[at.in_port]!, words[at.tp_src]!, words[at.tp_dst]!] as const;
    words[at.in_port] = inPort;
    if (fragment) words[at.tp_src] = words[at.tp_dst] = 0;
    const flow = this.sw.table(this.table)?.lookup(this.packet, (ids) => ids[this.choose("conjunction", this.table, ids)]!);
    [words[at.in_port], words[at.tp_src], words[at.tp_dst]] = saved;
    return flow;
  }

  /** `deepens`: whether it leads back; undefined for the first table, which is no resubmit. */
  protected descend(flow: TraceFlow<R> | undefined, deepens: boolean | undefined): void {
    const { steps, flow: caller } = this;
    const hop: Step<R> = { kind: "table", table: this.table, flow, packet: this.packet.clone(), steps: [] };
    (this.did?.steps ?? steps).push(hop);
    const did = this.did;
    this.steps = hop.steps;
    this.did = undefined;
    if (deepens !== undefined) this.resubmits++;
    if (deepens === true) this.depth++;
    this.flow = flow;
    this.run(flow?.ops ?? []);
    this.flow = caller;
    if (deepens === true) this.depth--;
    this.steps = steps;
    this.did = did;
  }

  // --- lists of actions ---

  protected run(ops: readonly Frozen<R>[], bucket = false): void {
    if (ops.length === 0) {
      this.drop(this.flow === undefined ? "no flow matches" : "no actions");
      return;
    }
    const { steps } = this;
    for (let i = 0; i < ops.length; i++) {
      if (this.error !== undefined) return;
      const op = ops[i]!;
      if (this.wasMpls && !this.exit && needsInner(op)) this.freeze();
      if (this.exit) {
        if (this.frozen !== undefined) this.keep(ops, i);
        return;
      }
      if (op.type === "unroll") {
        this.table = op.table;
        this.flow = op.flow;
        continue;
      }
      const did: Did<R> = { kind: "action", action: op, notes: [], steps: [] };
      steps.push(did);
      this.did = did;
      const end = this.act(op, ops, i, bucket);
      this.did = undefined;
      if (end === "return") return;
      if (end === "skip") i++;
      if (op.type === "resubmit" || op.type === "goto_table") continue;
      if (this.error === undefined && this.exit && this.frozen?.length === 0) {
        this.keep(ops, i);
        return;
      }
    }
  }

  protected freeze(): void {
    this.frozen ??= [];
    this.exit = true;
  }

  /** What is left of a list, to go on with when the packet is back. */
  protected keep(ops: readonly Frozen<R>[], from: number): void {
    if (from < ops.length) this.frozen!.push({ type: "unroll", table: this.table, flow: this.flow }, ...ops.slice(from));
  }

  /** The packet leaves to come back with its headers read anew, or when the controller says so. */
  protected thawLater(): void {
    const ops = this.frozen!;
    const paused = this.waiting?.paused === true;
    this.frozen = this.waiting = undefined;
    if (paused) return;
    this.forks.push({
      from: { pass: this.passes.length }, packet: this.packet.clone(), table: 0, ops, stack: [...this.stack], actionSet: [...this.actionSet], conntracked: this.conntracked,
    });
  }

  protected note(text: string): void {
    this.did?.notes.push(text);
  }

  protected fail(name: TraceErrorName, text: string): void {
    this.error ??= { name, text };
    this.note(text);
  }

  protected drop(reason: string): void {
    this.drops.push({ ...this.here(), reason });
  }

  protected here(): { readonly pass: number; readonly table: number; readonly flow: TraceFlow<R> | undefined } {
    return { pass: this.passes.length, table: this.table, flow: this.flow };
  }

  protected choose(kind: Choice["kind"], of: number, options: readonly number[]): number {
    const taken = options.length > 1 ? this.options.choose?.({ kind, of, options }) ?? 0 : 0;
    if (options.length > 1) this.choices.push({ kind, of, options, taken });
    return taken;
  }

  /** Does one action. "return": its list ends; "skip": when the packet comes back, it goes on behind the action. */
  protected abstract act(op: Op, ops: readonly Frozen<R>[], index: number, bucket: boolean): "return" | "skip" | undefined;

  // --- the action set ---

  protected writeActions(actions: readonly Op[]): void {
    if (!this.setHasGroup) {
      for (const a of actions) {
        if (a.type === "output") this.packet.words[at.actset_output] = a.port;
        else if (a.type === "group") {
          this.packet.words[at.actset_output] = UNSET;
          this.setHasGroup = true;
          break;
        }
      }
    }
    this.actionSet.push(...actions);
  }

  protected executeActionSet(): void {
    const list = actionSetList(this.actionSet);
    this.actionSet = [];
    if (list.length === 0) return;
    const { steps, did } = this;
    const step: Step<R> = { kind: "action_set", steps: [] };
    (did?.steps ?? steps).push(step);
    this.steps = step.steps;
    this.did = undefined;
    this.inActionSet = true;
    this.run(list);
    this.inActionSet = false;
    this.steps = steps;
    this.did = did;
  }
}

/** Whether, after the last MPLS label is gone, an action has to see what was behind it. ofproto-dpif-xlate.c, recirc_for_mpls. */
function needsInner(op: { readonly type: string; readonly field?: unknown }): boolean {
  if (op.type === "set_field") return fields[op.field as keyof typeof fields].needs !== undefined && !LAYER2.has(String(op.field));
  return !WITHOUT_INNER.has(op.type);
}
const WITHOUT_INNER: ReadonlySet<string> = new Set(["output", "output_trunc", "output_reg", "output_reg2", "set_vlan_vid", "set_vlan_pcp", "set_dl_src", "set_dl_dst", "set_tunnel", "set_tunnel64", "set_queue", "group", "unroll"]);
const LAYER2: ReadonlySet<string> = new Set(["eth_src", "eth_dst", "eth_type", "vlan_vid", "vlan_pcp", "vlan_tci", "mpls_label", "mpls_tc", "mpls_bos", "mpls_ttl"]);
