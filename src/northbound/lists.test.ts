// Lists: filters, sorting, paging, fields.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { garden, labels } from "./testing/declarations.ts";
import { Api, as } from "./testing/support.ts";

let api: Api;
const ids: Record<string, string> = {};
const subnet = "d2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b";
beforeAll(async () => {
  api = await Api.make([garden, labels]);
  const sizes = { a: 3, b: 1, c: 2, d: 2, e: 1 };
  for (const [name, size] of Object.entries(sizes)) ids[name] = (await api.bed({ name, size, admin_state_up: size !== 2, label: `l${size}`, project_id: name < "d" ? "p1" : "p2" })).id;
  const plants: Record<string, Record<string, unknown>> = {
    v: { bed_id: ids.a, device_id: "vm1", fixed_ips: [{ ip_address: "10.0.0.1", subnet_id: subnet }], mac_address: "fa:16:3e:00:00:01" },
    w: { bed_id: ids.a, device_id: "vm2", fixed_ips: [{ ip_address: "10.0.0.2" }] },
    x: { bed_id: ids.b, device_id: "vm1", fixed_ips: [] },
  };
  for (const [name, values] of Object.entries(plants)) await api.plant({ name, ...values });
  const tags = { a: ["x", "y"], b: ["x"], c: ["y", "z"] };
  for (const [name, list] of Object.entries(tags)) await api.put(`/v2.0/garden-beds/${ids[name]!}/tags`, { tags: list });
});
afterAll(() => api.close());

async function names(query: string, collection = "garden-beds"): Promise<string> {
  const { status, body, text } = await api.get(`/v2.0/${collection}?${query}`);
  if (status !== 200) throw new Error(text);
  return (Object.values(body)[0] as { name: string }[]).map((b) => b.name).sort().join("");
}

describe("filters", () => {
  it.each([
    ["name=a", "a"],
    ["name=a&name=c&name=none", "ac"],
    ["name=A", ""],
    ["name=", ""],
    ["description=", "abcde"],
    ["size=2", "cd"],
    ["size=2&name=c", "c"],
    ["size=1&size=3", "abe"],
    ["admin_state_up=False", "cd"],
    ["admin_state_up=0&admin_state_up=yes", "abcde"],
    ["tenant_id=p1", "abc"],
    ["project_id=p1&tenant_id=p2", ""],
    ["project_id=p1&project_id=p2", "abcde"],
    ["label=l1", "be"],
    ["shared=true", ""],
    ["revision_number=1", "de"],
    ["tags=x", "ab"],
    ["tags=x,y", "a"],
    ["tags=x&tags=y", "a"],
    ["tags-any=x,z", "abc"],
    ["not-tags=x,y", "bcde"],
    ["not-tags-any=x,z", "de"],
    ["changed_since=2020-01-01T00:00:00", "abcde"],
    ["changed_since=2020-01-01T00:00:00Z", "abcde"],
    ["changed_since=2999-01-01T00:00:00Z", ""],
  ])("garden-beds?%s", async (query, expected) => expect(await names(query)).toBe(expected));

  it.each([
    ["device_id=vm1", "vx"],
    ["device_id=vm1&device_id=vm2", "vwx"],
    ["fixed_ips=ip_address%3D10.0.0.1", "v"],
    ["fixed_ips=ip_address=10.0.0.1&fixed_ips=ip_address=10.0.0.2", "vw"],
    [`fixed_ips=ip_address=10.0.0.1&fixed_ips=subnet_id=${subnet}`, "v"],
    [`fixed_ips=ip_address=10.0.0.2&fixed_ips=subnet_id=${subnet}`, ""],
    ["fixed_ips=bogus=1", "vwx"],
    ["mac_address=FA:16:3E:00:00:01", "v"],
    ["device_owner=", "vwx"],
    ["status=DOWN&kind=rose", "vwx"],
  ])("plants?%s", async (query, expected) => expect(await names(query, "plants")).toBe(expected));

  it("finds by ids, whatever else there is, and by a bed in any spelling", async () => {
    expect(await names(`id=${ids.a!}&id=${ids.c!}&id=${ids.a!}&id=none`)).toBe("ac");
    expect(await names(`bed_id=${ids.a!.toUpperCase()}`, "plants")).toBe("vw");
    expect(await names(`bed_id=${ids.a!}&bed_id=${ids.b!}`, "plants")).toBe("vwx");
  });
  it("takes a hundred ids", async () => expect(await names(Array.from({ length: 300 }, () => `id=${ids.a!}`).join("&"))).toBe("a"));
});

const order = async (query: string, headers = {}): Promise<string> => (await api.get(`/v2.0/garden-beds?${query}`, headers)).body.garden_beds.map((b: { name: string }) => b.name).join("");

describe("order", () => {
  it("is by id unless asked otherwise", async () => {
    const byId = Object.entries(ids).sort((a, b) => (a[1] < b[1] ? -1 : 1)).map(([name]) => name).join("");
    expect(await order("")).toBe(byId);
  });
  it.each([
    ["sort_key=name&sort_dir=asc", "abcde"],
    ["sort_key=name&sort_dir=desc", "edcba"],
    ["sort_key=size&sort_dir=asc&sort_key=name&sort_dir=desc", "ebdca"],
    ["sort_key=admin_state_up&sort_dir=asc&sort_key=name&sort_dir=asc", "cdabe"],
  ])("%s", async (query, expected) => expect(await order(query)).toBe(expected));
});

describe("pages", () => {
  const get = async (url: string): Promise<{ names: string; next?: string; previous?: string }> => {
    const { body } = await api.get(url, { host: "h" });
    const links = Object.fromEntries((body.garden_beds_links as { rel: string; href: string }[]).map((l) => [l.rel, l.href.replace("http://h", "")]));
    return { names: body.garden_beds.map((b: { name: string }) => b.name).join(""), ...links };
  };
  it("lead through the whole list and back", async () => {
    const first = await get("/v2.0/garden-beds?sort_key=name&sort_dir=asc&limit=2");
    expect(first).toEqual({ names: "ab", next: `/v2.0/garden-beds?sort_key=name&sort_dir=asc&limit=2&marker=${ids.b!}`, previous: `/v2.0/garden-beds?sort_key=name&sort_dir=asc&limit=2&marker=${ids.a!}&page_reverse=True` });
    const second = await get(first.next!);
    expect(second.names).toBe("cd");
    const third = await get(second.next!);
    expect([third.names, third.next]).toEqual(["e", undefined]);
    expect((await get(third.previous!)).names).toBe("cd");
    const back = await get(second.previous!);
    expect([back.names, typeof back.next]).toEqual(["ab", "string"]);
    const before = await get(back.previous!);
    expect([before.names, before.previous, typeof before.next]).toEqual(["", undefined, "string"]);
  });
  it("that are full have a next one, even if it is empty", async () => {
    const all = await get("/v2.0/garden-beds?limit=5");
    expect((await get(all.next!)).names).toBe("");
  });
  it("without a limit there are no links", async () => expect((await api.get("/v2.0/garden-beds?limit=0")).body).not.toHaveProperty("garden_beds_links"));
  it("have a greatest length if the operator sets one", async () => {
    const small = await Api.make([garden], { pageMax: 2 });
    for (let i = 0; i < 3; i++) await small.bed();
    for (const query of ["", "?limit=3", "?limit=0"]) expect((await small.get(`/v2.0/garden-beds${query}`)).body.garden_beds).toHaveLength(2);
    await small.close();
  });
  it("are right for long lists in any order", async () => {
    const long = await Api.make([garden]);
    const made = (await long.post("/v2.0/garden-beds", { garden_beds: Array.from({ length: 1000 }, (_, i) => ({ size: (i % 100) + 1 })) })).body.garden_beds as { id: string; size: number }[];
    await long.post("/v2.0/garden-beds", { garden_beds: Array.from({ length: 1000 }, () => ({ size: 50 })) });
    const seen: string[] = [];
    let url: string | undefined = "/v2.0/garden-beds?limit=300&sort_key=size&sort_dir=desc&fields=id";
    while (url !== undefined) {
      const { body } = await long.get(url);
      seen.push(...body.garden_beds.map((b: { id: string }) => b.id));
      url = (body.garden_beds_links as { rel: string; href: string }[]).find((l) => l.rel === "next")?.href.replace(/^http:\/\/[^/]+/, "");
    }
    expect(new Set(seen).size).toBe(2000);
    expect(made.find((m) => m.id === seen[0])?.size).toBe(100);
    await long.close();
  });
});

describe("fields", () => {
  it("limits what is shown", async () => {
    const { body } = await api.get("/v2.0/garden-beds?name=a&fields=id&fields=label", as("p1"));
    expect(body).toEqual({ garden_beds: [{ id: ids.a, label: "l3" }] });
  });
});
