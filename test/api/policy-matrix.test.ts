// Who may do what, against the reference's own default rules: test/fixtures/api/policy.json, by the rule's name what it asks for. Every rule that both
// have is asked of real rows for callers of every role, of the owner's project and of others, and the answers are compared. Rules of what is not served
// here are no matter of it.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Caller, StandardRow, Values } from "#app";
import { subnetTable } from "../../apps/ipam/model.ts";
import { networkTable } from "../../apps/l2/model.ts";
import { impliedRoles, type Rule } from "../../src/northbound/policy/index.ts";
import type { Kind, KindAction } from "../../src/northbound/kinds.ts";
import { findRow } from "../../src/northbound/kinds.ts";
import { Harness } from "../support/harness.ts";

const reference = JSON.parse(readFileSync(new URL("../fixtures/api/policy.json", import.meta.url), "utf8")) as Readonly<Record<string, string>>;

const TAGS = "tags go with what has them: who may see it sees them, who may change it changes them, services and the role advsvc too";
const OUTSIDE = "that a network leads outside is the administrator's to say: by policy as by router:external";

/** Rules of the reference that differ here on purpose, and why. */
const DIFFERENT: Readonly<Record<string, string>> = {
  create_port_binding: "administrators may as well: development clouds have no role service",
  delete_port_binding: "likewise",
  "create_port:binding:profile": "administrators may as well: development clouds have no role service",
  "update_port:binding:profile": "likewise",
  "get_network:tags": TAGS,
  "get_subnet:tags": TAGS,
  "create_port:tags": TAGS,
  "get_port:tags": TAGS,
  "update_port:tags": TAGS,
  "delete_port:tags": TAGS,
  get_loggable_resource: "what can be logged is no project's: whoever may make logs sees it",
  get_quota: "a project's own limits are shown to whoever is in it: clients ask for them before they create",
  "update_rbac_policy:target_project": OUTSIDE,
  "update_rbac_policy:target_tenant": OUTSIDE,
};

/** What the reference's rules ask of the caller and of the object. */
interface Facts {
  readonly caller: Caller;
  readonly row: Values;
  readonly network: Values | undefined;
  readonly parent: Values | undefined;
  readonly group: Values | undefined;
  /** Whether a policy or attribute shares the object, or the network that it is on, with the caller's project; whether that leads outside. */
  readonly shared: boolean;
  readonly sharedNetwork: boolean;
  readonly external: boolean;
}

/** Whether a check as the fixture has it holds: alternatives of a role, of somebody's owner, or of both. */
function holds(check: string, facts: Facts): boolean {
  const { caller, row } = facts;
  const owns = (of: string): boolean => {
    const owner = { project: row, owner: row, network_owner: facts.network, parent_owner: facts.parent, sg_owner: facts.group }[of];
    if (owner === undefined) return false;
    return caller.projectId !== "" && owner.project_id === caller.projectId;
  };
  const term = (text: string): boolean => {
    switch (text) {
      case "anyone":
        return true;
      case "shared":
        return facts.shared;
      case "shared-network":
        return facts.sharedNetwork;
      case "external-network":
        return facts.external;
      case "!device_owner~^network:":
        return !(row.device_owner as string | undefined ?? "").startsWith("network:");
      case "(!target_tenant=* & !target_project=*)":
        return row.target_tenant !== "*" && row.target_project !== "*";
      case "!target_project=*":
        return row.target_project !== "*";
      case "advsvc-role":
        return caller.roles.has("advsvc");
    }
    const [role, of] = text.split("@") as [string, string | undefined];
    if (/[^a-z_]/.test(role)) throw new Error(`the check '${text}' is not understood`);
    return (role === "" || caller.roles.has(role)) && (of === undefined || owns(of));
  };
  return check.split(" | ").some((t) => term(t.trim()));
}

const who = (project: string, roles: string): Caller => ({ requestId: "req-matrix", projectId: project, userId: "", roles: impliedRoles(roles.split(",")), admin: roles === "admin" });
const CALLERS: Readonly<Record<string, Caller>> = {
  administrator: who("ops", "admin"),
  "the owner's manager": who("owner", "manager"),
  "the owner's member": who("owner", "member"),
  "the owner's reader": who("owner", "reader"),
  "the owner without a role": who("owner", "other"),
  "another's manager": who("stranger", "manager"),
  "another's reader": who("stranger", "reader"),
  "a member it is shared with": who("guest", "member"),
  "a reader it is shared with": who("guest", "reader"),
  service: who("services", "service"),
  advsvc: who("services", "advsvc"),
  nobody: who("", "member"),
};

interface Object {
  readonly kind: Kind;
  readonly about: string;
  readonly row: StandardRow;
}

let h: Harness;
const objects: Object[] = [];
const OWNER = { "x-project-id": "owner", "x-roles": "member" };
const GUEST = { "x-project-id": "guest", "x-roles": "member" };
const ADMIN = { "x-roles": "admin" };

beforeAll(async () => {
  h = await Harness.make();
  await h.addChassis("hv1");
  const kind = (name: string): Kind => h.api.registry.kinds.get(name)!;
  const add = (name: string, id: string, about: string): void => {
    const row = findRow(kind(name), h.view, id, CALLERS.administrator!);
    if (row === undefined) throw new Error(`there is no ${name} ${id}`);
    objects.push({ kind: kind(name), about: `${name} ${about}`, row });
  };
  const make = async (name: string, about: string, values: Values, headers: Record<string, string> = OWNER, path?: string): Promise<string> => {
    const answer = await h.call("POST", `/v2.0/${path ?? kind(name).resource.collection.replaceAll("_", "-")}`, { [name]: values }, headers);
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    const { id } = answer.body[name] as { id: string };
    add(name, id, about);
    return id;
  };
  const share = (object_type: string, object_id: string, action = "access_as_shared"): Promise<string> => make("rbac_policy", `of a ${object_type}`, { object_type, object_id, action, target_tenant: "guest" }, { ...ADMIN, "x-project-id": "owner" });

  const networks: Record<string, string> = {};
  for (const [i, [about, values, headers]] of ([["private", {}, OWNER], ["of all", { shared: true, project_id: "owner" }, ADMIN], ["shared with one", {}, OWNER], ["outside", { "router:external": true, project_id: "owner" }, ADMIN], ["outside for one", { project_id: "owner" }, ADMIN]] as const).entries()) {
    networks[about] = await make("network", about, values, headers);
    await make("subnet", about, { network_id: networks[about], ip_version: 4, cidr: `10.${i}.0.0/24` });
  }
  await share("network", networks["shared with one"]!);
  await share("network", networks["outside for one"]!, "access_as_external");
  const port = await make("port", "private", { network_id: networks.private });
  for (const about of ["of all", "shared with one"]) await make("port", `of a guest on a network ${about}`, { network_id: networks[about] }, GUEST);
  await make("port", "of the network's own", { network_id: networks.private, device_owner: "network:dhcp" });
  const router = await make("router", "its", { external_gateway_info: { network_id: networks.outside } });
  expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: objects.find((o) => o.about === "subnet private")!.row.id }, OWNER)).status).toBe(200);
  const floating = await make("floatingip", "its", { floating_network_id: networks.outside });
  const fixed = (await h.call("GET", `/v2.0/ports/${port}`, undefined, OWNER)).body.port.fixed_ips[0].ip_address as string;
  await make("port_forwarding", "its", { external_port: 80, internal_port: 80, protocol: "tcp", internal_port_id: port, internal_ip_address: fixed }, OWNER, `floatingips/${floating}/port_forwardings`);
  await make("conntrack_helper", "its", { protocol: "tcp", port: 21, helper: "ftp" }, OWNER, `routers/${router}/conntrack_helpers`);
  for (const about of ["private", "shared with one"]) {
    const group = await make("security_group", about, { name: about });
    await make("security_group_rule", `of a group ${about}`, { security_group_id: group, direction: "ingress" });
    const addresses = await make("address_group", about, { name: about, addresses: ["192.0.2.0/24"] });
    if (about === "private") continue;
    await share("security_group", group);
    await share("address_group", addresses);
  }
  for (const about of ["private", "shared with one", "of all"]) {
    const policy = await make("policy", about, { name: about, shared: about === "of all", project_id: "owner" }, ADMIN, "qos/policies");
    if (about === "shared with one") await share("qos_policy", policy);
    for (const [type, values] of [["bandwidth_limit", { max_kbps: 1 }], ["packet_rate_limit", { max_kpps: 1 }], ["dscp_marking", { dscp_mark: 8 }], ["minimum_bandwidth", { min_kbps: 1 }]] as const) {
      const id = await make(`${type}_rule`, `of a policy ${about}`, values, ADMIN, `qos/policies/${policy}/${type}_rules`);
      if (type !== "packet_rate_limit") add(`alias_${type}_rule`, id, `of a policy ${about}`);
    }
  }
  await make("default_security_group_rule", "of all", { direction: "ingress", used_in_default_sg: false, used_in_non_default_sg: true }, ADMIN);
  await make("subnetpool", "private", { name: "p", prefixes: ["172.16.0.0/16"] });
  await make("subnetpool", "of all", { name: "a", prefixes: ["172.17.0.0/16"], shared: true, project_id: "owner" }, ADMIN);
  await make("network_segment_range", "its", { network_type: "vxlan", minimum: 5, maximum: 9, shared: false, project_id: "owner" }, ADMIN, "network_segment_ranges");
  add("quota", "owner", "its");
  for (const one of h.api.registry.kinds.values()) {
    if (objects.some((o) => o.kind === one)) continue;
    const rows = one.resource.computed?.list(h.view, CALLERS.administrator!, () => undefined) ?? [...h.view.all(one.table)];
    const [row] = rows as Iterable<StandardRow>;
    // Of what takes much to make, as far as rules ask.
    const its = row ?? ({ id: "owner", project_id: "owner", router_id: router } as unknown as StandardRow);
    objects.push({ kind: one, about: one.name, row: its });
  }
}, 60_000);
afterAll(() => h.close());

/** What there is to know of an object for a caller, told by what is stored and not by our rules. */
function factsOf({ kind, row, about }: Object, caller: Caller): Facts {
  const values = row as unknown as Values;
  const networkId = kind.name === "network" ? row.id : (values.network_id as string | undefined);
  const network = networkId === undefined ? undefined : (h.view.get(networkTable, networkId) as unknown as Values | undefined);
  // Rules of QoS policies have paths of their own as well.
  const [above, named] = kind.parent !== undefined ? [kind.parent, values[kind.resource.parent!.attribute]] : values.policy_id !== undefined ? [h.api.registry.kinds.get("policy"), values.policy_id] : [];
  const parent = above === undefined ? undefined : (findRow(above, h.view, String(named), caller) as unknown as Values | undefined);
  const group = values.security_group_id === undefined ? undefined : (h.view.get(h.api.registry.kinds.get("security_group")!.table, values.security_group_id as string) as unknown as Values);
  const on = objects.find((o) => o.kind.name === "network" && o.row.id === networkId)?.about ?? "";
  const guest = caller.projectId === "guest";
  const sharedNetwork = on.endsWith("of all") || (on.endsWith("shared with one") && guest);
  return {
    caller, row: values, network, parent, group, sharedNetwork,
    shared: about.endsWith("of all") || (about.endsWith("shared with one") && guest),
    external: on.endsWith(" outside") || (on.endsWith("outside for one") && guest),
  };
}

/** Rules of what is done; others build on the rest. */
const VERB = /^(create|get|update|delete|add|remove|onboard)_/;

/** Every rule of the kind that the reference has too, with the one of the whole that has to hold beside it. */
function* rulesOf(kind: Kind): Iterable<{ readonly name: string; readonly rule: Rule; readonly create: boolean }> {
  const known = function* (name: string, rule: Rule | undefined, create = false): Iterable<{ name: string; rule: Rule; create: boolean }> {
    if (rule !== undefined && VERB.test(name) && reference[name] !== undefined) yield { name, rule, create };
  };
  for (const verb of ["create", "get", "update", "delete"] as const) {
    if (verb !== "get" && !kind.can[verb]) continue;
    yield* known(`${verb}_${kind.ruled}`, kind[verb], verb === "create");
    if (verb === "delete") continue;
    for (const { name, decl, ...attribute } of kind.attributes.values()) {
      yield* known(`${verb}_${kind.ruled}:${name}`, attribute[verb] ?? (reference[`${verb}_${kind.ruled}:${name}`] === undefined ? undefined : kind[verb]), verb === "create");
      if (verb !== "get") for (const key of Object.keys(decl.policy?.keys ?? {})) yield* known(`${verb}_${kind.ruled}:${name}:${key}`, attribute.keyRule(verb, key), verb === "create");
    }
  }
  for (const { ruleName, rule, gives } of [...kind.actions, ...kind.collectionActions] as readonly KindAction[]) {
    yield* known(ruleName, rule);
    if (gives === undefined) continue;
    yield* known(gives.rule.name, gives.rule);
    for (const key of gives.keys.values()) yield* known(key.name, key);
  }
}

test("everybody may what the reference lets him, and nothing else", () => {
  const differences = new Map<string, string[]>();
  const asked = new Set<string>();
  let answers = 0;
  for (const object of objects) {
    for (const { name, rule, create } of rulesOf(object.kind)) {
      asked.add(name);
      for (const [as, caller] of Object.entries(CALLERS)) {
        // What is to be created is the caller's own: other projects are refused before any rule is asked.
        const own = create && Object.hasOwn(object.row, "project_id") && !caller.admin ? { ...object, row: { ...object.row, project_id: caller.projectId } } : object;
        const should = holds(reference[name]!, factsOf(own, caller));
        const may = rule.allows(caller, { row: own.row as unknown as Values }, h.view);
        answers++;
        if (may !== should) differences.set(name, [...(differences.get(name) ?? []), `${object.about}: ${as} ${may ? "may" : "may not"}`]);
      }
    }
  }
  expect(Object.fromEntries([...differences].filter(([name]) => !Object.hasOwn(DIFFERENT, name)))).toEqual({});
  expect(Object.keys(DIFFERENT).filter((name) => !differences.has(name))).toEqual([]);
  expect(answers).toBeGreaterThan(3000);
  expect(asked.size).toBeGreaterThan(100);
});

test("every kind of object was asked for, and every rule of ours that the reference has", () => {
  const asked = new Set(objects.flatMap(({ kind }) => [...rulesOf(kind)].map(({ name }) => name)));
  const ours = h.api.registry.policy.entries().map((e) => e.name).filter((name) => VERB.test(name) && reference[name] !== undefined);
  expect(ours.filter((name) => !asked.has(name))).toEqual([]);
  expect(h.view.count(subnetTable, "network", objects[0]!.row.id)).toBe(1);
});
