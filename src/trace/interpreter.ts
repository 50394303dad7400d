// Runs a packet through the flows of a switch, as Open vSwitch translates it: ofproto/ofproto-dpif-xlate.c of 3.1. One `Run` is one packet
// with all that becomes of it; conntrack gives copies of it back, which go on one after the other, each in a pass of its own.
// Longer than other files: the actions of one packet share one state, and their order decides.
import { fields, ports as reserved, type Action, type SubField } from "node-openflow";
import { actionSetList } from "./action-set.ts";
import { ctNext, type Conntrack } from "./conntrack.ts";
import { clearConntrack, decMplsTtl, decTtl, edit, popMpls, pushMpls, readInner, swapTuple, writePart } from "./edit.ts";
import type { Op, TraceFlow } from "./flow.ts";
import { learnedFlow, type LearnedFlow } from "./learn.ts";
import { fieldBits, port32, UNSET, type Packet } from "./packet/packet.ts";
import { at, ranges } from "./packet/places.ts";
import { isIp } from "./packet/prerequisites.ts";
import { puntReasons, type Choice, type CtAssumption, type CtUse, type Did, type Drop, type Output, type Pass, type Punt, type PuntReason, type Step, type Trace, type TraceError, type TraceErrorName } from "./result.ts";
import { sendOn } from "./tunnel.ts";
import type { TraceBucket, TraceGroup, TraceSwitch } from "./switch.ts";

/** MAX_DEPTH and MAX_RESUBMITS of Open vSwitch; a pass at most gets 64 kB of stack. */
export const limits = { depth: 64, resubmits: 4096, stackBytes: 65_536, passes: 64 } as const;
const LIVENESS_DEPTH = 128;

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
type Frozen<R> = Op | Unroll<R>;

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

/** What came of the packet. Nothing of the switch or of the packet given is changed. */
export function trace<R>(sw: TraceSwitch<R>, packet: Packet, options: TraceOptions = {}): Trace<R> {
  return new Run(sw, options).all(packet);
}

class Run<R> {
  private readonly sw: TraceSwitch<R>;
  private readonly conntrack: Conntrack;
  private readonly options: TraceOptions;
  private readonly passes: Pass<R>[] = [];
  private outputs: Output<R>[] = [];
  private punts: Punt<R>[] = [];
  private readonly drops: Drop<R>[] = [];
  private uses: CtUse<R>[] = [];
  private readonly assumptions: CtAssumption<R>[] = [];
  private meters: number[] = [];
  private learned: LearnedFlow[] = [];
  private readonly choices: Choice[] = [];
  private readonly forks: Fork<R>[] = [];

  // --- of the pass under way ---
  private packet!: Packet;
  private steps: Step<R>[] = [];
  private did: Did<R> | undefined;
  private table = 0;
  private flow: TraceFlow<R> | undefined;
  private depth = 0;
  private resubmits = 0;
  private stack: StackValue[] = [];
  private stackBytes = 0;
  private actionSet: Op[] = [];
  private setHasGroup = false;
  private inActionSet = false;
  private exit = false;
  private error: TraceError | undefined;
  private conntracked = false;
  private wasMpls = false;
  /** Actions that wait for the packet to come back, when it is on its way out for that. */
  private frozen: Frozen<R>[] | undefined;
  private waiting: Waiting | undefined;
  private tunnelDst = "";

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

  private pass(fork: Fork<R>): void {
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
    const start = packet.clone();
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

  private resume(use: CtUse<R>): void {
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

  private lookup(inPort: number, table: number): void {
    if (!this.mayResubmit()) return;
    const old = this.table;
    this.table = table;
    this.descend(this.match(inPort), table <= old);
    this.table = old;
  }

  private mayResubmit(): boolean {
    if (this.depth >= limits.depth) this.fail("RECURSION_TOO_DEEP", `over max translation depth ${limits.depth}`);
    else if (this.resubmits >= limits.resubmits) this.fail("TOO_MANY_RESUBMITS", `over ${limits.resubmits} resubmit actions`);
    else if (this.stackBytes >= limits.stackBytes) this.fail("STACK_TOO_DEEP", "resubmits yielded over 64 kB of stack");
    else return true;
    return false;
  }

  /** In "drop" mode a fragment matches nothing, and otherwise one that matches as if it had no ports. */
  private match(inPort: number): TraceFlow<R> | undefined {
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
  private descend(flow: TraceFlow<R> | undefined, deepens: boolean | undefined): void {
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

  private run(ops: readonly Frozen<R>[], bucket = false): void {
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

  private freeze(): void {
    this.frozen ??= [];
    this.exit = true;
  }

  /** What is left of a list, to go on with when the packet is back. */
  private keep(ops: readonly Frozen<R>[], from: number): void {
    if (from < ops.length) this.frozen!.push({ type: "unroll", table: this.table, flow: this.flow }, ...ops.slice(from));
  }

  /** The packet leaves to come back with its headers read anew, or when the controller says so. */
  private thawLater(): void {
    const ops = this.frozen!;
    const paused = this.waiting?.paused === true;
    this.frozen = this.waiting = undefined;
    if (paused) return;
    this.forks.push({
      from: { pass: this.passes.length }, packet: this.packet.clone(), table: 0, ops, stack: [...this.stack], actionSet: [...this.actionSet], conntracked: this.conntracked,
    });
  }

  private note(text: string): void {
    this.did?.notes.push(text);
  }

  private fail(name: TraceErrorName, text: string): void {
    this.error ??= { name, text };
    this.note(text);
  }

  private drop(reason: string): void {
    this.drops.push({ ...this.here(), reason });
  }

  private here(): { readonly pass: number; readonly table: number; readonly flow: TraceFlow<R> | undefined } {
    return { pass: this.passes.length, table: this.table, flow: this.flow };
  }

  private choose(kind: Choice["kind"], of: number, options: readonly number[]): number {
    const taken = options.length > 1 ? this.options.choose?.({ kind, of, options }) ?? 0 : 0;
    if (options.length > 1) this.choices.push({ kind, of, options, taken });
    return taken;
  }

  // --- actions ---

  /** "return": the list ends; "skip": when the packet comes back, it goes on behind the action. */
  private act(op: Op, ops: readonly Frozen<R>[], index: number, bucket: boolean): "return" | "skip" | undefined {
    const { packet } = this;
    const note = edit(packet, op);
    if (note !== undefined) {
      if (note !== "") this.note(note);
      return undefined;
    }
    switch (op.type) {
      case "output":
        this.output(op.port, bucket, op.max_len);
        return undefined;
      case "output_reg":
      case "output_reg2": {
        const port = packet.part(op.src.field, op.src.ofs, op.src.bits);
        if (port > 0xffffn) this.suppress(`output port ${port} is out of range`);
        else this.output(port32(Number(port)), bucket, op.max_len);
        return undefined;
      }
      case "output_trunc":
        this.outputTrunc(port32(op.port), op.max_len, bucket);
        return undefined;
      case "controller": {
        const paused = op.pause === true;
        if (paused) {
          this.freeze();
          this.waiting = { paused };
        }
        this.punt(puntReasons[op.reason ?? 1] ?? "action", op.controller_id ?? 0, op.max_len ?? 0xffff, op.userdata, paused);
        return paused ? "skip" : undefined;
      }
      case "resubmit":
        this.resubmit(op);
        return undefined;
      case "goto_table":
        this.lookup(packet.words[at.in_port]!, op.table_id);
        return undefined;
      case "group":
        return this.group(op.group_id) ? undefined : "return";
      case "dec_ttl":
        return this.ttl(decTtl(packet), [0]);
      case "dec_ttl_cnt_ids":
        return this.ttl(decTtl(packet), op.ids);
      case "dec_mpls_ttl": {
        const left = decMplsTtl(packet);
        if (left === undefined) this.drop("the packet has no MPLS label");
        return left === undefined ? "return" : this.ttl(left, [0]);
      }
      case "push_mpls":
        if (!pushMpls(packet, op.ethertype)) this.fail("TOO_MANY_MPLS_LABELS", "more than 3 MPLS labels");
        return undefined;
      case "pop_mpls": {
        const popped = popMpls(packet, op.ethertype);
        if (popped === "inner") this.wasMpls = true;
        else if (popped === "full") this.fail("TOO_MANY_MPLS_LABELS", "more than 3 MPLS labels");
        return undefined;
      }
      case "set_queue":
        packet.words[at.skb_priority] = op.queue_id;
        return undefined;
      case "pop_queue":
        packet.words[at.skb_priority] = 0;
        return undefined;
      case "meter":
        this.meters.push(op.meter_id);
        return undefined;
      case "stack_push":
        this.stack.push({ value: packet.part(op.field.field, op.field.ofs, op.field.bits), bits: op.field.bits });
        this.stackBytes += Math.ceil(op.field.bits / 8);
        return undefined;
      case "stack_pop":
        this.pop(op.field);
        return undefined;
      case "ct":
        this.ct(op);
        return undefined;
      case "ct_clear":
        if (this.conntracked) {
          clearConntrack(packet);
          this.conntracked = false;
        }
        return undefined;
      case "clone":
        this.clone(op.actions);
        return undefined;
      case "learn":
        this.learned.push(learnedFlow(op, packet));
        return undefined;
      case "write_actions":
        this.writeActions(op.actions);
        return undefined;
      case "clear_actions":
        this.actionSet = [];
        this.setHasGroup = false;
        packet.words[at.actset_output] = UNSET;
        return undefined;
      case "multipath": {
        const links = Array.from({ length: op.max_link + 1 }, (_, i) => i);
        const link = links[this.choose("multipath", this.table, links)]!;
        this.write(op.dst, BigInt(link));
        return undefined;
      }
      case "bundle":
      case "bundle_load": {
        const live = op.members.map((m, i) => [port32(m), i] as const).filter(([port]) => this.sw.live(port));
        const port = live.length === 0 ? reserved.ANY : live[this.choose("bundle", this.table, live.map(([, i]) => i))]![0];
        if (op.type === "bundle_load") this.write((op as unknown as { dst: SubField }).dst, BigInt(port & 0xffff));
        else this.output(port, bucket, 0);
        return undefined;
      }
      case "check_pkt_larger":
        return this.checkLength(op, ops, index);
      case "exit":
        this.exit = true;
        return undefined;
      case "debug_recirc":
        this.freeze();
        return "skip";
      case "conjunction":
        this.note("a conjunction action does nothing where it is executed");
        return undefined;
      case "note":
      case "sample":
      case "sample2":
      case "sample3":
      case "fin_timeout":
      case "debug_slow":
      case "nat":
        return undefined;
      default:
        this.fail("UNSUPPORTED_ACTION", `action ${op.type} is not interpreted`);
        return undefined;
    }
  }

  private write(dst: SubField, value: bigint): void {
    const why = writePart(this.packet, dst, value);
    if (why !== undefined) this.note(why);
  }

  private suppress(reason: string): void {
    this.note(reason);
    this.drop(reason);
  }

  private ttl(left: boolean | undefined, controllers: readonly number[]): "return" | undefined {
    if (left !== false) return undefined;
    for (const id of controllers) this.punt("invalid_ttl", id, 0xffff);
    this.drop("time to live exceeded");
    return "return";
  }

  private pop({ field, ofs, bits }: SubField): void {
    const top = this.stack.pop();
    if (top === undefined) {
      this.note("stack underflow");
      return;
    }
    this.stackBytes -= Math.ceil(top.bits / 8);
    this.write({ field, ofs, bits }, top.value & ((1n << BigInt(bits)) - 1n));
  }

  private resubmit(op: Action & { readonly type: "resubmit" }): void {
    const { words } = this.packet;
    const inPort = op.in_port === undefined ? words[at.in_port]! : port32(op.in_port);
    const port = inPort === reserved.IN_PORT ? words[at.in_port]! : inPort;
    const table = op.table === undefined || op.table === 255 ? this.table : op.table;
    if (op.ct !== true) {
      this.lookup(port, table);
      return;
    }
    if (!this.mayResubmit()) return;
    if (words[at.ct_nw_proto] === 0 || !isIp(words)) {
      this.note("resubmit(ct) of a packet that is no IP or has no connection");
      return;
    }
    const old = this.table;
    this.table = table;
    swapTuple(this.packet);
    const flow = this.match(port);
    swapTuple(this.packet);
    this.descend(flow, table <= old);
    this.table = old;
  }

  // --- out ---

  private output(port: number, bucket: boolean, maxLen: number | undefined, truncate?: number): void {
    const inPort = this.packet.words[at.in_port]!;
    switch (port) {
      case reserved.IN_PORT:
        this.send(inPort, truncate);
        return;
      case reserved.TABLE:
        this.lookup(inPort, 0);
        return;
      case reserved.NORMAL:
        this.outputs.push({ ...this.here(), port, packet: this.sent() });
        return;
      case reserved.FLOOD:
      case reserved.ALL:
        for (const p of this.sw.allPorts()) if (p.number !== inPort && (port === reserved.ALL || p.noFlood !== true)) this.send(p.number, truncate);
        return;
      case reserved.CONTROLLER:
        this.punt(bucket ? "group" : this.inActionSet ? "action_set" : "action", 0, maxLen ?? 0xffff);
        return;
      case reserved.ANY:
        return;
      default:
        if (port === inPort) this.suppress("skipping output to input port");
        else this.send(port, truncate);
    }
  }

  private outputTrunc(port: number, maxLen: number, bucket: boolean): void {
    if (port > reserved.MAX && port !== reserved.LOCAL && port !== reserved.IN_PORT) this.suppress(`output_trunc does not support port ${port}`);
    else this.output(port, bucket, 0, maxLen);
  }

  private sent(): Packet {
    const packet = this.packet.clone();
    packet.words.fill(0, ...ranges.tunnel);
    packet.metadata = undefined;
    return packet;
  }

  private send(number: number, maxLen: number | undefined): void {
    const port = this.sw.port(number);
    if (port === undefined) { this.suppress(`port ${number} does not exist`); return; }
    if (port.noForward === true) { this.suppress(`port ${number} does not forward`); return; }
    let packet: Packet;
    if (port.tunnel === undefined) packet = this.sent();
    else {
      packet = this.packet.clone();
      sendOn(packet, port.tunnel);
      if (tunnelDestination(packet) === this.tunnelDst) {
        // What the port made of the tunnel's fields is taken back otherwise; here Open vSwitch 3.1 leaves it.
        this.packet.words.set(packet.words.subarray(...ranges.tunnel), ranges.tunnel[0]);
        this.suppress("not tunneling to our own address");
        return;
      }
    }
    this.outputs.push({ ...this.here(), port: number, packet, ...(maxLen === undefined ? {} : { maxLen }) });
  }

  private punt(reason: PuntReason, controllerId: number, maxLen: number, userdata?: Uint8Array, paused?: boolean): void {
    this.punts.push({ ...this.here(), packet: this.packet.clone(), reason, controllerId, maxLen, ...(userdata && { userdata }), ...(paused === true && { paused }) });
  }

  // --- groups ---

  /** @returns false when there is no such group, which ends the list */
  private group(id: number): boolean {
    if (!this.mayResubmit()) return true;
    const group = this.sw.groups.get(id);
    if (group === undefined) {
      this.suppress(`group ${id} does not exist`);
      return false;
    }
    if (group.type === "all" || group.type === "indirect") {
      group.buckets.forEach((b, i) => this.bucket(id, b, i));
      return true;
    }
    const live = group.buckets.map((_, i) => i).filter((i) => this.alive(group, group.buckets[i]!, 0));
    const chosen = live.length === 0 ? undefined : group.type === "ff" ? live[0]! : live[this.choose("select", id, live)]!;
    if (chosen === undefined) this.suppress(`group ${id} has no live bucket`);
    else this.bucket(id, group.buckets[chosen]!, chosen);
    return true;
  }

  private alive(group: TraceGroup, bucket: TraceBucket, depth: number): boolean {
    if (depth >= LIVENESS_DEPTH || (group.type === "select" && bucket.weight === 0)) return false;
    const port = bucket.watch_port ?? reserved.ANY;
    const other = bucket.watch_group ?? reserved.ANY;
    if (port === reserved.ANY && other === reserved.ANY) return true;
    if (port !== reserved.ANY && this.sw.live(port)) return true;
    const watched = other === reserved.ANY ? undefined : this.sw.groups.get(other);
    return watched?.buckets.some((b) => this.alive(watched, b, depth + 1)) ?? false;
  }

  private bucket(group: number, bucket: TraceBucket, place: number): void {
    const { packet, steps, did, wasMpls } = this;
    this.packet = packet.clone();
    const step: Step<R> = { kind: "bucket", group, bucket: place, packet: packet.clone(), steps: [] };
    (did?.steps ?? steps).push(step);
    this.steps = step.steps;
    this.did = undefined;
    this.depth++;
    this.run(actionSetList(bucket.actions), true);
    this.depth--;
    if (this.frozen !== undefined) this.thawLater();
    this.packet = packet;
    this.steps = steps;
    this.did = did;
    this.wasMpls = wasMpls;
    this.exit = false;
    if (this.error?.name === "TOO_MANY_MPLS_LABELS") this.error = undefined;
  }

  // --- sets and copies ---

  private writeActions(actions: readonly Op[]): void {
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

  private executeActionSet(): void {
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

  /** On a copy of the packet, stack and action set; an exit in it ends everything, as it does in Open vSwitch. */
  private clone(actions: readonly Op[]): void {
    this.onCopy(() => this.run(actions));
  }

  private onCopy(run: () => void): void {
    const { packet, stack, stackBytes, actionSet, setHasGroup, wasMpls, conntracked, steps, did } = this;
    this.packet = packet.clone();
    this.stack = [...stack];
    this.actionSet = [...actionSet];
    if (did !== undefined) this.steps = did.steps;
    this.did = undefined;
    run();
    if (this.frozen === undefined) this.executeActionSet();
    if (this.frozen !== undefined) this.thawLater();
    Object.assign(this, { packet, stack, stackBytes, actionSet, setHasGroup, wasMpls, conntracked, steps, did });
  }

  /** A datapath does what follows twice, once for each answer; with a frame of known length there is one. */
  private checkLength(op: Action & { readonly type: "check_pkt_larger" }, ops: readonly Frozen<R>[], index: number): "return" {
    const rest = ops.slice(index + 1);
    const { length } = this.packet;
    for (const larger of length === undefined ? [1n, 0n] : [length > op.pkt_len ? 1n : 0n]) {
      const { exit } = this;
      this.onCopy(() => {
        this.write({ ...op.dst, bits: 1 }, larger);
        this.run(rest);
      });
      this.exit = exit;
    }
    return "return";
  }

  // --- connection tracking ---

  private ct(op: Action & { readonly type: "ct" }): void {
    const { packet } = this;
    const zone = typeof op.zone === "object" ? Number(packet.part(op.zone.field, op.zone.ofs, op.zone.bits)) : op.zone ?? 0;
    const { steps, did } = this;
    let nat = op.nat;
    if (op.exec !== undefined && op.exec.length > 0) {
      if (did !== undefined) this.steps = did.steps;
      for (const a of op.exec) if (a.type === "nat") nat = a.nat;
      this.run(op.exec);
      this.steps = steps;
      this.did = did;
    }
    const given = marksOf(op.exec ?? []);
    const use: CtUse<R> = {
      ...this.here(), zone, packet: packet.clone(), commit: op.commit === true, force: op.force === true, ...(nat && { nat }), ...(op.alg !== undefined && { alg: op.alg }), ...given,
      ...(op.table !== undefined && { nextTable: op.table }),
    };
    this.uses.push(use);
    if (op.table !== undefined) {
      this.forks.push({
        from: { pass: this.passes.length, ct: use }, packet: packet.clone(), table: op.table, ops: [], stack: [...this.stack], actionSet: [...this.actionSet], conntracked: true,
      });
    }
    clearConntrack(packet);
    this.conntracked = false;
  }
}

function marksOf(exec: readonly Action[]): { readonly mark?: number; readonly label?: bigint } {
  const out: { mark?: number; label?: bigint } = {};
  for (const a of exec) {
    if (a.type !== "set_field") continue;
    const { value } = fieldBits(fields[a.field], a.value);
    if (a.field === "ct_mark") out.mark = Number(value);
    else if (a.field === "ct_label") out.label = value;
  }
  return out;
}

function tunnelDestination({ words }: Packet): string {
  const v4 = words[at.tun_dst]!;
  return v4 === 0 ? words.slice(at.tun_ipv6_dst, at.tun_ipv6_dst + 4).join() : String(v4);
}

/** Whether, after the last MPLS label is gone, an action has to see what was behind it. ofproto-dpif-xlate.c, recirc_for_mpls. */
function needsInner(op: { readonly type: string; readonly field?: unknown }): boolean {
  if (op.type === "set_field") return fields[op.field as keyof typeof fields].needs !== undefined && !LAYER2.has(String(op.field));
  return !WITHOUT_INNER.has(op.type);
}
const WITHOUT_INNER: ReadonlySet<string> = new Set(["output", "output_trunc", "output_reg", "output_reg2", "set_vlan_vid", "set_vlan_pcp", "set_dl_src", "set_dl_dst", "set_tunnel", "set_tunnel64", "set_queue", "group", "unroll"]);
const LAYER2: ReadonlySet<string> = new Set(["eth_src", "eth_dst", "eth_type", "vlan_vid", "vlan_pcp", "vlan_tci", "mpls_label", "mpls_tc", "mpls_bos", "mpls_ttl"]);
