// What switches are asked of flows: no more than each who asks, and all together, may; and of the answer what was asked for alone.
import { expect, test } from "vitest";
import { encodeFlowMod, FLOW_KEY_OFFSET, FLOW_MOD_MATCH_OFFSET } from "node-openflow";
import { cookieOf } from "../lib/cookies.ts";
import { countedRules, FlowCounter, type PlacedFlow } from "./flow-counts.ts";

const clock = { seconds: 0, now: () => clock.seconds * 1000, monotonic: () => clock.seconds * 1000 };

function flow(priority: number): PlacedFlow {
  const slab = Buffer.alloc(256);
  encodeFlowMod(slab, 0, { command: "add", table_id: 3, priority, cookie: 7n, match: {} });
  return { cookieHi: 0, cookieLo: 7, table: 3, len: FLOW_MOD_MATCH_OFFSET + 16, matchLen: 8, key: slab.toString("latin1", FLOW_KEY_OFFSET, FLOW_MOD_MATCH_OFFSET + 8) };
}

const nothing = { wanted: () => [], tableName: () => undefined };

/** OFPMP_FLOW reply, OpenFlow 1.3.5 section 7.3.5.2: flows of table 3 without match or instructions. */
function reply(...flows: readonly { readonly priority: number; readonly packets: number }[]): Buffer {
  const out = Buffer.alloc(16 + 56 * flows.length);
  out.set([4, 19], 0);
  out.writeUInt16BE(out.length, 2);
  out.writeUInt16BE(1, 8);
  flows.forEach(({ priority, packets }, i) => {
    const off = 16 + 56 * i;
    out.writeUInt16BE(56, off);
    out[off + 2] = 3;
    out.writeUInt32BE(9, off + 4);
    out.writeUInt16BE(priority, off + 12);
    out.writeBigUInt64BE(7n, off + 24);
    out.writeBigUInt64BE(BigInt(packets), off + 32);
    out.writeBigUInt64BE(BigInt(packets * 100), off + 40);
    out.writeUInt16BE(1, off + 48);
    out.writeUInt16BE(4, off + 50);
  });
  return out;
}

test("each switch that has the flows is asked for its cookie; others of that cookie do not count, and who does not answer is silent", async () => {
  const asked: [string, bigint][] = [];
  const wanted = flow(5);
  const counter = new FlowCounter({
    clock, ...nothing,
    placed: () => [{ flow: wanted, chassis: ["hv1", "hv2", "hv3"] }],
    ask: (chassis, cookie) => {
      asked.push([chassis, cookie]);
      if (chassis === "hv2") return undefined;
      return chassis === "hv3" ? Promise.reject(new Error("no answer")) : Promise.resolve([reply({ priority: 5, packets: 12 }, { priority: 6, packets: 100 })]);
    },
  });
  const counts = await counter.of("app", "rule", "entity", "p1");
  expect(counts.flows).toEqual([{ chassis: "hv1", key: wanted.key, packets: 12, bytes: 1200 }]);
  expect(counts.silent.toSorted()).toEqual(["hv2", "hv3"]);
  expect(asked).toEqual([["hv1", 7n], ["hv2", 7n], ["hv3", 7n]]);
});

test("a project gets no more than its part of what a switch is asked, all together no more than all", async () => {
  let asked = 0;
  const counter = new FlowCounter({ clock, ...nothing, placed: () => [{ flow: flow(5), chassis: ["hv1"] }], ask: () => Promise.resolve([reply({ priority: 5, packets: ++asked })]) });
  const ask = async (project: string, times: number): Promise<number> => {
    const before = asked;
    const answers = [];
    for (let i = 0; i < times; i++) answers.push(await counter.of("app", "rule", "entity", project));
    expect(answers.filter((a) => a.silent.length > 0)).toHaveLength(times - (asked - before));
    return asked - before;
  };
  expect(await ask("p1", 1000)).toBe(500);
  expect(await ask("p2", 1000)).toBe(500);
  clock.seconds += 1;
  expect(await ask("p1", 1000)).toBe(100);
  for (const project of ["p3", "p4", "p5"]) await ask(project, 1000);
  expect(asked).toBeLessThanOrEqual(2500);
  expect(await ask("p6", 10)).toBe(0);
});

test("an answer of many flows counts as many questions", async () => {
  let asked = 0;
  const many = Array.from({ length: 800 }, (_, i) => ({ flow: flow(i + 1), chassis: ["hv1"] }));
  const counter = new FlowCounter({ clock, ...nothing, placed: () => many, ask: () => Promise.resolve([reply({ priority: 5, packets: ++asked })]) });
  for (let i = 0; i < 20; i++) await counter.of("app", "rule", "entity", "p1");
  expect(asked).toBe(5);
});

test("of a resource those flows count whose rule and table say so, and that do more than drop", async () => {
  const rules = [
    { app: "a", rule: "in", counts: { resource: "thing", counters: { door: "received" }, entities: (_view: unknown, id: string) => [`${id}/1`, `${id}/2`] } },
    { app: "a", rule: "out", counts: { resource: "thing", counters: { door: "sent" }, entities: (_view: unknown, id: string) => [id] } },
    { app: "b", rule: "in", counts: { resource: "other", counters: { door: "received" }, entities: () => ["x"] } },
  ];
  const [dropping, elsewhere] = [{ ...flow(6), len: FLOW_MOD_MATCH_OFFSET + 8 }, { ...flow(7), table: 4 }];
  const looked: string[] = [];
  const counter = new FlowCounter({
    clock, ...nothing, tableName: (id) => (id === 3 ? "door" : "window"),
    placed: (app, rule, entity) => {
      looked.push(`${app}/${rule}/${entity}`);
      return entity === "t/1" ? [{ flow: flow(5), chassis: ["hv1"] }, { flow: dropping, chassis: ["hv1"] }, { flow: elsewhere, chassis: ["hv1"] }] : [];
    },
    ask: () => Promise.resolve([reply({ priority: 5, packets: 3 }, { priority: 6, packets: 50 }, { priority: 7, packets: 70 })]),
  });
  clock.seconds += 1000;
  const view = {} as never;
  expect((await counter.ofResource(rules, view, "thing", "t", "received", "p1")).flows.map((f) => f.packets)).toEqual([3]);
  expect((await counter.ofResource(rules, view, "thing", "t", "sent", "p1")).flows).toEqual([]);
  expect(looked).toEqual(["a/in/t/1", "a/in/t/2", "a/out/t"]);
});

test("who has caused too much is refused before its flows are gathered; others are not, nor what services look at in their turns", async () => {
  let gathered = 0;
  const rules = [{ app: "a", rule: "in", counts: { resource: "thing", counters: { door: "received" }, entities: () => Array.from({ length: 5000 }, (_, i) => `e${i}`) } }];
  const counter = new FlowCounter({
    clock, ...nothing, tableName: () => "door", ask: () => Promise.resolve([]),
    placed: () => {
      gathered++;
      return [];
    },
  });
  clock.seconds += 1000;
  const ask = async (payer: string): Promise<[boolean | undefined, number]> => {
    const before = gathered;
    const { refused } = await counter.ofResource(rules, {} as never, "thing", "t", "received", payer);
    return [refused, gathered - before];
  };
  for (let i = 0; i < 4; i++) expect(await ask("p")).toEqual([undefined, 5000]);
  expect(await ask("p")).toEqual([true, 0]);
  expect(await ask("q")).toEqual([undefined, 5000]);
  for (let i = 0; i < 40; i++) expect(await ask("/turns")).toEqual([undefined, 5000]);
  clock.seconds += 1;
  expect(await ask("p")).toEqual([true, 2000]);
});

test("a flow that many hosts have costs as much as it has hosts", async () => {
  let gathered = 0;
  const hosts = Array.from({ length: 15_000 }, (_, i) => `hv${i}`);
  const counter = new FlowCounter({
    clock, ...nothing, ask: () => undefined,
    placed: () => {
      gathered++;
      return [{ flow: flow(5), chassis: hosts }];
    },
  });
  clock.seconds += 1000;
  for (let i = 0; i < 5; i++) await counter.of("app", "rule", "entity", "p");
  expect(gathered).toBe(2);
});

test("what flows drop is asked of each table once, by rule, and counts for whom the flow is", async () => {
  const asked: unknown[] = [];
  const own = flow(5);
  const counter = new FlowCounter({
    clock, placed: () => [], tableName: (id) => (id === 3 ? "door" : undefined),
    wanted: (_app, rule, entity) => (rule === "denied" && entity === "port" ? [{ ...own, cookieHi: 9, table: 3 }, { ...flow(6), cookieHi: 9, table: 4 }] : []),
    ask: (chassis, cookie, options) => {
      asked.push([chassis, cookie, options]);
      return chassis === "hv1" ? Promise.resolve([reply({ priority: 5, packets: 12 }, { priority: 7, packets: 100 })]) : undefined;
    },
  });
  const rules = [{ app: "a", rule: "denied", drops: { door: "closed" } }, { app: "a", rule: "other", drops: { door: "x" } }];
  expect(await counter.drops(rules, "hv1", ["port", "stranger"])).toEqual([{ entity: "port", reason: "closed", table: "door", packets: 12, bytes: 1200 }]);
  expect(asked).toEqual([["hv1", 9n << 32n, { mask: 0xffff_ffff_0000_0000n, table: 3 }]]);
  expect(await counter.drops(rules, "hv2", ["port"])).toBeUndefined();
  expect(await counter.drops(rules, "hv2", ["stranger"])).toEqual([]);
});

test("what a flow had when it was taken off comes once, with the answer that it would have been in; a switch that was asked before does not count it again", async () => {
  const one = flow(5);
  const end = (packets: number) => ({ chassis: "hv1", key: one.key, table: 3, packets, bytes: packets * 100 });
  let answer = (): Promise<Buffer[]> => Promise.resolve([reply({ priority: 5, packets: 12 })]);
  const counter = new FlowCounter({ clock, ...nothing, placed: () => [{ flow: one, chassis: ["hv1"] }], ask: () => answer() });
  const look = async () => {
    clock.seconds += 10;
    const { flows, ended } = await counter.of("app", "rule", "entity", "p1");
    return [flows.map((f) => f.packets), ended?.map((f) => f.packets)];
  };
  counter.end("app", "rule", "another", end(100));
  expect(await look()).toEqual([[12], undefined]);
  // It went before the switch was asked: what is there now is another.
  counter.end("app", "rule", "entity", end(20));
  counter.end("app", "rule", "entity", end(3));
  expect(await look()).toEqual([[12], [20, 3]]);
  // And while it was asked.
  answer = () => {
    counter.end("app", "rule", "entity", end(30));
    return Promise.resolve([reply({ priority: 5, packets: 29 })]);
  };
  expect(await look()).toEqual([[], [30]]);
  answer = () => Promise.reject(new Error("no answer"));
  counter.end("app", "rule", "entity", end(31));
  expect(await look()).toEqual([[], [31]]);
  expect(await look()).toEqual([[], undefined]);
});

test("what a flow had counts for a resource by the table that it was in, also when what it was for is gone, and none that only dropped is asked for", async () => {
  const rules = [{ app: "a", rule: "in", counts: { resource: "thing", counters: { door: "received", window: "sent" }, entities: (_view: unknown, id: string) => (id === "t" ? there : []) } }];
  let there = ["t", "t/1", "t/2"];
  const apps = [{ name: "a", rules: rules.map(({ rule: name, counts }) => ({ name, counts })) }, { name: "b", rules: [{ name: "out", counted: true }, { name: "neither" }] }];
  const counter = new FlowCounter({ clock, ...nothing, tableName: (id) => ({ 3: "door", 4: "window" })[id], placed: () => [], ask: () => undefined, counted: countedRules(apps as never) });
  const cookieHi = cookieOf("a/in");
  const [counts, drops, elsewhere, stranger] = [{ ...flow(5), cookieHi }, { ...flow(5), cookieHi, len: FLOW_MOD_MATCH_OFFSET + 8 }, { ...flow(5), cookieHi, table: 5 }, flow(5)];
  expect([counts, drops, elsewhere, stranger].map((f) => counter.isCounted(f))).toEqual([true, false, false, false]);
  expect(["b/out", "b/neither"].map((rule) => counter.isCounted({ ...drops, cookieHi: cookieOf(rule) }))).toEqual([true, false]);
  const end = (entity: string, table: number, packets: number): void => counter.end("a", "in", entity, { chassis: "hv1", key: entity, table, packets, bytes: 0 });
  const look = async (name: string, id = "t") => (await counter.ofResource(rules, {} as never, "thing", id, name, "/turns")).ended?.map((f) => f.packets);
  expect([await look("received"), await look("sent")]).toEqual([undefined, undefined]);
  there = ["t", "t/2"];
  end("t", 3, 1);
  end("t/1", 3, 2);
  end("t/1", 4, 3);
  end("t/2", 4, 4);
  end("u", 3, 5);
  expect([await look("received"), await look("sent"), await look("received"), await look("received", "u")]).toEqual([[1, 2], [3, 4], undefined, undefined]);
  // What it had two looks ago is not looked for any more.
  end("t/1", 3, 6);
  expect(await look("received")).toBeUndefined();
});

test("of what nobody fetches no more than 20,000 flows are kept, and none for longer than ten minutes", async () => {
  const counter = new FlowCounter({ clock, ...nothing, placed: () => [], ask: () => undefined });
  const look = async (entity: string) => (await counter.of("app", "rule", entity, "/turns")).ended?.length;
  const end = (entity: string, key = ""): void => counter.end("app", "rule", entity, { chassis: "hv1", key, table: 3, packets: 1, bytes: 100 });
  end("first");
  end("second");
  for (let i = 0; i < 19_999; i++) end("many", String(i));
  expect([await look("first"), await look("second"), await look("many")]).toEqual([undefined, 1, 19_999]);
  end("old");
  clock.seconds += 600;
  end("new");
  expect([await look("old"), await look("new")]).toEqual([undefined, 1]);
});
