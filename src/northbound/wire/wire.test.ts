// What HTTP brings and takes beside the resources: bodies in gzip, pages of other origins, ids of requests.
import { gunzipSync, gzipSync } from "node:zlib";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { acceptsGzip } from "./encoding.ts";
import { garden, labels } from "../testing/declarations.ts";
import { Api } from "../testing/support.ts";

const BODY_BYTES = 64 * 1024;
const BEDS = "/v2.0/garden-beds";
const PAGE = "https://net.example";
const lines: Record<string, unknown>[] = [];

let api: Api;
beforeAll(async () => {
  const log = pino({ level: "debug" }, { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) });
  api = await Api.make([labels, garden], { bodyBytes: BODY_BYTES }, undefined, undefined, { log, corsOrigins: [PAGE] });
});
afterAll(() => api.close());

const zipped = (body: unknown): Buffer => gzipSync(typeof body === "string" ? body : JSON.stringify(body));

describe("Content-Encoding of a request", () => {
  it.each(["gzip", "GZIP", "x-gzip"])("%s is inflated", async (coding) => {
    const { status, body } = await api.call("POST", BEDS, zipped({ bed: { name: "z" } }), { "content-encoding": coding });
    expect([status, body.bed?.name]).toEqual([201, "z"]);
  });
  it("identity is the body as it is", async () => expect((await api.call("POST", BEDS, { bed: {} }, { "content-encoding": "identity" })).status).toBe(201));
  it("a body that inflates to more than the limit is 413, and changes nothing", async () => {
    const before = api.model.generation;
    const bomb = zipped(`{"bed": {"name": "${"x".repeat(50 * BODY_BYTES)}"}}`);
    expect(bomb.length).toBeLessThan(BODY_BYTES);
    const { status, body } = await api.call("POST", BEDS, bomb, { "content-encoding": "gzip" });
    expect([status, body.NeutronError.type, body.NeutronError.message]).toEqual([413, "HTTPRequestEntityTooLarge", `The body is longer than ${BODY_BYTES} bytes when it is inflated`]);
    expect(api.model.generation).toBe(before);
  });
  it("a body that is too long before it is inflated is 413", async () => {
    expect((await api.call("POST", BEDS, Buffer.alloc(BODY_BYTES + 1), { "content-encoding": "gzip" })).status).toBe(413);
  });
  it.each([["text", Buffer.from('{"bed": {}}')], ["a part", zipped({ bed: {} }).subarray(0, 15)]])("%s is no gzip: 400", async (_what, bytes) => {
    const { status, body } = await api.call("POST", BEDS, bytes, { "content-encoding": "gzip" });
    expect([status, body.NeutronError.message]).toEqual([400, "The body is not the gzip that Content-Encoding says"]);
  });
  it.each(["br", "deflate", "gzip, gzip"])("%s is 415", async (coding) => {
    const { status, body } = await api.call("POST", BEDS, zipped({ bed: {} }), { "content-encoding": coding });
    expect([status, body.NeutronError.message]).toEqual([415, "Content-Encoding must be gzip or identity"]);
  });
});

describe("Accept-Encoding", () => {
  beforeAll(async () => {
    for (let at = 0; at < 5; at++) await api.post(BEDS, { garden_beds: Array.from({ length: 300 }, (_, i) => ({ name: `many ${at} ${i}`, description: "d".repeat(40) })) });
  });
  it.each([["gzip", true], ["deflate, GZIP;q=0.5", true], ["*", true], ["gzip;q=0", false], ["*, gzip;q=0", false], ["*;q=0", false], ["br", false], ["", false], [undefined, false]])("%s: %s", (header, taken) =>
    expect(acceptsGzip(header)).toBe(taken));
  it.each([["a long list", BEDS, 1000], ["a page", `${BEDS}?limit=200`, 200]])("%s is the same in gzip", async (_what, url, rows) => {
    const plain = await api.get(url);
    expect(plain.body.garden_beds.length).toBeGreaterThanOrEqual(rows);
    expect([plain.headers["content-encoding"], plain.headers["vary"]]).toEqual([undefined, "Origin, Accept-Encoding"]);
    const answer = await api.nb.inject({ method: "GET", url, headers: { "accept-encoding": "gzip" } });
    expect(answer.headers).toMatchObject({ "content-encoding": "gzip", vary: "Origin, Accept-Encoding" });
    expect(answer.rawPayload.length).toBeLessThan(plain.text.length / 5);
    expect(gunzipSync(answer.rawPayload).toString()).toBe(plain.text);
  });
  it("a short answer stays as it is", async () => {
    const { headers, status } = await api.get(`${BEDS}/${(await api.bed()).id}`, { "accept-encoding": "gzip" });
    expect([status, headers["content-encoding"]]).toEqual([200, undefined]);
  });
});

describe("CORS", () => {
  const asks = (origin: string): Record<string, string> => ({ origin, "access-control-request-method": "PUT", "access-control-request-headers": "x-auth-token" });
  it("tells a page of an origin that is named what it may send, and shows it the answer", async () => {
    const { status, headers } = await api.call("OPTIONS", `${BEDS}/x`, undefined, asks(PAGE));
    expect(status).toBe(204);
    expect(headers).toMatchObject({ "access-control-allow-origin": PAGE, "access-control-allow-methods": expect.stringContaining("PUT"), "access-control-allow-headers": expect.stringContaining("X-Auth-Token"), vary: "Origin" });
    const shown = await api.get(`${BEDS}/nowhere`, { origin: PAGE });
    expect([shown.status, shown.headers["access-control-allow-origin"]]).toEqual([404, PAGE]);
  });
  it.each(["https://other.example", "http://net.example", "https://net.example.evil.example", "null"])("tells a page of %s nothing", async (origin) => {
    const { status, headers } = await api.call("OPTIONS", BEDS, undefined, asks(origin));
    expect([status, headers["access-control-allow-origin"]]).toEqual([405, undefined]);
    expect((await api.get(BEDS, { origin })).headers["access-control-allow-origin"]).toBeUndefined();
  });
  it("is off where no origin is named", async () => {
    const other = await Api.make([labels, garden]);
    const { status, headers } = await other.call("OPTIONS", BEDS, undefined, asks(PAGE));
    expect([status, headers["access-control-allow-origin"], headers["vary"]]).toEqual([405, undefined, undefined]);
    await other.close();
  });
});

describe("ids of requests", () => {
  const GLOBAL = "req-6f1d0c2b-9a7e-4f55-80d3-0a9b8c7d6e5f";
  it("each answer has one of its own, and the log the client's beside it", async () => {
    const { headers } = await api.get(`${BEDS}/nowhere`, { "x-openstack-request-id": GLOBAL });
    expect(headers["x-openstack-request-id"]).toMatch(/^req-[0-9a-f-]{36}$/);
    expect(headers["x-openstack-request-id"]).not.toBe(GLOBAL);
    expect(lines.at(-1)).toMatchObject({ requestId: headers["x-openstack-request-id"], globalId: GLOBAL, status: 404 });
  });
  it.each(["req-1", "6f1d0c2b-9a7e-4f55-80d3-0a9b8c7d6e5f", `${GLOBAL}x`])("one that is none is not in the log: %s", async (given) => {
    const { headers } = await api.get(`${BEDS}/nowhere`, { "x-openstack-request-id": given });
    expect(lines.at(-1)).toMatchObject({ requestId: headers["x-openstack-request-id"] });
    expect(lines.at(-1)).not.toHaveProperty("globalId");
  });
});
