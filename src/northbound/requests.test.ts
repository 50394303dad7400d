// The service rules of the v2.0 API, on resources made for the test: discovery, create, show, update, delete, bulk,
// revisions, tags, actions, parts, and what other apps' code may do inside of a request.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { apiMarkdown, makeRegistry } from "./index.ts";
import { StoreError } from "../store/errors.ts";
import { bedResource, garden, labels } from "./testing/declarations.ts";
import { Api, as, extendResource, type App } from "./testing/support.ts";

let api: Api;
beforeAll(async () => {
  api = await Api.make([labels, garden]);
});
afterAll(() => api.close());

describe("discovery", () => {
  it("lists versions with links back to the caller's host", async () => {
    const { status, body } = await api.get("/", { host: "net.example.org", "x-forwarded-proto": "https" });
    expect(status).toBe(200);
    expect(body).toEqual({ versions: [{ id: "v2.0", status: "CURRENT", links: [{ rel: "self", href: "https://net.example.org/v2.0/" }] }] });
  });
  it.each(["/v2.0", "/v2.0/"])("lists core resources at %s", async (path) => {
    const { body } = await api.get(path, { host: "h" });
    expect(body).toEqual({
      resources: [
        { name: "bed", collection: "garden_beds", links: [{ rel: "self", href: "http://h/v2.0/garden_beds" }] },
        { name: "plant", collection: "plants", links: [{ rel: "self", href: "http://h/v2.0/plants" }] },
      ],
    });
  });
  it("lists extensions, one by alias, and refuses unknown ones", async () => {
    const all = await api.get("/v2.0/extensions");
    expect(all.body.extensions.map((e: { alias: string }) => e.alias)).toContain("leaves");
    expect((await api.get("/v2.0/extensions/leaves.json")).body.extension).toEqual({ alias: "leaves", name: "Leaves", description: "Leaves of plants", updated: "2026-01-01T00:00:00-00:00", links: [] });
    const unknown = await api.get("/v2.0/extensions/bogus");
    expect([unknown.status, unknown.body.NeutronError.type]).toEqual([404, "ExtensionNotFound"]);
  });
  it("answers the health check", async () => expect((await api.get("/healthcheck")).text).toBe("OK"));
  it.each(["/openapi.json", "/v2.0/openapi.json"])("describes itself at %s", async (path) => {
    const { body } = await api.get(path);
    expect(body.openapi).toBe("3.1.0");
    expect(Object.keys(body.paths)).toEqual(expect.arrayContaining(["/v2.0/garden-beds", "/v2.0/garden-beds/{id}", "/v2.0/garden-beds/{id}/water", "/v2.0/plants/{plant_id}/leaves/{id}", "/v2.0/plants/{id}/tags/{tag}"]));
    expect(body.components.schemas.plant_create.required).toEqual(["bed_id"]);
    expect(body.paths["/v2.0/plants/{plant_id}/leaves/{id}"].put).toBeUndefined();
  });
});

describe("create and show", () => {
  it("answers 201 with defaults, standard attributes, extensions' attributes, id of the request and generation", async () => {
    const { status, body, headers } = await api.post("/v2.0/garden-beds", { bed: { name: "b", label: "x" } }, as("p1"));
    expect(status).toBe(201);
    expect(body.bed).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      name: "b", tenant_id: "p1", project_id: "p1", description: "", created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/), updated_at: body.bed.created_at,
      revision_number: 1, tags: [], shared: false, size: 1, admin_state_up: true, plants: [], label: "x",
    });
    expect(headers["content-type"]).toMatch(/^application\/json/);
    expect(headers["x-openstack-request-id"]).toMatch(/^req-[0-9a-f-]{36}$/);
    expect(Number(headers["x-axion-generation"])).toBe(api.model.generation);
    expect(api.model.lastChange("bed", body.bed.id)?.cause).toEqual({ requestId: headers["x-openstack-request-id"], call: "POST /v2.0/garden-beds", project: "p1" });
    const shown = await api.get(`/v2.0/garden-beds/${body.bed.id}`, as("p1"));
    expect(shown.body).toEqual(body);
    expect(Number(shown.headers["x-axion-generation"])).toBeGreaterThanOrEqual(Number(headers["x-axion-generation"]));
  });
  it("takes '_' for '-', '.json' and a last slash", async () => {
    const bed = await api.bed();
    for (const path of ["garden_beds", "garden-beds.json", "garden_beds/"]) expect((await api.get(`/v2.0/${path}?id=${bed.id}`)).body.garden_beds).toHaveLength(1);
    for (const path of [`garden_beds/${bed.id}.json`, `garden-beds/${bed.id}/`]) expect((await api.get(`/v2.0/${path}`)).body.bed.id).toBe(bed.id);
  });
  it("shows only the fields asked for, ignores unknown ones", async () => {
    const bed = await api.bed({ name: "f" });
    expect((await api.get(`/v2.0/garden-beds/${bed.id}?fields=name&fields=bogus&fields=size`)).body).toEqual({ bed: { name: "f", size: 1 } });
  });
  it("gives the project of the caller, or for administrators the one in the body", async () => {
    expect((await api.bed({}, as("p1"))).project_id).toBe("p1");
    expect((await api.bed({ tenant_id: "any text" })).project_id).toBe("any text");
    expect((await api.bed({ project_id: "p2", tenant_id: "p2" }, as("p1", "admin"))).tenant_id).toBe("p2");
    expect((await api.bed({ project_id: "p1" }, as("p1"))).tenant_id).toBe("p1");
    expect((await api.bed()).project_id).toBe("");
  });
  it("stores converted values", async () => {
    const bed = await api.bed({ size: "7", admin_state_up: "off" });
    expect([bed.size, bed.admin_state_up]).toEqual([7, false]);
    const plant = await api.plant({ bed_id: bed.id.toUpperCase(), mac_address: "FA-16-3E-00-00-01", profile: null, groups: null });
    expect([plant.bed_id, plant.mac_address, plant.profile, plant.groups]).toEqual([bed.id, "fa:16:3e:00:00:01", {}, undefined]);
  });
  it("changes nothing when an extension refuses", async () => {
    const before = api.model.generation;
    const { status, body } = await api.post("/v2.0/garden-beds", { bed: { label: "refuse" } });
    expect([status, body.NeutronError]).toEqual([409, { type: "LabelRefused", message: "not on a bed", detail: "" }]);
    expect(api.model.generation).toBe(before);
  });
  it("lets an extension create other resources in the same change", async () => {
    const { body, headers } = await api.post("/v2.0/garden-beds", { bed: { name: "one", label: "twice", project_id: "pt" } });
    const beds = (await api.get("/v2.0/garden-beds?project_id=pt&sort_key=name&sort_dir=asc")).body.garden_beds;
    expect(beds.map((b: { name: string; label: string }) => [b.name, b.label])).toEqual([["beside one", "none"], ["one", "twice"]]);
    for (const b of beds) expect(api.model.lastChange("bed", b.id)?.generation).toBe(Number(headers["x-axion-generation"]));
    expect(body.bed.name).toBe("one");
  });
});

describe("update", () => {
  it("changes what is given, grows the revision, keeps the rest", async () => {
    const bed = await api.bed({ name: "u", size: 5 });
    const { status, body, headers } = await api.put(`/v2.0/garden-beds/${bed.id}`, { bed: { description: "d", label: "y" } });
    expect(status).toBe(200);
    expect(body.bed).toMatchObject({ name: "u", size: 5, description: "d", label: "y", revision_number: 2 });
    expect(Number(headers["x-axion-generation"])).toBe(api.model.generation);
  });
  it("changes nothing for an empty object", async () => {
    const bed = await api.bed();
    const before = api.model.generation;
    expect((await api.put(`/v2.0/garden-beds/${bed.id}`, { bed: {} })).body.bed.revision_number).toBe(1);
    expect(api.model.generation).toBe(before);
  });
  it.each([["revision_number=1", 200], ['"revision_number=1"', 200], ["revision_number=9", 412], ["*", 200], ['"abc"', 200], ["revision_number=x", 400], ["revision_number=1, revision_number=1", 400]])("If-Match: %s gives %i", async (header, status) => {
    const bed = await api.bed();
    const answer = await api.put(`/v2.0/garden-beds/${bed.id}`, { bed: { name: "n" } }, { "if-match": header });
    expect(answer.status).toBe(status);
    if (status === 412) expect(answer.body.NeutronError).toEqual({ type: "RevisionNumberConstraintFailed", message: "Constrained to 9, but current revision is 1", detail: "" });
    if (status === 412) expect((await api.delete(`/v2.0/garden-beds/${bed.id}`, { "if-match": header })).status).toBe(412);
  });
});

describe("delete", () => {
  it("answers 204 without a body, then 404", async () => {
    const bed = await api.bed();
    const gone = await api.delete(`/v2.0/garden-beds/${bed.id}`);
    expect([gone.status, gone.text]).toEqual([204, ""]);
    expect(gone.headers["x-axion-generation"]).toBeDefined();
    const again = await api.delete(`/v2.0/garden-beds/${bed.id}`);
    expect([again.status, again.body.NeutronError]).toEqual([404, { type: "BedNotFound", message: `Bed ${bed.id} could not be found.`, detail: "" }]);
  });
  it("lets the resource and its extensions refuse, but not when other code removes it", async () => {
    const bed = await api.bed();
    const kept = await api.plant({ bed_id: bed.id, device_owner: "network:dhcp", label: "kept" });
    expect((await api.delete(`/v2.0/plants/${kept.id}`)).body.NeutronError.type).toBe("LabelKept");
    const other = await api.plant({ bed_id: bed.id });
    expect((await api.delete(`/v2.0/garden-beds/${bed.id}`)).body.NeutronError.type).toBe("BedInUse");
    expect((await api.delete(`/v2.0/plants/${other.id}`)).status).toBe(204);
    expect((await api.delete(`/v2.0/garden-beds/${bed.id}`)).status).toBe(204);
    expect((await api.get(`/v2.0/plants/${kept.id}`)).status).toBe(404);
  });
});

describe("bulk create", () => {
  it("answers in the order of the request, in one change", async () => {
    const { status, body, headers } = await api.post("/v2.0/garden-beds", { garden_beds: [{ name: "b1" }, { bed: { name: "b2" } }, { name: "b3" }] });
    expect(status).toBe(201);
    expect(body.garden_beds.map((b: { name: string }) => b.name)).toEqual(["b1", "b2", "b3"]);
    for (const b of body.garden_beds) expect(api.model.lastChange("bed", b.id)?.generation).toBe(Number(headers["x-axion-generation"]));
  });
  it("creates all or nothing", async () => {
    const before = api.model.generation;
    const { status, body } = await api.post("/v2.0/garden-beds", { garden_beds: [{ name: "never" }, { label: "refuse" }] });
    expect([status, body.NeutronError.type]).toEqual([409, "LabelRefused"]);
    expect(api.model.generation).toBe(before);
    expect((await api.get("/v2.0/garden-beds?name=never")).body.garden_beds).toEqual([]);
  });
  it("lets the resource look at all items first", async () => {
    const bed = await api.bed();
    expect((await api.post("/v2.0/plants", { plants: [{ bed_id: bed.id }, { bed_id: bed.id, name: "refuse-bulk" }] })).body.NeutronError.type).toBe("BulkRefused");
  });
});

describe("prepare", () => {
  it("runs before the first list of a project, once", async () => {
    for (let i = 0; i < 2; i++) expect((await api.get("/v2.0/garden-beds?name=first", as("prepared", "reader"))).body.garden_beds).toHaveLength(1);
  });
});

describe("tags", () => {
  it("are replaced, added, looked for and removed; each change grows the revision", async () => {
    const bed = await api.bed();
    const tags = `/v2.0/garden-beds/${bed.id}/tags`;
    expect((await api.put(tags, { tags: ["a", "b"] })).body).toEqual({ tags: ["a", "b"] });
    const added = await api.post(tags, { tags: ["b", "c"] });
    expect([added.status, added.body]).toEqual([201, { tags: ["a", "b", "c"] }]);
    expect((await api.put(`${tags}/d%2Fe.json`, undefined)).status).toBe(201);
    // Some clients send a body where none is asked for.
    for (const body of [undefined, {}, "{}", [1]]) expect((await api.put(`${tags}/d%2Fe.json`, body)).status).toBe(201);
    expect((await api.get(tags)).body).toEqual({ tags: ["a", "b", "c", "d/e.json"] });
    expect((await api.get(`${tags}/a`)).status).toBe(204);
    const missing = await api.get(`${tags}/zz`);
    expect([missing.status, missing.body.NeutronError.type]).toEqual([404, "TagNotFound"]);
    expect((await api.delete(`${tags}/a`)).status).toBe(204);
    expect((await api.delete(`${tags}/a`)).body.NeutronError.type).toBe("TagNotFound");
    expect((await api.get(`/v2.0/garden-beds/${bed.id}`)).body.bed).toMatchObject({ tags: ["b", "c", "d/e.json"], revision_number: 5 });
    expect((await api.delete(tags)).status).toBe(204);
    expect((await api.get(tags)).body).toEqual({ tags: [] });
  });
  it("belong to a resource that is there", async () => {
    for (const [method, body] of [["GET", undefined], ["PUT", { tags: [] }], ["DELETE", undefined]] as const) {
      const answer = await api.call(method, "/v2.0/garden-beds/none/tags", body);
      expect([answer.status, answer.body.NeutronError.type]).toEqual([404, "TagResourceNotFound"]);
    }
  });
  it("are limited to 50, 255 characters each, no doubles", async () => {
    const bed = await api.bed();
    const tags = `/v2.0/garden-beds/${bed.id}/tags`;
    const fifty = Array.from({ length: 50 }, (_, i) => `t${i}`);
    for (const bad of [{ tags: [...fifty, "x"] }, { tags: ["a", "a"] }, { tags: [1] }, { tags: ["x".repeat(256)] }, { tags: "a" }, {}]) {
      const answer = await api.put(tags, bad);
      expect([answer.status, answer.body.NeutronError.type]).toEqual([400, "InvalidInput"]);
    }
    expect((await api.put(tags, { tags: fifty })).status).toBe(200);
    expect((await api.post(tags, { tags: ["x"] })).status).toBe(400);
    expect((await api.put(`${tags}/x`, undefined)).status).toBe(400);
  });
  it("may be given on create only where the resource says so", async () => {
    const bed = await api.bed();
    expect((await api.plant({ bed_id: bed.id, tags: ["t"] })).tags).toEqual(["t"]);
    expect((await api.post("/v2.0/garden-beds", { bed: { tags: ["t"] } })).body.NeutronError.message).toBe("Attribute 'tags' not allowed in POST");
    expect((await api.put(`/v2.0/garden-beds/${bed.id}`, { bed: { tags: ["t"] } })).body.NeutronError.message).toBe("Cannot update read-only attribute tags");
  });
});

describe("actions and parts", () => {
  it("runs an action with the body as it is", async () => {
    const bed = await api.bed();
    const { status, body } = await api.put(`/v2.0/garden-beds/${bed.id}/water`, { litres: 3 });
    expect([status, body]).toEqual([200, { watered: bed.id, litres: 3 }]);
    expect((await api.get(`/v2.0/garden-beds/${bed.id}`)).body.bed.revision_number).toBe(2);
    expect((await api.get(`/v2.0/garden-beds/${bed.id}/look`)).body).toEqual({ looked: bed.id });
    expect((await api.put("/v2.0/garden-beds/none/water", {})).body.NeutronError.type).toBe("BedNotFound");
  });
  it("serves parts below their parent", async () => {
    const bed = await api.bed({}, as("p1"));
    const plant = await api.plant({ bed_id: bed.id }, as("p1"));
    const other = await api.plant({ bed_id: bed.id }, as("p1"));
    const leaves = `/v2.0/plants/${plant.id}/leaves`;
    const made = await api.post(leaves, { leaf: { length: 3 } }, as("p1"));
    expect([made.status, made.body.leaf.plant_id, made.body.leaf.name, made.body.leaf.tags]).toEqual([201, plant.id, undefined, undefined]);
    expect((await api.get(leaves, as("p1"))).body.leaves).toHaveLength(1);
    expect((await api.get(`/v2.0/plants/${other.id}/leaves`, as("p1"))).body.leaves).toEqual([]);
    expect((await api.get(`/v2.0/plants/${other.id}/leaves/${made.body.leaf.id}`, as("p1"))).status).toBe(404);
    expect((await api.get(leaves, as("p2"))).body.NeutronError.type).toBe("PlantNotFound");
    expect((await api.post("/v2.0/plants/none/leaves", { leaf: { length: 3 } })).body.NeutronError.type).toBe("PlantNotFound");
    expect((await api.get("/v2.0/leaves")).status).toBe(404);
    expect((await api.put(`${leaves}/${made.body.leaf.id}`, { leaf: {} })).status).toBe(405);
    expect((await api.delete(`${leaves}/${made.body.leaf.id}`, as("p1"))).status).toBe(204);
  });
});

describe("a failure of ours", () => {
  it("is a 500 that says nothing, with the request id, and changes nothing", async () => {
    const bed = await api.bed();
    const before = api.model.generation;
    const { status, body, headers } = await api.put(`/v2.0/garden-beds/${bed.id}/boom`, {});
    expect([status, body.NeutronError]).toEqual([500, { type: "HTTPInternalServerError", message: "Request Failed: internal server error while processing your request.", detail: "" }]);
    expect(headers["x-openstack-request-id"]).toMatch(/^req-/);
    expect(api.model.generation).toBe(before);
  });
  it("of the store is a 503, for this and every later write; reads go on", async () => {
    const broken = await Api.make([garden, labels], {}, (store) => Object.assign(store, { append: () => Promise.reject(new StoreError("IO", "no space left")) }));
    for (let i = 0; i < 2; i++) {
      const { status, body } = await broken.post("/v2.0/garden-beds", { bed: {} });
      expect([status, body.NeutronError.type]).toEqual([503, "ServiceUnavailable"]);
    }
    expect((await broken.get("/v2.0/garden-beds")).body).toEqual({ garden_beds: [] });
    await broken.nb.close();
  });
});

describe("too many writes at once", () => {
  it("are refused with 503 and when to ask again; nothing is changed, and later it works", async () => {
    let go = (): void => undefined;
    const held = new Promise<void>((resolve) => (go = resolve));
    const busy = await Api.make([garden, labels], {}, (store) => {
      const append = store.append.bind(store);
      return Object.assign(store, { append: async (...args: Parameters<typeof append>) => held.then(() => append(...args)) });
    }, { transactions: 3, bytes: 1_000_000 });
    const ask = (): ReturnType<typeof busy.post> => busy.post("/v2.0/garden-beds", { bed: {} });
    // One is written, 512 make the next group, three wait.
    const first = ask();
    await new Promise((done) => setTimeout(done, 50));
    const others = Array.from({ length: 512 + 3 }, ask);
    await new Promise((done) => setTimeout(done, 200));
    const refused = await ask();
    expect([refused.status, refused.body.NeutronError.type, refused.headers["retry-after"]]).toEqual([503, "ServiceUnavailable", "1"]);
    go();
    expect((await Promise.all([first, ...others])).map((answer) => answer.status)).toEqual(Array.from({ length: 1 + 512 + 3 }, () => 201));
    expect((await ask()).status).toBe(201);
    expect(((await busy.get("/v2.0/garden-beds?limit=1000")).body.garden_beds as unknown[]).length).toBe(517);
    await busy.nb.close();
  });
});

describe("declarations that do not fit", () => {
  const app = (fields: Partial<App>): App => ({ name: "odd", about: "", ...fields });
  it.each<[string, App[], string]>([
    ["a requirement that is not there", [app({ requires: ["none"] })], "app odd requires none, which is not installed"],
    ["a circle", [app({ requires: ["even"] }), app({ name: "even", requires: ["odd"] })], "apps require each other: even -> odd -> even"],
    ["a resource twice", [garden, app({ resources: garden.resources! })], "apps garden and odd both declare the resource bed"],
    ["an attribute twice", [garden, app({ extend: [extendResource(bedResource, { attributes: { size: { type: "integer", about: "" } } })] })], "apps garden and odd both declare bed.size"],
  ])("%s stops the start", (_, apps, message) => expect(() => makeRegistry(apps)).toThrow(message));
  it("are all in the generated page", () => {
    const page = apiMarkdown(makeRegistry([garden, labels]));
    for (const text of ["## garden_beds", "`/v2.0/plants/{plant_id}/leaves`", "`PUT /v2.0/garden-beds/{id}/water`", "| bed_id | uuid | C | **required** | fs |"]) expect(page).toContain(text);
  });
});
