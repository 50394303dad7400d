// Counters over flows that come and go: what is counted is looked at when somebody asks, and once in a while for a day after, so that what flows have counted
// which come and go meanwhile is kept; all others in turns, so many flows at a time. An app says what is counted, and where its totals are stored.
import { momentOf, timestampOf } from "../../lib/clock.ts";
import type { FlowCounts } from "./flow-counts.ts";
import type { Cancel, ServiceHost } from "../service.ts";
import { learned, type SoftTable } from "../soft-table.ts";
import type { ReadView, Row, Table } from "../table.ts";
import { Remembered } from "./remembered.ts";
import { Totals, type Counted } from "./totals.ts";

/** What is stored of a counter. `id` is what is counted. */
export interface StoredCount extends Row, Counted {
  /** RFC 3339; since when it is counted. Absent: an earlier version stored it. */
  readonly since?: string;
}

/** What is known of a counter now, for a soft table. */
export interface CountFact extends Row, Pick<Counted, "last_hit"> {
  /** Null: no switch has said. */
  readonly packets: number | null;
  /** Of these, with their Ethernet headers. */
  readonly bytes: number | null;
  /** Whether every switch that should have flows of it said. */
  readonly complete: boolean;
  /** RFC 3339: since when it is counted; when it was looked at; and since when nothing was seen to match, of what is counted. */
  readonly since: string;
  readonly looked_at: string;
  readonly idle_since: string;
}

/** Something that is counted. */
export interface Countable {
  readonly id: string;
  /** Whose room it takes, and who pays where nobody asks. */
  readonly project_id: string;
}

export interface FlowCountersOptions {
  /** Unique among all counters: of several controllers one stores what each has counted, and looks that nobody asks for are on its account. */
  readonly name: string;
  /** As provenance shows the change that stores totals. */
  readonly what: string;
  readonly stored: Table<StoredCount>;
  readonly facts: SoftTable<CountFact>;
  /** What switches say of it now. */
  look(this: void, id: string, payer: string): Promise<FlowCounts>;
  /** Whether it is there still, so that its totals are worth storing. */
  isThere(this: void, view: ReadView, id: string): boolean;
  /** Seconds from one turn to the next, default 60. */
  readonly everyS?: number;
  /** Seconds that what changes by counting alone waits to be stored, of what is asked for and of the rest, default 600 and a day. What flows that went have counted never waits. */
  readonly storeS?: { readonly asked: number; readonly others: number };
  /** Flows of what nobody asks for, of which so many are looked at in one turn, default 3000. */
  readonly flowsATurn?: number;
  /** Told of what was counted more than at the look before; not of what a switch counted before this controller first heard of it. */
  grown?(this: void, id: string, packets: number, bytes: number): void;
  /** After each turn. */
  turned?(this: void): void;
  /** How many are counted, of all and of a project; as facts have them. */
  readonly room: { readonly count: number; readonly project: number };
}

const DAY_S = 86_400;
const LOOK_S = 60;
const FLOWS_A_TURN = 3000;
/** Seconds after the start in which the first of these have their turn. */
const FIRST_S = 5;
/** What was counted lately is looked at no more. */
const FRESH_S = 1;
const STORE_S = { asked: 600, others: DAY_S };
/** Seconds until what flows that went have counted is stored: others may go meanwhile. */
const GONE_S = 1;
const ROWS_A_TIME = 1000;
/** Flows whose last counts are remembered, of all and of a project. What is forgotten counts on from what is stored. */
const FLOWS = { all: 500_000, project: 50_000 };
const AT_ONCE = 32;
/** Who causes the looks that nobody waits for: of each kind of counters somebody else, so that none uses up what others may ask of a switch. No project has such a name. */
const nobody = (name: string): string => `/${name}`;

interface Watched extends Countable {
  totals: Totals;
  /** Seconds. */
  askedAt: number;
  lookedAt: number;
  storedAt: number;
  stored: Counted | undefined;
  /** What was stored, by whichever controller, when it was looked at last. */
  kept: Counted | undefined;
  readonly since: string;
  /** RFC 3339: it had counted more than was stored when a controller first looked. */
  grownAt: string | undefined;
  looking: Promise<void> | undefined;
  /** It was told what flows had in the end, which is not stored yet. */
  told: boolean;
}

export class FlowCounters {
  private readonly host: ServiceHost;
  private readonly options: FlowCountersOptions;
  private readonly watched: Remembered<Watched>;
  private storing: Cancel | undefined;

  /** `known`: what is counted from the start on, that which has stored totals first. */
  constructor(host: ServiceHost, options: FlowCountersOptions, known: { readonly stored: Iterable<Countable>; readonly all: Iterable<Countable> }) {
    this.host = host;
    this.options = options;
    this.watched = new Remembered<Watched>({ count: { all: options.room.count, project: options.room.project }, weight: FLOWS });
    for (const one of known.stored) if (this.hasRoom(one)) this.watch(one).storedAt = this.now;
    for (const one of known.all) this.follow(one);
    host.after(FIRST_S, () => {
      host.every(options.everyS ?? LOOK_S, () => this.turn());
      return this.turn();
    });
  }

  /** Counts something that nobody asks for, as long as there is room. `fresh`: it was made by the change that tells of it, so that all it has counted is new. */
  follow(one: Countable, fresh = false): void {
    if (this.hasRoom(one)) this.watch(one, fresh);
  }

  private hasRoom({ project_id }: Countable): boolean {
    const { count, project } = this.options.room;
    return this.watched.size < count && this.watched.countOf(project_id) < project;
  }

  private get now(): number {
    return this.host.clock.monotonic() / 1000;
  }

  /** Where there is no room for it, what was looked at longest ago goes: of its project where that has too many, else of all. */
  private watch({ id, project_id }: Countable, fresh = false): Watched {
    let found = this.watched.get(id);
    if (found === undefined) {
      const stored = this.host.view.get(this.options.stored, id);
      found = {
        id, project_id, totals: new Totals(stored, fresh && stored === undefined), askedAt: -Infinity, lookedAt: -Infinity, storedAt: -Infinity, stored, kept: stored, since: stored?.since ?? timestampOf(this.host.clock.now()), grownAt: undefined, looking: undefined, told: false,
      };
      this.watched.put(found, 0);
    }
    return found;
  }

  /** Looks at these; `payer`: the project that asks. */
  async asked(those: readonly Countable[], payer: string): Promise<void> {
    const wanted = new Set(those.map((one) => this.watch(one)));
    for (const one of wanted) one.askedAt = this.now;
    await Promise.all([...wanted].map((one) => this.look(one, payer)));
  }

  private look(one: Watched, payer: string): Promise<void> {
    if (this.now - one.lookedAt < FRESH_S) return Promise.resolve();
    return (one.looking ??= this.count(one, payer).finally(() => (one.looking = undefined)));
  }

  /** What these count at one of their places ends: they are looked at as soon as may be, whenever that was done last. */
  ending(ids: Iterable<string>): void {
    const those = [...ids].flatMap((id) => this.watched.get(id) ?? []);
    if (those.length === 0) return;
    this.host.after(0, () => this.lookAtAll(those, async (one) => {
      // One that is under way may have asked before.
      await one.looking;
      one.lookedAt = Math.min(one.lookedAt, this.now - FRESH_S);
      await this.look(one, nobody(this.options.name));
    }));
  }

  private async lookAtAll(those: readonly Watched[], look: (one: Watched) => Promise<void>): Promise<void> {
    const queue = those.values();
    const next = async (): Promise<void> => {
      for (const one of queue) await look(one);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, next));
  }

  private async count(one: Watched, payer: string): Promise<void> {
    const counts = await this.options.look(one.id, payer);
    if (this.watched.get(one.id) !== one) return;
    // Flows may have come and gone while another controller looked. What is stored once is looked at once: it may be that less is gone since, as what was away is back.
    const kept = this.host.view.get(this.options.stored, one.id);
    if (kept !== undefined && kept !== one.kept && !same(one.stored, kept) && kept.gone_packets > one.totals.goneWith(counts.ended)) one.totals = new Totals(kept, false, counts.ended);
    one.kept = kept;
    one.told ||= counts.ended?.some(({ lasting }) => lasting === undefined) === true;
    const { packets: before } = one.totals.now;
    const grown = one.totals.look(counts);
    const { complete } = one.totals;
    const { packets, bytes, last_hit } = one.totals.now;
    // When what a host has counted that says for the first time it is not known; of what was never stored, all that is said first is as old as anything.
    if (packets > before && grown.packets === 0 && (one.lookedAt !== -Infinity || one.stored !== undefined)) one.grownAt = counts.at;
    if (grown.packets > 0 || grown.bytes > 0) this.options.grown?.(one.id, grown.packets, grown.bytes);
    one.lookedAt = this.now;
    this.watched.put(one, one.totals.flows);
    if (one.totals.now.gone_packets !== (one.stored?.gone_packets ?? 0)) this.storeSoon();
    const known = complete || packets > 0;
    const idle_since = [one.since, last_hit ?? one.since, one.grownAt ?? one.since].reduce((a, b) => (momentOf(b) > momentOf(a) ? b : a));
    this.host.learn([learned(this.options.facts, one.project_id, { id: one.id, packets: known ? packets : null, bytes: known ? bytes : null, last_hit, complete, since: one.since, looked_at: counts.at, idle_since })]);
  }

  /** One turn for those that were asked for lately, and for some of the others: those that were looked at longest ago. */
  private async turn(): Promise<void> {
    const waiting: Watched[] = [];
    let flows = 0;
    for (const one of this.watched.values()) {
      // Whoever has too many loses those that were looked at longest ago, as facts do.
      if (one.lookedAt !== -Infinity && this.host.view.fact(this.options.facts, one.id) === undefined) this.watched.delete(one.id);
      else if (this.now - one.askedAt < DAY_S) waiting.push(one);
      else if (flows < (this.options.flowsATurn ?? FLOWS_A_TURN)) {
        waiting.push(one);
        flows += 1 + one.totals.flows;
      }
    }
    await this.lookAtAll(waiting, (one) => this.look(one, nobody(this.options.name)));
    this.options.turned?.();
    await this.store(false);
  }

  private storeSoon(): void {
    if (this.storing !== undefined) return;
    this.storing = this.host.after(GONE_S, () => {
      this.storing = undefined;
      return this.store(false);
    });
  }

  /**
   * Of several controllers, each of which looks by itself, one stores; and whoever is told what flows had in the end, which is the master of their switch alone, where that is
   * more. What flows that went have counted soon, what is still on switches at long intervals, unless it is `all` that is wanted.
   */
  async store(all: boolean): Promise<void> {
    const { name, what, stored, isThere, storeS: { asked, others } = STORE_S } = this.options;
    const rows: StoredCount[] = [];
    /** What another one stores, but for this. */
    const foreign = new Set<string>();
    for (const one of this.watched.values()) {
      const { now } = one.totals;
      if (one.stored === now || one.lookedAt === -Infinity || same(one.stored, now)) continue;
      const acts = this.host.acts(`${name}/${one.id}`);
      if (!acts && !one.told) continue;
      if (!all && now.gone_packets === one.stored?.gone_packets && this.now - one.storedAt < (this.now - one.askedAt < DAY_S || one.stored.packets === 0 ? asked : others)) continue;
      one.stored = now;
      one.storedAt = this.now;
      one.told = false;
      if (!acts) foreign.add(one.id);
      rows.push({ id: one.id, ...now, since: one.since });
    }
    for (let at = 0; at < rows.length; at += ROWS_A_TIME) {
      await this.host.transact(what, (tx) => {
        for (const row of rows.slice(at, at + ROWS_A_TIME)) {
          if (isThere(tx, row.id) && !(foreign.has(row.id) && (tx.get(stored, row.id)?.gone_packets ?? 0) >= row.gone_packets)) tx.put(stored, row);
        }
      });
    }
  }

  forget(id: string): void {
    this.watched.delete(id);
    this.host.forget(this.options.facts, [id]);
  }
}

const same = (a: Counted | undefined, b: Counted): boolean => a?.packets === b.packets && a.bytes === b.bytes && a.gone_packets === b.gone_packets && a.last_hit === b.last_hit;
