// Resources that are not a table of rows with ids of their own: keyed by project or by host, singletons, computed, without the
// standard attributes; and actions on members and collections.
// Over 400 lines: one group of apps, small on purpose, on which every shape that a declaration can take is tried.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { apiMarkdown, makeRegistry, openApi } from "./index.ts";
import { Api, as, badRequest, conflict, defineResource, defineTable, resourceHandle, type App, type ReadView, type Row, type StandardRow, type Tx } from "./testing/support.ts";

// ---- a small library: books, how many a project may have, hosts that print them, one opening time ----

interface Book extends StandardRow {
  readonly pages: number;
}
const bookTable = defineTable<Book>()("book", { resource: "book", indexes: { project: (b) => b.project_id } });
const bookResource = resourceHandle<Book>("book");

/** Keyed by project. */
interface Allowance extends Row {
  readonly project_id: string;
  readonly book: number;
}
const allowanceTable = defineTable<Allowance>()("allowance", { resource: "allowance", indexes: { project: (a) => a.project_id } });
const allowanceResource = resourceHandle<Allowance>("allowance");
const DEFAULT_BOOKS = 2;
const allowanceOf = (view: ReadView, project: string): Allowance => view.get(allowanceTable, project) ?? { id: project, project_id: project, book: DEFAULT_BOOKS };

/** A part of a book, for actions of a collection below a parent. */
interface Mark extends StandardRow {
  readonly book_id: string;
}
const markTable = defineTable<Mark>()("mark", { resource: "mark", indexes: { book: (m) => m.book_id } });

/** Keyed by host: only hosts that are there have a row to change. */
interface Press extends Row {
  readonly speed: number;
}
const pressTable = defineTable<Press>()("press", { resource: "press" });
const HOSTS = ["hv1", "hv2"];

interface Opening extends Row {
  readonly hour: number;
}
const openingTable = defineTable<Opening>()("opening", { resource: "opening" });
const openingResource = resourceHandle<Opening>("opening");

/** Computed: one row for each project that has books. */
interface Usage extends Row {
  readonly project_id: string;
  readonly books: number;
  readonly pages: number;
}
function usageOf(view: ReadView, project: string): Usage | undefined {
  const books = view.by(bookTable, "project", project);
  return books.length === 0 ? undefined : { id: project, project_id: project, books: books.length, pages: books.reduce((sum, b) => sum + b.pages, 0) };
}

const allowance = defineResource(allowanceResource, {
  collection: "allowances",
  about: "How many books a project may have.",
  alias: "allowances",
  table: allowanceTable,
  standard: [],
  keyed: { initial: (view, project) => allowanceOf(view, project) },
  notFound: { type: "AllowanceNotFound", message: (id) => `Allowance of ${id} could not be found.` },
  attributes: {
    project_id: { type: "string", about: "Whose.", filter: true },
    book: { type: "integer", about: "Books.", put: true, check: { range: [-1, 1000] }, filter: true, sort: true },
  },
  policy: { get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: "rule:admin_only", delete: "rule:admin_only" },
  update(tx, row, changes) {
    const after: Allowance = { ...row, book: (changes.book as number | undefined) ?? row.book };
    tx.put(allowanceTable, after);
    return after;
  },
  remove: (tx, row) => tx.delete(allowanceTable, row.id),
  actions: { defaults: { about: "What it would be.", method: "GET", path: "default", policy: "rule:admin_only or (role:reader and project_id:%(project_id)s)", rule: "get_allowance", read: () => ({ allowance: { book: DEFAULT_BOOKS } }) } },
  collectionActions: {
    mine: { about: "Of the caller's project.", method: "GET", path: "project", policy: "rule:admin_only or (role:reader and project_id:%(project_id)s)", read: (_view, caller) => ({ allowance: { project_id: caller.projectId } }) },
    reset: {
      about: "All go back to what they were.", method: "POST", policy: "rule:admin_only", status: 202, check: { dict: { sure: { check: { type: "boolean" }, required: true } } },
      run: (tx, body) => {
        if (body.sure !== true) throw badRequest("Be sure.");
        const all = [...tx.all(allowanceTable)];
        for (const row of all) tx.delete(allowanceTable, row.id);
        return { reset: all.length };
      },
    },
    clear: { about: "As reset, without an answer.", method: "DELETE", path: "all/{really}", policy: "rule:admin_only", status: 204, run: (tx, _body, _ctx, path) => {
      if (path.really !== "yes") throw badRequest(`'${path.really!}' is not yes`);
      for (const row of [...tx.all(allowanceTable)]) tx.delete(allowanceTable, row.id);
    } },
  },
});

const book = defineResource(bookResource, {
  collection: "books",
  about: "Something to read.",
  table: bookTable,
  notFound: { type: "BookNotFound", message: (id) => `Book ${id} could not be found.` },
  attributes: { pages: { type: "integer", about: "Pages.", post: true, required: true, filter: true } },
  policy: { create: "rule:admin_only or (role:member and project_id:%(project_id)s)", get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", delete: "rule:admin_only or (role:member and project_id:%(project_id)s)" },
  create(tx, standard, input, ctx) {
    const most = ctx.visible(allowanceResource, standard.project_id).book;
    if (most >= 0 && tx.count(bookTable, "project", standard.project_id) >= most) throw conflict("OverQuota", "Quota exceeded for resources: ['book'].");
    const row: Book = { pages: input.pages as number, ...standard };
    tx.put(bookTable, row);
    return row;
  },
  remove: (tx, row) => tx.delete(bookTable, row.id),
  actions: {
    lend: { about: "Lends it.", method: "POST", policy: "rule:admin_only or (role:member and project_id:%(project_id)s)", status: 201, run: (_tx, row, body, ctx) => {
      ctx.bump(bookResource, row.id);
      return { to: body.to ?? "somebody", pages: row.pages };
    } },
    page: { about: "One page.", method: "GET", path: "pages/{number}", policy: { of: "get" }, read: (_view, row, _caller, { number }) => ({ page: Number(number), of: row.pages }) },
    tear: { about: "Tears one out.", method: "DELETE", path: "pages/{number}", policy: "rule:admin_only", rule: "tear_page", status: 204, run: (tx, row) => tx.put(bookTable, { ...row, pages: row.pages - 1 }) },
    write: { about: "Writes one.", method: "PUT", path: "pages/{number}", policy: "rule:admin_only or (role:member and project_id:%(project_id)s)", run: (tx, row) => {
      tx.put(bookTable, { ...row, pages: row.pages + 1 });
      return { pages: row.pages + 1 };
    } },
  },
});

const mark = defineResource(resourceHandle<Mark>("mark"), {
  collection: "marks",
  about: "Where somebody stopped.",
  table: markTable,
  parent: { resource: bookResource, attribute: "book_id" },
  notFound: { type: "MarkNotFound", message: (id) => `Mark ${id} could not be found.` },
  attributes: { book_id: { type: "uuid", about: "Its book." } },
  policy: { create: "rule:admin_only or (role:member and project_id:%(project_id)s)", get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", delete: "rule:admin_only" },
  create(tx, standard, input) {
    const row: Mark = { book_id: input.book_id as string, ...standard };
    tx.put(markTable, row);
    return row;
  },
  remove: (tx, row) => tx.delete(markTable, row.id),
  collectionActions: {
    clear: { about: "Removes all.", method: "DELETE", path: "all", rule: "clear_marks", policy: "rule:admin_only or (role:member and project_id:%(project_id)s)", run: (tx, _body, _ctx, { book_id }) => {
      const all = tx.by(markTable, "book", book_id!);
      for (const row of all) tx.delete(markTable, row.id);
      return { cleared: all.length };
    } },
  },
});

const press = defineResource(resourceHandle<Press>("press"), {
  collection: "presses",
  about: "What a host prints with.",
  table: pressTable,
  standard: [],
  keyed: { initial: (_view, host) => (HOSTS.includes(host) ? { id: host, speed: 1 } : undefined) },
  notFound: { type: "HostNotFound", message: (id) => `Host ${id} could not be found.` },
  attributes: { id: { type: "string", about: "Host.", filter: true }, speed: { type: "integer", about: "Pages a second.", put: true, check: { range: [1, 9] } } },
  policy: { get: "rule:admin_only", update: "rule:admin_only" },
  update(tx, row, changes) {
    const after: Press = { ...row, ...changes };
    tx.put(pressTable, after);
    return after;
  },
});

const opening = defineResource(openingResource, {
  collection: "openings",
  about: "When the library opens.",
  path: "library/opening",
  table: openingTable,
  standard: [],
  singleton: true,
  keyed: { initial: (_view, id) => ({ id, hour: 9 }) },
  notFound: { type: "OpeningNotFound", message: () => "It was never changed." },
  attributes: { hour: { type: "integer", about: "Hour of the day.", put: true, check: { range: [0, 23] } } },
  policy: { get: "rule:admin_only or role:reader", update: "rule:admin_only", delete: "rule:admin_only" },
  update(tx, row, changes) {
    const after: Opening = { ...row, ...changes };
    tx.put(openingTable, after);
    return after;
  },
  remove: (tx, row) => tx.delete(openingTable, row.id),
  actions: { later: { about: "An hour later.", policy: "rule:admin_only", run: (_tx, row, _body, ctx) => ({ hour: ctx.update(openingResource, row.id, { hour: row.hour + 1 }).hour }) } },
});

const usage = defineResource(resourceHandle<Usage>("usage"), {
  collection: "usages",
  about: "What projects have.",
  standard: [],
  computed: {
    list: (view) => [...new Set([...view.all(bookTable)].map((b) => b.project_id))].flatMap((p) => usageOf(view, p) ?? []),
    get: (view, id) => usageOf(view, id),
  },
  notFound: { type: "UsageNotFound", message: (id) => `Usage of ${id} could not be found.` },
  attributes: {
    project_id: { type: "string", about: "Whose.", filter: true },
    books: { type: "integer", about: "Books.", filter: true, sort: true },
    pages: { type: "integer", about: "Pages.", sort: true },
    thick: { type: "boolean", about: "Whether there is much to read.", filter: true },
  },
  policy: { get: "rule:admin_only or (role:reader and project_id:%(project_id)s)" },
  present: (_view, row) => ({ thick: row.pages > 100 }),
});

/** A view of a book's chapters, which are tags of it, that can be written; by number within the book. */
interface Chapter extends Row {
  readonly book_id: string;
  readonly number: string;
  readonly title: string;
}
const chapterId = (book: string, number: string): string => `${book}/${number}`;
const chaptersOf = (view: ReadView, id: string): Chapter[] => (view.get(bookTable, id)?.tags ?? []).map((tag) => ({ id: chapterId(id, tag.slice(0, 1)), book_id: id, number: tag.slice(0, 1), title: tag.slice(2) }));
function retitle(tx: Tx, id: string, number: string, title?: string): void {
  const book = tx.get(bookTable, id)!;
  tx.put(bookTable, { ...book, tags: [...book.tags.filter((t) => !t.startsWith(number)), ...(title === undefined ? [] : [`${number} ${title}`])].sort() });
}
const chapter = defineResource(resourceHandle<Chapter>("chapter"), {
  collection: "chapters",
  about: "A part of a book.",
  parent: { resource: bookResource, attribute: "book_id", id: chapterId },
  computed: {
    list: (view, _caller, wanted) => (wanted("book_id") ?? []).flatMap((id) => chaptersOf(view, id)),
    get: (view, id) => chaptersOf(view, id.split("/")[0]!).find((c) => c.id === id),
  },
  standard: [],
  notFound: { type: "ChapterNotFound", message: (id) => `Chapter ${id} could not be found.` },
  attributes: {
    book_id: { type: "uuid", about: "Its book.", post: true, required: true, visible: false },
    number: { type: "string", about: "Which.", post: true, required: true, filter: true },
    title: { type: "string", about: "What of.", post: true, put: true, default: "", policy: { create: "rule:admin_only" } },
  },
  policy: { create: "rule:admin_only or role:member", get: "rule:admin_only or role:reader", update: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, _standard, { book_id, number, title }) {
    retitle(tx, book_id as string, number as string, title as string);
    return chaptersOf(tx, book_id as string).find((c) => c.number === number)!;
  },
  update(tx, row, changes) {
    retitle(tx, row.book_id, row.number, changes.title as string);
    return row;
  },
  remove: (tx, row) => retitle(tx, row.book_id, row.number),
  actions: { shout: { about: "Louder.", policy: "rule:admin_only", shows: true, run: (tx, row) => retitle(tx, row.book_id, row.number, row.title.toUpperCase()) } },
});

const library: App = { name: "library", about: "Books.", tables: [bookTable, markTable, allowanceTable, pressTable, openingTable], resources: [book, mark, allowance, press, opening, usage, chapter] };

let api: Api;
beforeAll(async () => {
  api = await Api.make([library]);
});
afterAll(() => api.close());

const error = (answer: { readonly status: number; readonly body: any }): [number, string] => [answer.status, answer.body?.NeutronError?.type];
/** Asserts that a call is refused and changes nothing. */
async function refused(method: string, url: string, body: unknown, want: readonly [number, string], headers?: Record<string, string>): Promise<void> {
  const before = api.model.generation;
  expect(error(await api.call(method, url, body, headers)), `${method} ${url}`).toEqual(want);
  expect(api.model.generation).toBe(before);
}

describe("rows keyed by project", () => {
  const ALLOWANCES = "/v2.0/allowances";
  it("are there before they are stored, in the form of their attributes alone", async () => {
    const { status, body } = await api.get(`${ALLOWANCES}/p1`, as("p1", "reader"));
    expect([status, body]).toEqual([200, { allowance: { project_id: "p1", book: 2 } }]);
    expect((await api.get(ALLOWANCES)).body).toEqual({ allowances: [] });
  });
  it("are stored by PUT and forgotten by DELETE", async () => {
    const put = await api.put(`${ALLOWANCES}/p2`, { allowance: { book: 7 } });
    expect([put.status, put.body]).toEqual([200, { allowance: { project_id: "p2", book: 7 } }]);
    expect(put.headers["x-axion-generation"]).toBe(String(api.model.generation));
    expect((await api.get(`${ALLOWANCES}/p2`)).body.allowance.book).toBe(7);
    expect((await api.get(`${ALLOWANCES}?book=7`)).body.allowances).toEqual([{ project_id: "p2", book: 7 }]);
    expect((await api.get(ALLOWANCES, as("p1", "reader"))).body.allowances).toEqual([]);
    expect((await api.delete(`${ALLOWANCES}/p2`)).status).toBe(204);
    await refused("DELETE", `${ALLOWANCES}/p2`, undefined, [404, "AllowanceNotFound"]);
    expect((await api.get(`${ALLOWANCES}/p2`)).body.allowance.book).toBe(2);
  });
  it("are what other code reads through the handle", async () => {
    for (const pages of [10, 20]) expect((await api.post("/v2.0/books", { book: { pages } }, as("p3"))).status).toBe(201);
    await refused("POST", "/v2.0/books", { book: { pages: 1 } }, [409, "OverQuota"], as("p3"));
    await api.put(`${ALLOWANCES}/p3`, { allowance: { book: 3 } });
    expect((await api.post("/v2.0/books", { book: { pages: 100 } }, as("p3"))).status).toBe(201);
  });
  it("have rules, checks and no POST", async () => {
    await refused("GET", `${ALLOWANCES}/p1`, undefined, [404, "AllowanceNotFound"], as("p9"));
    await refused("PUT", `${ALLOWANCES}/p1`, { allowance: { book: 9 } }, [403, "PolicyNotAuthorized"], as("p1"));
    await refused("PUT", `${ALLOWANCES}/p1`, { allowance: { book: 1001 } }, [400, "HTTPBadRequest"]);
    await refused("PUT", `${ALLOWANCES}/p1`, { allowance: { project_id: "p2" } }, [400, "HTTPBadRequest"]);
    await refused("POST", ALLOWANCES, { allowance: { book: 1 } }, [405, "HTTPMethodNotAllowed"]);
    await refused("GET", `${ALLOWANCES}?tags=x`, undefined, [400, "HTTPBadRequest"]);
    await refused("GET", `${ALLOWANCES}?changed_since=2026-01-01T00:00:00Z`, undefined, [400, "HTTPBadRequest"]);
    await refused("GET", `${ALLOWANCES}/p1/tags`, undefined, [404, "HTTPNotFound"]);
    const before = api.model.generation;
    const constrained = await api.call("PUT", `${ALLOWANCES}/p1`, { allowance: { book: 1 } }, { "if-match": "revision_number=1" });
    expect([constrained.status, constrained.body.NeutronError.message]).toEqual([400, "Bad If-Match request: this resource has no revision_number."]);
    expect(api.model.generation).toBe(before);
  });
});

describe("rows keyed by host", () => {
  it("are there for hosts that are", async () => {
    expect((await api.get("/v2.0/presses/hv1")).body).toEqual({ press: { id: "hv1", speed: 1 } });
    expect((await api.put("/v2.0/presses/hv2", { press: { speed: 5 } })).body).toEqual({ press: { id: "hv2", speed: 5 } });
    expect((await api.get("/v2.0/presses")).body).toEqual({ presses: [{ id: "hv2", speed: 5 }] });
    await refused("GET", "/v2.0/presses/hv3", undefined, [404, "HostNotFound"]);
    await refused("PUT", "/v2.0/presses/hv3", { press: { speed: 5 } }, [404, "HostNotFound"]);
    await refused("DELETE", "/v2.0/presses/hv2", undefined, [405, "HTTPMethodNotAllowed"]);
  });
});

describe("a singleton", () => {
  const OPENING = "/v2.0/library/opening";
  it("is read, changed and put back without an id", async () => {
    expect((await api.get(OPENING, as("p1", "reader"))).body).toEqual({ opening: { hour: 9 } });
    expect((await api.put(OPENING, { opening: { hour: 10 } })).body).toEqual({ opening: { hour: 10 } });
    expect((await api.put(`${OPENING}/later`, undefined)).body).toEqual({ hour: 11 });
    expect((await api.get(OPENING)).body).toEqual({ opening: { hour: 11 } });
    expect((await api.delete(OPENING)).status).toBe(204);
    await refused("DELETE", OPENING, undefined, [404, "OpeningNotFound"]);
    expect((await api.get(OPENING)).body).toEqual({ opening: { hour: 9 } });
  });
  it("is one, with rules and checks", async () => {
    await refused("POST", OPENING, { opening: {} }, [405, "HTTPMethodNotAllowed"]);
    await refused("GET", `${OPENING}/x`, undefined, [404, "HTTPNotFound"]);
    await refused("PUT", OPENING, { opening: { hour: 24 } }, [400, "HTTPBadRequest"]);
    await refused("PUT", OPENING, { opening: { hour: 8 } }, [403, "PolicyNotAuthorized"], as("p1"));
  });
});

describe("computed rows", () => {
  it("are listed, filtered, sorted, paged and shown", async () => {
    await api.put("/v2.0/allowances/p5", { allowance: { book: -1 } });
    for (const pages of [30, 40, 50]) await api.post("/v2.0/books", { book: { pages } }, as("p5"));
    await api.post("/v2.0/books", { book: { pages: 1 } }, as("p6"));
    expect((await api.get("/v2.0/usages/p5")).body).toEqual({ usage: { project_id: "p5", books: 3, pages: 120, thick: true } });
    expect((await api.get("/v2.0/usages?books=3&project_id=p5")).body.usages).toEqual([{ project_id: "p5", books: 3, pages: 120, thick: true }]);
    expect((await api.get("/v2.0/usages?thick=false&fields=project_id")).body.usages).toEqual([{ project_id: "p6" }]);
    const page = (await api.get("/v2.0/usages?sort_key=pages&sort_dir=asc&limit=1")).body;
    expect(page.usages.map((u: Usage) => u.project_id)).toEqual(["p6"]);
    expect((await api.get("/v2.0/usages?sort_key=pages&sort_dir=asc&limit=1&marker=p6")).body.usages.map((u: Usage) => u.project_id)).not.toEqual(["p6"]);
  });
  it("are only what the caller may see, and follow at once", async () => {
    expect((await api.get("/v2.0/usages", as("p6", "reader"))).body.usages).toEqual([{ project_id: "p6", books: 1, pages: 1, thick: false }]);
    await refused("GET", "/v2.0/usages/p5", undefined, [404, "UsageNotFound"], as("p6"));
    const [only] = (await api.get("/v2.0/books", as("p6"))).body.books;
    await api.delete(`/v2.0/books/${only.id}`, as("p6"));
    await refused("GET", "/v2.0/usages/p6", undefined, [404, "UsageNotFound"]);
  });
  it("that are parts, named within their parent, are written through to what they are a view of", async () => {
    await api.put("/v2.0/allowances/p8", { allowance: { book: -1 } });
    const [one, two] = [(await api.post("/v2.0/books", { book: { pages: 1 } }, as("p8"))).body.book.id as string, (await api.post("/v2.0/books", { book: { pages: 2 } }, as("p8"))).body.book.id as string];
    const at = (book: string, rest = ""): string => `/v2.0/books/${book}/chapters${rest}`;
    const made = await api.post(at(one), { chapter: { number: "1", title: "Once" } });
    expect([made.status, made.body]).toEqual([201, { chapter: { number: "1", title: "Once" } }]);
    expect((await api.get(`/v2.0/books/${one}`)).body.book.tags).toEqual(["1 Once"]);
    expect((await api.put(at(one, "/1"), { chapter: { title: "Twice" } })).body).toEqual({ chapter: { number: "1", title: "Twice" } });
    expect((await api.put(at(one, "/1/shout"), {})).body).toEqual({ chapter: { number: "1", title: "TWICE" } });
    await api.post(at(one), { chapter: { number: "2" } });
    expect((await api.get(at(one))).body.chapters).toHaveLength(2);
    expect((await api.get(at(one, "?number=2"))).body.chapters).toEqual([{ number: "2", title: "" }]);
    expect((await api.get(at(two))).body.chapters).toEqual([]);
    await refused("GET", at(two, "/1"), undefined, [404, "ChapterNotFound"]);
    await refused("GET", at(one, "/1"), undefined, [404, "BookNotFound"], as("p9"));
    // The rules are called otherwise.
    const answer = await api.call("POST", at(one), { chapter: { number: "3", title: "x" } }, as("p8"));
    expect([answer.status, answer.body.NeutronError.message]).toEqual([403, "(rule:create_book_chapter and rule:create_book_chapter:title) is disallowed by policy"]);
    expect((await api.call("DELETE", at(one, "/1"))).status).toBe(204);
    expect((await api.get(at(one))).body.chapters).toEqual([{ number: "2", title: "" }]);
  });
  it.each([["POST", "/v2.0/usages"], ["PUT", "/v2.0/usages/p5"], ["DELETE", "/v2.0/usages/p5"]])("cannot be changed: %s %s", (method, url) => refused(method, url, {}, [405, "HTTPMethodNotAllowed"]));
});

describe("actions", () => {
  it("on members have methods, statuses and paths of their own", async () => {
    const made = (await api.post("/v2.0/books", { book: { pages: 5 } }, as("p7"))).body.book;
    const path = `/v2.0/books/${made.id}`;
    const lent = await api.post(`${path}/lend`, { to: "her" }, as("p7"));
    expect([lent.status, lent.body]).toEqual([201, { to: "her", pages: 5 }]);
    expect((await api.get(path)).body.book.revision_number).toBe(2);
    const before = api.model.generation;
    const read = await api.get(`${path}/pages/3`, as("p7", "reader"));
    expect([read.status, read.body, read.headers["x-axion-generation"]]).toEqual([200, { page: 3, of: 5 }, String(before)]);
    expect(api.model.generation).toBe(before);
    expect((await api.put(`${path}/pages/6`, undefined, as("p7"))).body).toEqual({ pages: 6 });
    const torn = await api.delete(`${path}/pages/6`);
    expect([torn.status, torn.text]).toEqual([204, ""]);
    expect((await api.get(path)).body.book.pages).toBe(5);
  });
  it("name their own rules, and hide what may not be seen", async () => {
    const made = (await api.post("/v2.0/books", { book: { pages: 5 } }, as("p8"))).body.book;
    const path = `/v2.0/books/${made.id}`;
    const torn = await api.delete(`${path}/pages/1`, as("p8"));
    expect([torn.status, torn.body.NeutronError.message]).toEqual([403, "rule:tear_page is disallowed by policy"]);
    await refused("DELETE", `${path}/pages/1`, undefined, [404, "BookNotFound"], as("p1"));
    await refused("GET", `${path}/pages/1`, undefined, [404, "BookNotFound"], as("p1"));
    await refused("POST", `${path}/pages/1`, {}, [405, "HTTPMethodNotAllowed"]);
    await refused("GET", `${path}/pages`, undefined, [404, "HTTPNotFound"]);
    await refused("PUT", "/v2.0/books/none/pages/1", {}, [404, "BookNotFound"]);
  });
  it("on collections come before members of that name", async () => {
    expect((await api.get("/v2.0/allowances/project", as("p7", "reader"))).body).toEqual({ allowance: { project_id: "p7" } });
    expect((await api.get("/v2.0/allowances/p7/default", as("p7", "reader"))).body).toEqual({ allowance: { book: 2 } });
    await api.put("/v2.0/allowances/p7", { allowance: { book: 5 } });
    await refused("POST", "/v2.0/allowances/reset", {}, [400, "HTTPBadRequest"]);
    await refused("POST", "/v2.0/allowances/reset", { sure: "no" }, [400, "HTTPBadRequest"]);
    await refused("POST", "/v2.0/allowances/reset", { sure: true }, [403, "PolicyNotAuthorized"], as("p7"));
    await refused("PUT", "/v2.0/allowances/reset", { sure: true }, [405, "HTTPMethodNotAllowed"]);
    const reset = await api.post("/v2.0/allowances/reset", { sure: "yes" });
    expect([reset.status, reset.body.reset > 0, reset.headers["x-axion-generation"]]).toEqual([202, true, String(api.model.generation)]);
    expect((await api.get("/v2.0/allowances")).body.allowances).toEqual([]);
    await refused("DELETE", "/v2.0/allowances/all/no", undefined, [400, "HTTPBadRequest"]);
    await api.put("/v2.0/allowances/p7", { allowance: { book: 5 } });
    expect((await api.delete("/v2.0/allowances/all/yes")).status).toBe(204);
    expect((await api.get("/v2.0/allowances")).body.allowances).toEqual([]);
  });
});

describe("actions of a collection below a parent", () => {
  it("know the parent, which must be there and visible", async () => {
    const [a, b] = await Promise.all([1, 2].map(async (pages) => (await api.post("/v2.0/books", { book: { pages } }, as("p10"))).body.book.id as string));
    for (const id of [a, a, b]) expect((await api.post(`/v2.0/books/${id}/marks`, { mark: {} }, as("p10"))).status).toBe(201);
    await refused("DELETE", `/v2.0/books/${a}/marks/all`, undefined, [404, "BookNotFound"], as("p11"));
    await refused("DELETE", "/v2.0/books/none/marks/all", undefined, [404, "BookNotFound"]);
    expect((await api.delete(`/v2.0/books/${a}/marks/all`, as("p10"))).body).toEqual({ cleared: 2 });
    expect([(await api.get(`/v2.0/books/${a}/marks`)).body.marks.length, (await api.get(`/v2.0/books/${b}/marks`)).body.marks.length]).toEqual([0, 1]);
  });
});

describe("the description", () => {
  it("has what can be done and nothing else", () => {
    const registry = makeRegistry([library]);
    const { paths, components } = openApi(registry) as { paths: Record<string, Record<string, any>>; components: { schemas: Record<string, any> } };
    const methods = (path: string): string[] => Object.keys(paths[path] ?? {}).filter((k) => k !== "parameters").sort();
    expect(methods("/v2.0/usages")).toEqual(["get"]);
    expect(methods("/v2.0/usages/{id}")).toEqual(["get"]);
    expect(methods("/v2.0/allowances")).toEqual(["get"]);
    expect(methods("/v2.0/allowances/{id}")).toEqual(["delete", "get", "put"]);
    expect(methods("/v2.0/library/opening")).toEqual(["delete", "get", "put"]);
    expect(methods("/v2.0/library/opening/later")).toEqual(["put"]);
    expect(methods("/v2.0/books/{id}/pages/{number}")).toEqual(["delete", "get", "put"]);
    expect(methods("/v2.0/allowances/reset")).toEqual(["post"]);
    expect(Object.keys(paths["/v2.0/allowances/reset"]!.post.responses)).toEqual(["202", "default"]);
    expect(paths["/v2.0/allowances/reset"]!.post.requestBody.content["application/json"].schema).toEqual({ type: "object", properties: { sure: { type: "boolean" } }, required: ["sure"], additionalProperties: false });
    expect(components.schemas.allowance_update.properties).toMatchObject({ book: { type: "integer", minimum: -1, maximum: 1000 } });
    expect([components.schemas.allowance_create, components.schemas.usage_update]).toEqual([undefined, undefined]);
    const page = apiMarkdown(registry);
    for (const text of ["| `GET /v2.0/library/opening` |", "`DELETE /v2.0/books/{id}/pages/{number}`: Tears one out.", "| book | integer: -1..1000 | U |"]) expect(page).toContain(text);
    expect(page).not.toContain("POST /v2.0/usages");
  });
});

describe("declarations that do not hold together", () => {
  const base = { collection: "odds", about: "", notFound: { type: "X", message: (id: string) => id }, attributes: {}, policy: { get: "rule:admin_only" } };
  const odd = resourceHandle<StandardRow>("odd");
  const table = defineTable<StandardRow>()("odd", {});
  const noop = { about: "", policy: "rule:admin_only", run: () => undefined };
  it.each<[string, ReturnType<typeof defineResource<StandardRow>>, string]>([
    ["neither table nor computed rows", defineResource(odd, base), "resource odd needs a table or computed rows, and not both"],
    ["computed rows that are keyed", defineResource(odd, { ...base, computed: { list: () => [], get: () => undefined }, keyed: { initial: () => undefined } }), "resource odd has computed rows, and is keyed as well"],
    ["a singleton of nothing", defineResource(odd, { ...base, table, singleton: true }), "resource odd is a singleton, which needs keyed.initial"],
    ["a create without a rule", defineResource(odd, { ...base, table, create: (_tx, standard) => standard }), "resource odd can be created, but has no create rule"],
    ["a remove without a rule", defineResource(odd, { ...base, table, remove: () => undefined }), "resource odd can be deleted, but has no delete rule"],
    ["keyed and created", defineResource(odd, { ...base, table, policy: { get: "rule:admin_only", create: "rule:admin_only" }, keyed: { initial: () => undefined }, create: (_tx, standard) => standard }), "resource odd is keyed, so nothing is created"],
    ["two actions in one place", defineResource(odd, { ...base, table, actions: { a: { ...noop, path: "x/{y}" }, b: { ...noop, path: "x/{z}" } } }), "odd: the actions a and b have the same method and path"],
    ["a converter that nobody registers", defineResource(odd, { ...base, table, attributes: { colour: { type: "string", about: "", check: { convert: "colour" } } } }), "odd.colour: no app registers the converter colour"],
  ])("%s", (_, resource, message) => expect(() => makeRegistry([{ name: "odd", about: "", resources: [resource] }])).toThrow(message));
  it("a converter that two apps register", () => {
    const converters = { colour: { about: "", form: { type: "string" } as const, run: (v: unknown) => v } };
    expect(() => makeRegistry([{ name: "a", about: "", converters }, { name: "b", about: "", converters }])).toThrow("apps a and b both register the converter colour");
  });
});
