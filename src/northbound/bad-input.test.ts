// Whatever comes in: a 4xx that says why, in the error envelope, and nothing changed.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { garden, labels } from "./testing/declarations.ts";
import { Api, type Headers } from "./testing/support.ts";

let api: Api;
let bedId: string;
beforeAll(async () => {
  api = await Api.make([garden, labels]);
  bedId = (await api.bed()).id;
});
afterAll(() => api.close());

async function refused(method: string, url: string, body: unknown, status: number, type: string, message?: string | RegExp, headers?: Headers): Promise<void> {
  const before = api.model.generation;
  const answer = await api.call(method, url.replace("{bed}", bedId), body, headers);
  expect([answer.status, answer.body?.NeutronError?.type], answer.text).toEqual([status, type]);
  expect(Object.keys(answer.body)).toEqual(["NeutronError"]);
  expect(answer.body.NeutronError.detail).toBe("");
  if (typeof message === "string") expect(answer.body.NeutronError.message).toBe(message);
  else if (message !== undefined) expect(answer.body.NeutronError.message).toMatch(message);
  expect(answer.headers["x-openstack-request-id"]).toMatch(/^req-/);
  expect(answer.headers["content-type"]).toMatch(/^application\/json/);
  expect(api.model.generation).toBe(before);
}

const BED = "/v2.0/garden-beds";
const PLANTS = "/v2.0/plants";
const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);
const invalid = "Body contains invalid data";

describe("bodies", () => {
  it.each<[string, string, string, unknown, string]>([
    ["no JSON", "POST", BED, "{", invalid],
    ["text", "POST", BED, "bed", invalid],
    ["XML", "POST", BED, "<bed/>", invalid],
    ["not UTF-8", "POST", BED, Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), invalid],
    ["a list", "POST", BED, "[]", invalid],
    ["a number", "POST", BED, "5", invalid],
    ["null", "POST", BED, "null", invalid],
    ["nothing", "POST", BED, undefined, "Unable to find 'bed' in request body"],
    ["empty", "POST", BED, "", "Unable to find 'bed' in request body"],
    ["no envelope", "POST", BED, { name: "x" }, "Unable to find 'bed' in request body"],
    ["another's envelope", "POST", BED, { plant: {} }, "Unable to find 'bed' in request body"],
    ["envelope of null", "POST", BED, { bed: null }, invalid],
    ["envelope of a list", "POST", BED, { bed: [] }, invalid],
    ["bulk of an object", "POST", BED, { garden_beds: {} }, invalid],
    ["bulk of nothing", "POST", BED, { garden_beds: [] }, "Resources required"],
    ["bulk of texts", "POST", BED, { garden_beds: ["x"] }, invalid],
    ["bulk and single", "POST", BED, { garden_beds: [{}], bed: {} }, "'bed' and 'garden_beds' cannot be in one request body"],
    ["too many", "POST", BED, { garden_beds: Array.from({ length: 1001 }, () => ({})) }, "More than 1000 resources in one request"],
    ["bulk update", "PUT", `${BED}/{bed}`, { garden_beds: [{}] }, "Bulk operation not supported"],
    ["update without an envelope", "PUT", `${BED}/{bed}`, { name: "x" }, "Unable to find 'bed' in request body"],
    ["action on a list", "PUT", `${BED}/{bed}/water`, "[]", invalid],
    ["tags of a list", "PUT", `${BED}/{bed}/tags`, "[]", invalid],
    ["deep nesting", "POST", BED, nested(100_000), invalid],
    ["half a character", "POST", BED, '{"bed": {"name": "a", "description": "\\ud800"}}', "Invalid input for bed.description. Reason: it has half of a surrogate pair, which is no character."],
    ["half a character in a project", "POST", BED, '{"bed": {"project_id": "\\uDFFFx"}}', "Invalid input for bed.project_id. Reason: it has half of a surrogate pair, which is no character."],
    ["half a character, deep in lists", "POST", BED, `{"bed": ${"[".repeat(5000)}"\\ud800"${"]".repeat(5000)}}`, `Invalid input for bed${"[0]".repeat(84)}.... Reason: it has half of a surrogate pair, which is no character.`],
    ["half a character behind a long key", "POST", BED, `{"bed": {"${"😀".repeat(5000)}": "\\ud800"}}`, `Invalid input for bed.${"😀".repeat(125)}.... Reason: it has half of a surrogate pair, which is no character.`],
    ["half a character in a list", "PUT", `${BED}/{bed}/tags`, '{"tags": ["a", "\\ud83d"]}', "Invalid input for tags[1]. Reason: it has half of a surrogate pair, which is no character."],
    ["half a character in a key", "POST", BED, '{"bed": {"\\udead": 1}}', "Invalid input for bed. Reason: a key has half of a surrogate pair, which is no character."],
    ["prototype", "POST", BED, '{"__proto__": {"bed": {}}}', "Unable to find 'bed' in request body"],
  ])("%s", (_, method, url, body, message) => refused(method, url, body, 400, "HTTPBadRequest", message));

  it("bulk where there is none", async () => {
    const plant = await api.plant({ bed_id: bedId });
    await refused("POST", `${PLANTS}/${plant.id}/leaves`, { leaves: [{ length: 1 }] }, 400, "HTTPBadRequest", "Bulk operation not supported");
  });
  it("too large", () => refused("POST", BED, `{"bed": {"name": "${"x".repeat(3 * 1024 * 1024)}"}}`, 413, "HTTPRequestEntityTooLarge"));
  it("any content type is taken as JSON", async () => {
    for (const type of ["text/plain", "application/xml", "garbage;;; x", ""]) expect((await api.call("POST", BED, '{"bed": {}}', { "content-type": type })).status).toBe(201);
  });
});

describe("attributes", () => {
  const bad = (attribute: string, reason: string): string => `Invalid input for ${attribute}. Reason: ${reason}`;
  it.each<[string, Record<string, unknown>, string]>([
    ["unknown", { a: 1, name: "x", b: 2 }, "Unrecognized attribute(s) 'a, b'"],
    ["unknown, of every object", { constructor: 1, toString: 2 }, "Unrecognized attribute(s) 'constructor, toString'"],
    ["read only", { revision_number: 5 }, "Attribute 'revision_number' not allowed in POST"],
    ["id", { id: "d2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b" }, "Attribute 'id' not allowed in POST"],
    ["name of a number", { name: 5 }, bad("name", "'5' is not a valid string.")],
    ["name null", { name: null }, bad("name", "'None' is not a valid string.")],
    ["name too long", { name: "x".repeat(256) }, bad("name", `'${"x".repeat(256)}' exceeds maximum length of 255.`)],
    ["description null", { description: null }, bad("description", "'None' is not a valid string.")],
    ["size out of range", { size: 101 }, bad("size", "'101' is too large - must be no larger than '100'.")],
    ["label too long", { label: "x".repeat(21) }, bad("label", `'${"x".repeat(21)}' exceeds maximum length of 20.`)],
    ["project of a number", { project_id: 5 }, bad("project_id", "'5' is not a valid string.")],
    ["two projects", { project_id: "a", tenant_id: "b" }, "'project_id' and 'tenant_id' do not match"],
  ])("of a bed: %s", async (_, values, message) => {
    await refused("POST", BED, { bed: values }, 400, "HTTPBadRequest", message);
    await refused("POST", BED, { garden_beds: [{}, values] }, 400, "HTTPBadRequest", message);
  });
  it.each<[string, Record<string, unknown>, string]>([
    ["boolean", { admin_state_up: "maybe" }, "Invalid input for operation: 'maybe' cannot be converted to boolean."],
    ["boolean without a check", { shared: {} }, "Invalid input for operation: '{}' cannot be converted to boolean."],
    ["integer", { size: "big" }, "Invalid input for operation: 'big' is not an integer."],
  ])("of a bed, converted: %s", (_, values, message) => refused("POST", BED, { bed: values }, 400, "InvalidInput", message));

  it.each<[string, Record<string, unknown>, string, string]>([
    ["required", {}, "HTTPBadRequest", "Failed to parse request. Required attribute 'bed_id' not specified"],
    ["uuid", { bed_id: "abc" }, "HTTPBadRequest", bad("bed_id", "'abc' is not a valid UUID.")],
    ["uuid of a list", { bed_id: ["abc"] }, "HTTPBadRequest", bad("bed_id", "'[abc]' is not a valid UUID.")],
    ["one of", { kind: "oak" }, "HTTPBadRequest", bad("kind", "'oak' is not in ['rose', 'fern'].")],
    ["mac", { mac_address: "no" }, "HTTPBadRequest", bad("mac_address", "'no' is not a valid MAC address.")],
    ["fixed_ips", { fixed_ips: "10.0.0.1" }, "HTTPBadRequest", bad("fixed_ips", "'10.0.0.1' is not a list.")],
    ["fixed_ips null", { fixed_ips: null }, "HTTPBadRequest", bad("fixed_ips", "'None' is not a list.")],
    ["fixed_ips address", { fixed_ips: [{ ip_address: "10.0.0.300" }] }, "HTTPBadRequest", bad("fixed_ips", "'10.0.0.300' is not a valid IP address.")],
    ["fixed_ips empty", { fixed_ips: [{}] }, "InvalidInput", "Invalid input for operation: IP allocation requires subnet_id or ip_address."],
    ["object", { profile: "x" }, "HTTPBadRequest", bad("profile", "'x' is not a dictionary.")],
    ["object too deep", { profile: { a: JSON.parse(nested(20)) as unknown } }, "HTTPBadRequest", bad("profile", "nested deeper than 16 levels.")],
    ["uuid list", { groups: ["x"] }, "HTTPBadRequest", bad("groups", "'x' is not a valid UUID.")],
    ["tags", { tags: ["a", "a"] }, "HTTPBadRequest", bad("tags", "Duplicate items in the list: 'a, a'.")],
  ])("of a plant: %s", (name, values, type, message) =>
    refused("POST", PLANTS, { plant: { ...(name === "required" || "bed_id" in values ? {} : { bed_id: bedId }), ...values } }, 400, type, message),
  );
  it("an unknown bed is 404", () => refused("POST", PLANTS, { plant: { bed_id: "d2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b" } }, 404, "BedNotFound", "Bed d2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b could not be found."));
  it.each(["tenant_id", "project_id", "id", "created_at", "plants"])("%s cannot be changed", (key) => refused("PUT", `${BED}/{bed}`, { bed: { [key]: "x" } }, 400, "HTTPBadRequest", `Cannot update read-only attribute ${key}`));
  it("a wrong attribute is told even to those who may not create", () => refused("POST", BED, { bed: { bogus: 1 } }, 400, "HTTPBadRequest", "Unrecognized attribute(s) 'bogus'", { "x-project-id": "p", "x-roles": "reader" }));
});

describe("queries", () => {
  it.each<[string, number, string, string | RegExp]>([
    ["bogus=1", 400, "HTTPBadRequest", "['bogus'] is invalid attribute for filtering"],
    ["bogus=1&__proto__=2", 400, "HTTPBadRequest", "['bogus', '__proto__'] is invalid attribute for filtering"],
    ["created_at=x", 400, "HTTPBadRequest", "['created_at'] is invalid attribute for filtering"],
    ["admin_state_up=maybe", 400, "InvalidInput", "Invalid input for operation: 'maybe' cannot be converted to boolean."],
    ["admin_state_up=", 400, "InvalidInput", /cannot be converted/],
    ["size=x", 400, "InvalidInput", "Invalid input for operation: 'x' is not an integer."],
    ["limit=-1", 400, "BadRequest", "Bad limits request: Limit must be an integer 0 or greater and not '-1'."],
    ["limit=x", 400, "BadRequest", /Limit must be/],
    ["limit=", 400, "BadRequest", /Limit must be/],
    ["marker=none", 404, "BedNotFound", "Bed none could not be found."],
    ["sort_key=name", 400, "HTTPBadRequest", "The number of sort_keys and sort_dirs must be same"],
    ["sort_key=bogus&sort_dir=asc", 400, "HTTPBadRequest", "['bogus'] is invalid attribute for sort_keys"],
    ["sort_key=created_at&sort_dir=asc", 400, "HTTPBadRequest", "['created_at'] is invalid attribute for sort_keys"],
    ["sort_key=name&sort_dir=up", 400, "HTTPBadRequest", /sort_dir/],
    ["changed_since=yesterday", 400, "InvalidInput", /is not a time/],
    ["changed_since=2026-99-01T00:00:00Z", 400, "InvalidInput", /is not a time/],
  ])("garden-beds?%s", (query, status, type, message) => refused("GET", `${BED}?${query}`, undefined, status, type, message));
  it("plants?fixed_ips=x", () => refused("GET", `${PLANTS}?fixed_ips=x`, undefined, 400, "InvalidInput"));
  it("a part without tags has no tag filters", async () => {
    const plant = await api.plant({ bed_id: bedId });
    await refused("GET", `${PLANTS}/${plant.id}/leaves?tags=x`, undefined, 400, "HTTPBadRequest");
    await refused("GET", `${PLANTS}/${plant.id}/leaves/x/tags`, undefined, 404, "HTTPNotFound");
  });
  it("odd encodings are taken literally", async () => expect((await api.get(`${BED}?name=%zz%ff&name=%00`)).status).toBe(200));
});

describe("paths and methods", () => {
  it.each<[string, string, number, string]>([
    ["GET", "/v2.0/bogus", 404, "HTTPNotFound"],
    ["POST", "/v2.0/bogus", 404, "HTTPNotFound"],
    ["GET", "/v2.0/garden-beds.xml", 404, "HTTPNotFound"],
    ["GET", "/v2.0//", 404, "HTTPNotFound"],
    ["GET", "/v2.0/constructor", 404, "HTTPNotFound"],
    ["GET", "/v3/networks", 404, "HTTPNotFound"],
    ["GET", "/etc/passwd", 404, "HTTPNotFound"],
    ["GET", "/v2.0/garden-beds/any%20text", 404, "BedNotFound"],
    ["GET", "/v2.0/garden-beds/..%2F..", 404, "BedNotFound"],
    ["GET", "/v2.0/garden-beds/x/bogus", 404, "HTTPNotFound"],
    ["GET", "/v2.0/garden-beds/%zz", 400, "HTTPBadRequest"],
    ["GET", "/v2.0/garden-beds/%ff", 400, "HTTPBadRequest"],
    ["PUT", "/v2.0/garden-beds", 404, "HTTPNotFound"],
    ["DELETE", "/v2.0/garden-beds", 404, "HTTPNotFound"],
    ["PATCH", "/v2.0/garden-beds", 405, "HTTPMethodNotAllowed"],
    ["OPTIONS", "/v2.0/garden-beds", 405, "HTTPMethodNotAllowed"],
    ["POST", "/v2.0/garden-beds/{bed}", 405, "HTTPMethodNotAllowed"],
    ["PATCH", "/v2.0/garden-beds/{bed}", 405, "HTTPMethodNotAllowed"],
    ["POST", "/v2.0/garden-beds/{bed}/water", 405, "HTTPMethodNotAllowed"],
    ["GET", "/v2.0/garden-beds/{bed}/water", 405, "HTTPMethodNotAllowed"],
    ["PATCH", "/v2.0/garden-beds/{bed}/tags", 405, "HTTPMethodNotAllowed"],
    ["POST", "/v2.0/garden-beds/{bed}/tags/x", 405, "HTTPMethodNotAllowed"],
    ["POST", "/v2.0/extensions", 405, "HTTPMethodNotAllowed"],
    ["POST", "/v2.0/", 405, "HTTPMethodNotAllowed"],
    ["POST", "/", 404, "HTTPNotFound"],
  ])("%s %s", (method, url, status, type) => refused(method, url, undefined, status, type));
  it("HEAD is 405", async () => expect((await api.call("HEAD", BED)).status).toBe(405));
  it("a very long URL is 414", () => refused("GET", `${BED}?name=${"x".repeat(17_000)}`, undefined, 414, "HTTPRequestURITooLong"));
  it("a long one that is none is not said back in full", () => refused("GET", `${BED}/%zz${"x".repeat(5000)}`, undefined, 400, "HTTPBadRequest", /^.{1,400}$/));
  it("a long but legal one is not", async () => expect((await api.get(`${BED}?name=${"x".repeat(15_000)}`)).status).toBe(200));
  it("a client that takes no JSON gets 406", () => refused("GET", BED, undefined, 406, "HTTPNotAcceptable", undefined, { accept: "text/html, application/xml" }));
  it.each(["*/*", "application/*", "text/html, application/json;q=0.5", ""])("Accept: %s is fine", async (accept) => expect((await api.get(BED, { accept })).status).toBe(200));
});
