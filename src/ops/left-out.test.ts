// What the compiler has to leave out is a problem while it is so.
import { expect, test } from "vitest";
import { chassisScope } from "#app";
import { mac, onPort, port, ports, to, World } from "../compiler/testing/world.ts";
import { SimulatedClock } from "../lib/clock.ts";
import { coreProblemKinds } from "../lib/problem.ts";
import { CompilerProblems } from "./left-out.ts";

/** Each port has a group of as many buckets as its note says, or a rule that throws. */
const rules = [onPort("grouped", (p, _view, out) => {
  if (p.note === "broken") throw new Error("a bug");
  out.item(chassisScope("h1"), "group", Number(p.id.slice(1)), { type: "all", buckets: Array.from({ length: Number(p.note ?? 1) }, () => ({ actions: [{ type: "output", port: 1 } as const] })) });
}), onPort("plain", (p, _view, out) => out.flow(chassisScope("h1"), "t_in", to(p.mac, 1)))];

async function made(): Promise<{ readonly w: World; readonly clock: SimulatedClock; readonly problems: CompilerProblems }> {
  const w = await World.make({ name: "a", rules });
  const clock = new SimulatedClock();
  return { w, clock, problems: new CompilerProblems(w.engine, clock, (id) => w.layout.tableById(id)?.name) };
}

test("a group that no message holds is one, with what makes it so, until it is smaller or gone; other flows are there", async () => {
  const { w, clock, problems } = await made();
  await w.change((tx) => [1, 2, 3].forEach((n) => tx.put(ports, port(n, { mac: mac(n) }))));
  expect(problems.now()).toEqual([]);
  await w.change((tx) => [1, 2].forEach((n) => tx.put(ports, port(n, { mac: mac(n), note: "5000" }))));
  const [problem, ...others] = problems.now();
  expect(others).toEqual([]);
  expect(problem).toMatchObject({
    kind: "flows_left_out", severity: "error", since: new Date(clock.now()).toISOString(), switches: [], resources: [{ type: "port", id: "p1" }, { type: "port", id: "p2" }],
    text: "rule grouped of a fails for 2 entities, what it makes of them is left out on every switch: a group_mod of 160016 bytes; a message has at most 65535", cure: { text: expect.stringContaining("make it less") },
  });
  expect(w.flows("h1")).toHaveLength(3);
  const { since } = problem!;
  clock.advance(60_000);
  await w.change((tx) => tx.put(ports, port(1, { mac: mac(1), note: "5" })));
  expect(problems.now()).toMatchObject([{ since, resources: [{ type: "port", id: "p2" }] }]);
  await w.change((tx) => tx.delete(ports, "p2"));
  expect(problems.now()).toEqual([]);
  await w.change((tx) => tx.put(ports, port(2, { mac: mac(2), note: "5000" })));
  expect(problems.now()).toMatchObject([{ since: new Date(clock.now()).toISOString() }]);
});

test("a rule that throws is a fault of its app", async () => {
  const { w, problems } = await made();
  await w.change((tx) => tx.put(ports, port(1, { note: "broken" })));
  expect(problems.now()).toMatchObject([{ kind: "flows_left_out", text: "rule grouped of a fails for one entity, what it makes of it is left out on every switch: a bug", cure: { text: expect.stringContaining("a fault of the app a") } }]);
});

test("a rule that fails for a great many is told of by some, counted by all, until the last runs well", async () => {
  const { w, problems } = await made();
  const all = Array.from({ length: 300 }, (_, n) => n + 1);
  const become = (some: readonly number[], note: string) => w.change((tx) => some.forEach((n) => tx.put(ports, port(n, { mac: `02:00:00:00:0${n >> 8}:${(n & 255).toString(16).padStart(2, "0")}`, note }))));
  const told = () => problems.now().map(({ text }) => /fails for (\S+ \S+), .*: (.*)$/.exec(text)!.slice(1));
  await become(all, "broken");
  expect(told()).toEqual([["300 entities", "a bug"]]);
  expect(problems.now()[0]!.resources).toHaveLength(20);
  await become(all, "broken");
  expect(told()).toEqual([["300 entities", "a bug"]]);
  await become(all.slice(0, 299), "1");
  expect(told()).toEqual([["one entity", expect.stringMatching(/^a bug$|^the controller's log says why$/)]]);
  await become(all, "1");
  expect(problems.now()).toEqual([]);
});

test("two rules that differ, and conjunctions that a flow has no room for, are problems while they are so", async () => {
  const differs = [onPort("first", (p, _view, out) => out.flow(chassisScope("h1"), "t_in", to(mac(1), p.note === "same" ? 2 : 1))), onPort("second", (_p, _view, out) => out.flow(chassisScope("h1"), "t_in", to(mac(1), 2)))];
  const w = await World.make({ name: "a", rules: differs });
  const problems = new CompilerProblems(w.engine, new SimulatedClock(), (id) => w.layout.tableById(id)?.name);
  await w.change((tx) => tx.put(ports, port(1)));
  expect(problems.now()).toMatchObject([{ kind: "flows_disputed", text: "a flow of table t_in in chassis:h1 is as a/first on p1 wants it, and not: a/second on p1" }]);
  await w.change((tx) => tx.put(ports, port(1, { note: "same" })));
  expect(problems.now()).toEqual([]);
});

test("what is only tried is none, and what was one stays it", async () => {
  const { w, problems } = await made();
  await w.change((tx) => [1, 2].forEach((n) => tx.put(ports, port(n, { mac: mac(n), ...(n === 2 && { note: "5000" }) }))));
  const before = problems.now();
  expect(before).toHaveLength(1);
  w.tries(port(1, { mac: mac(1), note: "5000" }), port(2, { mac: mac(2) }));
  expect(problems.now()).toEqual(before);
});

test("the reference has both", () => expect(Object.keys(coreProblemKinds)).toEqual(expect.arrayContaining(["flows_left_out", "flows_disputed"])));
