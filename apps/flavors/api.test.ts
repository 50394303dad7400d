// Flavors, their profiles, and routers of a flavor.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Harness, type Answer } from "../../test/support/harness.ts";
import { routerFlavorTable } from "./model.ts";

let h: Harness;
const member = { "x-project-id": "red", "x-roles": "member" };
const admin = { "x-project-id": "operators", "x-roles": "admin" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";
type Shown = Readonly<Record<string, unknown>> & { readonly id: string };
const call = (method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: unknown, who = admin): Promise<Answer> => h.call(method, `/v2.0/${path}`, body, who);
const make = async (resource: string, values: object, who = admin): Promise<Shown> => {
  const { status, body } = await call("POST", `${resource}s`, { [resource]: values }, who);
  expect(status, JSON.stringify(body)).toBe(201);
  return body[resource] as Shown;
};
const flavorOf = (more: object = {}): Promise<Shown> => make("flavor", { name: "gold", service_type: "L3_ROUTER_NAT", ...more });
const profileOf = (more: object = {}): Promise<Shown> => make("service_profile", { driver: "axion", ...more });
const refused = async (status: number, type: string, method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: unknown, who = admin): Promise<string> => {
  const { generation } = h.model;
  const answer = await call(method, path, body, who);
  expect([answer.status, answer.body.NeutronError?.type], JSON.stringify(answer.body)).toEqual([status, type]);
  expect(h.model.generation).toBe(generation);
  return answer.body.NeutronError.message as string;
};

beforeEach(async () => void (h = await Harness.make()));
afterEach(() => h.close());

describe("flavors", () => {
  test("are made and changed by administrators, and read by all", async () => {
    const profile = await profileOf();
    const flavor = await flavorOf({ service_profiles: [profile.id] });
    expect(flavor).toEqual({ id: flavor.id, name: "gold", description: "", service_type: "L3_ROUTER_NAT", enabled: true, service_profiles: [profile.id] });
    expect(await flavorOf({ description: null, enabled: null, service_profiles: null })).toMatchObject({ description: null, enabled: true, service_profiles: [] });
    const changed = { name: "silver", description: "d", enabled: false, service_profiles: [] };
    expect((await call("PUT", `flavors/${flavor.id}`, { flavor: changed })).body.flavor).toEqual({ ...flavor, ...changed });
    expect((await call("GET", "flavors?enabled=false&service_type=L3_ROUTER_NAT", undefined, member)).body.flavors).toMatchObject([{ id: flavor.id }]);
    await refused(403, "PolicyNotAuthorized", "POST", "flavors", { flavor: { service_type: "L3_ROUTER_NAT" } }, member);
    await refused(403, "PolicyNotAuthorized", "PUT", `flavors/${flavor.id}`, { flavor: { name: "x" } }, member);
    await refused(403, "PolicyNotAuthorized", "DELETE", `flavors/${flavor.id}`, undefined, member);
    expect((await call("GET", "extensions")).body.extensions.map((e: { alias: string }) => e.alias)).toEqual(expect.arrayContaining(["flavors", "l3-flavors"]));
  });

  test("are of a service that somebody provides, by profiles that are there", async () => {
    expect(await refused(400, "HTTPBadRequest", "POST", "flavors", { flavor: { service_type: "VPN" } })).toContain("service_type");
    expect(await refused(400, "HTTPBadRequest", "POST", "flavors", { flavor: { name: "x" } })).toContain("service_type");
    await refused(404, "ServiceProfileNotFound", "POST", "flavors", { flavor: { service_type: "L3_ROUTER_NAT", service_profiles: [UNKNOWN] } });
    const { id } = await flavorOf();
    expect(await refused(400, "HTTPBadRequest", "PUT", `flavors/${id}`, { flavor: { service_profiles: Array.from({ length: 65 }, (_, n) => UNKNOWN.replace(/..$/, n.toString(16).padStart(2, "0"))) } })).toContain("service_profiles");
    expect(await refused(400, "HTTPBadRequest", "PUT", `flavors/${id}`, { flavor: { service_type: "L3_ROUTER_NAT" } })).toContain("service_type");
  });

  test("get profiles and lose them one by one", async () => {
    const [flavor, profile] = [await flavorOf(), await profileOf()];
    const path = `flavors/${flavor.id}/service_profiles`;
    const answer = await call("POST", path, { service_profile: { id: profile.id } });
    expect([answer.status, answer.body]).toEqual([201, { service_profile: { id: profile.id } }]);
    expect((await call("GET", `flavors/${flavor.id}`, undefined, member)).body.flavor.service_profiles).toEqual([profile.id]);
    await refused(409, "FlavorServiceProfileBindingExists", "POST", path, { service_profile: { id: profile.id } });
    await refused(404, "ServiceProfileNotFound", "POST", path, { service_profile: { id: UNKNOWN } });
    for (const body of [{}, { service_profile: {} }, { service_profile: { id: "x" } }, { service_profile: { id: profile.id, more: 1 } }]) await refused(400, "HTTPBadRequest", "POST", path, body);
    await refused(403, "PolicyNotAuthorized", "POST", path, { service_profile: { id: profile.id } }, member);
    await refused(403, "PolicyNotAuthorized", "DELETE", `${path}/${profile.id}`, undefined, member);
    await refused(409, "ServiceProfileInUse", "DELETE", `service_profiles/${profile.id}`);
    await refused(404, "FlavorServiceProfileBindingNotFound", "DELETE", `${path}/${UNKNOWN}`);
    expect((await call("DELETE", `${path}/${profile.id}`)).status).toBe(204);
    await refused(404, "FlavorServiceProfileBindingNotFound", "DELETE", `${path}/${profile.id}`);
    expect((await call("DELETE", `service_profiles/${profile.id}`)).status).toBe(204);
  });
});

describe("profiles", () => {
  test("are administrators' alone, and name a driver that there is, or say something else", async () => {
    const profile = await profileOf({ description: "d", metainfo: "{'a': 1}" });
    expect(profile).toEqual({ id: profile.id, description: "d", driver: "axion", metainfo: "{'a': 1}", enabled: true });
    expect(await make("service_profile", { metainfo: { ha: true }, enabled: false })).toMatchObject({ driver: "", metainfo: { ha: true }, enabled: false });
    expect((await call("GET", "service_profiles?driver=axion")).body.service_profiles).toEqual([profile]);
    expect((await call("GET", "service_profiles", undefined, member)).body.service_profiles).toEqual([]);
    await refused(404, "ServiceProfileNotFound", "GET", `service_profiles/${profile.id}`, undefined, member);
    for (const metainfo of ["", null, {}, []]) await refused(400, "ServiceProfileEmpty", "POST", "service_profiles", { service_profile: { metainfo } });
    await refused(400, "ServiceProfileEmpty", "POST", "service_profiles", { service_profile: {} });
    await refused(404, "ServiceProfileDriverNotFound", "POST", "service_profiles", { service_profile: { driver: "neutron.services.l3_router.service_providers.dvr.DvrDriver" } });
    expect(await refused(400, "HTTPBadRequest", "POST", "service_profiles", { service_profile: { driver: "axion", metainfo: "x".repeat(4096) } })).toContain("metainfo");
    await refused(400, "ServiceProfileEmpty", "PUT", `service_profiles/${profile.id}`, { service_profile: { driver: "", metainfo: "" } });
    expect((await call("PUT", `service_profiles/${profile.id}`, { service_profile: { driver: "", enabled: false } })).body.service_profile).toEqual({ ...profile, driver: "", enabled: false });
  });

  test("of a flavor are what they are; whether they are used may change", async () => {
    const profile = await profileOf();
    await flavorOf({ service_profiles: [profile.id] });
    await refused(409, "ServiceProfileInUse", "PUT", `service_profiles/${profile.id}`, { service_profile: { metainfo: "x" } });
    expect((await call("PUT", `service_profiles/${profile.id}`, { service_profile: { description: "d", enabled: false, driver: "axion" } })).body.service_profile).toMatchObject({ description: "d", enabled: false });
  });
});

describe("who provides next", () => {
  test("is the first profile that is enabled, with the driver that there is", async () => {
    const [first, second] = [await profileOf({ enabled: false }), await make("service_profile", { metainfo: "m" })];
    const { id } = await flavorOf();
    const next = `flavors/${id}/next_providers`;
    await refused(404, "FlavorServiceProfileBindingNotFound", "GET", next);
    await call("PUT", `flavors/${id}`, { flavor: { service_profiles: [first.id] } });
    await refused(503, "ServiceProfileDisabled", "GET", next);
    await call("PUT", `flavors/${id}`, { flavor: { service_profiles: [first.id, second.id] } });
    expect((await call("GET", next)).body).toEqual({ next_providers: [{ provider: "axion", driver: "axion", metainfo: "m" }] });
    await call("PUT", `flavors/${id}`, { flavor: { enabled: false } });
    await refused(503, "FlavorDisabled", "GET", next);
    await refused(403, "PolicyNotAuthorized", "GET", next, undefined, member);
  });
});

describe("routers", () => {
  const router = (flavor_id: unknown) => ({ router: { name: "r", flavor_id } });
  test("are asked for by a flavor, which stays as long as they do", async () => {
    const profile = await profileOf();
    const flavor = await flavorOf({ service_profiles: [profile.id] });
    const its = await make("router", { flavor_id: flavor.id }, member);
    expect(its["flavor_id"]).toBe(flavor.id);
    expect(await make("router", {}, member)).toMatchObject({ flavor_id: null });
    expect(await make("router", { flavor_id: null }, member)).toMatchObject({ flavor_id: null });
    await refused(409, "FlavorInUse", "DELETE", `flavors/${flavor.id}`);
    await refused(400, "HTTPBadRequest", "PUT", `routers/${its.id}`, router(flavor.id), member);
    // Not offered any more it is still what the router is.
    await call("PUT", `flavors/${flavor.id}`, { flavor: { enabled: false } });
    expect((await call("PUT", `routers/${its.id}`, { router: { name: "x" } }, member)).body.router).toMatchObject({ name: "x", flavor_id: flavor.id });
    h = await h.restart(["flavors"]);
    expect((await call("GET", `routers/${its.id}`, undefined, member)).body.router).not.toHaveProperty("flavor_id");
    expect((await call("GET", "flavors")).status).toBe(404);
    h = await h.restart([]);
    expect((await call("GET", `routers/${its.id}`, undefined, member)).body.router).toMatchObject({ flavor_id: flavor.id });
    expect((await call("DELETE", `routers/${its.id}`, undefined, member)).status).toBe(204);
    expect([...h.view.all(routerFlavorTable)]).toEqual([]);
    expect((await call("DELETE", `flavors/${flavor.id}`)).status).toBe(204);
    expect((await call("DELETE", `service_profiles/${profile.id}`)).status).toBe(204);
  });

  test("are not of one that is not there, not offered, or provided by nobody", async () => {
    await refused(404, "FlavorNotFound", "POST", "routers", router(UNKNOWN), member);
    await refused(400, "HTTPBadRequest", "POST", "routers", router("x"), member);
    const flavor = await flavorOf();
    await refused(404, "FlavorServiceProfileBindingNotFound", "POST", "routers", router(flavor.id), member);
    const profile = await profileOf({ enabled: false });
    await call("PUT", `flavors/${flavor.id}`, { flavor: { service_profiles: [profile.id] } });
    await refused(503, "ServiceProfileDisabled", "POST", "routers", router(flavor.id), member);
    await call("PUT", `flavors/${flavor.id}`, { flavor: { enabled: false } });
    await refused(503, "FlavorDisabled", "POST", "routers", router(flavor.id), member);
  });

  test("that went while the app was not there keep no flavor", async () => {
    const flavor = await flavorOf({ service_profiles: [(await profileOf()).id] });
    const its = await make("router", { flavor_id: flavor.id }, member);
    h = await h.restart(["flavors"]);
    expect((await call("DELETE", `routers/${its.id}`, undefined, member)).status).toBe(204);
    h = await h.restart([]);
    expect((await call("DELETE", `flavors/${flavor.id}`)).status).toBe(204);
  });
});
