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
  readonly kindsOf: (app: string, rule: string) => Kinds;
  /** Changes with whatever may be behind a flow. */
  readonly instant: () => string;
  readonly ruleText: (why: Provenance) => string;
  readonly resourceText: (resource: FlowResource) => string;
}

/** Runs that are kept, resources of all of them, different ones among these, and bytes of their texts. */
const RUNS = 32_768;
const NAMED = 131_072;
const RESOURCES = 16_384;
const BYTES = 4 << 20;

export class Causes {
  private readonly parts: CausesParts;
  private readonly runs = new Map<object, Cause>();
  private readonly rules = new Map<string, RuleText>();
  private readonly resources = new Map<string, Map<string, ResourceText>>();
  private named = 0;
  private kept = 0;
  private bytes = 0;
  /** Since the last switch began. */
  private asked = 0;
  private found = 0;
  private instant = "";

  constructor(parts: CausesParts) {
    this.parts = parts;
  }

  /** To be called where anything may have changed: after others had their turn. */
  refresh(): void {
    const instant = this.parts.instant();
    if (instant === this.instant) return;
    this.instant = instant;
    this.clear();
  }

  clear(): void {
    this.runs.clear();
    this.resources.clear();
    this.named = 0;
    this.kept = 0;
    this.bytes = 0;
  }

  /** The flows of another switch follow. It has many that the last one had; where it has not, what is kept makes room. */
  nextSwitch(): void {
    if (this.full && this.found * 4 < this.asked) this.clear();
    this.asked = 0;
    this.found = 0;
  }

  // What comes first stays: who reads in the same order again and again finds nothing where what comes last does.
  private get full(): boolean {
    return this.runs.size >= RUNS || this.named >= NAMED || this.kept >= RESOURCES || this.bytes >= BYTES;
  }

  of(flow: Flow): Cause {
    this.asked++;
    const owner = this.parts.ownerOf(flow);
    const known = this.runs.get(owner);
    if (known !== undefined) {
      this.found++;
      return known;
    }
    const why = this.parts.provenance(flow);
    const rule = this.rule(why);
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

  private rule(why: Provenance): RuleText {
    const name = `${why.app}/${why.rule}`;
    let rule = this.rules.get(name);
    if (rule === undefined) {
      rule = { app: why.app, head: Buffer.from(this.parts.ruleText(why)), static: why.static, kinds: this.parts.kindsOf(why.app, why.rule) };
      this.rules.set(name, rule);
    }
    return rule;
  }

  private resource(of: Provenance["resources"][number], keep: boolean): ResourceText {
    const key = `${of.type} ${of.table}`;
    let ofType = this.resources.get(key);
    if (ofType === undefined) this.resources.set(key, (ofType = new Map<string, ResourceText>()));
    const known = ofType.get(of.id);
    if (known !== undefined) return known;
    const text: ResourceText = { id: of.id, text: Buffer.from(this.parts.resourceText(this.parts.resource(of))) };
    if (keep) {
      ofType.set(of.id, text);
      this.kept++;
      this.bytes += text.text.length;
    }
    return text;
  }
}
