// Long lists: in chunks and slices, of one instant, no faster than they are read, and only so many at once.
import { get as httpGet, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { Readable } from "node:stream";
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Call } from "../operations.ts";
import { impliedRoles } from "../policy/index.ts";
import { bedTable, garden, labels, plantTable, type Bed, type Plant } from "../testing/declarations.ts";
import { Api, as } from "../testing/support.ts";
import { Slices, SLICE_ROWS, sortInSlices } from "./slices.ts";
import { AHEAD_BYTES, CHUNK_BYTES } from "./stream.ts";

const ROWS = 12_000;
const idOf = (i: number): string => `${String((i * 7919) % ROWS).padStart(8, "0")}-0000-4000-8000-000000000000`;
const bedRow = (i: number): Bed => ({
  id: idOf(i), project_id: i % 3 === 0 ? "p1" : "p2", name: `bed ${i}`, description: "d".repeat(i % 200), created_at: "2026-01-01T00:00:00Z", updated_at: "2026-01-01T00:00:00Z", revision_number: 1, tags: [],
  shared: false, size: i % 10, admin_state_up: true,
});
const cause = { requestId: "test", call: "test" };

async function filled(limits = {}): Promise<Api> {
  const api = await Api.make([garden, labels], limits);
  for (let from = 0; from < ROWS; from += 6000) await api.model.transact(cause, (tx) => { for (let i = from; i < from + 6000; i++) tx.put(bedTable, bedRow(i)); });
  return api;
}

const call = (query = "", project = "", roles = ["admin"]): Call => ({
  method: "GET", path: "/v2.0/garden-beds", base: "http://h", params: new URLSearchParams(query), ifMatch: undefined, bytes: 0,
  caller: { requestId: "r", projectId: project, userId: "", roles: impliedRoles(roles), admin: roles.includes("admin") },
});
const listed = async (api: Api, query = "", project?: string, roles?: string[]): Promise<Readable> => {
  const { body } = await api.nb.engine.list({ kind: api.nb.registry.kinds.get("bed")!, parentId: undefined }, call(query, project, roles));
  if (typeof body !== "object") throw new Error("the list is not a long one");
  return body;
};
interface Beds {
  garden_beds: { id: string; name: string; size: number; plants: string[] }[];
  garden_beds_links?: { rel: string; href: string }[];
}
async function whole(stream: Readable): Promise<Beds> {
  let text = "";
  for await (const chunk of stream) text += (chunk as Buffer).toString();
  return JSON.parse(text) as Beds;
}

describe("a long list", () => {
  let api: Api;
  const open: Readable[] = [];
  beforeAll(async () => {
    api = await filled();
  });
  afterEach(() => {
    for (const stream of open.splice(0)) stream.destroy();
  });
  afterAll(() => api.close());
  const opened = async (...args: [query?: string, project?: string, roles?: string[]]): Promise<Readable> => {
    const stream = await listed(api, ...args);
    open.push(stream);
    return stream;
  };
  const expected = [...Array(ROWS).keys()].map(bedRow).sort((a, b) => (a.id < b.id ? -1 : 1));

  it("says what a short one would", async () => {
    const { garden_beds: beds } = (await api.get("/v2.0/garden-beds")).body as Beds;
    expect(beds.map((b) => b.id)).toEqual(expected.map((b) => b.id));
    expect(beds[17]).toMatchObject({ name: expected[17]!.name, size: expected[17]!.size, plants: [], label: "none", secret: `s-${expected[17]!.name}` });
    const one = (await api.get(`/v2.0/garden-beds/${expected[17]!.id}`)).body as { bed: unknown };
    expect(beds[17]).toEqual(one.bed);
  });

  it("is sorted, filtered, cut into pages and narrowed to what its caller sees", async () => {
    const mine = expected.filter((b) => b.project_id === "p1");
    const { garden_beds: beds } = await whole(await opened("", "p1", ["member"]));
    expect(beds.map((b) => b.id)).toEqual(mine.map((b) => b.id));
    expect(beds[0]).not.toHaveProperty("secret");
    const sorted = await whole(await opened("sort_key=size&sort_dir=desc&sort_key=name&sort_dir=asc"));
    const order = expected.toSorted((a, b) => b.size - a.size || (a.name < b.name ? -1 : 1));
    expect(sorted.garden_beds.map((b) => b.id)).toEqual(order.map((b) => b.id));
    const some = await whole(await opened("size=3&fields=id"));
    expect(some.garden_beds).toEqual(expected.filter((b) => b.size === 3).map((b) => ({ id: b.id })));
    for (const limit of [10, 3000]) {
      const page = await whole(await opened(`limit=${limit}&marker=${expected[100]!.id}`));
      expect(page.garden_beds.map((b) => b.id)).toEqual(expected.slice(101, 101 + limit).map((b) => b.id));
      expect(page.garden_beds_links!.map((l) => [l.rel, new URL(l.href).searchParams.get("marker")])).toEqual([["next", expected[100 + limit]!.id], ["previous", expected[101]!.id]]);
      const back = await whole(await opened(`limit=${limit}&marker=${expected[5000]!.id}&page_reverse=true`));
      expect(back.garden_beds.map((b) => b.id)).toEqual(expected.slice(5000 - limit, 5000).map((b) => b.id));
    }
  });

  it("begins at once and comes in chunks of bounded size", async () => {
    const chunks: Buffer[] = [];
    for await (const chunk of await opened()) chunks.push(chunk as Buffer);
    expect(chunks[0]!.toString()).toBe('{"garden_beds":[');
    const rowBytes = Math.max(...(JSON.parse(Buffer.concat(chunks).toString()) as Beds).garden_beds.map((b) => JSON.stringify(b).length));
    expect(Math.max(...chunks.map((c) => c.length))).toBeLessThan(CHUNK_BYTES + rowBytes + 10);
    expect(chunks.length).toBeGreaterThan(Buffer.concat(chunks).length / (CHUNK_BYTES + rowBytes + 10));
  });

  it("is not made ahead of a reader that does not read", async () => {
    const stream = await opened();
    const most = AHEAD_BYTES + CHUNK_BYTES + 2000;
    let peak = 0;
    let bytes = 0;
    for (let i = 0; i < 40; i++) {
      for (let spin = 0; spin < 60; spin++) await turn();
      peak = Math.max(peak, stream.readableLength);
      bytes += (stream.read(1000) as Buffer | null)?.length ?? 0;
    }
    expect(bytes).toBeGreaterThan(20_000);
    expect(peak).toBeGreaterThan(CHUNK_BYTES);
    expect(peak).toBeLessThan(most);
    expect((await whole(await opened())).garden_beds).toHaveLength(ROWS);
  });

  it("gives way to others every so many rows", async () => {
    let turns = 0;
    let counting = true;
    const count = (): void => {
      turns++;
      if (counting) setImmediate(count);
    };
    const stream = await opened();
    setImmediate(count);
    await whole(stream);
    counting = false;
    // Once to choose, once for sorting, once for text.
    expect(turns).toBeGreaterThan((3 * ROWS) / SLICE_ROWS - 3);
  });

  it("is of one instant, whatever is committed while it is read", async () => {
    const api2 = await filled();
    const plant = (id: string, bed: string): Plant => ({ ...bedRow(0), id, bed_id: bed, device_owner: "", device_id: "", kind: "rose", mac_address: "fa:16:3e:00:00:01", fixed_ips: [], profile: {}, status: "DOWN" });
    await api2.model.transact(cause, (tx) => tx.put(plantTable, plant("before", expected[11_000]!.id)));
    const stream = await listed(api2);
    const head = (await new Promise<Buffer>((done) => stream.once("data", (c: Buffer) => { stream.pause(); done(c); }))).toString();
    await api2.model.transact(cause, (tx) => {
      for (const b of expected.slice(0, 3000)) tx.delete(bedTable, b.id);
      for (const b of expected.slice(3000, 6000)) tx.put(bedTable, { ...b, name: "renamed" });
      for (let i = 0; i < 100; i++) tx.put(bedTable, { ...bedRow(i), id: `99999999-0000-4000-8000-${String(i).padStart(12, "0")}` });
      tx.delete(plantTable, "before");
      tx.put(plantTable, plant("after", expected[11_001]!.id));
    });
    await api2.model.transact(cause, (tx) => tx.delete(bedTable, expected[4000]!.id));
    let text = head;
    stream.resume();
    for await (const chunk of stream) text += (chunk as Buffer).toString();
    const { garden_beds: beds } = JSON.parse(text) as Beds;
    expect(beds.map((b) => [b.id, b.name])).toEqual(expected.map((b) => [b.id, b.name]));
    expect([beds[11_000]!.plants, beds[11_001]!.plants]).toEqual([["before"], []]);
    expect((await whole(await listed(api2))).garden_beds).toHaveLength(ROWS - 3001 + 100);
    expect(api2.model["snapshots"].size).toBe(0);
    await api2.close();
  });

  it("leaves nothing behind, however it ends", async () => {
    const { lists } = api.nb.engine;
    await whole(await opened());
    (await opened()).destroy();
    const begun = await opened();
    begun.read(1);
    for (let i = 0; i < 20; i++) await turn();
    begun.destroy();
    for (let i = 0; i < 20; i++) await turn();
    await expect(opened("marker=none")).rejects.toThrow("Bed none could not be found");
    await expect(opened("colour=red")).rejects.toThrow("invalid attribute for filtering");
    expect([lists.slots.active, lists.slots.waiting, api.model["snapshots"].size]).toEqual([0, 0, 0]);
  });
});

describe("many long lists", () => {
  it("wait for each other, up to a limit", async () => {
    const api = await filled({ longLists: 2, longListsWaiting: 1 });
    const { slots } = api.nb.engine.lists;
    const [a, b] = [await listed(api), await listed(api)];
    const third = listed(api);
    for (let i = 0; i < 20; i++) await turn();
    expect([slots.active, slots.waiting]).toEqual([2, 1]);
    const refused = await api.get("/v2.0/garden-beds");
    expect([refused.status, refused.body.NeutronError.type]).toEqual([503, "ServiceUnavailable"]);
    // Others are served meanwhile: short lists, and those of some hundreds of rows.
    expect((await api.get("/v2.0/plants")).status).toBe(200);
    expect(((await api.get("/v2.0/garden-beds", as("p1"))).body as Beds).garden_beds).toHaveLength(ROWS / 3);
    a.destroy();
    const c = await third;
    expect((await whole(c)).garden_beds).toHaveLength(ROWS);
    b.destroy();
    for (let i = 0; i < 5; i++) await turn();
    expect([slots.active, slots.waiting]).toEqual([0, 0]);
    await api.close();
  });

  it("a client that stops reading is cut off, and does not take the whole for a part", async () => {
    const api = await filled({ longLists: 1, stallMs: 300 });
    await api.model.transact(cause, (tx) => { for (let i = 0; i < 9000; i++) tx.put(bedTable, { ...bedRow(i), id: `x${i}`, description: "x".repeat(4000) }); });
    await api.nb.listen({ port: 0, host: "127.0.0.1" });
    const { port } = api.nb.server.address() as AddressInfo;
    const answer = await new Promise<IncomingMessage>((done, fail) => httpGet({ port, host: "127.0.0.1", path: "/v2.0/garden-beds" }, done).on("error", fail));
    expect(answer.statusCode).toBe(200);
    answer.pause();
    const { slots } = api.nb.engine.lists;
    expect(slots.active).toBe(1);
    for (let i = 0; i < 100 && slots.active > 0; i++) await wait(100);
    expect([slots.active, api.model["snapshots"].size]).toEqual([0, 0]);
    const error = await new Promise<Error | undefined>((done) => {
      answer.on("error", done).on("end", () => done(undefined)).resume();
    });
    expect(error?.message).toBe("aborted");
    // One that never begins.
    const stream = await listed(api);
    expect(slots.active).toBe(1);
    const failed = await new Promise<Error>((done) => stream.on("error", done));
    expect([failed.message, slots.active]).toEqual(["the reader of a list took nothing for 300 ms", 0]);
    await api.close();
  });
});

it("answers are no longer than the page limit allows", async () => {
  const api = await filled({ pageMax: 700 });
  for (const query of ["", "?limit=0", "?limit=5000"]) {
    const { garden_beds: beds, garden_beds_links: links } = (await api.get(`/v2.0/garden-beds${query}`)).body as Beds;
    expect([beds.length, links![0]!.rel]).toEqual([700, "next"]);
  }
  await api.close();
});

it("sorting in slices is sorting", async () => {
  for (const length of [0, 1, SLICE_ROWS - 1, SLICE_ROWS, SLICE_ROWS + 1, 2 * SLICE_ROWS, 2 * SLICE_ROWS + 1, 5 * SLICE_ROWS + 3]) {
    const list = Array.from({ length }, (_, i) => ({ key: (i * 7919) % 97, i }));
    const sorted = await sortInSlices(list, (a, b) => a.key - b.key, new Slices());
    expect(sorted).toEqual(list.toSorted((a, b) => a.key - b.key || a.i - b.i));
  }
});
