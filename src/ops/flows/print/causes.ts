// Why flows are there, as text: what a rule's run read is the same for all its flows and on every switch, and resources are behind many. Both are
// written once and kept for the time of a dump, up to a limit; what changes meanwhile is written anew.
import type { Provenance } from "../../../compiler/engine.ts";
import type { Flow } from "../../../compiler/desired.ts";
import type { FlowResource } from "../flows.ts";
import type { Template } from "./templates.ts";

/** A rule, or what an app has without one: what all its flows have. */
export interface RuleText {
  readonly app: string;
  /** Between the cookie and the resources. */
  readonly head: Uint8Array;
  readonly static: boolean;
  readonly kinds: Kinds;
}

/** Kinds of flows of a rule: they stay from dump to dump. */
export interface Kinds {
  /** By number of their table. */
  readonly templates: (Template[] | undefined)[];
  /** Flows that were none of these. */
  missed: number;
  /** Kinds that could not be learned. */
  failed: number;
}

export interface ResourceText {
  readonly id: string;
  readonly text: Uint8Array;
}

export interface Cause {
  readonly rule: RuleText;
  readonly resources: readonly ResourceText[];
  /** Bytes of all of it. */
  readonly size: number;
}

export interface CausesParts {
  /** Flows with one owner have one cause. */
  readonly ownerOf: (flow: Flow) => object;
  readonly provenance: (flow: Flow) => Provenance;
  readonly resource: (of: Provenance["resources"][number]) => FlowResource;
  readonly ruleOf: (why: Provenance) => RuleText;
  readonly resourceText: (resource: FlowResource) => string;
}

/** Runs that are kept, resources of all of them, different ones among these, and bytes of their texts. */
const RUNS = 65_536;
const NAMED = 196_608;
const RESOURCES = 16_384;
const BYTES = 4 << 20;

export class Causes {
  private readonly parts: CausesParts;
  private readonly runs = new Map<object, Cause>();
  /** By table and id. */
  private readonly resources = new Map<string, Map<string, ResourceText>>();
  /** Flows of one owner come one after the other, as a rule. */
  private lastOwner: object | undefined;
  private last!: Cause;
  private named = 0;
  private kept = 0;
  private bytes = 0;
  /** Since the last switch began. */
  private asked = 0;
  private found = 0;
  private wasFull = false;
  private readonly most: number;

  /** `most`: runs that are kept, if fewer than usual. */
  constructor(parts: CausesParts, most = RUNS) {
    this.parts = parts;
    this.most = most;
  }

  clear(): void {
    this.lastOwner = undefined;
    this.runs.clear();
    this.resources.clear();
    this.named = 0;
    this.kept = 0;
    this.bytes = 0;
  }

  /** The flows of another switch follow. It has many that the last one had; where it has not, what is kept makes room. */
  nextSwitch(): void {
    if (this.wasFull && this.found * 4 < this.asked) this.clear();
    this.wasFull = this.full;
    this.asked = 0;
    this.found = 0;
  }

  // What comes first stays: who reads in the same order again and again finds nothing where what comes last does.
  private get full(): boolean {
    return this.runs.size >= this.most || this.named >= NAMED || this.kept >= RESOURCES || this.bytes >= BYTES;
  }

  of(flow: Flow): Cause {
    const owner = this.parts.ownerOf(flow);
    if (owner === this.lastOwner) return this.last;
    this.asked++;
    let cause = this.runs.get(owner);
    if (cause === undefined) cause = this.made(flow, owner);
    else this.found++;
    this.lastOwner = owner;
    return (this.last = cause);
  }

  private made(flow: Flow, owner: object): Cause {
    const why = this.parts.provenance(flow);
    const rule = this.parts.ruleOf(why);
    let size = rule.head.length;
    const keep = !this.full;
    const resources = why.resources.map((one) => {
      const text = this.resource(one, keep);
      size += text.text.length + 1;
      return text;
    });
    const cause = { rule, resources, size };
    if (keep) {
      this.runs.set(owner, cause);
      this.named += resources.length;
    }
    return cause;
  }

  private resource(of: Provenance["resources"][number], keep: boolean): ResourceText {
    let ofTable = this.resources.get(of.table);
    if (ofTable === undefined) this.resources.set(of.table, (ofTable = new Map<string, ResourceText>()));
    const known = ofTable.get(of.id);
    if (known !== undefined) return known;
    const text: ResourceText = { id: of.id, text: Buffer.from(this.parts.resourceText(this.parts.resource(of))) };
    if (keep) {
      ofTable.set(of.id, text);
      this.kept++;
      this.bytes += text.text.length;
    }
    return text;
  }
}
