// Flows of a scope as bytes. A flow is encoded when a rule emits it; the bytes live in slabs and are shared by every
// switch of the scope. What a run emits again unchanged costs nothing: the bytes it had before are found and kept.
import type { FlowSpec, Shape } from "#app";
import { decodeInstructions, encodeInstructions, FLOW_KEY_OFFSET, FLOW_MOD_MATCH_OFFSET, type Action } from "node-openflow";
import type { FlowWriter } from "../../pipeline/flow-writer.ts";
import type { Family, PipelineTable } from "../../pipeline/layout.ts";
import type { Flow } from "../desired.ts";

/** The scope a flow belongs to, as far as flows ask. */
export interface FlowScope {
  readonly name: string;
}

/** Encoded by a rule's run; `owner` tells who. There are a great many: small, one shape, the rest is read from the bytes. */
export class OwnedFlow<O> implements Flow {
  readonly owner: O;
  readonly scope: FlowScope;
  slab: Buffer;
  off: number;
  /** Of what `key` says. */
  readonly hash: number;
  /** Whether some scope holds it: set by FlowEncoder, as is `next`. */
  inUse = false;
  /** The next flow of its slab's list; null: it is the last, undefined: it is in none. */
  next: OwnedFlow<unknown> | null | undefined = undefined;
  private text: string | undefined = undefined;

  constructor(owner: O, scope: FlowScope, slab: Buffer, off: number, hash: number) {
    this.owner = owner;
    this.scope = scope;
    this.slab = slab;
    this.off = off;
    this.hash = hash;
  }

  get len(): number {
    return (this.slab[this.off + 2]! << 8) | this.slab[this.off + 3]!;
  }
  get matchLen(): number {
    const at = this.off + FLOW_MOD_MATCH_OFFSET + 2;
    return (((this.slab[at]! << 8) | this.slab[at + 1]!) + 7) & ~7;
  }
  /** Made when the first switch asks, then kept for the others: the compiler itself goes by `hash` and bytes. */
  get key(): string {
    return (this.text ??= this.slab.toString("latin1", this.off + FLOW_KEY_OFFSET, this.off + FLOW_MOD_MATCH_OFFSET + this.matchLen));
  }
  get table(): number {
    return this.slab[this.off + 24]!;
  }
  get priority(): number {
    return this.slab.readUInt16BE(this.off + 30);
  }
  get cookieHi(): number {
    return this.slab.readUInt32BE(this.off + 8);
  }
  get cookieLo(): number {
    return this.slab.readUInt32BE(this.off + 12);
  }

  /** The conjunction actions, if that is all it does: such flows merge. */
  get conjunctions(): readonly (Action & { type: "conjunction" })[] | undefined {
    const at = FLOW_MOD_MATCH_OFFSET + this.matchLen;
    const [apply, ...more] = decodeInstructions(this.slab, this.off + at, this.len - at);
    if (apply?.type !== "apply_actions" || more.length > 0) return undefined;
    const { actions } = apply;
    return actions.every((a) => a.type === "conjunction") ? actions : undefined;
  }
}

/** A flow-mod is one OpenFlow message: 65,535 bytes at most (OpenFlow 1.3.5 section 7.1). */
const FLOW_LIMIT = 65_535;
const SCRATCH = 4 * 65_536;

/** Bytes, and the same as words: messages begin and end at multiples of 8, and words hash faster. */
interface Slab {
  readonly bytes: Buffer;
  readonly words: Int32Array;
  /** A list of the flows that were put here and are in use, and of some that are not any more; `live`: bytes of those in use. */
  flows: OwnedFlow<unknown> | null;
  live: number;
  full: boolean;
}

function makeSlab(size: number): Slab {
  const bytes = Buffer.allocUnsafeSlow(size);
  return { bytes, words: new Int32Array(bytes.buffer, 0, size >> 2), flows: null, live: 0, full: false };
}

/** A full slab whose live bytes are less than one part in this many is given up: what lives there moves. */
const SPARSE = 4;

export class FlowEncoder {
  private slab = makeSlab(0);
  private used = 0;
  private readonly scratch = makeSlab(SCRATCH);
  private readonly writer: FlowWriter;
  private readonly slabs = new Map<Buffer, Slab>();
  private filled: Slab[] = [];
  /** Bytes per slab: large while compiling everything, small for changes. */
  slabSize = 1 << 20;

  constructor(writer: FlowWriter) {
    this.writer = writer;
  }

  /** Bytes of all slabs that hold a flow in use, and bytes of the flows in use. */
  get memory(): { readonly held: number; readonly live: number } {
    let held = 0;
    let live = 0;
    for (const slab of this.slabs.values()) {
      held += slab.bytes.length;
      live += slab.live;
    }
    return { held, live };
  }

  /** Where the next flow is written: straight into the slab while the longest would fit. */
  private get target(): Slab {
    return this.slab.bytes.length - this.used > FLOW_LIMIT + 1 ? this.slab : this.scratch;
  }

  /**
   * Encodes a flow, or returns the one of `before` that has the same bytes and scope. It is kept once `retain` is called.
   * @throws OpenFlowError or RangeError when it has no wire form
   */
  encode<O>(owner: O, scope: FlowScope, table: PipelineTable, spec: FlowSpec, family: Family | undefined, cookieHi: number, cookieLo: number, before: readonly OwnedFlow<O>[]): OwnedFlow<O> {
    const to = this.target;
    const off = to === this.slab ? this.used : 0;
    return this.written(owner, scope, to, off, this.writer.write(to.bytes, off, table, spec, cookieHi, cookieLo, family), before);
  }

  /** The same for a shape and what it is filled with. @throws Error naming shape and value when the shape is no shape */
  encodeShape<O>(owner: O, scope: FlowScope, table: PipelineTable, shape: Shape, value: unknown, cookieHi: number, cookieLo: number, before: readonly OwnedFlow<O>[]): OwnedFlow<O> {
    const to = this.target;
    const off = to === this.slab ? this.used : 0;
    return this.written(owner, scope, to, off, this.writer.writeShape(to.bytes, to.words, off, table, shape, value, cookieHi, cookieLo), before);
  }

  /** What was written becomes a flow, if there is none like it. */
  private written<O>(owner: O, scope: FlowScope, { bytes, words }: Slab, off: number, end: number, before: readonly OwnedFlow<O>[]): OwnedFlow<O> {
    const len = end - off;
    const hash = hashKey(bytes, words, off);
    for (let i = 0; i < before.length; i++) {
      const old = before[i]!;
      if (old.hash === hash && old.scope === scope && old.len === len && bytes.compare(old.slab, old.off, old.off + len, off, end) === 0) return old;
    }
    if (bytes !== this.slab.bytes) return this.keep(owner, scope, bytes, 0, len, hash);
    this.used += len;
    return new OwnedFlow(owner, scope, bytes, off, hash);
  }

  /** A flow with another action list in place of `flow`'s: the union of conjunctions of all its emitters. */
  encodeMerged<O>(flow: OwnedFlow<O>, actions: readonly Action[]): OwnedFlow<O> {
    const matchEnd = FLOW_MOD_MATCH_OFFSET + flow.matchLen;
    const { bytes } = this.scratch;
    flow.slab.copy(bytes, 0, flow.off, flow.off + matchEnd);
    const len = encodeInstructions(bytes, matchEnd, [{ type: "apply_actions", actions }]);
    bytes.writeUInt16BE(len, 2);
    return this.keep(flow.owner, flow.scope, bytes, 0, len, flow.hash);
  }

  /** The flow is in use from now on. */
  retain(flow: OwnedFlow<unknown>): void {
    // Nearly always it was encoded just now.
    const slab = flow.slab === this.slab.bytes ? this.slab : this.slabs.get(flow.slab);
    if (slab === undefined) return; // the bytes are a caller's own
    flow.inUse = true;
    slab.live += flow.len;
    if (flow.next !== undefined) return;
    flow.next = slab.flows;
    slab.flows = flow;
  }

  /** The flow is in use no more; when little lives in its slab, that moves elsewhere, so that one flow does not pin a slab. */
  release(flow: OwnedFlow<unknown>): void {
    const slab = this.slabs.get(flow.slab);
    if (slab === undefined || !flow.inUse) return;
    flow.inUse = false;
    slab.live -= flow.len;
    if (slab.full && slab.live * SPARSE < slab.bytes.length) this.vacate(slab);
  }

  /** Ends a batch: slabs that it filled with what nobody kept are given up. */
  endBatch(): void {
    const { filled } = this;
    if (filled.length === 0) return;
    this.filled = [];
    for (const slab of filled) {
      slab.full = true;
      if (slab.live * SPARSE < slab.bytes.length && this.slabs.has(slab.bytes)) this.vacate(slab);
    }
  }

  private vacate(slab: Slab): void {
    let flow = slab.flows;
    this.slabs.delete(slab.bytes);
    slab.flows = null;
    while (flow !== null) {
      const next: OwnedFlow<unknown> | null = flow.next ?? null;
      flow.next = undefined;
      if (flow.inUse) {
        const { len } = flow;
        const off = this.room(len);
        slab.bytes.copy(this.slab.bytes, off, flow.off, flow.off + len);
        flow.slab = this.slab.bytes;
        flow.off = off;
        flow.next = this.slab.flows;
        this.slab.flows = flow;
        this.slab.live += len;
      }
      flow = next;
    }
  }

  private keep<O>(owner: O, scope: FlowScope, from: Buffer, at: number, len: number, hash: number): OwnedFlow<O> {
    const off = this.room(len);
    from.copy(this.slab.bytes, off, at, at + len);
    return new OwnedFlow(owner, scope, this.slab.bytes, off, hash);
  }

  /** Offset of `len` free bytes of the slab, or of a new one. */
  private room(len: number): number {
    if (this.used + len > this.slab.bytes.length) {
      // Flows of a run under way may lie in it unused so far: it counts as full when the batch ends.
      if (this.slab.bytes.length > 0) this.filled.push(this.slab);
      this.slab = makeSlab(Math.max(this.slabSize, len));
      this.slabs.set(this.slab.bytes, this.slab);
      this.used = 0;
    }
    const off = this.used;
    this.used += len;
    return off;
  }
}

/** Of table, priority and match. */
function hashKey(bytes: Buffer, words: Int32Array, off: number): number {
  const first = off >> 2;
  const matchAt = off + FLOW_MOD_MATCH_OFFSET;
  const end = (matchAt + (((bytes[matchAt + 2]! << 8) | bytes[matchAt + 3]!) + 7)) >> 3 << 1;
  let h = Math.imul(words[first + 6]!, 0x9e3779b1) ^ words[first + 7]!;
  // Two words at a time: a match is a multiple of 8 bytes.
  for (let i = first + FLOW_MOD_MATCH_OFFSET / 4; i < end; i += 2) {
    h = Math.imul(h ^ words[i]!, 0x85ebca6b) ^ Math.imul(words[i + 1]!, 0x9e3779b1);
    h ^= h >>> 15;
  }
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Conjunction actions (16 bytes each, in one apply_actions of 8) that a message has room for behind this flow's match. */
export const conjunctionRoom = (flow: Flow): number => Math.floor((FLOW_LIMIT - FLOW_MOD_MATCH_OFFSET - flow.matchLen - 8) / 16);

export function sameBytes(a: Flow, b: Flow): boolean {
  return a === b || (a.len === b.len && a.slab.compare(b.slab, b.off, b.off + b.len, a.off, a.off + a.len) === 0);
}

/** Whether what stands behind the match is the same. */
export function sameActions(a: Flow, b: Flow): boolean {
  if (a === b) return true;
  const at = FLOW_MOD_MATCH_OFFSET + a.matchLen;
  return a.len === b.len && a.matchLen === b.matchLen && a.slab.compare(b.slab, b.off + at, b.off + b.len, a.off + at, a.off + a.len) === 0;
}
