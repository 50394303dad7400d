// Runs a packet through the flows of a switch, action by action, as Open vSwitch translates it: ofproto/ofproto-dpif-xlate.c of 3.1.
import { fields, ports as reserved, type Action, type SubField } from "node-openflow";
import { actionSetList } from "./action-set.ts";
import { clearConntrack, decMplsTtl, decTtl, edit, popMpls, pushMpls, swapTuple, writePart } from "./edit.ts";
import type { Op } from "./flow.ts";
import { learnedFlow } from "./learn.ts";
import { Passes, type Frozen, type TraceOptions } from "./passes.ts";
import { fieldBits, port32, UNSET, type Packet } from "./packet/packet.ts";
import { at, ranges } from "./packet/places.ts";
import { isIp, isMpls } from "./packet/prerequisites.ts";
import { puntReasons, type CtUse, type PuntReason, type Step, type Trace } from "./result.ts";
import { sendOn, tunnelDestination } from "./tunnel.ts";
import type { TraceBucket, TraceSwitch } from "./switch.ts";

/** Of a packet that came back with the datapath's hash: any but 0. */
const SOME_HASH = 1;

/** What came of the packet. Nothing of the switch or of the packet given is changed. */
export function trace<R>(sw: TraceSwitch<R>, packet: Packet, options: TraceOptions = {}): Trace<R> {
  return new Run(sw, options).all(packet);
}

class Run<R> extends Passes<R> {
  // --- actions ---

  protected override act(op: Op, ops: readonly Frozen<R>[], index: number, bucket: boolean): "return" | "skip" | undefined {
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
        this.punt(puntReasons[op.reason ?? 1] ?? "action", op.controller_id ?? 0, op.max_len ?? 0xffff, op.userdata, paused, op.meter_id);
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
        this.outputs.push({ ...this.here(), port, packet: this.sent(false) });
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

  private sent(tunnelled: boolean): Packet {
    const packet = this.packet.clone();
    // A protocol number of 0 is no header to Open vSwitch: what actions changed behind the Ethernet header is not written. lib/odp-util.c, commit_set_nw_action.
    if (packet.words[at.nw_proto] === 0 && !isMpls(packet.words[at.eth_type]!)) packet.words.set(this.base.words.subarray(...ranges.layer3), ranges.layer3[0]);
    if (tunnelled) return packet;
    packet.words.fill(0, ...ranges.tunnel);
    packet.metadata = undefined;
    return packet;
  }

  private send(number: number, maxLen: number | undefined): void {
    const port = this.sw.port(number);
    if (port === undefined) { this.suppress(`port ${number} does not exist`); return; }
    if (port.noForward === true) { this.suppress(`port ${number} does not forward`); return; }
    let packet: Packet;
    if (port.tunnel === undefined) packet = this.sent(false);
    else {
      packet = this.sent(true);
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

  private punt(reason: PuntReason, controllerId: number, maxLen: number, userdata?: Uint8Array, paused?: boolean, meter?: number): void {
    if (meter !== undefined) this.meters.push(meter);
    this.punts.push({ ...this.here(), packet: this.packet.clone(), reason, controllerId, maxLen, ...(userdata && { userdata }), ...(paused === true && { paused }), ...(meter !== undefined && { meter }) });
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
    // By the hash of the datapath, which has to be asked for it: the packet comes back to the same action. pick_dp_hash_select_group
    if (group.type === "select" && this.packet.words[at.dp_hash] === 0) {
      this.packet.words[at.dp_hash] = SOME_HASH;
      this.freeze();
      return true;
    }
    const live = group.buckets.map((_, i) => i).filter((i) => this.sw.bucketLive(group, group.buckets[i]!));
    const chosen = live.length === 0 ? undefined : group.type === "ff" ? live[0]! : live[this.choose("select", id, live)]!;
    if (chosen === undefined) this.suppress(`group ${id} has no live bucket`);
    else this.bucket(id, group.buckets[chosen]!, chosen);
    return true;
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

  // --- copies ---

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
