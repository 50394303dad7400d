// What a face reaches beside single rows: what lies below a parent, actions of collections, revisions, and several changes at once.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ApiError, conflict, defineResource, defineTable, resourceHandle, type App, type Face, type FaceAnswer, type FaceRequest, type Operations, type StandardRow } from "#app";
import { Api, as } from "../testing/support.ts";

interface Shelf extends StandardRow {
  readonly size: number;
}
interface Book extends StandardRow {
  readonly shelf_id: string;
}
const shelfTable = defineTable<Shelf>()("shelf", {});
const bookTable = defineTable<Book>()("book", { indexes: { shelf: (b) => b.shelf_id } });
const shelfResource = resourceHandle<Shelf>("shelf");
const bookResource = resourceHandle<Book>("book");
const OWN = "rule:admin_only or project_id:%(project_id)s";
const policy = { create: OWN, get: OWN, update: OWN, delete: OWN };

const shelf = defineResource(shelfResource, {
  collection: "shelves",
  about: "Holds books.",
  table: shelfTable,
  notFound: { type: "ShelfNotFound", message: (id) => `Shelf ${id} could not be found.` },
  attributes: { size: { type: "integer", about: "In books.", post: true, put: true, default: 2 } },
  policy,
  create(tx, standard, input) {
    const row: Shelf = { size: input.size as number, ...standard };
    tx.put(shelfTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after: Shelf = { ...row, size: (changes.size as number | undefined) ?? row.size };
    tx.put(shelfTable, after);
    return after;
  },
  remove: (tx, row) => tx.delete(shelfTable, row.id),
  collectionActions: { widen: { about: "All of the project's.", policy: OWN, path: "widen/{by}", run: (tx, body, ctx, path) => {
    const mine = [...tx.all(shelfTable)].filter((s) => s.project_id === ctx.caller.projectId);
    for (const s of mine) tx.put(shelfTable, { ...s, size: s.size + Number(path.by), description: String(body.why) });
    return { widened: mine.length };
  } } },
});
const book = defineResource(bookResource, {
  collection: "books",
  about: "On a shelf.",
  parent: { resource: shelfResource, attribute: "shelf_id" },
  table: bookTable,
  notFound: { type: "BookNotFound", message: (id) => `Book ${id} could not be found.` },
  // Not required and not given: without its parent it would be made with none.
  attributes: { shelf_id: { type: "uuid", about: "Its shelf.", index: "shelf" } },
  policy,
  create(tx, standard, input) {
    const on = input.shelf_id as string;
    const row: Book = { shelf_id: on, ...standard };
    tx.put(bookTable, row);
    // After it is put: what a refusal leaves behind must not stay.
    if (tx.count(bookTable, "shelf", on) > tx.get(shelfTable, on)!.size) throw conflict("ShelfFull", `no more than ${tx.get(shelfTable, on)!.size}`);
    return row;
  },
  update(tx, row) {
    tx.put(bookTable, row);
    return row;
  },
  remove: (tx, row) => tx.delete(bookTable, row.id),
  actions: { read: { about: "Reads.", policy: OWN, method: "GET", read: (_view, row) => ({ title: row.name }) } },
  collectionActions: { titles: { about: "Of the shelf.", policy: OWN, method: "GET", read: (view, _caller, path) => view.by(bookTable, "shelf", path.shelf_id!).map((b) => b.name).sort() } },
});

type Handle = (request: FaceRequest, operations: Operations) => Promise<unknown>;
let handle: Handle;
const face: Face = {
  name: "library",
  prefix: "/library",
  async handle(request, operations): Promise<FaceAnswer> {
    return { status: 200, contentType: "application/json", body: JSON.stringify((await handle(request, operations)) ?? null) };
  },
  refuse: ({ status, type, message }) => ({ status, contentType: "application/json", body: JSON.stringify({ type, message }) }),
};
const library: App = { name: "library", about: "Shelves of books.", tables: [shelfTable, bookTable], resources: [shelf, book], faces: [face] };

let api: Api;
let shelfId: string;
beforeAll(async () => {
  api = await Api.make([library]);
});
afterAll(() => api.close());
beforeEach(async () => {
  shelfId = (await api.make("shelf", "shelves", {}, as("p1"))).id as string;
});

async function ask(fn: Handle, headers: Readonly<Record<string, string>> = {}, project = "p1"): Promise<{ readonly status: number; readonly body: any }> {
  handle = fn;
  return api.call("POST", "/library/x", "{}", { ...headers, ...as(project) });
}
const titles = async (): Promise<string[]> => (await api.get(`/v2.0/shelves/${shelfId}/books/titles`, as("p1"))).body as string[];

describe("below a parent", () => {
  it("creates, lists, shows, changes, acts on and removes what v2.0 has below it", async () => {
    const below = (request: FaceRequest) => ({ ...request, parentId: shelfId });
    const { body: made } = await ask(async (request, operations) => operations.create(bookResource, { name: "a" }, below(request)));
    expect(made.value).toMatchObject({ name: "a", shelf_id: shelfId });
    const { id } = made.value as { id: string };
    expect((await api.get(`/v2.0/shelves/${shelfId}/books/${id}`, as("p1"))).body.book).toEqual(made.value);
    const other = (await api.make("shelf", "shelves", {}, as("p1"))).id as string;
    const { body } = await ask(async (request, operations) => {
      const names = async (parentId: string): Promise<unknown[]> => {
        const found: unknown[] = [];
        for await (const row of await operations.list(bookResource, { ...request, parentId })) found.push(row.name);
        return found;
      };
      return [
        operations.show(bookResource, id, below(request)).name,
        (await operations.update(bookResource, id, { name: "b" }, below(request))).value.name,
        (await operations.act(bookResource, id, "read", {}, below(request))).body,
        (await operations.actOnAll(bookResource, "titles", {}, below(request))).body,
        await names(shelfId),
        await names(other),
      ];
    });
    expect(body).toEqual(["a", "b", { title: "b" }, ["b"], ["b"], []]);
    // By another way than through its own parent it is not there; nor is a parent of somebody else.
    expect((await ask((request, operations) => Promise.resolve().then(() => operations.show(bookResource, id, { ...request, parentId: other })))).body.type).toBe("BookNotFound");
    expect((await ask(async (request, operations) => operations.create(bookResource, { name: "x" }, below(request)), {}, "p2")).body.type).toBe("ShelfNotFound");
    expect((await ask(async (request, operations) => operations.remove(bookResource, id, below(request)))).status).toBe(200);
    expect(await titles()).toEqual([]);
  });

  it("makes nothing without its parent, and names the mistake", async () => {
    for (const target of [{}, { parentId: undefined }]) {
      handle = async (request, operations) => {
        await expect(operations.create(bookResource, { name: "lost" }, { ...request, ...target })).rejects.toThrow("a book is below a shelf: a face has to say its parentId");
        expect(() => operations.show(bookResource, "x", { ...request, ...target })).toThrow("a book is below a shelf");
        await expect(operations.update(shelfResource, shelfId, {}, { ...request, parentId: shelfId })).rejects.toThrow("a shelf is below nothing");
        return "asked";
      };
      expect((await ask(handle)).body).toBe("asked");
    }
    expect(await titles()).toEqual([]);
  });
});

it("acts on a collection, for the caller's project", async () => {
  const before = api.model.generation;
  const { body } = await ask(async (request, operations) => operations.actOnAll(shelfResource, "widen", { why: "books" }, request, { by: "3" }));
  expect(body.body.widened).toBeGreaterThan(0);
  expect(body.generation).toBeGreaterThan(before);
  expect((await api.get(`/v2.0/shelves/${shelfId}`, as("p1"))).body.shelf).toMatchObject({ size: 5, description: "books" });
  expect((await ask(async (request, operations) => operations.actOnAll(shelfResource, "burn", {}, request))).body.type).toBe("HTTPNotFound");
});

it("changes and removes only the revision that was asked for", async () => {
  const change: Handle = async (request, operations) => (await operations.update(shelfResource, shelfId, { size: 9 }, { ...request, ifMatch: request.header("if-match") })).value.revision_number;
  expect(await ask(change, { "if-match": "revision_number=7" })).toMatchObject({ status: 412, body: { type: "RevisionNumberConstraintFailed" } });
  expect((await ask(change, { "if-match": "revision_number=1" })).body).toBe(2);
  expect((await ask(async (request, operations) => operations.remove(shelfResource, shelfId, { ...request, ifMatch: "revision_number=1" }))).status).toBe(412);
  expect((await ask(async (request, operations) => operations.remove(shelfResource, shelfId, { ...request, ifMatch: "revision_number=2" }))).status).toBe(200);
});

describe("a batch", () => {
  it("is one generation, and each operation sees those before it", async () => {
    const commits: number[] = [];
    const stop = api.model.onCommit((c) => commits.push(c.generation));
    const { body } = await ask(async (request, operations) => operations.batch(request, (b) => {
      const made = b.create(shelfResource, { name: "new", size: 1 });
      const first = b.create(bookResource, { name: "first" }, { parentId: made.id as string });
      b.update(shelfResource, made.id as string, { size: 2 }, { ifMatch: "revision_number=1" });
      b.create(bookResource, { name: "second" }, { parentId: made.id as string });
      b.remove(bookResource, first.id as string, { parentId: made.id as string });
      b.actOnAll(shelfResource, "widen", { why: "batch" }, {}, { by: "1" });
      return { shelf: b.show(shelfResource, made.id as string), titles: b.actOnAll(bookResource, "titles", {}, { parentId: made.id as string }) };
    }));
    stop();
    expect(body.value).toMatchObject({ shelf: { name: "new", size: 3, description: "batch" }, titles: ["second"] });
    expect(commits).toEqual([body.generation]);
  });

  it.each<[string, number, string]>([
    ["an operation is refused", 409, "ShelfFull"],
    ["a revision is another", 412, "RevisionNumberConstraintFailed"],
    ["the face itself throws", 418, "Teapot"],
    ["the face catches what was refused", 409, "ShelfFull"],
  ])("is nothing if %s", async (how, status, type) => {
    const before = api.model.generation;
    const answer = await ask(async (request, operations) => operations.batch(request, (b) => {
      b.update(shelfResource, shelfId, { size: 1, name: "changed" });
      b.create(bookResource, { name: "one" }, { parentId: shelfId });
      if (how === "an operation is refused") b.create(bookResource, { name: "two" }, { parentId: shelfId });
      if (how === "a revision is another") b.remove(shelfResource, shelfId, { ifMatch: "revision_number=1" });
      if (how === "the face itself throws") throw new ApiError(418, "Teapot", "short and stout");
      try {
        b.create(bookResource, { name: "two" }, { parentId: shelfId });
      } catch {
        // as if it did not matter
      }
      return "done";
    }));
    expect([answer.status, answer.body.type]).toEqual([status, type]);
    expect(api.model.generation).toBe(before);
    expect((await api.get(`/v2.0/shelves/${shelfId}`, as("p1"))).body.shelf).toMatchObject({ name: "", size: 2 });
    expect(await titles()).toEqual([]);
  });

  it("is over when its function returns: one that waits is refused, and what comes late does nothing", async () => {
    const before = api.model.generation;
    let late: unknown;
    const answer = await ask(async (request, operations) => operations.batch(request, (b) => {
      late = () => b.update(shelfResource, shelfId, { size: 7 });
      // As `unknown`, as a Promise would not compile.
      const later: unknown = Promise.resolve(b.update(shelfResource, shelfId, { size: 8 }));
      return later;
    }).catch((error: unknown) => (error as Error).message));
    expect(answer.body).toBe("POST /x: the function of a batch is asynchronous");
    expect(late).toThrow("an operation of a batch that has ended");
    expect(api.model.generation).toBe(before);
  });
});
