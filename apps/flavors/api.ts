// Flavors of services, profiles of providers, and the flavor of a router. There is one provider of each service, so a flavor says what an
// operator offers, and to whom it is still offered; it does not change what routers do.
import {
  ApiError, badRequest, conflict, defineResource, extendResource, invalidFor, notFound, orNull, reference, UUID_LIST,
  type Alias, type ApiContext, type Check, type Converter, type ReadView, type Tx, type Values,
} from "#app";
import { routerResource, routerTable } from "../l3/model.ts";
import { serviceProviders, type ServiceProvider } from "../service-providers/model.ts";
import { flavorResource, flavorTable, routerFlavorTable, serviceProfileResource, serviceProfileTable, type Flavor, type ServiceProfile } from "./model.ts";

const ADMIN = "rule:admin_only";
const ALIAS = "flavors";
const ROUTERS = "L3_ROUTER_NAT";
const DESCRIPTION: Check = orNull({ type: "string", max: 1024 });
/** null means nothing in particular, and so what there is by default. */
const ENABLED: Check = { null: true, else: { type: "boolean" } };
/** Of a flavor. */
const PROFILES_MAX = 64;
/** Characters of JSON. */
const METAINFO_MAX = 4096;

export const converters: Readonly<Record<string, Converter>> = {
  metainfo: {
    about: `text, or any JSON of at most ${METAINFO_MAX} characters`,
    form: { type: "any" },
    run(value, attribute) {
      if (JSON.stringify(value).length > METAINFO_MAX) throw invalidFor(attribute, `it is longer than ${METAINFO_MAX} characters`);
      return value;
    },
  },
};

// ---- who provides ----

const isNothing = (metainfo: unknown): boolean => metainfo === "" || metainfo === null || (typeof metainfo === "object" && Object.keys(metainfo).length === 0);

/** @throws ApiError 400 for a profile that says nothing, 404 for the driver of nobody */
function checkProfile({ driver, metainfo }: Pick<ServiceProfile, "driver" | "metainfo">): void {
  if (driver === "" && isNothing(metainfo)) throw badRequest("Service Profile needs either a driver or metainfo.", "ServiceProfileEmpty");
  if (driver !== "" && !serviceProviders.some((p) => p.driver === driver)) throw notFound("ServiceProfileDriverNotFound", `Service Profile driver ${driver} could not be found.`);
}

/** The profile by which something of a flavor is made now, and its provider. @throws ApiError 503 while it is not offered, 404 without a profile */
function nextProvider(view: ReadView, flavor: Flavor): { readonly profile: ServiceProfile; readonly provider: ServiceProvider } {
  if (!flavor.enabled) throw new ApiError(503, "FlavorDisabled", "Flavor is not enabled.");
  const profiles = flavor.service_profiles.flatMap((id) => view.get(serviceProfileTable, id) ?? []);
  if (profiles.length === 0) throw notFound("FlavorServiceProfileBindingNotFound", `Flavor ${flavor.id} is not associated with a service profile.`);
  const profile = profiles.find((p) => p.enabled);
  if (profile === undefined) throw new ApiError(503, "ServiceProfileDisabled", "Service Profile is not enabled.");
  const provider = serviceProviders.find((p) => p.service_type === flavor.service_type && (profile.driver === "" || p.driver === profile.driver));
  if (provider === undefined) throw notFound("ServiceProfileDriverNotFound", `Service Profile driver ${profile.driver} could not be found.`);
  return { profile, provider };
}

// ---- flavors ----

function profilesOf(ids: readonly string[], ctx: ApiContext): readonly string[] {
  if (ids.length > PROFILES_MAX) throw badRequest(`Invalid input for service_profiles. Reason: a flavor has ${PROFILES_MAX} service profiles at most.`);
  return ids.map((id) => ctx.visible(serviceProfileResource, id).id);
}

const flavor = defineResource(flavorResource, {
  collection: "flavors",
  about: "A kind of a service that an operator offers.",
  alias: ALIAS,
  table: flavorTable,
  standard: ["id", "name"],
  notFound: { type: "FlavorNotFound", message: (id) => `Flavor ${id} could not be found.` },
  attributes: {
    description: { type: "string", about: "Text of the operator's choice.", post: true, put: true, default: "", check: DESCRIPTION, filter: true, sort: true },
    service_type: { type: "string", about: "Of which service: one that `service-providers` lists.", post: true, required: true, check: { enum: [...new Set(serviceProviders.map((p) => p.service_type))] }, filter: true, sort: true },
    enabled: { type: "boolean", about: "False: nothing new is made of it.", post: true, put: true, default: true, check: ENABLED, filter: true, sort: true },
    service_profiles: { type: "uuid[]", about: "Profiles by which it is provided; the first that is enabled is used.", post: true, put: true, default: [], check: UUID_LIST },
  },
  policy: { create: ADMIN, get: "role:reader", update: ADMIN, delete: ADMIN },
  bulk: true,
  create(tx, { id, name }, input, ctx) {
    const row: Flavor = {
      id, name, description: input.description as string | null, service_type: input.service_type as string, enabled: input.enabled as boolean, service_profiles: profilesOf(input.service_profiles as readonly string[], ctx),
    };
    tx.put(flavorTable, row);
    return row;
  },
  update(tx, row, changes, ctx) {
    const after: Flavor = {
      ...row,
      description: changes.description === undefined ? row.description : (changes.description as string | null),
      enabled: (changes.enabled as boolean | undefined) ?? row.enabled,
      service_profiles: changes.service_profiles === undefined ? row.service_profiles : profilesOf(changes.service_profiles as readonly string[], ctx),
    };
    tx.put(flavorTable, after);
    return after;
  },
  remove(tx, row) {
    if (tx.count(routerFlavorTable, "flavor", row.id) > 0) throw conflict("FlavorInUse", `Flavor ${row.id} is used by some service instance.`);
    tx.delete(flavorTable, row.id);
  },
  actions: {
    add_service_profile: {
      about: "Provides it by one more profile, after those that there are.",
      method: "POST", path: "service_profiles", status: 201, policy: ADMIN, rule: "create_flavor_service_profile",
      check: { dict: { service_profile: { check: { dict: { id: { check: { type: "uuid" }, required: true } } }, required: true } } },
      answers: { service_profile: { dict: { id: { check: { type: "uuid" }, required: true } } } },
      run(tx, row, body, ctx) {
        const { id } = ctx.visible(serviceProfileResource, (body.service_profile as { readonly id: string }).id);
        if (row.service_profiles.includes(id)) throw conflict("FlavorServiceProfileBindingExists", `Service Profile ${id} is already associated with flavor ${row.id}.`);
        tx.put(flavorTable, { ...row, service_profiles: profilesOf([...row.service_profiles, id], ctx) });
        return { service_profile: { id } };
      },
    },
    remove_service_profile: {
      about: "Provides it by a profile no more.",
      method: "DELETE", path: "service_profiles/{service_profile_id}", status: 204, policy: ADMIN, rule: "delete_flavor_service_profile",
      run(tx, row, _body, _ctx, { service_profile_id: id }) {
        if (!row.service_profiles.includes(id!)) throw notFound("FlavorServiceProfileBindingNotFound", `Service Profile ${id!.slice(0, 64)} is not associated with flavor ${row.id}.`);
        tx.put(flavorTable, { ...row, service_profiles: row.service_profiles.filter((p) => p !== id) });
      },
    },
    next_providers: {
      about: "Who provides what is made of it now, and by what profile.",
      method: "GET", policy: ADMIN, rule: "get_flavor_next_provider",
      answers: { next_providers: { list: { dict: { provider: { check: { type: "string" }, required: true }, driver: { check: { type: "string" }, required: true }, metainfo: { check: { type: "any" }, required: true } } } } },
      read(view, row) {
        const { profile: { metainfo, driver }, provider } = nextProvider(view, row);
        return { next_providers: [{ provider: provider.name, driver: driver === "" ? provider.driver : driver, metainfo }] };
      },
    },
  },
});

// ---- profiles ----

const serviceProfile = defineResource(serviceProfileResource, {
  collection: "service_profiles",
  path: "service_profiles",
  about: "How a provider is to provide a service.",
  alias: ALIAS,
  table: serviceProfileTable,
  standard: ["id"],
  notFound: { type: "ServiceProfileNotFound", message: (id) => `Service Profile ${id} could not be found.` },
  attributes: {
    description: { type: "string", about: "Text of the operator's choice.", post: true, put: true, default: "", check: DESCRIPTION, filter: true, sort: true },
    driver: { type: "string", about: `The provider's: ${[...new Set(serviceProviders.map((p) => p.driver))].join(", ")}; "": whoever provides the service.`, post: true, put: true, default: "", check: { type: "string", max: 1024 }, filter: true, sort: true },
    metainfo: { type: "any", about: "What the operator notes down of it. Without a driver it has some.", post: true, put: true, default: "", check: { convert: "metainfo" }, sort: true },
    enabled: { type: "boolean", about: "False: nothing new is made by it.", post: true, put: true, default: true, check: ENABLED, filter: true, sort: true },
  },
  policy: { create: ADMIN, get: ADMIN, update: ADMIN, delete: ADMIN },
  bulk: true,
  create(tx, { id }, input) {
    const row: ServiceProfile = { id, description: input.description as string | null, driver: input.driver as string, metainfo: input.metainfo, enabled: input.enabled as boolean };
    checkProfile(row);
    tx.put(serviceProfileTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after: ServiceProfile = { ...row, ...(changes as Partial<ServiceProfile>) };
    const isOther = after.driver !== row.driver || JSON.stringify(after.metainfo) !== JSON.stringify(row.metainfo);
    if (isOther) {
      checkProfile(after);
      checkUnused(tx, row.id);
    }
    tx.put(serviceProfileTable, after);
    return after;
  },
  remove(tx, row) {
    checkUnused(tx, row.id);
    tx.delete(serviceProfileTable, row.id);
  },
});

function checkUnused(tx: Tx, id: string): void {
  if (tx.count(flavorTable, "profile", id) > 0) throw conflict("ServiceProfileInUse", `Service Profile ${id} is used by some service flavor.`);
}

// ---- routers ----

const ofRouter = extendResource(routerResource, {
  attributes: {
    flavor_id: { type: "uuid|null", about: "The flavor that it was asked for by; null: none.", post: true, default: null, sort: true, alias: "l3-flavors" },
  },
  create(tx, { id }, input: Values, ctx) {
    if (input.flavor_id === null || input.flavor_id === undefined) return;
    const of = ctx.visible(flavorResource, input.flavor_id as string);
    if (of.service_type !== ROUTERS) throw badRequest(`Bad router request: flavor ${of.id} is of the service ${of.service_type}, not ${ROUTERS}.`, "BadRequest");
    nextProvider(tx, of);
    tx.put(routerFlavorTable, { id, flavor_id: of.id });
  },
  remove: (tx, { id }) => tx.delete(routerFlavorTable, id),
  present: (view, { id }) => ({ flavor_id: view.get(routerFlavorTable, id)?.flavor_id ?? null }),
});

export const resources = [flavor, serviceProfile];
export const extend = [ofRouter];
export const references = [
  reference(routerFlavorTable, { to: routerTable, ids: (r) => r.id, gone: (tx, r) => tx.delete(routerFlavorTable, r.id) }),
];
export const aliases: readonly Alias[] = [
  { alias: ALIAS, name: "Neutron Service Flavors", description: "Kinds of services that operators offer.", updated: "2015-09-17T10:00:00-00:00" },
  { alias: "l3-flavors", name: "Router Flavor Extension", description: "Routers may be asked for by a flavor.", updated: "2016-05-17T00:00:00-00:00" },
];
