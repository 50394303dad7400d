// Flows of a scope as bytes. A flow is encoded when a rule emits it; the bytes live in slabs and are shared by every
// switch of the scope. Two runs may emit the same flow: equal ones count once; parts of conjunctions with the same match
// are one flow with all their conjunction actions; anything else is a conflict, reported with both rules' names.
import { encodeFlowMod, encodeInstructions, type Action, type FlowMod } from "node-openflow";
import type { LoweredFlow } from "../pipeline/layout.ts";
import { FLOW_MOD_MATCH_OFFSET, type Flow } from "./desired.ts";

/** Encoded by a rule's run; `owner` tells who. */
export interface OwnedFlow<O> extends Flow {
  readonly owner: O;
  readonly scope: string;
  /** The conjunction actions, if that is all it does: such flows merge. */
  readonly conjunctions: readonly Action[] | undefined;
}

/** A flow-mod is one OpenFlow message: 65,535 bytes at most (OpenFlow 1.3.5 section 7.1). */
export const FLOW_LIMIT = 65_535;
const SCRATCH = 4 * 65_536;

export class FlowEncoder {
  private slab = Buffer.alloc(0);
  private used = 0;
  private readonly scratch = Buffer.alloc(SCRATCH);
  /** Bytes per slab: large while compiling everything, small for changes, so that few dead bytes are kept alive. */
  slabSize = 1 << 20;

  /** Encodes into the scratch buffer; the result is overwritten by the next call unless kept. */
  encode<O>(owner: O, scope: string, flow: LoweredFlow, cookieHi: number, cookieLo: number): OwnedFlow<O> {
    const mod: FlowMod = {
      command: "add",
      table_id: flow.table,
      priority: flow.priority,
      cookie: { hi: cookieHi, lo: cookieLo },
      match: flow.match,
      instructions: flow.instructions,
    };
    const len = encodeFlowMod(this.scratch, 0, mod, 0);
    if (len > FLOW_LIMIT) throw new RangeError(`a flow of table ${flow.table} takes ${len} bytes; a message has at most ${FLOW_LIMIT}`);
    const matchLen = (this.scratch.readUInt16BE(FLOW_MOD_MATCH_OFFSET + 2) + 7) & ~7;
    const key = String.fromCharCode(flow.table, flow.priority >> 8, flow.priority & 0xff) + this.scratch.toString("latin1", FLOW_MOD_MATCH_OFFSET, FLOW_MOD_MATCH_OFFSET + matchLen);
    return {
      owner, scope, table: flow.table, priority: flow.priority, cookieHi, cookieLo, slab: this.scratch, off: 0, len, matchLen, key,
      conjunctions: conjunctionsOf(flow),
    };
  }

  /** A flow with another action list in place of `flow`'s: the union of conjunctions of all its emitters. */
  encodeMerged<O>(flow: OwnedFlow<O>, actions: Action[]): OwnedFlow<O> {
    const matchEnd = FLOW_MOD_MATCH_OFFSET + flow.matchLen;
    flow.slab.copy(this.scratch, 0, flow.off, flow.off + matchEnd);
    const len = encodeInstructions(this.scratch, matchEnd, [{ type: "apply_actions", actions }]);
    if (len > FLOW_LIMIT) throw new RangeError(`${actions.length} conjunctions on one match take ${len} bytes; a message has at most ${FLOW_LIMIT}`);
    this.scratch.writeUInt16BE(len, 2);
    return { ...flow, slab: this.scratch, off: 0, len, conjunctions: actions };
  }

  /** The same flow with its bytes in a slab, for good. */
  keep<O>(flow: OwnedFlow<O>): OwnedFlow<O> {
    if (this.used + flow.len > this.slab.length) {
      this.slab = Buffer.allocUnsafeSlow(Math.max(this.slabSize, flow.len));
      this.used = 0;
    }
    const off = this.used;
    flow.slab.copy(this.slab, off, flow.off, flow.off + flow.len);
    this.used += flow.len;
    return { ...flow, slab: this.slab, off };
  }
}

export function sameBytes(a: Flow, b: Flow): boolean {
  return a.len === b.len && a.slab.compare(b.slab, b.off, b.off + b.len, a.off, a.off + a.len) === 0;
}

function conjunctionsOf(flow: LoweredFlow): readonly Action[] | undefined {
  const first = flow.instructions[0];
  if (flow.instructions.length !== 1 || first?.type !== "apply_actions" || first.actions.length === 0) return undefined;
  return first.actions.every((a) => a.type === "conjunction") ? first.actions : undefined;
}
