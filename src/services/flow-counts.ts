// What flows of a rule have counted, asked of the switches that have them: by cookie, so that a question costs a switch what its answer has. What
// nobody shall do to a switch by asking is bounded here, for each who asks and in all. What a flow had when it was taken off comes by itself, and goes along
// with the next answer (ended-flows.ts).
import { eachFlowStats, FLOW_MOD_MATCH_OFFSET, flowKey } from "node-openflow";
import type { App, Clock, Counts, DropCount, FlowCount, FlowCounts, ReadView } from "#app";
import { cookieOf } from "../lib/cookies.ts";
import { EndedFlows, partId, type EndedFlow, type Part } from "./ended-flows.ts";
import { Allowance } from "./mailbox.ts";

/** A flow as a switch has it. */
export interface CountedFlow {
  readonly cookieHi: number;
  readonly cookieLo: number;
  readonly key: string;
}

/** And as it is desired: its table, and the bytes of its flow-mod and of the match in it. */
export interface PlacedFlow extends CountedFlow {
  readonly table: number;
  readonly len: number;
  readonly matchLen: number;
}
const hasInstructions = ({ len, matchLen }: PlacedFlow): boolean => len > FLOW_MOD_MATCH_OFFSET + matchLen;

export interface FlowCounterOptions {
  readonly placed: (app: string, rule: string, entity: string) => Iterable<Placed>;
  /** OFPMP_FLOW replies; undefined: the switch is not connected. */
  readonly ask: (chassis: string, cookie: bigint, options?: { readonly mask: bigint; readonly table: number }) => Promise<Buffer[]> | undefined;
  /** Flows that a rule of an app wants for an entity. */
  readonly wanted: (app: string, rule: string, entity: string) => Iterable<CountedFlow & { readonly table: number }>;
  readonly tableName: (id: number) => string | undefined;
  readonly clock: Pick<Clock, "now" | "monotonic">;
  /** Rules whose flows count beyond their end; default: none. */
  readonly counted?: readonly CountedRule[];
}

/** Questions to one switch. */
const EACH = { burst: 500, perSecond: 100 };
const ALL = { burst: 2000, perSecond: 500 };
/** Flows of an answer that cost a switch about as much as a question. */
const FLOWS_A_QUESTION = 8;
/** What is gone through here before a switch is asked: what rules run on, and flows at each host that has them. */
const GATHER_EACH = { burst: 20_000, perSecond: 2000 };
const GATHER_ALL = { burst: 80_000, perSecond: 8000 };
/** Services that ask in turns of their own have names that no project has. */
const isProject = (payer: string): boolean => !payer.startsWith("/");

interface Placed {
  readonly flow: PlacedFlow;
  readonly chassis: Iterable<string>;
}

interface Wanted {
  readonly keys: Set<string>;
  readonly cookies: Set<bigint>;
}

interface PlacedPart extends Part {
  placed(this: void): Iterable<Placed>;
  /** It is there as long as what is counted. */
  readonly lasting: boolean;
}

/** The high half of a cookie: which rule. */
const RULE_BITS = 0xffff_ffff_0000_0000n;

export interface DroppingRule {
  readonly app: string;
  readonly rule: string;
  readonly drops: Readonly<Record<string, string>>;
}
export const droppingRules = (apps: readonly App[]): DroppingRule[] =>
  apps.flatMap((app) => (app.rules ?? []).flatMap(({ name, drops }) => (drops === undefined ? [] : [{ app: app.name, rule: name, drops }])));

export interface CountingRule {
  readonly app: string;
  readonly rule: string;
  readonly counts: Counts;
}
export const countingRules = (apps: readonly App[]): CountingRule[] =>
  apps.flatMap((app) => (app.rules ?? []).flatMap(({ name, counts }) => (counts === undefined ? [] : [{ app: app.name, rule: name, counts }])));

/** A rule of which it matters what flows had when they were taken off: those of these tables that do more than drop; undefined: all. */
export interface CountedRule {
  readonly app: string;
  readonly rule: string;
  readonly tables?: ReadonlySet<string>;
}
export const countedRules = (apps: readonly App[]): CountedRule[] =>
  apps.flatMap((app) => (app.rules ?? []).flatMap(({ name, counts, counted }) => {
    if (counted === true) return [{ app: app.name, rule: name }];
    return counts === undefined ? [] : [{ app: app.name, rule: name, tables: new Set(Object.keys(counts.counters)) }];
  }));

export class FlowCounter {
  private readonly options: FlowCounterOptions;
  /** By chassis that has had flows which somebody asked for. */
  private readonly allowances = new Map<string, Allowance>();
  private readonly gathering: Allowance;
  private readonly ended: EndedFlows;
  /** By high half of the cookie. */
  private readonly counted: ReadonlyMap<number, CountedRule>;

  constructor(options: FlowCounterOptions) {
    this.options = options;
    this.gathering = new Allowance(options.clock, GATHER_EACH, GATHER_ALL);
    this.ended = new EndedFlows(options.clock);
    this.counted = new Map((options.counted ?? []).map((one) => [cookieOf(`${one.app}/${one.rule}`), one]));
  }

  /** Whether somebody counts what a flow has counted, so that it is worth asking when it is taken off. */
  isCounted(flow: PlacedFlow): boolean {
    const rule = this.counted.get(flow.cookieHi);
    return rule !== undefined && (rule.tables === undefined || (rule.tables.has(this.options.tableName(flow.table) ?? "") && hasInstructions(flow)));
  }

  /** A switch has taken off a flow that a rule wanted for an entity, which had counted so much right before: it said so where it was told to. */
  end(app: string, rule: string, entity: string, flow: EndedFlow): void {
    this.ended.add(partId(app, rule, entity), flow);
  }

  /** The chassis is gone. */
  forget(chassis: string): void {
    this.allowances.delete(chassis);
  }

  of(app: string, rule: string, entity: string, payer: string): Promise<FlowCounts> {
    return this.count([{ id: partId(app, rule, entity), counts: () => true, placed: () => this.options.placed(app, rule, entity), lasting: true }], payer);
  }

  /** See ServiceHost.countsOf. */
  ofResource(rules: readonly CountingRule[], view: ReadView, resource: string, id: string, counter: string, payer: string): Promise<FlowCounts> {
    return this.count(this.countedBy(rules, view, resource, id, counter), payer, `${resource} ${id} ${counter}`);
  }

  private *countedBy(rules: readonly CountingRule[], view: ReadView, resource: string, id: string, counter: string): Iterable<PlacedPart> {
    const { placed, tableName } = this.options;
    for (const { app, rule, counts: { resource: of, counters, entities } } of rules) {
      if (of !== resource || !Object.values(counters).includes(counter)) continue;
      const counts = (table: number): boolean => counters[tableName(table) ?? ""] === counter;
      for (const entity of entities(view, id)) {
        yield { id: partId(app, rule, entity), counts, placed: () => [...placed(app, rule, entity)].filter(({ flow }) => counts(flow.table) && hasInstructions(flow)), lasting: entity === id };
      }
    }
  }

  /** `each`: the flows of each are not gathered beyond what the payer may cause. `name`: of a counter whose parts may be others at the next look. */
  private async count(each: Iterable<PlacedPart>, payer: string, name?: string): Promise<FlowCounts> {
    const wanted = new Map<string, Wanted>();
    const at = `${new Date(this.options.clock.now()).toISOString().slice(0, 19)}Z`;
    const parts: PlacedPart[] = [];
    for (const part of each) {
      let cost = 1;
      if (isProject(payer) && !this.gathering.take(payer)) return { at, flows: [], silent: [], refused: true };
      parts.push(part);
      for (const { flow, chassis } of part.placed()) {
        const cookie = (BigInt(flow.cookieHi) << 32n) | BigInt(flow.cookieLo);
        for (const id of chassis) {
          let of = wanted.get(id);
          if (of === undefined) wanted.set(id, (of = { keys: new Set(), cookies: new Set() }));
          of.keys.add(flow.key);
          of.cookies.add(cookie);
          cost++;
        }
      }
      // How many there are was not known before: who takes more than is left waits longer for the next.
      if (isProject(payer) && cost > 1) this.gathering.take(payer, undefined, cost - 1);
    }
    const flows: FlowCount[] = [];
    const silent: string[] = [];
    // All are asked in this turn.
    const asked = this.ended.number;
    await Promise.all([...wanted].map(async ([chassis, { keys, cookies }]) => {
      const found = await this.ofSwitch(chassis, cookies, keys, payer);
      if (found === undefined) silent.push(chassis);
      else for (const one of found) flows.push(one);
    }));
    const ended = this.ended.take(parts, name === undefined ? undefined : { name, parts: parts.flatMap(({ id, counts, lasting }) => (lasting ? [] : [{ id, counts }])) });
    if (ended.length === 0) return { at, flows, silent };
    // A switch that was asked before it was told to take a flow off shows that flow, one that was asked later what came in its place.
    const shown = new Set(ended.filter(({ number }) => number > asked).map(({ chassis, key }) => `${chassis} ${key}`));
    return {
      at, silent, flows: flows.filter(({ chassis, key }) => !shown.has(`${chassis} ${key}`)),
      ended: ended.map(({ chassis, key, packets, bytes }) => ({ chassis, key, packets, bytes })),
    };
  }

  /** Undefined: it did not say. */
  private async ofSwitch(chassis: string, cookies: ReadonlySet<bigint>, keys: ReadonlySet<string>, payer: string): Promise<FlowCount[] | undefined> {
    let allowance = this.allowances.get(chassis);
    if (allowance === undefined) this.allowances.set(chassis, (allowance = new Allowance(this.options.clock, EACH, ALL)));
    if (!allowance.take(payer, undefined, cookies.size + Math.floor(keys.size / FLOWS_A_QUESTION))) return undefined;
    const out: FlowCount[] = [];
    try {
      const asked = [...cookies].map((cookie) => this.options.ask(chassis, cookie)).filter((answer) => answer !== undefined);
      if (asked.length < cookies.size) return undefined;
      for (const parts of await Promise.all(asked)) {
        for (const part of parts) {
          eachFlowStats(part, (entry) => {
            const key = flowKey(entry.table_id, entry.priority, part, entry.match_off, entry.match_len);
            // A cookie has 32 bits of the entity: another's may be the same.
            if (!keys.has(key)) return;
            out.push({ chassis, key, packets: entry.packet_count, bytes: entry.byte_count });
          });
        }
      }
    } catch {
      return undefined;
    }
    return out;
  }

  /** See ServiceHost.dropCounts. */
  async drops(rules: readonly DroppingRule[], chassis: string, entities: readonly string[]): Promise<DropCount[] | undefined> {
    const { wanted, tableName, ask } = this.options;
    const known = new Map<string, Omit<DropCount, "packets" | "bytes">>();
    /** By rule and table. */
    const questions = new Map<string, { readonly cookie: bigint; readonly table: number }>();
    for (const { app, rule, drops } of rules) {
      for (const entity of entities) {
        for (const { table, cookieHi, key } of wanted(app, rule, entity)) {
          const name = tableName(table) ?? "";
          const reason = drops[name];
          if (reason === undefined) continue;
          known.set(key, { entity, reason, table: name });
          questions.set(`${cookieHi} ${table}`, { cookie: BigInt(cookieHi) << 32n, table });
        }
      }
    }
    const out: DropCount[] = [];
    try {
      const asked = [...questions.values()].map(({ cookie, table }) => ask(chassis, cookie, { mask: RULE_BITS, table })).filter((answer) => answer !== undefined);
      const answers = await Promise.all(asked);
      if (answers.length < questions.size) return undefined;
      for (const part of answers.flat()) {
        eachFlowStats(part, (entry) => {
          const of = known.get(flowKey(entry.table_id, entry.priority, part, entry.match_off, entry.match_len));
          if (of !== undefined) out.push({ ...of, packets: entry.packet_count, bytes: entry.byte_count });
        });
      }
    } catch {
      return undefined;
    }
    return out;
  }
}
