// Two small apps for tests of the API layer alone: "garden" declares beds and plants (a bed is shared by flag, a plant stands
// in a bed and is addressed through l2-like rules), "labels" extends both with values of its own.
import {
  asList, AUTO, conflict, defineResource, defineTable, extendResource, invalidFor, invalidInput, isObject, makeCheck, resourceHandle, UUID_LIST,
  type App, type BoundExtension, type Converter, type ResourceHandle, type StandardRow,
} from "./support.ts";

/** What a resource stores of what it is given: attributes of other apps are among the changes too. */
const given = (changes: Readonly<Record<string, unknown>>, ...names: readonly string[]): Record<string, unknown> => Object.fromEntries(names.filter((name) => changes[name] !== undefined).map((name) => [name, changes[name]]));

export interface FixedIp {
  readonly subnet_id?: string;
  readonly ip_address?: string;
}
export interface Bed extends StandardRow {
  readonly shared: boolean;
  readonly size: number;
  readonly admin_state_up: boolean;
}
export interface Plant extends StandardRow {
  readonly bed_id: string;
  readonly device_owner: string;
  readonly device_id: string;
  readonly kind: string;
  readonly mac_address: string;
  readonly fixed_ips: readonly FixedIp[];
  readonly profile: Readonly<Record<string, unknown>>;
  readonly status: string;
}
export interface Leaf extends StandardRow {
  readonly plant_id: string;
  readonly length: number;
}
interface Label {
  readonly id: string;
  readonly label: string;
}

export const bedTable = defineTable<Bed>()("bed", { resource: "bed", indexes: { project: (b) => b.project_id, shared: (b) => (b.shared ? "yes" : undefined) } });
export const plantTable = defineTable<Plant>()("plant", { resource: "plant", indexes: { project: (p) => p.project_id, bed: (p) => p.bed_id, device: (p) => p.device_id } });
export const leafTable = defineTable<Leaf>()("leaf", { resource: "leaf", indexes: { plant: (l) => l.plant_id } });
export const bedResource = resourceHandle<Bed>("bed");
export const plantResource = resourceHandle<Plant>("plant");
export const leafResource = resourceHandle<Leaf>("leaf");
const labelTable = defineTable<Label>()("label", {});
const firstTable = defineTable<Label>()("first", {});

const bed = defineResource(bedResource, {
  collection: "garden_beds",
  about: "Where plants grow.",
  table: bedTable,
  notFound: { type: "BedNotFound", message: (id) => `Bed ${id} could not be found.` },
  attributes: {
    shared: { type: "boolean", about: "Seen and used by all.", post: true, put: true, default: false, filter: true, policy: { create: "rule:admin_only", update: "rule:admin_only" } },
    size: { type: "integer", about: "In square metres.", post: true, put: true, default: 1, check: { range: [1, 100] }, filter: true, sort: true },
    admin_state_up: { type: "boolean", about: "On.", post: true, put: true, default: true, filter: true, sort: true },
    plants: { type: "uuid[]", about: "Plants in it." },
    secret: { type: "string", about: "For administrators.", filter: true, policy: { get: "rule:admin_only" } },
  },
  policy: { create: "rule:admin_only or (role:member and project_id:%(project_id)s)", get: "rule:admin_only or (role:reader and project_id:%(project_id)s) or field:garden_beds:shared=True", update: "rule:admin_only or (role:member and project_id:%(project_id)s)", delete: "rule:admin_only or (role:member and project_id:%(project_id)s)" },
  relations: { "bed:shared": (row) => row.shared },
  reach: { "bed:shared": (view) => view.by(bedTable, "shared", "yes").map((b) => b.id) },
  prepare: {
    needed: (view, caller) => caller.projectId === "prepared" && view.get(firstTable, caller.projectId) === undefined,
    run: (tx, ctx) => {
      tx.put(firstTable, { id: ctx.caller.projectId, label: "" });
      ctx.create(bedResource, { name: "first" });
    },
  },
  create(tx, standard, input) {
    const row: Bed = { shared: input.shared as boolean, size: input.size as number, admin_state_up: input.admin_state_up as boolean, ...standard };
    tx.put(bedTable, row);
    return row;
  },
  update(tx, row, changes) {
    const next: Bed = { ...row, ...given(changes, "shared", "size", "admin_state_up") };
    tx.put(bedTable, next);
    return next;
  },
  remove(tx, row, ctx) {
    for (const p of tx.by(plantTable, "bed", row.id)) {
      if (p.device_owner !== "network:dhcp") throw conflict("BedInUse", `Bed ${row.id} has plants.`);
      ctx.remove(plantResource, p.id);
    }
    tx.delete(bedTable, row.id);
  },
  present: (view, row) => ({ plants: view.by(plantTable, "bed", row.id).map((p) => p.id).sort(), secret: `s-${row.name}` }),
  actions: {
    water: {
      about: "Waters all plants.",
      policy: "rule:admin_only or (role:member and project_id:%(project_id)s)",
      run: (_tx, row, body, ctx) => {
        ctx.bump(bedResource, row.id);
        return { watered: row.id, litres: body.litres ?? 1 };
      },
    },
    look: { about: "Looks.", policy: "rule:admin_only or (role:reader and project_id:%(project_id)s)", method: "GET", read: (_view, row) => ({ looked: row.id }) },
    boom: {
      about: "Fails.",
      policy: "rule:admin_only",
      run: () => {
        throw new Error("a bug with a secret in its text");
      },
    },
  },
});

const uuid = makeCheck({ type: "uuid" });
const ip = makeCheck({ type: "ip" });
const gardenIps: Converter = {
  about: "addresses of a plant",
  form: { list: { dict: { subnet_id: { check: { type: "uuid" } }, ip_address: { check: { type: "ip" } } } } },
  run: (value, attribute) =>
    asList(value, attribute).map((item): FixedIp => {
      if (!isObject(item)) throw invalidFor(attribute, "an address is an object");
      if (item.subnet_id === undefined && item.ip_address === undefined) throw invalidInput("IP allocation requires subnet_id or ip_address");
      return { ...(item.subnet_id === undefined ? {} : { subnet_id: uuid(item.subnet_id, attribute) as string }), ...(item.ip_address === undefined ? {} : { ip_address: ip(item.ip_address, attribute) as string }) };
    }),
};

const owner = "rule:admin_only or rule:service_api or (role:member and project_id:%(bed:project_id)s)";
const plant = defineResource(plantResource, {
  collection: "plants",
  about: "Grows in a bed.",
  table: plantTable,
  notFound: { type: "PlantNotFound", message: (id) => `Plant ${id} could not be found.` },
  attributes: {
    bed_id: { type: "uuid", about: "Its bed.", post: true, required: true, filter: true, sort: true, index: "bed" },
    device_owner: { type: "string", about: "What it is for.", post: true, put: true, default: "", filter: true, sort: true, policy: { create: `not field:plant:device_owner=~^network: or ${owner}`, update: `not field:plant:device_owner=~^network: or ${owner}` } },
    device_id: { type: "string", about: "Whose it is.", post: true, put: true, default: "", filter: true, sort: true, index: "device" },
    kind: { type: "string", about: "Species.", post: true, put: true, default: "rose", check: { enum: ["rose", "fern"] }, filter: true, sort: true },
    mac_address: { type: "mac", about: "MAC.", post: true, put: true, default: AUTO, filter: true, sort: true, policy: { create: owner, update: owner } },
    fixed_ips: {
      type: "object[]",
      about: "Addresses.",
      post: true,
      put: true,
      default: AUTO,
      check: { convert: "garden-ips" },
      filter: true,
      policy: { create: `${owner} or field:garden_beds:shared=True`, update: owner, keys: { ip_address: { create: owner, update: owner } } },
      matches: (shown, query) => {
        const [key, value] = [query.slice(0, query.indexOf("=")), query.slice(query.indexOf("=") + 1)];
        const ips = shown as readonly FixedIp[];
        if (key === "ip_address") return ips.some((f) => f.ip_address === value);
        if (key === "subnet_id") return ips.some((f) => f.subnet_id === value);
        return true;
      },
    },
    profile: { type: "object", about: "Free form.", post: true, put: true, default: {}, check: { null: {}, else: { type: "object" } } },
    groups: { type: "uuid[]", about: "Not stored.", post: true, put: true, check: UUID_LIST, visible: false },
    "binding:host_id": { type: "string", about: "Host.", policy: { get: "rule:admin_only or rule:service_api" } },
    status: { type: "string", about: "State.", filter: true, sort: true },
    tags: { type: "string[]", about: "Labels.", post: true, policy: { create: "rule:admin_only or (role:member and project_id:%(project_id)s)", update: "rule:admin_only or (role:member and project_id:%(project_id)s)", get: "rule:admin_only or (role:reader and project_id:%(project_id)s)" } },
  },
  policy: {
    create: "rule:admin_only or rule:service_api or (role:member and project_id:%(bed:project_id)s) or field:garden_beds:shared=True",
    get: "rule:admin_only or rule:service_api or (role:reader and project_id:%(bed:project_id)s) or (role:reader and project_id:%(project_id)s)",
    update: "rule:admin_only or rule:service_api or (role:member and project_id:%(project_id)s)",
    delete: "rule:admin_only or rule:service_api or (role:member and project_id:%(bed:project_id)s) or (role:member and project_id:%(project_id)s)",
  },
  relations: {
    "bed:project_id": (row, view) => view.get(bedTable, row.bed_id)?.project_id,
    "bed:shared": (row, view) => view.get(bedTable, row.bed_id)?.shared,
  },
  reach: { "bed:project_id": (view, caller) => view.by(bedTable, "project", caller.projectId).flatMap((b) => view.by(plantTable, "bed", b.id).map((p) => p.id)) },
  completed: (_tx, done) => {
    if (done.length > 1 && done.some(({ row }) => row.name === "refuse-bulk")) throw conflict("BulkRefused", "no");
  },
  create(tx, standard, input, ctx) {
    const inBed = ctx.visible(bedResource, input.bed_id as string);
    const row: Plant = {
      bed_id: inBed.id,
      device_owner: input.device_owner as string,
      device_id: input.device_id as string,
      kind: input.kind as string,
      mac_address: (input.mac_address as string | undefined) ?? `fa:16:3e:${standard.id.slice(0, 2)}:${standard.id.slice(2, 4)}:${standard.id.slice(4, 6)}`,
      fixed_ips: (input.fixed_ips as readonly FixedIp[] | undefined) ?? [],
      profile: input.profile as Plant["profile"],
      status: "DOWN",
      ...standard,
    };
    tx.put(plantTable, row);
    return row;
  },
  update(tx, row, changes) {
    const { groups } = changes;
    const next: Plant = { ...row, ...given(changes, "device_owner", "device_id", "kind", "mac_address", "fixed_ips", "profile", "status") };
    if (groups !== undefined && (groups as unknown[]).length > 2) throw conflict("TooManyGroups", "at most two");
    tx.put(plantTable, next);
    return next;
  },
  remove: (tx, row) => tx.delete(plantTable, row.id),
  present: () => ({ "binding:host_id": "hv1" }),
});

/** No tags, no update, no bulk, and a part of a plant. */
const leaf = defineResource(leafResource, {
  collection: "leaves",
  about: "Part of a plant.",
  alias: "leaves",
  parent: { resource: plantResource, attribute: "plant_id" },
  table: leafTable,
  standard: ["id", "project", "description", "timestamps", "revision"],
  bulk: false,
  notFound: { type: "LeafNotFound", message: (id) => `Leaf ${id} could not be found.` },
  attributes: {
    plant_id: { type: "uuid", about: "Its plant.", index: "plant" },
    length: { type: "integer", about: "In centimetres.", post: true, required: true, filter: true },
  },
  policy: { create: "rule:admin_only or (role:member and rule:ext_parent_owner)", get: "rule:admin_only or (role:reader and rule:ext_parent_owner)", delete: "rule:admin_only or (role:member and rule:ext_parent_owner)" },
  relations: { "plant:project_id": (row, view) => view.get(plantTable, row.plant_id)?.project_id },
  create(tx, standard, input) {
    const row: Leaf = { plant_id: input.plant_id as string, length: input.length as number, ...standard };
    tx.put(leafTable, row);
    return row;
  },
  remove: (tx, row) => tx.delete(leafTable, row.id),
});

const extension = (resource: ResourceHandle<StandardRow>): BoundExtension => extendResource(resource, {
  attributes: { label: { type: "string", about: "A label.", alias: "labels", post: true, put: true, default: "none", check: { type: "string", max: 20 }, filter: true } },
  create: (tx, row, input, ctx) => {
    if (input.label === "refuse") throw conflict("LabelRefused", `not on a ${resource.name}`);
    if (input.label === "twice") ctx.create(bedResource, { name: `beside ${row.name}`, project_id: row.project_id });
    tx.put(labelTable, { id: row.id, label: input.label as string });
  },
  update: (tx, row, changes) => {
    if (changes.label !== undefined) tx.put(labelTable, { id: row.id, label: changes.label as string });
  },
  remove: (tx, row, ctx) => {
    const label = tx.get(labelTable, row.id)?.label;
    if (label === "kept" && !ctx.internal) throw conflict("LabelKept", "cannot go");
    tx.delete(labelTable, row.id);
  },
  present: (view, row) => ({ label: view.get(labelTable, row.id)?.label ?? "none" }),
});

export const garden: App = {
  name: "garden",
  about: "Beds and plants.",
  tables: [bedTable, plantTable, leafTable, firstTable],
  resources: [bed, plant, leaf],
  converters: { "garden-ips": gardenIps },
  aliases: [{ alias: "leaves", name: "Leaves", description: "Leaves of plants", updated: "2026-01-01T00:00:00-00:00" }],
};
export const labels: App = {
  name: "labels",
  about: "Labels on beds and plants.",
  requires: ["garden"],
  tables: [labelTable],
  extend: [extension(bedResource), extension(plantResource), extension(resourceHandle<StandardRow>("absent"))],
};
