// The calls of the past on a real model and store; what a bad question gets.
import http from "node:http";
import type { AddressInfo } from "node:net";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defineTable, type Row } from "#app";
import { History } from "../model/past/history.ts";
import { Model } from "../model/model.ts";
import type { KvStore } from "../store/kv.ts";
import { openStore } from "../store/open.ts";
import { historyRoutes } from "./history.ts";
import { Named } from "./named.ts";
import { createOps, type OpsServer } from "./server.ts";

const things = defineTable<Row & { readonly name: string; readonly project_id?: string }>()("thing", { resource: "thing" });
let ops: OpsServer;
let model: Model;
const nothing = { ready: () => ({ ok: true }), switches: () => [], switch: () => undefined, problems: () => [], removeSwitch: () => Promise.resolve(false), flows: () => [], onFlowEvent: () => () => undefined };

beforeAll(async () => {
  const store = await openStore("memory:", { dataDir: "" });
  model = await Model.open(store, [things]);
  for (const name of ["a", "b", "c"]) await model.transact({ requestId: `req-${name}`, call: "PUT /v2.0/things/1", user: "u", project: "p" }, (tx) => tx.put(things, { id: "1", name }));
  ops = createOps({ log: pino({ level: "silent" }), providers: nothing });
  historyRoutes(ops, new History(store, model, [things]), new Named([things], model.view));
});
afterAll(async () => {
  await ops.close();
  await model.close();
});

async function get(url: string): Promise<{ status: number; body: unknown }> {
  const answer = await ops.inject({ url });
  return { status: answer.statusCode, body: answer.json() };
}

test("the list, one generation, a difference", async () => {
  const { body } = await get("/history");
  expect((body as { generation: number }[]).map((commit) => commit.generation)).toEqual([3, 2, 1]);
  expect((await get("/history?limit=1&until=2")).body).toMatchObject([{ generation: 2 }]);
  expect((await get("/history?project=p&limit=1")).body).toMatchObject([{ generation: 3 }]);
  expect(await get("/history?project=other")).toEqual({ status: 400, body: { error: { code: "BAD_QUERY", message: "query parameter project: nothing here is of a project 'other'; projects are given by their ids" } } });
  const row = (name: string) => ({ id: "1", name });
  expect((await get("/history/2")).body).toEqual({
    generation: 2, at: expect.any(String) as string, call: "PUT /v2.0/things/1", request_id: "req-b", user: "u", project: "p", changes: [{ type: "thing", id: "1", before: row("a"), after: row("b") }],
  });
  expect((await get("/history/diff?from=1&to=3")).body).toEqual({ from: 1, to: 3, changes: [{ type: "thing", id: "1", before: row("a"), after: row("c") }] });
  expect((await get(`/history/diff?from=0&to=${new Date(Date.now() + 60_000).toISOString()}`)).body).toEqual({ from: 0, to: 3, changes: [{ type: "thing", id: "1", before: null, after: row("c") }] });
  expect((await get("/history/diff?from=3")).body).toEqual({ from: 3, to: 3, changes: [] });
});

test("a list that ended before all was told says where it goes on", async () => {
  expect((await ops.inject({ url: "/history?limit=2" })).headers["x-axion-more-until"]).toBe("1");
  expect((await ops.inject({ url: "/history" })).headers["x-axion-more-until"]).toBeUndefined();
});

test("a question whose client went away ends and makes room for others", async () => {
  let reading = 0;
  const endless = {
    oldest: 1,
    revision: 1e9,
    async *history() {
      reading++;
      try {
        for (let generation = 1; ; generation++) {
          await new Promise((resolve) => setImmediate(resolve));
          yield { generation, at: 0, writer: "", note: "", changes: [] };
        }
      } finally {
        reading--;
      }
    },
  } as unknown as KvStore;
  const own = createOps({ log: pino({ level: "silent" }), providers: nothing });
  historyRoutes(own, new History(endless, model, [things]), new Named([things], model.view));
  await own.listen({ host: "127.0.0.1", port: 0 });
  const { port } = own.server.address() as AddressInfo;
  const clients = Array.from({ length: 4 }, () => http.get({ host: "127.0.0.1", port, path: "/history/diff?from=1", agent: false }).on("error", () => undefined));
  await expect.poll(() => reading).toBe(4);
  expect((await own.inject({ url: "/history/1" })).statusCode).toBe(503);
  for (const client of clients) client.destroy();
  await expect.poll(() => reading).toBe(0);
  expect((await own.inject({ url: "/history/1" })).statusCode).toBe(200);
  await own.close();
});

describe("a bad question", () => {
  test.each([
    ["/history?limit=0", 400, "query parameter limit: must be 1 to 1000, not '0'"],
    ["/history?since=yesterday", 400, "query parameter since: 'yesterday' is no generation and no RFC 3339 instant such as 2026-01-31T12:00:00Z"],
    ["/history?resource=", 400, "query parameter resource: is empty"],
    ["/history?colour=red", 400, "query parameter colour: is not known here; there are resource, project, since, until, limit"],
    ["/history/diff", 400, "query parameter from: is missing: a generation or an instant"],
    ["/history/diff?from=1&switch=", 400, "query parameter switch: is empty"],
    ["/history/diff?from=1&to=9", 404, "generation 9 is still to come, the newest is 3"],
    ["/history/x", 400, "'x' is no generation"],
    ["/history/0", 404, "generation 0 is not kept, the oldest is 1"],
    ["/history/9", 404, "generation 9 is still to come, the newest is 3"],
    ["/history/1?limit=1", 400, "query parameter limit: is not known here; there is none"],
  ])("%s: %i", async (url, status, message) => {
    const answer = await get(url);
    expect([answer.status, (answer.body as { error: { message: string } }).error.message]).toEqual([status, message]);
  });
});

// Last: it changes what there is.
test("of a resource by its name, of one that was deleted by its id; what never was is said not to be there", async () => {
  const generations = async (resource: string): Promise<unknown> => {
    const { status, body } = await get(`/history?resource=${resource}`);
    return status === 200 ? (body as { generation: number }[]).map(({ generation }) => generation) : body;
  };
  expect(await generations("c")).toEqual([3, 2, 1]);
  expect(await generations("1")).toEqual([3, 2, 1]);
  expect(await generations("nosuch")).toEqual({ error: { code: "BAD_QUERY", message: "query parameter resource: there is no API resource 'nosuch', and no change of one with this id; what was deleted goes by its id" } });
  await model.transact({ requestId: "req-d", call: "POST /v2.0/things" }, (tx) => {
    tx.put(things, { id: "2", name: "c" });
    tx.put(things, { id: "3", name: "gone" });
  });
  await model.transact({ requestId: "req-e", call: "DELETE /v2.0/things/3" }, (tx) => tx.delete(things, "3"));
  expect(await generations("c")).toEqual({ error: { code: "BAD_QUERY", message: "query parameter resource: several things have the name c: 1, 2" } });
  expect(await generations("3")).toEqual([5, 4]);
  expect(await generations("gone")).toEqual({ error: { code: "BAD_QUERY", message: "query parameter resource: there is no API resource 'gone', and no change of one with this id; what was deleted goes by its id" } });
  await model.transact({ requestId: "req-f", call: "POST /v2.0/things" }, (tx) => {
    tx.put(things, { id: "4", name: "own", project_id: "p" });
    tx.put(things, { id: "5", name: "own", project_id: "q" });
  });
  expect(await generations("own")).toMatchObject({ error: { message: "query parameter resource: several things have the name own: 4 (project p), 5 (project q)" } });
  expect((await get("/history?resource=own&project=q")).body).toMatchObject([{ generation: 6 }]);
  expect((await get("/history?resource=own&project=z")).body).toMatchObject({ error: { message: "query parameter resource: there is no API resource 'own' of project 'z'; several things have the name own: 4 (project p), 5 (project q)" } });
});
