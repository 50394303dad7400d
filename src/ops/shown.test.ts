// Lists and gauges of apps on the ops listener.
import { afterEach, expect, test } from "vitest";
import { defineCounter, defineTable, type App, type LiveView, type ReadView, type Row } from "#app";
import { pino } from "pino";
import { hookGuard } from "../lib/hook-guard.ts";
import { Metrics } from "../lib/metrics.ts";
import { Named } from "./named.ts";
import { createOps, type OpsServer } from "./server.ts";
import { appCounters, appGauges, appLists } from "./shown.ts";

const log = pino({ level: "silent" });
const view = {} as LiveView;
interface Lamp extends Row {
  readonly name: string;
  readonly project_id: string;
}
const lampTable = defineTable<Lamp>()("lamp", { resource: "lamp" });
const bulbTable = defineTable<Row & { readonly socket: string }>()("bulb", { resource: "bulb", naming: { resource: "light bulb", of: ({ socket }) => socket } });
const there = new Map<unknown, readonly Row[]>([
  [lampTable, [["7", "desk", "home"], ["1", "twin", "home"], ["2", "twin", "home"], ["3", "desk", "barn"], ["9", "porch", "barn"]].map(([id, name, project_id]) => ({ id, name, project_id }) as Lamp)],
  [bulbTable, [{ id: "b", socket: "E27" } as Row]],
]);
const rowsOf = { get: (table: unknown, id: string) => there.get(table)?.find((row) => row.id === id), all: (table: unknown) => there.get(table) ?? [], count: () => 0 } as unknown as ReadView;
const named = new Named([lampTable, bulbTable], rowsOf);
let server: OpsServer | undefined;
afterEach(() => server?.close());

function serve(app: Partial<App>): OpsServer {
  server = createOps({ log, providers: { ready: () => ({ ok: true }), switches: () => [], switch: () => undefined, problems: () => [], removeSwitch: () => Promise.resolve(false), flows: () => [], onFlowEvent: () => () => undefined } });
  appLists(server, { apps: [{ name: "light", about: "", ...app }], view, guard: hookGuard(log), log, isChassis: (id) => id === "hv1", named });
  return server;
}

test("a list is what its rows are, however many, by the filters that it has", async () => {
  const lamps = Array.from({ length: 5000 }, (_, i) => ({ id: i, at: i % 2 === 0 ? "hv1" : "hv2", state: "on" }));
  const ops = serve({ opsLists: [{ path: "lamps", about: "", filters: { switch: { about: "", chassis: true }, state: { about: "", values: ["on", "off"] } }, rows: (_view, { switch: at, state }) => lamps.filter((l) => (at === undefined || l.at === at) && (state === undefined || l.state === state)) }] });
  expect((await ops.inject("/lamps")).json()).toEqual(lamps);
  expect((await ops.inject("/lamps?switch=hv1")).json()).toHaveLength(2500);
  expect((await ops.inject("/lamps?state=off")).json()).toEqual([]);
  for (const [query, status, message] of [
    ["state=dim", 400, "query parameter state: 'dim' is not one of on, off"], ["colour=red", 400, "query parameter colour: is not known here; there are switch, state"],
    ["state=on&state=on", 400, "query parameter state: is given twice"], ["state=", 400, "query parameter state: is empty"], ["switch=hv9", 404, "query parameter switch: there is no switch 'hv9'"],
  ] as const) {
    const answer = await ops.inject(`/lamps?${query}`);
    expect([answer.statusCode, answer.json<{ error: { message: string } }>().error.message]).toEqual([status, message]);
  }
});

test("a filter that is a number takes numbers from one to another", async () => {
  const ops = serve({ opsLists: [{ path: "lamps", about: "", filters: { "off-for": { about: "", integer: [0, 10] } }, rows: (_view, asked) => [asked] }] });
  expect((await ops.inject("/lamps?off-for=10")).json()).toEqual([{ "off-for": "10" }]);
  for (const wrong of ["11", "-1", "1.5", "x", "1e1"]) {
    const answer = await ops.inject(`/lamps?off-for=${wrong}`);
    expect([answer.statusCode, answer.json<{ error: { message: string } }>().error.message]).toEqual([400, `query parameter off-for: '${wrong}' is no number from 0 to 10`]);
  }
});

test("a filter of a resource takes its id or its name, and says what is not there, unless it has rows still; so does one of a project", async () => {
  const lamps = [{ id: "7", project: "home" }, { id: "8", project: "left" }, { id: "3", project: "barn" }];
  const ops = serve({ opsLists: [{ path: "lamps", about: "", filters: { lamp: { about: "", resource: ["lamp"] }, part: { about: "", resource: ({ lamp }) => [lamp === undefined ? "lamp" : "bulb", "shade"] }, project: { about: "", project: true } }, rows: (_view, { lamp, part = lamp, project }) => lamps.filter((l) => (lamp === undefined || l.id === lamp) && part === lamp && (project === undefined || l.project === project)) }] });
  const asked = async (query: string): Promise<unknown> => {
    const answer = await ops.inject(`/lamps?${query}`);
    return answer.statusCode === 200 ? answer.json<{ id: string }[]>().map(({ id }) => id) : [answer.statusCode, answer.json<{ error: { message: string } }>().error.message];
  };
  expect(await asked("lamp=7")).toEqual(["7"]);
  expect(await asked("lamp=8")).toEqual(["8"]);
  expect(await asked("lamp=nosuch")).toEqual([400, "query parameter lamp: there is no lamp 'nosuch'"]);
  expect(await asked("lamp=twin")).toEqual([400, "query parameter lamp: several lamps have the name twin: 1 (project home), 2 (project home)"]);
  expect(await asked("part=nosuch")).toEqual([400, "query parameter part: there is no lamp or shade 'nosuch'"]);
  expect(await asked("lamp=7&part=nosuch")).toEqual([400, "query parameter part: there is no light bulb or shade 'nosuch'"]);
  expect(await asked("lamp=nosuch&part=E27"), "a name of its own kind").toEqual([400, "query parameter lamp: there is no lamp 'nosuch'"]);
  const gone = "3fa85f64-5717-4562-b3fc-2c963f66afa6";
  expect(await asked(`lamp=${gone}`)).toEqual([400, `query parameter lamp: there is no lamp '${gone}'; whether and when it was deleted, axion history --resource ${gone} says`]);
  expect(await asked("project=home")).toEqual(["7"]);
  expect(await asked("project=left")).toEqual(["8"]);
  expect(await asked("project=demo")).toEqual([400, "query parameter project: nothing here is of a project 'demo'; projects are given by their ids"]);
});

test("of a name that several have the project's own is meant; what is of another project is said to be", async () => {
  const lamps = [{ id: "7", project: "home" }, { id: "3", project: "barn" }, { id: "3", project: "home" }];
  const ops = serve({ opsLists: [{ path: "lamps", about: "", filters: { lamp: { about: "", resource: ["lamp"] }, project: { about: "", project: true } }, rows: (_view, { lamp, project }) => lamps.filter((l) => l.id === lamp && (project === undefined || l.project === project)) }] });
  const asked = async (query: string): Promise<unknown> => {
    const answer = await ops.inject(`/lamps?${query}`);
    return answer.statusCode === 200 ? answer.json() : [answer.statusCode, answer.json<{ error: { message: string } }>().error.message.replace("query parameter ", "")];
  };
  expect(await asked("lamp=desk")).toEqual([400, "lamp: several lamps have the name desk: 7 (project home), 3 (project barn)"]);
  expect(await asked("lamp=desk&project=home")).toEqual([{ id: "7", project: "home" }]);
  expect(await asked("project=barn&lamp=desk")).toEqual([{ id: "3", project: "barn" }]);
  expect(await asked("lamp=twin&project=home")).toEqual([400, "lamp: several lamps have the name twin: 1 (project home), 2 (project home)"]);
  expect(await asked("lamp=twin&project=barn")).toEqual([400, "lamp: there is no lamp 'twin' of project 'barn'; several lamps have the name twin: 1 (project home), 2 (project home)"]);
  expect(await asked("lamp=porch&project=home")).toEqual([400, "lamp: lamp 9 is of another project, barn"]);
  expect(await asked("lamp=7&project=barn")).toEqual([400, "lamp: lamp 7 is of another project, home"]);
  expect(await asked("lamp=3&project=home"), "what is there is shown").toEqual([{ id: "3", project: "home" }]);
  expect(await asked("lamp=desk&project=demo")).toEqual([400, "lamp: there is no lamp 'desk' of project 'demo'; several lamps have the name desk: 7 (project home), 3 (project barn)"]);
});

test("a list with nothing in it may say why", async () => {
  const ops = serve({ opsLists: [{ path: "lamps", about: "", filters: { state: { about: "", values: ["on", "off"] } }, rows: (_view, { state }) => (state === "on" ? [] : [{ id: 1 }]), whyEmpty: (_view, { state }) => `the mains are off: none is ${state ?? "there"}` }] });
  const empty = await ops.inject("/lamps?state=on");
  expect([empty.json(), empty.headers["x-axion-why-empty"]]).toEqual([[], "the mains are off: none is on"]);
  expect((await ops.inject("/lamps")).headers["x-axion-why-empty"]).toBeUndefined();
});

test("a list that throws costs itself", async () => {
  const ops = serve({ opsLists: [{ path: "lamps", about: "", rows: () => { throw new Error("dark"); } }] });
  expect((await ops.inject("/lamps")).statusCode).toBe(500);
  expect((await ops.inject("/healthz")).statusCode).toBe(200);
});

test("gauges are read when the metrics are; one that throws has no value, and of one with too many samples the first are shown", async () => {
  const metrics = new Metrics();
  let lit = 1;
  appGauges(metrics, { view, guard: hookGuard(log), apps: [{
    name: "light", about: "", gauges: [
      { name: "axion_lamps", about: "lamps", read: () => lit },
      { name: "axion_lamps_by_state", about: "lamps", labels: ["state"], read: () => [{ labels: { state: "on" }, value: lit }] },
      { name: "axion_lamps_broken", about: "lamps", labels: ["state"], read: () => { throw new Error("dark"); } },
      { name: "axion_lamps_many", about: "lamps", labels: ["id"], read: () => Array.from({ length: 10_000 }, (_, i) => ({ labels: { id: String(i) }, value: 1 })) },
    ],
  }] });
  lit = 7;
  const text = await metrics.text();
  expect(text).toContain("\naxion_lamps 7\n");
  expect(text).toContain('axion_lamps_by_state{state="on"} 7');
  expect(text).not.toMatch(/^axion_lamps_broken\{/m);
  expect(text.match(/^axion_lamps_many\{/gm)).toHaveLength(4096);
});

test("a counter has all of its values from the start; what it has not, and what an app does not list, is an error", async () => {
  const metrics = new Metrics();
  const flashes = defineCounter({ name: "axion_flashes_total", about: "flashes", label: "colour", values: ["red", "green"] });
  const count = appCounters(metrics, [{ name: "light", about: "", counters: [flashes] }]);
  count("light", flashes, "red");
  count("light", flashes, "red");
  expect(await metrics.text()).toMatch(/^axion_flashes_total\{colour="red"\} 2\naxion_flashes_total\{colour="green"\} 0$/m);
  expect(() => count("light", flashes, "blue")).toThrow("counter axion_flashes_total of app light has no value blue");
  expect(() => count("dark", flashes, "red")).toThrow("app dark counts axion_flashes_total, which it does not list");
});
