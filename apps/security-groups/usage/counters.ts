// What rules have let pass: their flows are looked at when somebody asks, and once a minute for a day after, so that what flows have counted which come and
// go meanwhile is kept. All others are looked at in turns, so many flows a minute, which tells which are never used.
import { defineSoftTable, defineTable, learned, momentOf, timestampOf, type Caller, type LiveView, type Row, type ServiceDecl, type ServiceHost } from "#app";
import { ruleResource, ruleTable, remoteUseTable, useOf, type SecurityGroupRule } from "../model.ts";
import { Remembered } from "./remembered.ts";
import { Totals, type Counted } from "./totals.ts";

/** By what is counted, see countedOf. */
export interface StoredCount extends Row, Counted {
  /** RFC 3339; since when it is counted. Absent: an earlier version stored it. */
  readonly since?: string;
}
export const ruleCountTable = defineTable<StoredCount>()("sg_rule_count");

export interface RuleCount extends Row, Pick<Counted, "last_hit"> {
  /** Null: no switch has said. */
  readonly packets: number | null;
  readonly bytes: number | null;
  readonly complete: boolean;
  /** RFC 3339: since when it is counted; when it was looked at; and since when nothing was seen to match, of what is counted. */
  readonly since: string;
  readonly looked_at: string;
  readonly idle_since: string;
}
const DAY_S = 86_400;
const PER_PROJECT = 1000;
const ALL = 20_000;
export const ruleCounts = defineSoftTable<RuleCount>()("sg_rule_counts", { ttlS: DAY_S, limitPerOwner: PER_PROJECT, limit: ALL });

/** What counts for a rule: the rule itself, or the conjunction that rules with one other side share. The flow that packets match is then one for all. */
export const countedOf = (rule: Pick<SecurityGroupRule, "id" | "security_group_id" | "direction" | "ethertype" | "remote_group_id" | "remote_set">): string => useOf(rule) ?? rule.id;

export const COUNTERS = ["axion:packets", "axion:bytes", "axion:last_hit", "axion:counts_complete", "axion:counted_with"] as const;

export function shownCounts(view: LiveView, rule: SecurityGroupRule): Record<(typeof COUNTERS)[number], unknown> {
  const found = view.fact(ruleCounts, countedOf(rule));
  const use = useOf(rule);
  return {
    "axion:packets": found?.packets ?? null,
    "axion:bytes": found?.bytes ?? null,
    "axion:last_hit": found?.last_hit ?? null,
    "axion:counts_complete": found?.complete ?? false,
    "axion:counted_with": use === undefined ? [] : view.by(ruleTable, "remote_use", use).flatMap(({ id }) => (id === rule.id ? [] : [id])).sort(),
  };
}

const LOOK_S = 60;
/** Flows of rules that nobody asks for, of which this many are looked at in one turn. */
const FLOWS_A_TURN = 3000;
/** Seconds after the start in which the first of these have their turn. */
const FIRST_S = 5;
/** What was counted lately is looked at no more. */
const FRESH_S = 1;
/** How long what changes by counting alone waits to be stored; where nobody asks for it, and it was hit before. */
const STORE_S = 600;
const STORE_UNASKED_S = DAY_S;
const ROWS_A_TIME = 1000;
/** Of rules that are looked at, and of flows whose last counts are remembered. What is forgotten counts on from what is stored. */
const ROOM = { count: ALL, all: 500_000, project: 50_000 };
const AT_ONCE = 32;
/** Who causes the looks that nobody waits for. */
const NOBODY = "";

interface Watched {
  readonly id: string;
  readonly project_id: string;
  totals: Totals;
  /** Seconds. */
  askedAt: number;
  lookedAt: number;
  storedAt: number;
  stored: Counted | undefined;
  readonly since: string;
  /** RFC 3339: it had counted more than was stored when a controller first looked. */
  grownAt: string | undefined;
  looking: Promise<void> | undefined;
}

class RuleCounters {
  private readonly host: ServiceHost;
  private readonly watched = new Remembered<Watched>(ROOM);
  constructor(host: ServiceHost) {
    this.host = host;
    for (const stored of host.view.all(ruleCountTable)) {
      const rule = host.view.get(ruleTable, stored.id) ?? host.view.by(ruleTable, "remote_use", stored.id)[0];
      if (rule !== undefined && this.watched.size < ALL) this.watch(rule).storedAt = this.now;
    }
    for (const rule of host.view.all(ruleTable)) this.follow(rule);
    host.after(FIRST_S, () => {
      host.every(LOOK_S, () => this.turn());
      return this.turn();
    });
  }

  /** Counts a rule that nobody asks for, as long as there is room. */
  follow(rule: SecurityGroupRule): void {
    if (this.watched.size < ALL && this.watched.countOf(rule.project_id) < PER_PROJECT) this.watch(rule);
  }

  private get now(): number {
    return this.host.clock.monotonic() / 1000;
  }

  private watch(rule: SecurityGroupRule): Watched {
    const id = countedOf(rule);
    let found = this.watched.get(id);
    if (found === undefined) {
      const stored = this.host.view.get(ruleCountTable, id);
      found = {
        id, project_id: rule.project_id, totals: new Totals(stored), askedAt: -Infinity, lookedAt: -Infinity, storedAt: -Infinity, stored, since: stored?.since ?? timestampOf(this.host.clock.now()), grownAt: undefined, looking: undefined,
      };
      this.watched.put(found, 0);
    }
    return found;
  }

  async asked(rules: readonly SecurityGroupRule[], caller: Caller): Promise<void> {
    const wanted = new Set(rules.map((rule) => this.watch(rule)));
    for (const one of wanted) one.askedAt = this.now;
    await Promise.all([...wanted].map((one) => this.look(one, caller.projectId)));
  }

  private look(one: Watched, payer: string): Promise<void> {
    if (this.now - one.lookedAt < FRESH_S) return Promise.resolve();
    return (one.looking ??= this.count(one, payer).finally(() => (one.looking = undefined)));
  }

  private async count(one: Watched, payer: string): Promise<void> {
    const isUse = this.host.view.get(remoteUseTable, one.id) !== undefined;
    const counts = await this.host.flowCounts(isUse ? "remote-group" : "security-group-rule", one.id, payer);
    if (this.watched.get(one.id) !== one) return;
    // Flows may have come and gone while another controller looked.
    const kept = this.host.view.get(ruleCountTable, one.id);
    if (kept !== undefined && kept.gone_packets > one.totals.now.gone_packets) one.totals = new Totals(kept);
    const before = one.totals.now.packets;
    one.totals.look(counts);
    const { complete } = one.totals;
    const { packets, bytes, last_hit } = one.totals.now;
    // Of a host that has not said since the start it is not known what it has counted meanwhile.
    if (packets > before && (one.lookedAt !== -Infinity ? last_hit === null : one.stored !== undefined)) one.grownAt = counts.at;
    one.lookedAt = this.now;
    this.watched.put(one, one.totals.flows);
    const known = complete || packets > 0;
    const idle_since = [one.since, last_hit ?? one.since, one.grownAt ?? one.since].reduce((a, b) => (momentOf(b) > momentOf(a) ? b : a));
    this.host.learn([learned(ruleCounts, one.project_id, { id: one.id, packets: known ? packets : null, bytes: known ? bytes : null, last_hit, complete, since: one.since, looked_at: counts.at, idle_since })]);
  }

  /** One turn for those that were asked for lately, and for some of the others: those that were looked at longest ago. */
  private async turn(): Promise<void> {
    const waiting: Watched[] = [];
    let flows = 0;
    for (const one of this.watched.values()) {
      // Whoever has too many loses those that were looked at longest ago, as facts do.
      if (one.lookedAt !== -Infinity && this.host.view.fact(ruleCounts, one.id) === undefined) this.watched.delete(one.id);
      else if (this.now - one.askedAt < DAY_S) waiting.push(one);
      else if (flows < FLOWS_A_TURN) {
        waiting.push(one);
        flows += 1 + one.totals.flows;
      }
    }
    const next = async (): Promise<void> => {
      for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) await this.look(one, NOBODY);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, next));
    await this.store(false);
  }

  /** Of several controllers, each of which looks by itself, one stores. What flows that went have counted soon, what is still on switches at long intervals, unless it is `all` that is wanted. */
  async store(all: boolean): Promise<void> {
    const rows: StoredCount[] = [];
    for (const one of this.watched.values()) {
      const { now } = one.totals;
      if (one.stored === now || one.lookedAt === -Infinity || same(one.stored, now) || !this.host.acts(`rule-count/${one.id}`)) continue;
      if (!all && now.gone_packets === one.stored?.gone_packets && this.now - one.storedAt < (this.now - one.askedAt < DAY_S || one.stored.packets === 0 ? STORE_S : STORE_UNASKED_S)) continue;
      one.stored = now;
      one.storedAt = this.now;
      rows.push({ id: one.id, ...now, since: one.since });
    }
    for (let at = 0; at < rows.length; at += ROWS_A_TIME) {
      await this.host.transact("what rules have counted", (tx) => {
        for (const row of rows.slice(at, at + ROWS_A_TIME)) if (tx.get(ruleTable, row.id) !== undefined || tx.get(remoteUseTable, row.id) !== undefined) tx.put(ruleCountTable, row);
      });
    }
  }

  forget(id: string): void {
    this.watched.delete(id);
  }
}

const same = (a: Counted | undefined, b: Counted): boolean => a?.packets === b.packets && a.bytes === b.bytes && a.gone_packets === b.gone_packets && a.last_hit === b.last_hit;

export const ruleCounters: ServiceDecl = {
  name: "rule-counters",
  about: "counts what the flows of security group rules let pass, often where somebody asks for it, the others in turns",
  start(host) {
    const counters = new RuleCounters(host);
    host.onAsked(ruleResource, COUNTERS, (rules, caller) => counters.asked(rules, caller));
    host.onCommit([ruleTable, remoteUseTable], (changes) => {
      for (const { table, id, after } of changes) {
        if (after === undefined) counters.forget(id);
        else if (table.name === ruleTable.name) counters.follow(after as SecurityGroupRule);
      }
    });
    return () => counters.store(true);
  },
};
