// What is kept of presentation is never seen to be old, whatever changes, and is kept at all.
import fc from "fast-check";
import { pino } from "pino";
import { expect, test } from "vitest";
import { Layer } from "../model/rows.ts";
import { View } from "../model/view.ts";
import { createNorthbound } from "./index.ts";
import { garden, labels } from "./testing/declarations.ts";
import { Api, as, defineTable, extendResource, resourceHandle, type App, type Row, type StandardRow } from "./testing/support.ts";

const looked = { bed: 0, forCaller: 0, derived: 0 };
const shadeTable = defineTable<Row>()("shade", {});
interface Tone extends Row {
  readonly tone: string;
}
const toneTable = defineTable<Tone>()("tone", { indexes: { tone: (t) => t.tone }, pairs: { place: (t) => [t.tone, t.id < "8" ? "left" : "right"] } });
const derivedTable = defineTable<Row>()("shade_derived", { derived: true });
const bedHandle = resourceHandle<StandardRow>("bed");
/** Counts how often presenters are asked, and reads by every way there is. */
const counting: App = {
  name: "counting",
  about: "Counts.",
  requires: ["garden"],
  tables: [shadeTable, toneTable, derivedTable],
  extend: [
    extendResource(bedHandle, {
      attributes: { tone: { type: "string", about: "A colour." }, alike: { type: "integer", about: "So many have it." }, places: { type: "integer", about: "In so many places." }, near: { type: "integer", about: "Here." } },
      present: (view, row) => {
        const tone = view.get(toneTable, row.id)?.tone ?? "";
        return { tone, alike: view.count(toneTable, "tone", tone), places: view.pairKeys(toneTable, "place", "tone 1").length, near: view.byPair(toneTable, "place", "tone 2", "left").length };
      },
    }),
    extendResource(bedHandle, {
      attributes: { shades: { type: "integer", about: "Of all beds." } },
      present: (view) => {
        looked.bed++;
        return { shades: [...view.all(shadeTable)].length };
      },
    }),
  ],
};
const personal: App = {
  name: "personal",
  about: "Says who asks.",
  requires: ["garden"],
  extend: [
    extendResource(bedHandle, {
      attributes: { asker: { type: "string", about: "Who asks." } },
      present: (_view, _row, caller) => {
        looked.forCaller++;
        return { asker: caller.projectId };
      },
    }),
  ],
};

test("a list costs the rows that something changed of, be it in other tables", async () => {
  const api = await Api.make([garden, labels, counting]);
  const beds: { id: string }[] = [];
  for (let i = 0; i < 20; i++) beds.push((await api.bed({ name: `bed ${i}` })) as { id: string });
  const asked = async (): Promise<number> => {
    looked.bed = 0;
    expect((await api.get("/v2.0/garden-beds")).status).toBe(200);
    return looked.bed;
  };
  expect(await asked()).toBe(20);
  expect(await asked()).toBe(0);
  const plant = (await api.plant({ bed_id: beds[3]!.id })) as { id: string };
  expect(await asked()).toBe(1);
  await api.put(`/v2.0/plants/${plant.id}`, { plant: { kind: "fern" } });
  expect(await asked()).toBe(1); // what it shows of the plant is the id, but it read the row
  await api.model.transact({ requestId: "t", call: "t" }, (tx) => tx.put(toneTable, { id: beds[5]!.id, tone: "red" }));
  expect(await asked()).toBe(1);
  await api.model.transact({ requestId: "t", call: "t" }, (tx) => tx.put(shadeTable, { id: "s" }));
  expect(await asked()).toBe(20); // each counts all of them
  const tone = (id: string, value: string): Promise<unknown> => api.model.transact({ requestId: "t", call: "t" }, (tx) => tx.put(toneTable, { id, tone: value }));
  await tone("0", "tone 2");
  expect(await asked()).toBe(20); // by pair
  await tone("9", "tone 2");
  expect(await asked()).toBe(0);
  await tone("9", "tone 1");
  expect(await asked()).toBe(20); // by the keys of a pair
  expect(await asked()).toBe(0);
  await api.close();
});

test("what depends on the caller is asked for each", async () => {
  const api = await Api.make([garden, labels, personal]);
  const bed = (await api.bed({ shared: true })) as { id: string };
  for (const project of ["p1", "p2", "p1"]) {
    const { body } = await api.get("/v2.0/garden-beds", { "x-project-id": project, "x-roles": "member" });
    expect(body.garden_beds).toMatchObject([{ id: bed.id, asker: project }]);
  }
  await api.close();
});

test("what reads derived rows is asked for each time", async () => {
  const derived: App = {
    ...counting,
    extend: [
      extendResource(bedHandle, {
        attributes: { shades: { type: "integer", about: "Of all beds." } },
        present: (view, row) => {
          looked.derived++;
          return { shades: view.get(derivedTable, row.id) === undefined ? 0 : 1 };
        },
      }),
    ],
  };
  const api = await Api.make([garden, labels, derived]);
  const layer = new Layer();
  const nb = createNorthbound({ apps: [garden, labels, derived], model: api.model, view: new View(api.model.view, layer), auth: "none", log: pino({ level: "silent" }) });
  layer.table(derivedTable);
  const bed = (JSON.parse((await nb.inject({ method: "POST", url: "/v2.0/garden-beds", payload: { bed: {} } })).payload) as { bed: { id: string } }).bed;
  const shades = async (): Promise<number> => (JSON.parse((await nb.inject("/v2.0/garden-beds")).payload) as { garden_beds: { shades: number }[] }).garden_beds[0]!.shades;
  expect(await shades()).toBe(0);
  layer.put(derivedTable, { id: bed.id });
  expect(await shades()).toBe(1);
  await nb.close();
  await api.close();
});

test("after any changes lists say what they say to one who never asked before", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ what: fc.constantFrom("bed", "plant", "tone", "rename", "gone", "move", "list"), n: fc.nat(30) }), { minLength: 5, maxLength: 40 }), async (steps) => {
      const api = await Api.make([garden, labels, counting]);
      const fresh = async (): Promise<string> => {
        const nb = createNorthbound({ apps: [garden, labels, counting], model: api.model, auth: "none", log: pino({ level: "silent" }) });
        const texts = [(await nb.inject("/v2.0/garden-beds")).payload, (await nb.inject("/v2.0/plants")).payload];
        await nb.close();
        return texts.join("");
      };
      const same = async (): Promise<void> => {
        const answers = [await api.get("/v2.0/garden-beds"), await api.get("/v2.0/plants")];
        for (const { status } of answers) expect(status).toBe(200);
        expect(answers.map((a) => a.text).join("")).toBe(await fresh());
      };
      const ids = async (path: string, name: string): Promise<string[]> => ((await api.get(`/v2.0/${path}?fields=id`)).body as Record<string, { id: string }[]>)[name]!.map((r) => r.id);
      for (const { what, n } of steps) {
        const beds = await ids("garden-beds", "garden_beds");
        const plants = await ids("plants", "plants");
        const bed = beds[n % Math.max(1, beds.length)];
        const plant = plants[n % Math.max(1, plants.length)];
        if (what === "bed") await api.bed({ name: `b${n}` });
        else if (what === "list") await same();
        else if (what === "plant" && bed !== undefined) await api.plant({ bed_id: bed });
        else if (what === "tone" && bed !== undefined) await api.model.transact({ requestId: "t", call: "t" }, (tx) => (n < 8 ? tx.delete(toneTable, bed) : tx.put(toneTable, { id: bed, tone: `tone ${n % 3}` })));
        else if (what === "rename" && plant !== undefined) await api.put(`/v2.0/plants/${plant}`, { plant: { name: `n${n}` } });
        else if (what === "gone" && n % 2 === 0 && plant !== undefined) await api.delete(`/v2.0/plants/${plant}`);
        else if (what === "gone" && bed !== undefined) await api.delete(`/v2.0/garden-beds/${bed}`);
        else if (what === "move") await api.model.transact({ requestId: "t", call: "t" }, (tx) => (n % 2 === 0 ? tx.put(shadeTable, { id: `${n}` }) : tx.delete(shadeTable, `${n - 1}`)));
      }
      await same();
      await api.close();
    }),
    { numRuns: 25 },
  );
});

test("a long list read while rows change is of one instant, and leaves nothing old behind", async () => {
  const api = await Api.make([garden, labels]);
  await api.bed({ name: "the bed" });
  const bed = ((await api.get("/v2.0/garden-beds")).body.garden_beds as { id: string }[])[0]!.id;
  await api.post("/v2.0/plants", { plants: Array.from({ length: 600 }, () => ({ bed_id: bed })) });
  const plants = (await api.get("/v2.0/plants")).body.plants as { id: string }[];
  const last = plants.at(-1)!.id;
  for (let round = 0; round < 5; round++) {
    const name = `round ${round}`;
    const reading = api.get("/v2.0/plants");
    const writing = api.put(`/v2.0/plants/${last}`, { plant: { name } });
    const seen = ((await reading).body.plants as { name: string }[]).at(-1)!;
    await writing;
    expect([round === 0 ? "" : `round ${round - 1}`, name]).toContain(seen.name);
    expect(((await api.get("/v2.0/plants")).body.plants as { name: string }[]).at(-1)!.name).toBe(name);
    expect(((await api.get(`/v2.0/plants/${last}`)).body.plant as { name: string }).name).toBe(name);
  }
  await api.close();
});

test("what is shown on request is worked out for who asks for it, and never unasked", async () => {
  let asked = 0;
  const requested: App = {
    name: "requested",
    about: "Says on request.",
    requires: ["garden"],
    extend: [
      extendResource(bedHandle, {
        attributes: { weight: { type: "integer", about: "Of it.", onRequest: true }, price: { type: "integer", about: "Of it.", onRequest: true, policy: { get: "rule:admin_only" } } },
        presentOnRequest: () => {
          asked++;
          return { weight: 7, price: 8 };
        },
      }),
    ],
  };
  const api = await Api.make([garden, labels, requested]);
  const { id } = (await api.make("bed", "garden-beds", { name: "a" }, as("p1"))) as { id: string };
  for (const path of ["/v2.0/garden-beds", `/v2.0/garden-beds/${id}`]) {
    const { status, text } = await api.call("GET", path);
    expect([status, text]).toEqual([200, expect.not.stringMatching(/weight|price/)]);
  }
  expect(asked).toBe(0);
  const only = async (headers?: Record<string, string>): Promise<unknown> => ((await api.call("GET", `/v2.0/garden-beds/${id}?fields=name&fields=weight&fields=price`, undefined, headers)).body as { bed: unknown }).bed;
  expect(await only()).toEqual({ name: "a", weight: 7, price: 8 });
  expect(asked).toBe(1);
  expect(await only(as("p1"))).toEqual({ name: "a", weight: 7 });
});
