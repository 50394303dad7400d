// What apps add to resources that they do not own: to one by its handle, to every one, and who may see a row; and children in the
// form of their parent.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { apiMarkdown, makeRegistry, openApi } from "./index.ts";
import { Api, answer, as, conflict, defineQuestion, defineResource, defineTable, extendResource, forbidden, resourceHandle, type AnyTable, type App, type Row, type StandardRow } from "./testing/support.ts";

// ---- orders with lines, lines with notes ----

interface Order extends StandardRow {
  readonly urgent: boolean;
}
interface Line extends StandardRow {
  readonly order_id: string;
  readonly article: string;
  readonly count: number;
}
interface Note extends StandardRow {
  readonly line_id: string;
  readonly text: string;
}
const orderTable = defineTable<Order>()("order", { resource: "order", indexes: { project: (o) => o.project_id } });
const lineTable = defineTable<Line>()("line", { resource: "line", indexes: { order: (l) => l.order_id, project: (l) => l.project_id } });
/** How many there may be of an article at most, as whoever brings it says. */
const mostOf = defineQuestion<(article: string) => number>("most_of");
const noteTable = defineTable<Note>()("note", { resource: "note", indexes: { line: (n) => n.line_id } });
const orderResource = resourceHandle<Order>("order");
const lineResource = resourceHandle<Line>("line");
const noteResource = resourceHandle<Note>("note");
const MEMBER = { create: "rule:admin_only or (role:member and project_id:%(project_id)s)", get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: "rule:admin_only or (role:member and project_id:%(project_id)s)", delete: "rule:admin_only or (role:member and project_id:%(project_id)s)" };

/** Whether an order stores whatever it is given. */
let greedy = false;
/** Whether a line presents whose it is, which is shown anyway. */
let tellsWhose = false;

const order = defineResource(orderResource, {
  collection: "orders",
  about: "What somebody wants.",
  table: orderTable,
  notFound: { type: "OrderNotFound", message: (id) => `Order ${id} could not be found.` },
  attributes: { urgent: { type: "boolean", about: "At once.", post: true, put: true, default: false } },
  embedded: { lines: { about: "Of what how many.", resource: lineResource, attribute: "order_id", index: "order", post: true, cascade: true } },
  policy: MEMBER,
  create(tx, standard, input) {
    const row: Order = { urgent: input.urgent as boolean, ...standard };
    tx.put(orderTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after: Order = { ...row, ...(greedy ? changes : changes.urgent === undefined ? {} : { urgent: changes.urgent as boolean }) };
    tx.put(orderTable, after);
    return after;
  },
  remove: (tx, row) => tx.delete(orderTable, row.id),
  actions: {
    again: { about: "The same again.", method: "POST", policy: "rule:admin_only or (role:member and project_id:%(project_id)s)", status: 201, run: (tx, row, _body, ctx) => {
      const lines = tx.by(lineTable, "order", row.id).map(({ article, count }) => ({ article, count }));
      return { order: { id: ctx.create(orderResource, { project_id: row.project_id, name: `${row.name} again`, lines }).id } };
    } },
  },
});

const line = defineResource(lineResource, {
  collection: "lines",
  about: "Part of an order.",
  table: lineTable,
  notFound: { type: "LineNotFound", message: (id) => `Line ${id} could not be found.` },
  standard: ["id", "project", "description", "timestamps", "revision"],
  attributes: {
    order_id: { type: "uuid", about: "Its order.", post: true, required: true, filter: true, index: "order" },
    article: { type: "string", about: "Of what.", post: true, required: true, check: { enum: ["nail", "screw", "gold"] }, policy: { create: "not field:order:article=gold or rule:admin_only" } },
    count: { type: "integer", about: "How many.", post: true, default: 1, check: { range: [1, 100] } },
    wrapped: { type: "boolean", about: "In paper.", post: true, default: true },
    margin: { type: "integer", about: "For administrators.", policy: { get: "rule:admin_only" } },
  },
  embedded: { notes: { about: "Remarks.", resource: noteResource, attribute: "line_id", index: "line", post: true, cascade: true } },
  policy: MEMBER,
  create(tx, standard, input, ctx) {
    const its = ctx.visible(orderResource, input.order_id as string);
    if (tx.by(lineTable, "order", its.id).some((l) => l.article === input.article)) throw conflict("LineExists", `${input.article as string} is ordered already.`);
    if ((input.count as number) > Math.min(100, ...ctx.ask(mostOf, input.article as string))) throw conflict("TooHeavy", `Nobody brings ${input.count as number} of ${input.article as string}.`);
    const row: Line = { order_id: its.id, article: input.article as string, count: input.count as number, ...standard };
    tx.put(lineTable, row);
    ctx.bump(orderResource, its.id);
    return row;
  },
  remove: (tx, row) => tx.delete(lineTable, row.id),
  present: (_view, row) => ({ wrapped: true, margin: 7, ...(tellsWhose && { tenant_id: row.project_id }) }),
});

const note = defineResource(noteResource, {
  collection: "notes",
  about: "Remark on a line.",
  table: noteTable,
  standard: ["id", "project"],
  notFound: { type: "NoteNotFound", message: (id) => `Note ${id} could not be found.` },
  attributes: { line_id: { type: "uuid", about: "Its line.", post: true, required: true }, text: { type: "string", about: "Text.", post: true, required: true, check: { type: "string", max: 10 } } },
  policy: MEMBER,
  create(tx, { id, project_id }, input) {
    const row = { id, project_id, line_id: input.line_id as string, text: input.text as string } as unknown as Note;
    tx.put(noteTable, row);
    return row;
  },
  remove: (tx, row) => tx.delete(noteTable, row.id),
});

const shop: App = { name: "shop", about: "Orders.", tables: [orderTable, lineTable, noteTable], resources: [order, line, note] };

// ---- an app that is about every resource: a price tag, a limit, a log of what happened, grants to other projects ----

interface Price extends Row {
  readonly price: number;
}
interface Event extends Row {
  readonly of: string;
  readonly what: string;
}
interface Grant extends Row {
  readonly object_id: string;
  readonly target: string;
}
const priceTable = defineTable<Price>()("price", {});
const eventTable = defineTable<Event>()("event", { indexes: { of: (e) => e.of } });
const grantTable = defineTable<Grant>()("grant", { indexes: { target: (g) => g.target, pair: (g) => `${g.object_id} ${g.target}` } });
const LIMIT = 20;

const general: App = {
  name: "general",
  about: "What every resource has.",
  tables: [priceTable, eventTable, grantTable],
  extendAll: ({ name, table }) => {
    if (table === undefined || name === "note") return undefined;
    const counted = table as AnyTable;
    return {
      attributes: { price: { type: "integer", about: "What it costs.", alias: "prices", post: true, put: true, default: 0, check: { range: [0, 1000] }, filter: true } },
      relations: { granted: (row, view, caller) => view.by(grantTable, "pair", `${(row as Row).id} ${caller.projectId}`).length > 0 },
      reach: { granted: (view, caller) => view.by(grantTable, "target", caller.projectId).map((g) => g.object_id) },
      seenBy: ["granted"],
      create(tx, row: StandardRow, input, ctx) {
        if (tx.count(counted, "project", row.project_id) > LIMIT && !ctx.internal) throw conflict("OverQuota", `Quota exceeded for resources: ['${name}'].`);
        tx.put(priceTable, { id: row.id, price: input.price as number });
        tx.put(eventTable, { id: tx.uuid(), of: row.id, what: `create ${name}` });
      },
      update(tx, row: StandardRow, changes) {
        if (changes.price !== undefined) tx.put(priceTable, { id: row.id, price: changes.price as number });
        tx.put(eventTable, { id: tx.uuid(), of: row.id, what: `update ${name}` });
      },
      remove(tx, row: StandardRow, ctx) {
        if ((tx.get(priceTable, row.id)?.price ?? 0) > 900 && !ctx.internal) throw forbidden("TooDear", "It is too dear to go.");
        tx.delete(priceTable, row.id);
        for (const e of tx.by(eventTable, "of", row.id)) tx.delete(eventTable, e.id);
        for (const g of tx.all(grantTable)) if (g.object_id === row.id) tx.delete(grantTable, g.id);
      },
      present: (view, row: StandardRow) => ({ price: view.get(priceTable, row.id)?.price ?? 0 }),
      actions: {
        events: { about: "What happened to it.", method: "GET", policy: { of: "get" }, read: (view, row: StandardRow) => ({ events: view.by(eventTable, "of", row.id).map((e) => e.what).sort() }) },
        grant: { about: "Lets another project see it.", method: "PUT", path: "grants/{project}", policy: { of: "update" }, rule: `grant_${name}`, status: 204, run: (tx, row: StandardRow, _body, _ctx, { project }) => tx.put(grantTable, { id: tx.uuid(), object_id: row.id, target: project! }) },
      },
      collectionActions: { limit: { about: "How many there may be.", method: "GET", policy: "rule:admin_only or (role:reader and project_id:%(project_id)s)", rule: `get_${name}_limit`, read: () => ({ limit: LIMIT }) } },
    };
  },
  aliases: [{ alias: "prices", name: "Prices", description: "Things cost.", updated: "2026-01-01T00:00:00-00:00" }],
};

/** Extends one resource: an attribute, and who may see it. */
const express: App = {
  name: "express",
  about: "Urgent orders are everybody's.",
  requires: ["shop"],
  extend: [
    extendResource(orderResource, {
      attributes: { courier: { type: "string", about: "Who brings it." }, within: { type: "integer", about: "Hours.", post: true, visible: false } },
      beforeCreate: (_tx, input) => (input.within === undefined ? {} : { urgent: (input.within as number) < 24 }),
      relations: { urgent: (row) => row.urgent },
      seenBy: ["urgent"],
      present: (_view, row) => ({ courier: row.urgent ? "plane" : "ship" }),
    }),
  ],
  answers: [answer(mostOf, (article) => (article === "nail" ? 60 : 80))],
};

let api: Api;
beforeAll(async () => {
  api = await Api.make([shop, general, express]);
});
afterAll(() => api.close());

const ORDERS = "/v2.0/orders";
const make = async (values: Record<string, unknown> = {}, project = "p1"): Promise<any> => {
  const answer = await api.post(ORDERS, { order: values }, as(project));
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.body.order;
};
async function refused(body: unknown, status: number, type: string, message: string | RegExp, project = "p1"): Promise<void> {
  const before = api.model.generation;
  const answer = await api.post(ORDERS, body, as(project));
  expect([answer.status, answer.body?.NeutronError?.type]).toEqual([status, type]);
  if (typeof message === "string") expect(answer.body.NeutronError.message).toBe(message);
  else expect(answer.body.NeutronError.message).toMatch(message);
  expect(api.model.generation).toBe(before);
}

describe("a question that an app asks of others", () => {
  it("is answered in a transaction by those that are there; without them it is decided all the same", async () => {
    const lines = (article: string, count: number) => ({ order: { lines: [{ article, count }] } });
    await refused(lines("nail", 61), 409, "TooHeavy", "lines[0]: Nobody brings 61 of nail.");
    await refused(lines("screw", 81), 409, "TooHeavy", /81 of screw/);
    expect((await api.post(ORDERS, lines("screw", 80), as("p1"))).status).toBe(201);
    const alone = await Api.make([shop, general]);
    expect((await alone.post(ORDERS, lines("nail", 100), as("p1"))).status).toBe(201);
    await alone.close();
  });
});

describe("an attribute that an app presents", () => {
  it("is not stored by the resource as well, which is told of it with the rest: that is refused before it is there", async () => {
    const made = await make({ price: 5 });
    const before = api.model.generation;
    expect((await api.put(`${ORDERS}/${made.id}`, { order: { price: 7 } }, as("p1"))).status).toBe(200);
    greedy = true;
    expect((await api.put(`${ORDERS}/${made.id}`, { order: { price: 9 } }, as("p1"))).status).toBe(500);
    greedy = false;
    expect(api.model.generation).toBe(before + 1);
    expect((await api.get(`${ORDERS}/${made.id}`, as("p1"))).body.order).toMatchObject({ price: 7, revision_number: 2 });
    expect((await api.delete(`${ORDERS}/${made.id}`, as("p1"))).status).toBe(204);
  });
});

describe("an attribute that is shown of a row", () => {
  it("is not presented as well, tenant_id neither, which is shown of project_id: an answer had it twice", async () => {
    const { lines } = await make({ lines: [{ article: "nail" }] });
    const [{ id }] = lines as [{ id: string }];
    tellsWhose = true;
    const answer = await api.get(`/v2.0/lines/${id}`, as("p1"));
    tellsWhose = false;
    expect(answer.status).toBe(500);
    expect((await api.get(`/v2.0/lines/${id}`, as("p1"))).body.line).toMatchObject({ tenant_id: "p1", project_id: "p1" });
  });
});

describe("children in their parent's form", () => {
  it("are created with it in one change, with defaults, extensions and the parent's project, and shown in it", async () => {
    const answer = await api.post(ORDERS, { order: { lines: [{ article: "nail", count: "3", notes: [{ text: "soon" }] }, { article: "screw", price: 5 }] } }, as("p1"));
    expect(answer.status).toBe(201);
    const { order: made } = answer.body;
    expect(made.lines).toHaveLength(2);
    const nail = made.lines.find((l: any) => l.article === "nail");
    expect(nail).toMatchObject({ order_id: made.id, project_id: "p1", tenant_id: "p1", count: 3, wrapped: true, revision_number: 1, price: 0 });
    expect(nail.notes.map((n: any) => n.text)).toEqual(["soon"]);
    expect(made.lines.find((l: any) => l.article === "screw")).toMatchObject({ count: 1, price: 5, notes: [] });
    for (const [type, id] of [["order", made.id], ["line", nail.id], ["note", nail.notes[0].id]]) expect(api.model.lastChange(type, id)?.generation, type).toBe(Number(answer.headers["x-axion-generation"]));
    expect((await api.get(`${ORDERS}/${made.id}`, as("p1"))).body.order).toEqual(made);
    expect((await api.get(`/v2.0/lines/${nail.id}`, as("p1"))).body.line).toEqual(nail);
  });
  it("are shown without what the caller may not see of them", async () => {
    const { id } = await make({ lines: [{ article: "nail" }] });
    expect((await api.get(`${ORDERS}/${id}`, as("p1"))).body.order.lines[0].margin).toBeUndefined();
    expect((await api.get(`${ORDERS}/${id}`)).body.order.lines[0].margin).toBe(7);
  });
  it("may be created on their own as well, and parents without them", async () => {
    const { id, lines } = await make();
    expect(lines).toEqual([]);
    expect((await api.post("/v2.0/lines", { line: { order_id: id, article: "nail" } }, as("p1"))).status).toBe(201);
    expect((await api.get(`${ORDERS}/${id}`, as("p1"))).body.order).toMatchObject({ revision_number: 2, lines: [{ article: "nail" }] });
  });
  it("go with it, and take theirs along", async () => {
    const made = await make({ lines: [{ article: "nail", notes: [{ text: "a" }, { text: "b" }] }] });
    expect((await api.delete(`${ORDERS}/${made.id}`, as("p1"))).status).toBe(204);
    expect((await api.get(`/v2.0/lines/${made.lines[0].id}`)).status).toBe(404);
    for (const n of made.lines[0].notes) expect((await api.get(`/v2.0/notes/${n.id}`)).status).toBe(404);
  });
  it("are given in the same form by other code", async () => {
    const made = await make({ name: "x", lines: [{ article: "nail", count: 9 }] });
    const again = await api.post(`${ORDERS}/${made.id}/again`, {}, as("p1"));
    expect(again.status).toBe(201);
    expect((await api.get(`${ORDERS}/${again.body.order.id}`, as("p1"))).body.order).toMatchObject({ name: "x again", lines: [{ article: "nail", count: 9, wrapped: true }] });
  });

  const bad = "Invalid input for ";
  it.each<[string, unknown, number, string, string | RegExp]>([
    ["no list", { lines: {} }, 400, "HTTPBadRequest", `${bad}lines. Reason: '{}' is not a list.`],
    ["no object", { lines: [{ article: "nail" }, 5] }, 400, "HTTPBadRequest", `${bad}lines. Reason: '5' is not a dictionary.`],
    ["a value", { lines: [{ article: "nail" }, { article: "oak" }] }, 400, "HTTPBadRequest", `${bad}lines[1].article. Reason: 'oak' is not in ['nail', 'screw', 'gold'].`],
    ["a range", { lines: [{ article: "nail", count: 101 }] }, 400, "HTTPBadRequest", `${bad}lines[0].count. Reason: '101' is too large - must be no larger than '100'.`],
    ["a word that is no boolean", { lines: [{ article: "nail", wrapped: "maybe" }] }, 400, "InvalidInput", "lines[0].wrapped: Invalid input for operation: 'maybe' cannot be converted to boolean."],
    ["what is missing", { lines: [{}] }, 400, "HTTPBadRequest", "Failed to parse request. Required attribute 'lines[0].article' not specified"],
    ["what nobody knows", { lines: [{ article: "nail", colour: 1 }] }, 400, "HTTPBadRequest", "Unrecognized attribute(s) 'lines[0].colour'"],
    ["what is read only", { lines: [{ article: "nail", id: "x" }] }, 400, "HTTPBadRequest", "Attribute 'lines[0].id' not allowed in POST"],
    ["two levels down", { lines: [{ article: "nail", notes: [{ text: "ok" }, { text: "far too long" }] }] }, 400, "HTTPBadRequest", `${bad}lines[0].notes[1].text. Reason: 'far too long' exceeds maximum length of 10.`],
    ["another project, two levels down", { lines: [{ article: "nail", notes: [{ text: "ok", project_id: "p2" }] }] }, 400, "HTTPBadRequest", /^lines\[0\]\.notes\[0\]: Specifying 'project_id'/],
    ["what the child's code refuses", { lines: [{ article: "nail" }, { article: "nail" }] }, 409, "LineExists", "lines[1]: nail is ordered already."],
    ["what the child's rules refuse", { lines: [{ article: "nail" }, { article: "gold" }] }, 403, "PolicyNotAuthorized", /^lines\[1\]: .*rule:create_line:article/],
    ["what an extension's check refuses", { lines: [{ article: "nail", price: -1 }] }, 400, "HTTPBadRequest", `${bad}lines[0].price. Reason: '-1' is too small - must be at least '0'.`],
  ])("refusals name the path: %s", (_, values, status, type, message) => refused({ order: values }, status, type, message));
  it("are not changed with it", async () => {
    const { id } = await make();
    expect((await api.put(`${ORDERS}/${id}`, { order: { lines: [] } }, as("p1"))).body.NeutronError.message).toBe("Cannot update read-only attribute lines");
  });
  it("are in the description", () => {
    const schemas = (openApi(makeRegistry([shop])) as { components: { schemas: Record<string, any> } }).components.schemas;
    expect(schemas.order.properties.lines).toMatchObject({ type: "array", items: { $ref: "#/components/schemas/line" } });
    expect(schemas.order_create.properties.lines).toMatchObject({ type: "array", items: { $ref: "#/components/schemas/line_create" } });
  });
  it.each<[string, Parameters<typeof defineResource<Order>>[1]["embedded"], string]>([
    ["nobody declares", { x: { about: "", resource: resourceHandle("none"), attribute: "order_id", index: "order" } }, "order.x embeds none, which is not there"],
    ["have no such attribute", { x: { about: "", resource: lineResource, attribute: "parent", index: "order" } }, "line does not declare parent, which holds its order"],
    ["have no such index", { x: { about: "", resource: lineResource, attribute: "order_id", index: "none" } }, "order.x names the index none, which table line has not"],
  ])("that %s end the start", (_, embedded, message) =>
    expect(() => makeRegistry([{ ...shop, resources: [{ ...order, embedded: embedded! }, line, note] }])).toThrow(message));
});

describe("an extension of every resource", () => {
  it("adds attributes with defaults, checks and filters", async () => {
    const made = await make({ price: 30, name: "dear" });
    expect(made.price).toBe(30);
    expect((await api.get(`${ORDERS}?price=30`, as("p1"))).body.orders.map((o: any) => o.name)).toEqual(["dear"]);
    expect((await api.put(`${ORDERS}/${made.id}`, { order: { price: 31 } }, as("p1"))).body.order.price).toBe(31);
    await refused({ order: { price: 1001 } }, 400, "HTTPBadRequest", "Invalid input for price. Reason: '1001' is too large - must be no larger than '1000'.");
  });
  it("sees and may refuse every create, update and remove", async () => {
    const made = await make({ price: 950, lines: [{ article: "nail" }] });
    await api.put(`${ORDERS}/${made.id}`, { order: { name: "n" } }, as("p1"));
    expect((await api.get(`${ORDERS}/${made.id}/events`, as("p1"))).body).toEqual({ events: ["create order", "update order"] });
    expect((await api.get(`/v2.0/lines/${made.lines[0].id}/events`, as("p1"))).body).toEqual({ events: ["create line"] });
    expect((await api.delete(`${ORDERS}/${made.id}`, as("p1"))).body.NeutronError.type).toBe("TooDear");
    await api.put(`${ORDERS}/${made.id}`, { order: { price: 1 } }, as("p1"));
    expect((await api.delete(`${ORDERS}/${made.id}`, as("p1"))).status).toBe(204);
    expect([...api.model.view.all(eventTable)].filter((e) => e.of === made.id)).toEqual([]);
  });
  it("limits what a project has", async () => {
    for (let i = 0; i < LIMIT; i++) await make({}, "many");
    await refused({ order: {} }, 409, "OverQuota", "Quota exceeded for resources: ['order'].", "many");
    await make({}, "few");
  });
  it("adds routes below members and collections, with rules of their own", async () => {
    const made = await make();
    expect((await api.get(`${ORDERS}/limit`, as("p1", "reader"))).body).toEqual({ limit: LIMIT });
    expect((await api.get("/v2.0/lines/limit", as("p1", "reader"))).body).toEqual({ limit: LIMIT });
    expect((await api.get("/v2.0/notes/limit")).status).toBe(404);
    expect((await api.put(`${ORDERS}/${made.id}/grants/p2`, undefined, as("p1", "reader"))).body.NeutronError.message).toBe("rule:grant_order is disallowed by policy");
    expect((await api.put(`${ORDERS}/${made.id}/grants/p2`, undefined, as("p2"))).status).toBe(404);
  });
  it("says who else may see a row, alone and in lists, but not change it", async () => {
    const made = await make({ name: "granted" }, "owner");
    const seen = async (project: string): Promise<string[]> => (await api.get(ORDERS, as(project))).body.orders.map((o: any) => o.name);
    expect([(await api.get(`${ORDERS}/${made.id}`, as("guest"))).status, await seen("guest")]).toEqual([404, []]);
    expect((await api.put(`${ORDERS}/${made.id}/grants/guest`, undefined, as("owner"))).status).toBe(204);
    expect([(await api.get(`${ORDERS}/${made.id}`, as("guest"))).status, await seen("guest"), await seen("other")]).toEqual([200, ["granted"], []]);
    expect((await api.put(`${ORDERS}/${made.id}`, { order: { name: "mine" } }, as("guest"))).status).toBe(403);
    expect((await api.delete(`${ORDERS}/${made.id}`, as("owner"))).status).toBe(204);
    expect(await seen("guest")).toEqual([]);
  });
  it("is in the generated page and among the extensions", async () => {
    expect((await api.get("/v2.0/extensions/prices")).status).toBe(200);
    const page = apiMarkdown(makeRegistry([shop, general, express]));
    for (const text of ["`PUT /v2.0/lines/{id}/grants/{project}`", "`GET /v2.0/orders/limit`", "| price | integer: 0..1000 | C U | `0` | f |"]) expect(page).toContain(text);
  });
});

describe("an extension of one resource", () => {
  it("adds attributes, relations and who may see it", async () => {
    const calm = await make({ name: "calm" }, "e1");
    const quick = await make({ name: "quick", urgent: true }, "e1");
    expect([calm.courier, quick.courier]).toEqual(["ship", "plane"]);
    expect((await api.get(`${ORDERS}/${calm.id}`, as("e2"))).status).toBe(404);
    expect((await api.get(`${ORDERS}/${quick.id}`, as("e2"))).body.order.courier).toBe("plane");
    expect((await api.get(ORDERS, as("e2"))).body.orders.map((o: any) => o.name)).toEqual(["quick"]);
  });
  it("without the app nothing of it is left", async () => {
    const plain = await Api.make([shop]);
    const { body } = await plain.post(ORDERS, { order: { urgent: true, lines: [{ article: "nail" }] } }, as("p1"));
    expect([body.order.courier, body.order.price, body.order.lines[0].price]).toEqual([undefined, undefined, undefined]);
    expect((await plain.get(`${ORDERS}/${body.order.id}`, as("p2"))).status).toBe(404);
    expect((await plain.get(`${ORDERS}/${body.order.id}/events`)).status).toBe(404);
    await plain.close();
  });
  it("widens a relation of the owner's: any of the declarations may hold", async () => {
    const owner = defineResource(orderResource, { ...order, embedded: {}, relations: { open: () => false }, reach: { open: () => [] }, policy: { ...MEMBER, get: "rule:admin_only or (role:reader and project_id:%(project_id)s) or relation:open" } });
    const market: App = { name: "market", about: "", tables: [orderTable], resources: [owner] };
    const wider: App = { name: "wider", about: "", requires: ["market"], extend: [extendResource(orderResource, { relations: { open: (row) => row.urgent }, reach: { open: (view) => [...view.all(orderTable)].map((o) => o.id) } })] };
    for (const [apps, want] of [[[market], []], [[market, wider], ["quick"]]] as const) {
      const its = await Api.make(apps);
      await its.post(ORDERS, { orders: [{ name: "quick", urgent: true }, { name: "calm" }] }, as("p1"));
      expect((await its.get(ORDERS, as("p2"))).body.orders.map((o: any) => o.name)).toEqual(want);
      await its.close();
    }
  });
});

it("an app chooses what a caller left to it, before the resource is made", async () => {
  for (const [within, urgent] of [[5, true], [48, false], [undefined, false]]) {
    expect((await api.post("/v2.0/orders", { order: { within } }, as("hurry"))).body.order).toMatchObject({ urgent, courier: urgent === true ? "plane" : "ship" });
  }
});
