// Flows of a scope as bytes. A flow is encoded when a rule emits it; the bytes live in slabs and are shared by every
// switch of the scope. What a run emits again unchanged costs nothing: the bytes it had before are found and kept.
import { encodeFlowMod, encodeInstructions, type Action } from "node-openflow";
import type { LoweredFlow } from "../pipeline/layout.ts";
import { FLOW_KEY_OFFSET, FLOW_MOD_MATCH_OFFSET, type Flow } from "./desired.ts";

/** Encoded by a rule's run; `owner` tells who. There are a great many: small, one shape. */
export class OwnedFlow<O> implements Flow {
  readonly owner: O;
  readonly scope: string;
  readonly slab: Buffer;
  readonly off: number;
  readonly len: number;
  readonly matchLen: number;
  readonly key: string;
  /** The conjunction actions, if that is all it does: such flows merge. */
  readonly conjunctions: readonly Action[] | undefined;

  constructor(owner: O, scope: string, slab: Buffer, off: number, len: number, matchLen: number, key: string, conjunctions: readonly Action[] | undefined) {
    this.owner = owner;
    this.scope = scope;
    this.slab = slab;
    this.off = off;
    this.len = len;
    this.matchLen = matchLen;
    this.key = key;
    this.conjunctions = conjunctions;
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
}

/** A flow-mod is one OpenFlow message: 65,535 bytes at most (OpenFlow 1.3.5 section 7.1). */
export const FLOW_LIMIT = 65_535;
const SCRATCH = 4 * 65_536;

export class FlowEncoder {
  private slab = Buffer.alloc(0);
  private used = 0;
  private readonly scratch = Buffer.alloc(SCRATCH);
  private readonly cookie = { hi: 0, lo: 0 };
  /** Bytes per slab: large while compiling everything, small for changes, so that few dead bytes are kept alive. */
  slabSize = 1 << 20;

  /**
   * Encodes a flow and keeps it, or returns the one of `before` that has the same bytes and scope.
   * @throws OpenFlowError or RangeError when it has no wire form
   */
  encode<O>(owner: O, scope: string, flow: LoweredFlow, cookieHi: number, cookieLo: number, before: readonly OwnedFlow<O>[]): OwnedFlow<O> {
    this.cookie.hi = cookieHi;
    this.cookie.lo = cookieLo;
    const len = encodeFlowMod(this.scratch, 0, {
      command: "add", table_id: flow.table, priority: flow.priority, cookie: this.cookie, match: flow.match, instructions: flow.instructions,
    });
    if (len > FLOW_LIMIT) throw new RangeError(`a flow of table ${flow.table} takes ${len} bytes; a message has at most ${FLOW_LIMIT}`);
    for (const old of before) {
      if (old.len === len && old.scope === scope && this.scratch.compare(old.slab, old.off, old.off + len, 0, len) === 0) return old;
    }
    const matchLen = (this.scratch.readUInt16BE(FLOW_MOD_MATCH_OFFSET + 2) + 7) & ~7;
    const key = this.scratch.toString("latin1", FLOW_KEY_OFFSET, FLOW_MOD_MATCH_OFFSET + matchLen);
    return this.keep(owner, scope, len, matchLen, key, conjunctionsOf(flow));
  }

  /** A flow with another action list in place of `flow`'s: the union of conjunctions of all its emitters. */
  encodeMerged<O>(flow: OwnedFlow<O>, actions: Action[]): OwnedFlow<O> {
    const matchEnd = FLOW_MOD_MATCH_OFFSET + flow.matchLen;
    flow.slab.copy(this.scratch, 0, flow.off, flow.off + matchEnd);
    const len = encodeInstructions(this.scratch, matchEnd, [{ type: "apply_actions", actions }]);
    this.scratch.writeUInt16BE(len, 2);
    return this.keep(flow.owner, flow.scope, len, flow.matchLen, flow.key, actions);
  }

  /** What is in the scratch buffer, with its bytes in a slab for good. */
  private keep<O>(owner: O, scope: string, len: number, matchLen: number, key: string, conjunctions: readonly Action[] | undefined): OwnedFlow<O> {
    if (this.used + len > this.slab.length) {
      this.slab = Buffer.allocUnsafeSlow(Math.max(this.slabSize, len));
      this.used = 0;
    }
    const off = this.used;
    this.scratch.copy(this.slab, off, 0, len);
    this.used += len;
    return new OwnedFlow(owner, scope, this.slab, off, len, matchLen, key, conjunctions);
  }
}

/** Conjunction actions (16 bytes each, in one apply_actions of 8) that a message has room for behind this flow's match. */
export const conjunctionRoom = (flow: Flow): number => Math.floor((FLOW_LIMIT - FLOW_MOD_MATCH_OFFSET - flow.matchLen - 8) / 16);

export function sameBytes(a: Flow, b: Flow): boolean {
  return a === b || (a.len === b.len && a.slab.compare(b.slab, b.off, b.off + b.len, a.off, a.off + a.len) === 0);
}

function conjunctionsOf(flow: LoweredFlow): readonly Action[] | undefined {
  const first = flow.instructions[0];
  if (first?.type !== "apply_actions" || flow.instructions.length !== 1 || first.actions[0]?.type !== "conjunction") return undefined;
  return first.actions.every((a) => a.type === "conjunction") ? first.actions : undefined;
}
