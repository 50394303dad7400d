// What one request did, told once when all of it is there; and what reads make that they lack.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Api, as, conflict, defineResource, defineTable, extendResource, resourceHandle, type App, type ReadView, type Row, type StandardRow } from "./testing/support.ts";

const taskTable = defineTable<StandardRow>()("task", { resource: "task", indexes: { project: (t) => t.project_id } });
const taskResource = resourceHandle<StandardRow>("task");
const deskTable = defineTable<Row>()("desk", {});
const OWN = "rule:admin_only or (role:member and project_id:%(project_id)s)";

const task = defineResource(taskResource, {
  collection: "tasks",
  about: "Something to do.",
  table: taskTable,
  notFound: { type: "TaskNotFound", message: (id) => `Task ${id} could not be found.` },
  attributes: { urgent: { type: "boolean", about: "At once.", post: true, put: true, visible: false, default: false } },
  policy: { create: OWN, get: OWN, update: OWN, delete: OWN },
  bulk: true,
  create(tx, standard, _input, ctx) {
    tx.put(taskTable, standard);
    if (standard.name === "passing") ctx.remove(taskResource, ctx.create(taskResource, { name: "gone at once" }).id);
    if (standard.name === "twice") ctx.update(taskResource, standard.id, { description: "changed", urgent: true });
    return standard;
  },
  update(tx, row, changes) {
    expect(Object.keys(changes)).not.toHaveLength(0);
    tx.put(taskTable, row);
    return row;
  },
  remove: (tx, row) => tx.delete(taskTable, row.id),
  actions: {
    beside: { about: "All there are.", method: "GET", policy: { of: "get" }, lists: taskResource, rows: (view, row) => [...view.all(taskTable)].sort((a, b) => (a.name < b.name ? -1 : 1)).map(({ id }) => [id, id === row.id ? { here: true } : undefined] as const).concat([["gone", undefined]]) },
    split: { about: "Makes two of it.", policy: OWN, run: (_tx, row, _body, ctx) => {
      for (const n of [1, 2]) ctx.create(taskResource, { project_id: row.project_id, name: `${row.name} ${n}` });
      return {};
    } },
  },
  collectionActions: {
    desk: {
      about: "Where a project works.", method: "GET", path: "desks/{project_id}", policy: OWN, rule: "get_desk",
      prepare: {
        needed: (view, _caller, { project_id }, fields) => fields?.has("look") !== true && view.get(deskTable, project_id!) === undefined,
        run(tx, ctx, { project_id }) {
          tx.put(deskTable, { id: project_id! });
          ctx.create(taskResource, { project_id: project_id!, name: "tidy up" });
        },
      },
      read: (view, _caller, { project_id }, fields) => ({ there: view.get(deskTable, project_id!) !== undefined, asked: [...(fields ?? [])] }),
    },
  },
});

/** Worked out: a project and its tasks. */
interface Pile extends Row {
  readonly tasks: number;
}
const pileResource = resourceHandle<Pile>("pile");
const pileOf = (view: ReadView, id: string): Pile => ({ id, tasks: view.count(taskTable, "project", id) });
const pile = defineResource(pileResource, {
  collection: "piles",
  about: "What a project has to do.",
  standard: [],
  computed: { list: () => [], get: pileOf },
  notFound: { type: "PileNotFound", message: (id) => `Pile ${id} could not be found.` },
  attributes: { id: { type: "string", about: "The project." }, tasks: { type: "integer", about: "How many.", put: true } },
  policy: { get: "rule:admin_only", update: "rule:admin_only" },
  update(tx, row, changes) {
    for (let n = row.tasks; n < (changes.tasks as number); n++) {
      const id = tx.uuid();
      tx.put(taskTable, { id, project_id: row.id, name: "", description: "", created_at: tx.now, updated_at: tx.now, revision_number: 1, tags: [] });
    }
    return pileOf(tx, row.id);
  },
});

let told: unknown[];
const watching: App = {
  name: "watching",
  about: "",
  requires: ["tasks"],
  extend: [extendResource(pileResource, { completed: (_tx, done) => void told.push(done.map(({ row, created }) => [row.id, row.tasks, created])) }), extendResource(taskResource, {
    completed(tx, done, ctx) {
      if (told.length > 200) throw new Error("told without an end");
      told.push(done.map(({ row, created, asked, given }) => [row.name, created, asked, given.urgent === true]));
      if (done.some(({ row }) => row.name === "never")) throw conflict("Never", "no");
      for (const { row, created } of done) if (created && row.name === "endless") ctx.create(taskResource, { name: "endless", project_id: row.project_id });
      for (const { row, created } of done) if (created && row.name === "chain") ctx.create(taskResource, { name: "link", project_id: row.project_id });
      for (const { row } of done) expect(tx.get(taskTable, row.id)).toEqual(row);
    },
  })],
};

let api: Api;
beforeEach(async () => {
  told = [];
  api = await Api.make([{ name: "tasks", about: "", tables: [taskTable, deskTable], resources: [task, pile] }, watching]);
});
afterEach(() => api.close());
const create = (...names: string[]): ReturnType<Api["post"]> => api.post("/v2.0/tasks", { tasks: names.map((name) => ({ name })) }, as("p1"));
/** What was told by the call alone. */
async function toldBy(call: () => Promise<{ readonly status: number }>): Promise<unknown[]> {
  told = [];
  expect((await call()).status).toBeLessThan(300);
  return told;
}

test("all that a request made is told at once: what was asked for and what was made on the way", async () => {
  expect(await toldBy(() => create("a", "b"))).toEqual([[["a", true, true, false], ["b", true, true, false]]]);
  const { id } = (await api.get("/v2.0/tasks?name=a", as("p1"))).body.tasks[0];
  expect(await toldBy(() => api.put(`/v2.0/tasks/${id}/split`, {}, as("p1")))).toEqual([[["a 1", true, false, false], ["a 2", true, false, false]]]);
  expect(await toldBy(() => api.put(`/v2.0/tasks/${id}`, { task: { urgent: true } }, as("p1")))).toEqual([[["a", false, true, true]]]);
});

test("a row is told once, with all that was given; one that is gone is not", async () => {
  expect(await toldBy(() => create("twice"))).toEqual([[["twice", true, true, true]]]);
  expect(await toldBy(() => create("passing"))).toEqual([[["passing", true, true, false]]]);
});

test("what is made because of it is told next", async () => {
  expect(await toldBy(() => create("chain"))).toEqual([[["chain", true, true, false]], [["link", true, false, false]]]);
});

test("what makes more of its like each time it is told ends, and nothing of it is there", async () => {
  const before = api.model.generation;
  expect([(await create("endless")).status, api.model.generation]).toEqual([500, before]);
  expect(told.length).toBeLessThan(100);
});

test("what is worked out is told as it is then", async () => {
  expect(await toldBy(() => api.put("/v2.0/piles/p1", { pile: { tasks: 2 } }))).toEqual([[["p1", 2, false]]]);
});

test("who refuses it refuses all of it", async () => {
  const before = api.model.generation;
  const answer = await create("a", "never");
  expect([answer.status, answer.body.NeutronError.type, api.model.generation]).toEqual([409, "Never", before]);
});

test("a read makes what it lacks, and writes nothing else", async () => {
  const desk = (query = "", project = "p1"): ReturnType<Api["get"]> => api.get(`/v2.0/tasks/desks/${project}${query}`, as("p1"));
  const before = api.model.generation;
  expect((await desk("?fields=look")).body).toEqual({ there: false, asked: ["look"] });
  const refused = await desk("", "p2");
  expect([refused.status, refused.body.NeutronError.message, api.model.generation]).toEqual([403, "rule:get_desk is disallowed by policy", before]);
  told = [];
  for (const answer of await Promise.all([desk(), desk(), desk()])) expect(answer.body).toEqual({ there: true, asked: [] });
  expect(told).toEqual([[["tidy up", true, false, false]]]);
  const after = api.model.generation;
  await desk();
  expect(api.model.generation).toBe(after);
});

test("an action lists rows of a resource as their own list does, with what it says of each", async () => {
  const [a] = (await create("a", "b")).body.tasks;
  await api.post("/v2.0/tasks", { task: { name: "theirs" } }, as("p2"));
  const beside = (query: string): ReturnType<Api["get"]> => api.get(`/v2.0/tasks/${a.id}/beside${query}`, as("p1"));
  const listed = (await api.get("/v2.0/tasks?sort_key=name&sort_dir=asc", as("p1"))).body.tasks;
  expect((await beside("")).body).toEqual({ tasks: [{ ...listed[0], here: true }, listed[1]] });
  expect((await beside("?fields=name")).body).toEqual({ tasks: [{ name: "a", here: true }, { name: "b" }] });
  expect((await beside("?fields=none")).body).toEqual({ tasks: [{ here: true }, {}] });
  expect((await api.get(`/v2.0/tasks/${a.id}/beside`, as("p2"))).status).toBe(404);
});
