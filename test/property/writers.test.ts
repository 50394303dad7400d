// Several models on one log: whatever they do at once, whoever is killed, whichever answer is lost, it is as if one transaction had run after the
// other in the order of the log, and all come to the same. On a log in memory with faults by a seed; in short form on etcd.
//
// Every transaction is a function of what it reads, so each can be run again: one that committed, on what was committed before its generation,
// writes the same; one that read, on what was there at its generation, gives the same; one that was refused is refused likewise on something that
// was committed while it was under way.
//
// Over 400 lines: what may be asked, who asks it, and what has to hold afterwards, which names all that may be asked.
import { EtcdServer, haveEtcd } from "etcd-v3-client/testing";
import { EtcdClient } from "etcd-v3-client";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { defineTable, type Row, type Table, type Tx } from "#app";
import { SimulatedClock } from "../../src/lib/clock.ts";
import { SeededRandom, type Random } from "../../src/lib/random.ts";
import { History } from "../../src/model/past/history.ts";
import { Model, type Commit } from "../../src/model/model.ts";
import { Layer } from "../../src/model/rows.ts";
import { Transaction, type Touched } from "../../src/model/transaction.ts";
import { CommitStore } from "../../src/store/commit.ts";
import { StoreError } from "../../src/store/errors.ts";
import type { KvStore } from "../../src/store/kv.ts";
import type { LogCommit } from "../../src/store/log.ts";
import { openStore } from "../../src/store/open.ts";
import { SharedLog, type SharedStorage } from "../../src/store/testing/shared-log.ts";
import { nightly } from "../support/process.ts";

interface Thing extends Row {
  readonly name: string;
  readonly project: string;
  readonly n: number;
  readonly status?: string;
}
interface Part extends Row {
  readonly thing: string;
}
interface Address extends Row {
  readonly pool: string;
  readonly n: number;
}
/** How often a transaction was made. */
interface Done extends Row {
  readonly times: number;
}
const things = defineTable<Thing>()("thing", { indexes: { name: (r) => r.name, project: (r) => r.project } });
const parts = defineTable<Part>()("part", { indexes: { thing: (r) => r.thing } });
const addresses = defineTable<Address>()("address", { indexes: { place: (r) => `${r.pool} ${r.n}`, pool: (r) => r.pool } });
const dones = defineTable<Done>()("done", {});
/** What callers make and take away, and the controller itself writes as well. */
const notes = defineTable<Part>()("note", {});
const tables = [things, parts, addresses, dones, notes] as unknown as readonly Table[];
const QUOTA = 3;
const POOL = 5;

/** What is refused by what is there. */
class Refused extends Error {}

type Act = (tx: Tx) => unknown;
const done = (tx: Tx, id: string): void => tx.put(dones, { id, times: (tx.get(dones, id)?.times ?? 0) + 1 });
const known = (tx: Tx, id: string): Thing => {
  const row = tx.get(things, id);
  if (row === undefined) throw new Refused(`${id} is not there`);
  return row;
};

/** A transaction of its own id; most meet others. */
function makeAct(random: Random, id: string): { readonly act: Act; readonly own: boolean } {
  const pick = (n: number): number => Math.floor(random.next() * n);
  const thing = `t${pick(6)}`;
  const [name, project, pool, part, kind] = [`n${pick(4)}`, `p${pick(2)}`, `a${pick(2)}`, `${thing}/${pick(2)}`, pick(25)];
  const act = (fn: Act): { act: Act; own: boolean } => ({ own: false, act: (tx) => {
    const result = fn(tx);
    done(tx, id);
    return result;
  } });
  if (kind < 4) {
    return act((tx) => {
      if (tx.get(things, thing) !== undefined) throw new Refused(`${thing} is there`);
      if (tx.count(things, "name", name) > 0) throw new Refused(`${name} is taken`);
      if (tx.count(things, "project", project) >= QUOTA) throw new Refused(`${project} has ${QUOTA}`);
      tx.put(things, { id: thing, name, project, n: 0 });
    });
  }
  if (kind < 8) {
    return act((tx) => {
      const row = known(tx, thing);
      tx.put(things, { ...row, n: row.n + 1 });
      return row.n + 1;
    });
  }
  if (kind < 11) {
    return act((tx) => {
      known(tx, thing);
      if (tx.count(parts, "thing", thing) > 0) throw new Refused(`${thing} has parts`);
      tx.delete(things, thing);
    });
  }
  if (kind < 13) {
    return act((tx) => {
      known(tx, thing);
      tx.put(parts, { id: part, thing });
    });
  }
  if (kind < 14) {
    return act((tx) => {
      for (const part of tx.by(parts, "thing", thing)) tx.delete(parts, part.id);
    });
  }
  if (kind < 16) {
    return act((tx) => {
      let n = 1;
      while (tx.count(addresses, "place", `${pool} ${n}`) > 0) n++;
      if (n > POOL) throw new Refused(`${pool} is full`);
      tx.put(addresses, { id: `${pool}/${id}`, pool, n });
      return n;
    });
  }
  if (kind < 17) {
    return act((tx) => {
      const [first] = [...tx.by(addresses, "pool", pool)].sort((a, b) => a.n - b.n);
      if (first === undefined) throw new Refused(`${pool} is empty`);
      tx.delete(addresses, first.id);
    });
  }
  if (kind < 18) {
    return act((tx) => {
      const n = tx.allocate("turn", { min: 1, max: 8, used: (at) => tx.count(addresses, "place", `turn ${at}`) > 0 });
      tx.put(addresses, { id: `turn/${n}`, pool: "turn", n });
      return n;
    });
  }
  if (kind < 21) return act((tx) => (kind < 20 && tx.get(notes, project) !== undefined ? tx.delete(notes, project) : tx.put(notes, { id: project, thing })));
  if (kind < 23) return { own: true, act: (tx) => tx.put(notes, { id: project, thing: name }) };
  // What the controller itself finds out: again and again the same comes to the same.
  if (kind < 24) {
    return { own: true, act: (tx) => {
      const row = tx.get(things, thing);
      if (row !== undefined) tx.put(things, { ...row, status: name });
    } };
  }
  return { own: false, act: (tx) => [...tx.all(things)].map((row) => `${row.id}=${row.n}`).sort().join() };
}

/** One that was asked for. */
interface Asked {
  readonly id: string;
  readonly act: Act;
  readonly own: boolean;
  /** What its model had heard of when it was asked for, and when it was answered. */
  readonly from: number;
  to: number;
  outcome: { readonly result: unknown; readonly generation: number } | { readonly refused: string } | "not made" | "unknown" | undefined;
}

/** What a model tells, held against what it told before. */
class Follower {
  readonly rows = new Map<string, Row>();
  readonly told: Commit[] = [];
  last: number;
  constructor(model: Model) {
    this.last = model.generation;
    for (const table of tables) for (const row of model.view.all(table)) this.rows.set(`${table.name}/${row.id}`, row);
    model.onCommit((commit) => {
      expect(commit.generation).toBeGreaterThan(this.last);
      expect(model.generation).toBeGreaterThanOrEqual(commit.generation);
      this.last = commit.generation;
      this.told.push(commit);
      for (const { table, id, before, after } of commit.changes) {
        const key = `${table.name}/${id}`;
        if (table.name !== "allocation") expect(before, key).toEqual(this.rows.get(key));
        if (after === undefined) this.rows.delete(key);
        else this.rows.set(key, after);
      }
    });
  }
}

interface Member {
  readonly model: Model;
  readonly store: KvStore;
  readonly follower: Follower;
  /** It heard each commit by itself since this generation. */
  readonly since: number;
  readonly asked: Set<Asked>;
}

/** Where the models are: what stands under them, and how time passes there. */
interface World {
  open(): Promise<Member>;
  kill(member: Member): Promise<void>;
  /** For a moment. */
  pass(): Promise<void>;
  /** No more faults. */
  calm(): void;
  /** Whether a model was not told each commit. */
  jumped(member: Member): boolean;
}

async function memberOf(store: KvStore, options: { clock?: SimulatedClock; random?: Random } = {}): Promise<Member> {
  const model = await Model.open(store, tables, options);
  return { model, store, follower: new Follower(model), since: model.generation, asked: new Set() };
}

function memory(random: Random): World {
  const clock = new SimulatedClock();
  const log = new SharedLog(clock, random, { delay: 5, lost: 0.04, unanswered: 0.08, jump: 0.15 });
  const storages = new Map<Member, SharedStorage>();
  return {
    async open() {
      const storage = log.open();
      const member = await memberOf(new CommitStore(storage), { clock, random: new SeededRandom(Math.floor(random.next() * 1e9)) });
      storages.set(member, storage);
      return member;
    },
    kill: (member) => {
      log.kill(storages.get(member)!);
      return Promise.resolve();
    },
    pass: () => clock.run(random.next() * 6),
    calm: () => void (log.faults = { delay: 5, lost: 0, unanswered: 0, jump: 0 }),
    jumped: (member) => storages.get(member)!.jumps > 0,
  };
}

/** Time passes until it is done. */
async function meanwhile<T>(world: World, work: Promise<T>): Promise<T> {
  let settled = false;
  void work.finally(() => (settled = true)).catch(() => undefined);
  while (!settled) await world.pass();
  return work;
}

const byKey = ([a]: readonly [string, ...unknown[]], [b]: readonly [string, ...unknown[]]): number => (a < b ? -1 : 1);
const rowsOf = (view: Pick<Model["view"], "all">): unknown => tables.map((table) => [...view.all(table)].sort((a, b) => (a.id < b.id ? -1 : 1)));

async function scenario(random: Random, world: World, count: number, steps: number): Promise<{ readonly asked: readonly Asked[]; readonly members: readonly Member[] }> {
  const members: Member[] = [];
  for (let i = 0; i < count; i++) members.push(await world.open());
  const all: Asked[] = [];
  const ask = (member: Member): void => {
    const id = `x${all.length}`;
    const { act, own } = makeAct(random, id);
    const asked: Asked = { id, act, own, from: member.model.generation, to: Infinity, outcome: undefined };
    all.push(asked);
    member.asked.add(asked);
    const ended = (outcome: Asked["outcome"]): void => {
      if (asked.outcome !== undefined) return;
      asked.outcome = outcome;
      asked.to = member.model.generation;
    };
    member.model.transact({ requestId: id, call: `POST ${id}`, ...(own && { own }) }, act, own ? undefined : 100).then(
      (answer) => ended(answer),
      (error: unknown) => {
        if (error instanceof Refused || (error as Error).name === "PoolExhaustedError") ended({ refused: (error as Error).message });
        else if (error instanceof StoreError && error.code === "UNAVAILABLE") ended(error.fields.doubt === true ? "unknown" : "not made");
        else throw error;
      },
    );
  };
  const again = async (i: number): Promise<void> => {
    for (const one of members[i]!.asked) one.outcome ??= "unknown";
    await world.kill(members[i]!);
    members[i] = await world.open();
  };
  const leave = async (i: number): Promise<void> => {
    const { model, asked } = members[i]!;
    await meanwhile(world, model.close());
    for (const { outcome } of asked) expect(outcome).toBeDefined();
    members[i] = await world.open();
  };
  for (let step = 0; step < steps; step++) {
    const i = Math.floor(random.next() * count);
    const what = random.next();
    if (what < 0.02) await again(i);
    else if (what < 0.03) await leave(i);
    else if (what < 0.25) await world.pass();
    else for (let n = Math.floor(random.next() * 4); n >= 0; n--) ask(members[i]!);
    if (random.next() < 0.3) await Promise.resolve();
  }
  world.calm();
  const newest = (): number => Math.max(...members.map(({ model }) => model.generation));
  while (all.some(({ outcome }) => outcome === undefined) || members.some(({ model }) => model.generation < newest())) await world.pass();
  // What was sent and not answered has arrived by now as well.
  for (let n = 0; n < 20; n++) await world.pass();
  await meanwhile(world, members[0]!.model.transact({ requestId: "last", call: "POST last" }, (tx) => done(tx, "last")));
  while (members.some(({ model }) => model.generation < newest())) await world.pass();
  return { asked: all, members };
}

async function check({ asked, members }: Awaited<ReturnType<typeof scenario>>, world: World): Promise<{ readonly counts: Readonly<Record<string, number>> }> {
  const [first] = members;
  const log: LogCommit[] = [];
  for await (const commit of first!.store.history(1)) log.push(commit);
  expect(log.map(({ generation }) => generation)).toEqual(Array.from({ length: first!.model.generation }, (_, i) => i + 1));

  // All models, and one that reads it all anew, have the same.
  const fresh = await world.open();
  onTestFinished(() => meanwhile(world, fresh.model.close()));
  for (const { model, store, follower } of [...members, fresh]) {
    expect(model.generation).toBe(first!.model.generation);
    expect(rowsOf(model.view)).toEqual(rowsOf(first!.model.view));
    for (const table of tables) for (const { id } of model.view.all(table)) expect(model.lastChange(table.name, id), `${table.name} ${id}`).toEqual(fresh.model.lastChange(table.name, id));
    expect([...follower.rows].sort(([a], [b]) => (a < b ? -1 : 1)).filter(([key]) => !key.startsWith("allocation/"))).toEqual(tables.flatMap((table) => Array.from(model.view.all(table), (row): [string, Row] => [`${table.name}/${row.id}`, row])).sort(([a], [b]) => (a < b ? -1 : 1)));
    const past = await new History(store, model, tables).list({ limit: 1e6, rows: 1e6 });
    expect(past.commits.map(({ generation, request_id }) => [generation, request_id])).toEqual(log.map(({ generation, note }) => [generation, (JSON.parse(note) as { requestId: string }).requestId]).reverse());
  }
  // Each that was not away told each commit, once, in order, with its cause; and knows what took away which row.
  const removals = new Map<string, number>();
  for (const { generation, changes } of log) for (const { key, after } of changes) if (after === undefined) removals.set(key.slice(2), generation);
  for (const member of members) {
    if (world.jumped(member)) continue;
    const { follower, since, model } = member;
    expect(follower.told.map(({ generation, cause, changes }) => [generation, cause?.requestId, changes.map(({ table, id, after }) => [`t/${table.name}/${id}`, after])])).toEqual(
      log.slice(since).map(({ generation, note, changes }) => [generation, (JSON.parse(note) as { requestId: string }).requestId, changes.map(({ key, after }) => [key, after === undefined ? undefined : (JSON.parse(after.toString()) as { row: Row }).row])]),
    );
    for (const [key, generation] of removals) {
      const slash = key.indexOf("/");
      const [table, id] = [tables.find(({ name }) => name === key.slice(0, slash)), key.slice(slash + 1)];
      if (generation > since && table !== undefined && model.view.get(table, id) === undefined) expect(model.removal(table.name, id)?.generation, key).toBe(generation);
    }
  }

  // One after the other in the order of the log comes to the same.
  const byId = new Map(asked.map((one) => [one.id, one]));
  const rows = new Layer();
  const all = [...tables, defineTable<Row>()("allocation", {})];
  for (const table of all) rows.table(table);
  const names = new Map(all.map((table) => [table.name, table]));
  const attempt = (act: Act): { readonly result: unknown; readonly wrote: unknown } | { readonly refused: string } => {
    const layer = new Layer(rows);
    const touched: Touched = new Map();
    try {
      const result = act(new Transaction(layer, { touched }, names, { clock: new SimulatedClock(), random: new SeededRandom(1) }));
      return { result, wrote: [...touched.values()].filter(({ table, id }) => (layer.row(table, id) ?? rows.row(table, id)) !== undefined).map(({ table, id }) => [`t/${table.name}/${id}`, layer.row(table, id)] as const).sort(byKey) };
    } catch (error) {
      return { refused: (error as Error).message };
    }
  };
  const open = asked.filter(({ outcome }) => typeof outcome === "object" && "refused" in outcome);
  const counts: Record<string, number> = { refused: open.length, read: 0, made: 0, conflicted: log.length };
  const justify = (generation: number): void => {
    for (const one of [...open]) {
      if (generation < one.from || generation > one.to) continue;
      const now = attempt(one.act);
      if ("refused" in now && now.refused === (one.outcome as { refused: string }).refused) open.splice(open.indexOf(one), 1);
    }
    for (const { outcome, act, id } of asked) {
      if (typeof outcome !== "object" || "refused" in outcome || outcome.generation !== generation || made.has(id)) continue;
      if (log[generation - 1] !== undefined && (JSON.parse(log[generation - 1]!.note) as { requestId: string }).requestId === id) continue;
      counts["read"]!++;
      expect(attempt(act), `${id} read at ${generation}`).toMatchObject({ result: outcome.result, wrote: [] });
    }
  };
  const made = new Set<string>();
  justify(0);
  for (const { generation, note, changes } of log) {
    const { requestId: id } = JSON.parse(note) as { requestId: string };
    const wrote = changes.map(({ key, after }) => [key, after === undefined ? undefined : (JSON.parse(after.toString()) as { row: Row }).row] as const).sort(byKey);
    const one = byId.get(id);
    if (one !== undefined) {
      const now = attempt(one.act);
      expect(now, `${id} at ${generation}`).toMatchObject({ wrote });
      if (typeof one.outcome === "object") {
        // What the controller itself finds out may be written again where it was in doubt.
        if (!one.own) expect(one.outcome, id).toEqual({ result: (now as { result: unknown }).result, generation });
        expect(generation, id).toBeGreaterThan(one.from);
      } else expect(one.outcome, id).toBe("unknown");
      if (!one.own) expect(made.has(id), `${id} twice`).toBe(false);
      made.add(id);
    }
    for (const [key, row] of wrote) {
      const [, table, rest] = /^t\/([^/]+)\/(.*)$/.exec(key)!;
      if (row === undefined) rows.remove(names.get(table!)!, rest!);
      else rows.put(names.get(table!)!, row);
    }
    justify(generation);
  }
  counts["made"] = made.size;
  expect(rowsOf({ all: (table) => rows.all(table) })).toEqual(rowsOf(first!.model.view));
  expect(open.map(({ id, outcome, from, to }) => ({ id, outcome, from, to })), "refused, though nothing that was committed refuses it").toEqual([]);
  for (const { id, outcome, own } of asked) if (typeof outcome === "object" && !("refused" in outcome) && !own && outcome.result === undefined) expect(made.has(id), `${id} is acknowledged`).toBe(true);
  for (const { id, times } of first!.model.view.all(dones)) expect(times, id).toBe(1);
  // What every single transaction sees to holds over all.
  const { view } = first!.model;
  for (const row of view.all(things)) expect(view.count(things, "name", row.name), row.name).toBe(1);
  for (const row of view.all(things)) expect(view.count(things, "project", row.project)).toBeLessThanOrEqual(QUOTA);
  for (const row of view.all(parts)) expect(view.get(things, row.thing), row.id).toBeDefined();
  for (const row of view.all(addresses)) expect(view.count(addresses, "place", `${row.pool} ${row.n}`)).toBe(1);
  return { counts };
}

describe("several models on one log", () => {
  const given = process.env["AXION_SEED"];
  const seeds = given === undefined ? Array.from({ length: nightly ? 5000 : 24 }, (_, i) => (nightly ? Math.floor(Math.random() * 1e9) : i)) : [Number(given)];

  test(`whatever is asked of them at once, it is as if one after the other: ${seeds.length} seeds`, { timeout: 60_000 + seeds.length * 1000 }, async () => {
    const sums: Record<string, number> = {};
    for (const seed of seeds) {
      try {
        const random = new SeededRandom(seed);
        const world = memory(random);
        const { counts } = await check(await scenario(random, world, 2 + (seed % 2), 100), world);
        for (const [what, n] of Object.entries(counts)) sums[what] = (sums[what] ?? 0) + n;
      } catch (error) {
        throw new Error(`seed ${seed} (AXION_SEED=${seed} for this one alone): ${(error as Error).message}`, { cause: error });
      }
    }
    for (const what of ["refused", "read", "made"]) expect(sums[what], what).toBeGreaterThan(seeds.length);
  });
});

describe.skipIf(!haveEtcd)("several models on etcd", () => {
  let server: EtcdServer;
  let stores = 0;
  beforeAll(async () => {
    server = await EtcdServer.start();
    const client = new EtcdClient({ endpoints: server.endpoints });
    await server.untilReady(() => client.range({ key: "ready" }));
    client.close();
  });
  afterAll(() => server?.stop());

  function etcd(random: Random): World {
    const url = `etcd://${server.endpoints.join(",")}/writers-${++stores}`;
    return {
      open: async () => memberOf(await openStore(url, { dataDir: "" })),
      // What is under way may still come about, as with a process that is killed.
      kill: (member) => {
        void member.model.close();
        return Promise.resolve();
      },
      pass: () => new Promise((later) => setTimeout(later, random.next() * 5)),
      calm: () => undefined,
      jumped: () => false,
    };
  }

  test.each([2, 3])("it is the same with %i", { timeout: 120_000 }, async (count) => {
    const seed = Math.floor(Math.random() * 1e9);
    const random = new SeededRandom(seed);
    const world = etcd(random);
    const done = await scenario(random, world, count, nightly ? 2000 : 150);
    try {
      const { counts } = await check(done, world);
      for (const what of ["refused", "read", "made"]) expect(counts[what], what).toBeGreaterThan(0);
    } catch (error) {
      throw new Error(`what was asked is by seed ${seed}: ${(error as Error).message}`, { cause: error });
    } finally {
      for (const { model } of done.members) await model.close();
    }
  });
});
