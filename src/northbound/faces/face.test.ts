// A face that an app brings: its own prefix, envelope and content type, over the operations that all faces share. The app below imports
// what any app may, and nothing in the core knows of it.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiError, badRequest, defineResource, defineTable, resourceHandle, type App, type Face, type FaceAnswer, type StandardRow, type Values } from "#app";
import { Api, as } from "../testing/support.ts";

interface Stone extends StandardRow {
  readonly weight: number;
}
const stoneTable = defineTable<Stone>()("stone", { indexes: { project: (s) => s.project_id } });
const stoneResource = resourceHandle<Stone>("stone");
const stone = defineResource(stoneResource, {
  collection: "stones",
  about: "Heavy.",
  table: stoneTable,
  notFound: { type: "StoneNotFound", message: (id) => `Stone ${id} could not be found.` },
  attributes: { weight: { type: "integer", about: "In kilograms.", post: true, put: true, required: true, filter: true, sort: true } },
  policy: {
    create: "rule:admin_only or (role:member and project_id:%(project_id)s)",
    get: "rule:admin_only or (role:reader and project_id:%(project_id)s)",
    update: "rule:admin_only or (role:member and project_id:%(project_id)s)",
    delete: "rule:admin_only or (role:member and project_id:%(project_id)s)",
  },
  create(tx, standard, input) {
    const row: Stone = { weight: input.weight as number, ...standard };
    tx.put(stoneTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after: Stone = { ...row, weight: (changes.weight as number | undefined) ?? row.weight };
    tx.put(stoneTable, after);
    return after;
  },
  remove: (tx, row) => tx.delete(stoneTable, row.id),
  actions: {
    lift: { about: "Lifts it.", policy: "rule:admin_only or (role:member and project_id:%(project_id)s)", path: "lift/{height}", run: (tx, row, body, _ctx, path) => {
      tx.put(stoneTable, { ...row, description: `at ${path.height!} by ${String(body.by)}` });
      return { lifted: path.height };
    } },
  },
});

const XML = "text/xml; charset=utf-8";
const escape = (text: string): string => text.replace(/[<>&"]/g, (c) => `&#${c.charCodeAt(0)};`);
const element = (v: Values): string => `<stone id="${String(v.id)}" weight="${String(v.weight)}">${escape(String(v.name))}</stone>`;
const answer = (status: number, body: string, generation?: number): FaceAnswer => ({ status, contentType: XML, body: `<?xml version="1.0"?>${body}`, generation });

function parse(body: Uint8Array): Values {
  const found = /^<stone(?: weight="(\d+)")?(?: name="([^"]*)")?\/>$/.exec(Buffer.from(body).toString());
  if (found === null) throw badRequest("a <stone/> is expected", "BadStone");
  return { ...(found[1] === undefined ? {} : { weight: found[1] }), ...(found[2] === undefined ? {} : { name: found[2] }) };
}

const quarryFace: Face = {
  name: "quarry-v1",
  prefix: "/quarry/v1",
  version: { id: "quarry-v1", status: "SUPPORTED" },
  async handle(request, operations) {
    const [, collection, id, ...rest] = request.path.split("/");
    if (collection !== "stones") throw new ApiError(404, "NoSuchPlace", "nothing here");
    if (request.method === "POST" && !/xml/.test(request.header("content-type") ?? "")) throw new ApiError(415, "NotXml", "XML is expected");
    if (id === undefined && request.method === "GET") {
      const rows = await operations.list(stoneResource, request, request.query);
      async function* body(): AsyncGenerator<string> {
        yield "<stones>";
        for await (const v of rows) yield element(v);
        yield "</stones>";
      }
      return { status: 200, contentType: XML, body: body() };
    }
    if (id === undefined) {
      const { value, generation } = await operations.create(stoneResource, parse(request.body), request);
      return answer(202, element(value), generation);
    }
    if (rest.length === 2) {
      const acted = await operations.act(stoneResource, id, rest[0]!, { by: request.caller.projectId }, request, { height: rest[1]! });
      return answer(200, `<lifted>${String((acted.body as Values).lifted)}</lifted>`, acted.generation);
    }
    if (request.method === "PUT") {
      const { value, generation } = await operations.update(stoneResource, id, parse(request.body), request);
      return answer(200, element(value), generation);
    }
    if (request.method === "DELETE") return { status: 204, generation: (await operations.remove(stoneResource, id, request)).generation };
    return answer(200, element(operations.show(stoneResource, id, request)));
  },
  refuse: ({ status, type, message }, request) => answer(status, `<fault type="${type}" on="${escape(`${request.method} ${request.path}`)}">${escape(message)}</fault>`),
};

const quarry: App = { name: "quarry", about: "Stones, in XML too.", tables: [stoneTable], resources: [stone], faces: [quarryFace] };

describe("a face of an app", () => {
  let api: Api;
  beforeAll(async () => {
    api = await Api.make([quarry], { bodyBytes: 1000 });
  });
  afterAll(() => api.close());
  const post = (body: string, headers = as("p1")): ReturnType<Api["call"]> => api.call("POST", "/quarry/v1/stones", body, { "content-type": "application/xml", ...headers });

  it("creates, shows, changes, acts and removes in its own form what v2.0 has in its", async () => {
    const made = await post('<stone weight="12" name="a&amp;b"/>');
    expect([made.status, made.headers["content-type"]]).toEqual([202, XML]);
    expect(Number(made.headers["x-axion-generation"])).toBeGreaterThan(0);
    expect(made.headers["x-openstack-request-id"]).toMatch(/^req-/);
    const id = /id="([^"]+)"/.exec(made.text)![1]!;
    expect(made.text).toBe(`<?xml version="1.0"?><stone id="${id}" weight="12">a&#38;amp;b</stone>`);
    expect((await api.get(`/v2.0/stones/${id}`, as("p1"))).body.stone).toMatchObject({ weight: 12, project_id: "p1" });
    expect((await api.get(`/quarry/v1/stones/${id}`, as("p1"))).text).toContain('weight="12"');
    expect((await api.call("PUT", `/quarry/v1/stones/${id}`, '<stone weight="13"/>', as("p1"))).text).toContain('weight="13"');
    expect((await api.call("PUT", `/quarry/v1/stones/${id}/lift/5`, "", as("p1"))).text).toContain("<lifted>5</lifted>");
    expect((await api.get(`/v2.0/stones/${id}`, as("p1"))).body.stone.description).toBe("at 5 by p1");
    const gone = await api.call("DELETE", `/quarry/v1/stones/${id}`, undefined, as("p1"));
    expect([gone.status, gone.text]).toEqual([204, ""]);
    expect((await api.get(`/v2.0/stones/${id}`)).status).toBe(404);
  });

  it("lists as it reads, filtered and sorted like v2.0", async () => {
    for (const weight of [3, 1, 2]) await post(`<stone weight="${weight}"/>`, as("lister"));
    const weights = async (query: string, project = "lister"): Promise<string[]> => [...(await api.get(`/quarry/v1/stones?${query}`, as(project))).text.matchAll(/weight="(\d+)"/g)].map((m) => m[1]!);
    expect(await weights("sort_key=weight&sort_dir=asc")).toEqual(["1", "2", "3"]);
    expect(await weights("weight=2")).toEqual(["2"]);
    expect(await weights("sort_key=weight&sort_dir=desc", "another")).toEqual([]);
    const api2 = await Api.make([quarry]);
    const put = api2.model.transact({ requestId: "t", call: "t" }, (tx) => {
      for (let i = 0; i < 7000; i++) tx.put(stoneTable, { id: `s${i}`, weight: i, project_id: "p", name: "", description: "", created_at: "", updated_at: "", revision_number: 1, tags: [] });
    });
    await put;
    const long = await api2.get("/quarry/v1/stones");
    expect(long.text.startsWith("<stones><stone ")).toBe(true);
    expect([...long.text.matchAll(/<stone /g)].length).toBe(7000);
    expect(api2.nb.engine.lists.slots.active).toBe(0);
    await api2.close();
  });

  it("puts every refusal in its own envelope", async () => {
    const fault = (type: string, on: string, message: string | RegExp): unknown => expect.stringMatching(new RegExp(`^<\\?xml version="1.0"\\?><fault type="${type}" on="${on}">${typeof message === "string" ? message : message.source}</fault>$`));
    const bad = await post("<rock/>");
    expect([bad.status, bad.headers["content-type"], bad.text]).toEqual([400, XML, fault("BadStone", "POST /stones", "a &#60;stone/&#62; is expected")]);
    expect((await post("<stone/>")).text).toEqual(fault("HTTPBadRequest", "POST /stones", "Failed to parse request. Required attribute 'weight' not specified"));
    expect([(await post('<stone weight="1"/>', as("p1", "reader"))).status, (await post('<stone weight="1"/>', as("p1", "reader"))).text]).toEqual([403, fault("PolicyNotAuthorized", "POST /stones", "rule:create_stone is disallowed by policy")]);
    expect((await api.get("/quarry/v1/stones/none", as("p1"))).text).toEqual(fault("StoneNotFound", "GET /stones/none", "Stone none could not be found."));
    expect((await api.get("/quarry/v1/elsewhere")).status).toBe(404);
    expect((await api.get("/quarry/v1")).text).toEqual(fault("NoSuchPlace", "GET ", "nothing here"));
    expect((await api.call("POST", "/quarry/v1/stones", "{}", { "content-type": "application/json" })).status).toBe(415);
    expect((await api.call("POST", "/quarry/v1/stones", "{}", { "content-type": "no type at all" })).text).toEqual(fault("NotXml", "POST /stones", "XML is expected"));
    const long = await post("x".repeat(2000));
    expect([long.status, long.text]).toEqual([413, fault("HTTPRequestEntityTooLarge", "POST /stones", /.*/)]);
    // Refused before anything of the face runs: who asks.
    expect((await api.get("/quarry/v1/stones", { "x-project-id": "p".repeat(300) })).text).toEqual(fault("HTTPBadRequest", "GET /stones", "X-Project-Id is longer than 255 characters"));
    expect((await api.get("/quarry/v1/stones?colour=red")).status).toBe(400);
  });

  it("is a version beside v2.0, and not below another prefix", async () => {
    expect((await api.get("/")).body.versions.map((v: { id: string; status: string; links: { href: string }[] }) => [v.id, v.status, v.links[0]!.href])).toEqual([
      ["v2.0", "CURRENT", "http://localhost:80/v2.0/"],
      ["quarry-v1", "SUPPORTED", "http://localhost:80/quarry/v1/"],
    ]);
    for (const path of ["/quarry", "/quarry/v1x/stones", "/quarry/v11"]) expect((await api.get(path)).body.NeutronError.type).toBe("HTTPNotFound");
  });
});

it.each<[string, Partial<Face>[], string]>([
  ["one prefix twice", [{ name: "other" }], "the faces quarry-v1 and other have the same prefix /quarry/v1"],
  ["one name twice", [{ prefix: "/other" }], "there are two faces named quarry-v1"],
  ["v2.0's place", [{ name: "other", prefix: "/v2.0" }], "the faces v2.0 and other have the same prefix /v2.0"],
  ["no prefix", [{ name: "other", prefix: "other" }], "the face other has the prefix 'other'"],
  ["a slash too many", [{ name: "other", prefix: "/other/" }], "the face other has the prefix '/other/'"],
])("refuses to start with %s", async (_, more, why) => {
  await expect(Api.make([{ ...quarry, faces: [quarryFace, ...more.map((m) => ({ ...quarryFace, ...m }))] }])).rejects.toThrow(why);
});

describe("what a face answers", () => {
  const answers: Readonly<Record<string, FaceAnswer>> = {
    text: { status: 200, body: "größer" },
    bytes: { status: 200, body: Uint8Array.of(1, 2, 255) },
    own: { status: 200, headers: { "content-type": "text/turtle" }, body: "a" },
    nothing: { status: 202 },
    none: { status: 204 },
    "own-status": { status: 420, reason: "networkNotFound", body: "a" },
    "bad-reason": { status: 420, reason: "a\r\nx-of: it", body: "a" },
    "bad-header": { status: 200, headers: { location: "/a\nb", "x-of": "it" }, body: "a" },
    "bad-name": { status: 200, headers: { "x y": "1" }, body: "a" },
  };
  const oddFace: Face = {
    name: "odd-v1",
    prefix: "/odd/v1",
    listing: (versions, request) => (request.header("accept") === "odd" ? { status: 200, body: versions.map((v) => v.id).join() } : undefined),
    handle: ({ path, query }) => (query.has("later") ? Promise.resolve(answers[path.slice(1)]!) : answers[path.slice(1)]!),
    refuse: ({ status, message }) => ({ status, contentType: "text/plain", headers: { "x-refused": "yes" }, body: message }),
  };
  let api: Api;
  beforeAll(async () => {
    api = await Api.make([{ name: "odd", about: "Answers.", faces: [oddFace] }]);
  });
  afterAll(() => api.close());

  it.each([
    ["text", 200, "text/plain; charset=utf-8", "8"],
    ["bytes", 200, "application/octet-stream", "3"],
    ["own", 200, "text/turtle", "1"],
    ["nothing", 202, undefined, "0"],
    ["none", 204, undefined, undefined],
  ])("has its type and length: %s", async (name, status, type, length) => {
    for (const when of ["", "?later"]) {
      const { headers, ...rest } = await api.get(`/odd/v1/${name}${when}`);
      expect([rest.status, headers["content-type"], headers["content-length"]]).toEqual([status, type, length]);
      expect(headers["x-openstack-request-id"]).toMatch(/^req-/);
    }
    const head = await api.call("HEAD", `/odd/v1/${name}`);
    expect([head.status, head.headers["content-length"], head.text]).toEqual([status, length, ""]);
  });

  it("has a reason phrase where its status is none of HTTP's", async () => {
    for (const when of ["", "?later"]) {
      const { statusCode, statusMessage } = await api.nb.inject(`/odd/v1/own-status${when}`);
      expect([statusCode, statusMessage]).toEqual([420, "networkNotFound"]);
    }
  });

  it("lists the versions in its form for whom it means that", async () => {
    expect((await api.get("/", { accept: "odd" })).text).toBe("v2.0");
    expect((await api.get("/")).body.versions).toHaveLength(1);
  });

  it.each(["bad-header", "bad-name", "bad-reason"])("is a fault of the server's where HTTP cannot carry it: %s", async (name) => {
    for (const when of ["", "?later"]) {
      const { status, headers } = await api.get(`/odd/v1/${name}${when}`);
      expect([status, headers["x-refused"], headers["x-of"]]).toEqual([500, "yes", undefined]);
      expect(headers["x-openstack-request-id"]).toMatch(/^req-/);
    }
  });
});
