// One suite over every app that is there: its manifest says what it is, nothing of it stays when its entities go, and what a
// change costs does not depend on who else is there.
import { afterEach, describe, expect, test } from "vitest";
import type { Table } from "#app";
import { discoverApps } from "../../src/boot/discover.ts";
import { chassisTable, vifTable } from "../../src/app/inventory.ts";
import { allTables } from "../../src/boot/registry.ts";
import { appsFolder, bytesOf, Harness, textOf } from "../support/harness.ts";

const apps = await discoverApps(appsFolder);
let open: Harness[] = [];
afterEach(async () => {
  for (const harness of open) await harness.close();
  open = [];
});

async function make(settings: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {}): Promise<Harness> {
  const harness = await Harness.make([], undefined, { settings: new Map(Object.entries({ metadata: { "metadata-file": Buffer.from("{}") }, "flow-export": { "ipfix-collectors": [{ address: "192.0.2.9", port: 4739 }] }, ...settings })) });
  open.push(harness);
  return harness;
}

/** A sentence for people: not empty, not a name repeated. */
const said = (about: string | undefined): boolean => about !== undefined && /\S\s\S|[a-z0-9]{4,}/.test(about);

describe.each(apps.map((app) => [app.name, app] as const))("manifest of %s", (_name, app) => {
  test("everything says what it is", () => {
    const silent: string[] = [];
    const check = (what: string, about: string | undefined): void => {
      if (!said(about)) silent.push(what);
    };
    check("the app", app.about);
    for (const [name, table] of Object.entries(app.pipeline?.tables ?? {})) check(`table ${name}`, table.about);
    for (const [name, register] of Object.entries(app.pipeline?.registers ?? {})) check(`register ${name}`, register.about);
    for (const rule of app.rules ?? []) check(`rule ${rule.name}`, rule.about);
    for (const service of app.services ?? []) check(`service ${service.name}`, service.about);
    for (const resource of app.resources ?? []) {
      check(`resource ${resource.name}`, resource.about);
      for (const [name, attribute] of Object.entries(resource.attributes)) check(`attribute ${resource.name}.${name}`, attribute.about);
      for (const [name, action] of Object.entries(resource.actions ?? {})) check(`action ${resource.name}.${name}`, action.about);
    }
    for (const extension of app.extend ?? []) {
      for (const [attribute, decl] of Object.entries(extension.attributes ?? {})) check(`attribute ${extension.resource}.${attribute}`, decl.about);
    }
    for (const [name, converter] of Object.entries(app.converters ?? {})) check(`converter ${name}`, converter.about);
    for (const alias of app.aliases ?? []) check(`alias ${alias.alias}`, alias.description);
    expect(silent).toEqual([]);
  });

  test("what callers may give is said as data", () => {
    const attributes = [...(app.resources ?? []), ...(app.extend ?? [])].flatMap((of) => Object.values(of.attributes ?? {}));
    for (const { check } of attributes) if (check !== undefined) expect(JSON.parse(JSON.stringify(check))).toEqual(check);
    for (const { form } of Object.values(app.converters ?? {})) expect(JSON.parse(JSON.stringify(form))).toEqual(form);
  });

  test("names are as names are, and lead somewhere", () => {
    const names = [...Object.keys(app.pipeline?.tables ?? {}), ...Object.keys(app.pipeline?.registers ?? {}), ...(app.resources ?? []).flatMap((r) => [r.name, r.collection])];
    expect(names.filter((n) => !/^[a-z][a-z0-9_]*$/.test(n))).toEqual([]);
    expect([...(app.rules ?? []), ...(app.services ?? [])].map((r) => r.name).filter((n) => !/^[a-z][a-z0-9-]*$/.test(n))).toEqual([]);
    for (const resource of app.resources ?? []) {
      if (resource.computed === undefined) expect(app.tables, `table of ${resource.name}`).toContain(resource.table);
      expect(resource.notFound.message("X"), `not found of ${resource.name}`).toContain("X");
    }
    expect((app.derive ?? []).filter((d) => !d.into.derived).map((d) => d.name)).toEqual([]);
    expect((app.softTables ?? []).map((t) => t.name).filter((n) => !/^[a-z][a-z0-9_]*$/.test(n))).toEqual([]);
    for (const needed of app.requires ?? []) expect(apps.map((other) => other.name)).toContain(needed);
  });
});

test("every alias is said once", () => {
  const aliases = apps.flatMap((app) => (app.aliases ?? []).map((a) => a.alias));
  expect(aliases.filter((a, i) => aliases.indexOf(a) !== i)).toEqual([]);
});

// ---- tenants ----

interface Tenant {
  readonly project: string;
  readonly network: string;
  readonly second: string;
  readonly router: string;
  readonly group: string;
  readonly ports: readonly string[];
}

const HOSTS = ["hv1", "hv2", "hv3"];
const nextOfport = new Map<string, number>();

async function plug(harness: Harness, host: string, port: string): Promise<void> {
  const ofport = (nextOfport.get(host) ?? 10) + 1;
  nextOfport.set(host, ofport);
  await harness.plug(host, port, ofport);
}

/** Two networks of the same ranges as everybody's, a router, a group with rules, ports on two hosts, with all that ports can have. */
async function addTenant(harness: Harness, number: number): Promise<Tenant> {
  const project = `tenant-${number}`;
  const headers = { "x-project-id": project, "x-roles": "admin" };
  const create = async (resource: string, values: Record<string, unknown>): Promise<string> => (await harness.create(resource, values, headers)).id;
  const network = await create("network", { name: "front" });
  const second = await create("network", { name: "back" });
  const subnet = await create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24", host_routes: [{ destination: "10.8.0.0/16", nexthop: "10.0.0.9" }], dns_nameservers: ["9.9.9.9"] });
  const subnet6 = await create("subnet", { network_id: network, ip_version: 6, cidr: "fd00::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
  const subnet2 = await create("subnet", { network_id: second, ip_version: 4, cidr: "10.1.0.0/24" });
  const router = await create("router", { name: "router" });
  for (const id of [subnet, subnet6, subnet2]) expect((await harness.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: id }, headers)).status).toBe(200);
  expect((await harness.call("PUT", `/v2.0/routers/${router}`, { router: { routes: [{ destination: "10.9.0.0/16", nexthop: "10.0.0.9" }] } }, headers)).status).toBe(200);
  const group = await create("security_group", { name: "app", "axion:keep_established": true });
  await create("security_group_rule", { security_group_id: group, direction: "ingress", protocol: "tcp", port_range_min: 80, port_range_max: 90 });
  await create("security_group_rule", { security_group_id: group, direction: "ingress", remote_group_id: group });
  await create("security_group_rule", { security_group_id: group, direction: "ingress", ethertype: "IPv6", protocol: "icmp", remote_ip_prefix: "fd00::/64" });
  const ports: string[] = [];
  for (const [i, host] of ["hv1", "hv2"].entries()) {
    for (const on of [network, second]) {
      const port = await create("port", {
        network_id: on, security_groups: [group], device_owner: "compute:nova",
        ...(on === network && { allowed_address_pairs: [{ ip_address: `10.0.0.20${i}` }], extra_dhcp_opts: [{ opt_name: "mtu", opt_value: "1300" }] }),
      });
      await plug(harness, host, port);
      ports.push(port);
    }
  }
  await create("port", { network_id: network, port_security_enabled: false, security_groups: [] });
  const stateless = await create("security_group", { name: "stateless", stateful: false, "axion:deny": "reject" });
  await create("security_group_rule", { security_group_id: stateless, direction: "ingress", remote_address_group_id: await create("address_group", { addresses: ["10.0.0.0/24"] }) });
  const unremembered = await create("port", { network_id: second, security_groups: [stateless], device_owner: "compute:nova" });
  await plug(harness, "hv2", unremembered);
  ports.push(unremembered);
  return { project, network, second, router, group, ports };
}

/** Deletes what can be deleted through the API until nothing is left. */
async function deleteEverything(harness: Harness): Promise<void> {
  const admin = { "x-roles": "admin" };
  const collections = harness.apps.flatMap((app) => (app.resources ?? []).filter((r) => r.parent === undefined && r.remove !== undefined && r.singleton !== true).map((r) => ({ path: (r.path ?? r.collection).replaceAll("_", "-"), key: r.collection })));
  for (let round = 0; round < 10; round++) {
    let left = 0;
    for (const { path, key } of collections) {
      const { body } = (await harness.call("GET", `/v2.0/${path}`, undefined, admin)) as { body: Record<string, unknown> };
      const rows = body[key] as { id: string; device_owner?: string; device_id?: string; routes?: unknown[] }[];
      for (const row of rows) {
        if (row.device_owner === "network:router_interface") await harness.call("PUT", `/v2.0/routers/${row.device_id}/remove_router_interface`, { port_id: row.id }, admin);
        if ((row.routes?.length ?? 0) > 0) await harness.call("PUT", `/v2.0/${path}/${row.id}`, { router: { routes: [] } }, admin);
        const answer = await harness.call("DELETE", `/v2.0/${path}/${row.id}`, undefined, admin);
        // What is configured stays.
        if (answer.body?.NeutronError?.type === "NetworkSegmentRangeDefaultReadOnly") continue;
        if (answer.status !== 204 && answer.status !== 404) left++;
      }
    }
    if (left === 0) return;
  }
  throw new Error("some entities cannot be deleted through the API");
}

/** What each chassis should have and what it was told, by flow. */
function flowsOf(harness: Harness): Record<string, Map<string, string>> {
  return Object.fromEntries(HOSTS.map((host) => [host, new Map([...harness.engine.flowsOf(host)].map((f) => [f.key, bytesOf(f)]))]));
}

test("no flow, no row, no meter stays when all entities are deleted through the API", async () => {
  const harness = await make({ multicast: { "multicast-snooping": true } });
  for (const host of HOSTS) await harness.addChassis(host, { bridge_mappings: { physnet: "br-ex" }, gateway: true });
  await harness.settled();
  const base = flowsOf(harness);
  const items = HOSTS.map((host) => [...harness.engine.itemsOf(host)]);
  const distinct = harness.engine.stats.flows;
  for (let tenant = 0; tenant < 3; tenant++) await addTenant(harness, tenant);
  // And networks on a physical one.
  const vlan = (id: number): Record<string, unknown> => ({ "provider:network_type": "vlan", "provider:physical_network": "physnet", "provider:segmentation_id": id });
  for (const how of [vlan(100), { segments: [vlan(101), { "provider:network_type": "vxlan" }] }]) {
    const network = (await harness.create("network", how)).id;
    for (const host of HOSTS) await plug(harness, host, (await harness.create("port", { network_id: network })).id);
    // Which machines there use by a router.
    const router = (await harness.create("router", {})).id;
    for (const subnet of [{ ip_version: 4, cidr: "10.77.0.0/24" }, { ip_version: 6, cidr: "fd00:77::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" }]) {
      const { id } = await harness.create("subnet", { network_id: network, ...subnet });
      expect((await harness.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: id })).status).toBe(200);
    }
  }
  // And one that leads outside, where an address inside is known. It translates nothing: its zones would wait for switches that there are none of.
  const outside = (await harness.create("network", { "router:external": true })).id;
  for (const [ip_version, cidr] of [[4, "203.0.113.0/24"], [6, "2001:db8:f::/64"]]) await harness.create("subnet", { network_id: outside, ip_version, cidr });
  const inside = (await harness.create("network", {})).id;
  const subnet = (await harness.create("subnet", { network_id: inside, ip_version: 6, cidr: "2001:db8:1::/64" })).id;
  const leading = (await harness.create("router", { external_gateway_info: { network_id: outside, enable_snat: false }, enable_ndp_proxy: true })).id;
  expect((await harness.call("PUT", `/v2.0/routers/${leading}/add_router_interface`, { subnet_id: subnet })).status).toBe(200);
  const policy = (await harness.call("POST", "/v2.0/qos/policies", { policy: { name: "slow" } })).body.policy.id as string;
  expect((await harness.call("POST", `/v2.0/qos/policies/${policy}/bandwidth_limit_rules`, { bandwidth_limit_rule: { max_kbps: 1000 } })).status).toBe(201);
  expect((await harness.call("PUT", `/v2.0/routers/${leading}`, { router: { external_gateway_info: { network_id: outside, qos_policy_id: policy } } })).status).toBe(200);
  const known = (await harness.create("port", { network_id: inside })).id;
  await plug(harness, "hv2", known);
  expect((await harness.call("POST", "/v2.0/ndp_proxies", { ndp_proxy: { router_id: leading, port_id: known } })).status).toBe(201);
  expect((await harness.call("POST", `/v2.0/routers/${leading}/conntrack_helpers`, { conntrack_helper: { protocol: "tcp", port: 21, helper: "ftp" } })).status).toBe(201);
  await plug(harness, "hv1", (await harness.create("port", { network_id: inside, hints: { openvswitch: { other_config: { "tx-steering": "hash" } } } })).id);
  const [parent, sub] = [(await harness.create("port", { network_id: inside })).id, (await harness.create("port", { network_id: inside })).id];
  await harness.create("trunk", { port_id: parent, sub_ports: [{ port_id: sub, segmentation_type: "vlan", segmentation_id: 100 }] });
  await plug(harness, "hv1", parent);
  const apart = (await harness.create("network", { pvlan: true })).id;
  await harness.create("subnet", { network_id: apart, ip_version: 4, cidr: "10.88.0.0/24" });
  await plug(harness, "hv1", (await harness.create("port", { network_id: apart, pvlan_type: "isolated" })).id);
  const { body } = await harness.call("POST", "/v2.0/metering/metering-labels", { metering_label: { shared: true } });
  expect((await harness.call("POST", "/v2.0/metering/metering-label-rules", { metering_label_rule: { metering_label_id: body.metering_label.id, direction: "egress", remote_ip_prefix: "0.0.0.0/0" } })).status).toBe(201);
  const { body: tap } = await harness.call("POST", "/v2.0/taas/tap_services", { tap_service: { port_id: parent } });
  expect((await harness.call("POST", "/v2.0/taas/tap_flows", { tap_flow: { tap_service_id: tap.tap_service.id, source_port: known, direction: "BOTH" } })).status).toBe(201);
  expect((await harness.call("POST", "/v2.0/taas/tap_mirrors", { tap_mirror: { port_id: known, remote_ip: "198.51.100.7", mirror_type: "gre", directions: { IN: 1 } } })).status).toBe(201);
  const { body: local } = await harness.call("POST", "/v2.0/local-ips", { local_ip: { network_id: inside } });
  expect((await harness.call("POST", `/v2.0/local_ips/${local.local_ip.id}/port_associations`, { port_association: { fixed_port_id: parent, fixed_ip: (await harness.call("GET", `/v2.0/ports/${parent}`)).body.port.fixed_ips.map((f: { ip_address: string }) => f.ip_address).find((ip: string) => ip.includes(".")) } })).status).toBe(201);
  expect((await harness.call("POST", "/v2.0/log/logs", { log: { resource_type: "security_group", target_id: parent } })).status).toBe(201);
  await harness.settled();
  expect(harness.engine.stats.flows).toBeGreaterThan(distinct + 100);
  expect(harness.engine.conflicts).toEqual([]);
  const owners = new Set([...harness.engine.flowsOf("hv1")].map((f) => harness.engine.provenance(f).app));
  // One of them has no flow, but a key of a row.
  if ([...harness.engine.patchesOf("hv1")].some((patch) => patch.key === "tx-steering")) owners.add("port-hints");
  expect([...owners].sort(), "apps with flows").toEqual(apps.filter((app) => app.pipeline !== undefined || (app.rules ?? []).length > 0).map((app) => app.name).sort());

  // A trunk goes when its parent is not plugged; and zones of sub-ports when their switch has forgotten them.
  await harness.unplug("hv1", parent);
  await harness.settled();
  await harness.zonesFlushed();
  await deleteEverything(harness);
  await harness.settled();
  // The interfaces are still plugged: that is the hosts' matter, and worth no flow.
  expect([...harness.engine.patchesOf("hv1")]).toEqual([]);
  expect(flowsOf(harness)).toEqual(base);
  expect(harness.engine.stats.flows).toBe(distinct);
  for (const [i, host] of HOSTS.entries()) {
    expect([...harness.engine.rowsOf(host)].map((r) => r.key).sort(), "what a host has of its own").toEqual(["axion-geneve", "flow-export", "flow-export"]);
    expect([...harness.engine.itemsOf(host)], `meters and groups of ${host}`).toEqual(items[i]);
    expect(harness.switches.get(host)!.flows, `what ${host} was told`).toEqual(base[host]);
  }
  const rows = Object.fromEntries(allTables(harness.apps).filter((t) => !t.derived && t !== chassisTable && t !== vifTable).map((t) => [t.name, [...harness.model.view.all(t as Table)].length]));
  // What is configured is shown; that shipped rules were deleted is remembered, or they would come back; hosts are agents as long as they are there.
  expect(Object.entries(rows).filter(([, n]) => n > 0)).toEqual([["default_rules_shipped", 1], ["agent", 3 * HOSTS.length], ["network_segment_range", 3]]);
});

test("what goes to a port passes what the port has: no flow sends a packet back by the OpenFlow port that it came in by", async () => {
  const harness = await make();
  for (const host of HOSTS) await harness.addChassis(host);
  await addTenant(harness, 0);
  await harness.settled();
  const back = /IN_PORT(?!\[)/;
  const texts = HOSTS.flatMap((host) => [...harness.engine.flowsOf(host)].map((f) => `${harness.layout.tableById(f.table)!.name}: ${textOf(f)}`));
  expect(texts.length).toBeGreaterThan(100);
  expect(texts.filter((text) => back.test(text))).toEqual([]);
  // Out of a port as it is goes only what leaves for other hosts.
  expect(texts.filter((text) => /output:\d/.test(text)).map((text) => text.split(":")[0]).filter((name) => name !== "tunnel_out")).toEqual([]);
});

test("every rule has flows for some entity", async () => {
  const harness = await make();
  for (const host of HOSTS) await harness.addChassis(host);
  const { ports } = await addTenant(harness, 0);
  // One of two on a network has the other's address as a pair, both a virtual MAC.
  const other = (await harness.call("GET", `/v2.0/ports/${ports[2]}`)).body.port.fixed_ips[0].ip_address as string;
  const shared = { ip_address: "10.0.0.210", mac_address: "00:00:5e:00:01:01" };
  expect((await harness.call("PUT", `/v2.0/ports/${ports[0]}`, { port: { allowed_address_pairs: [{ ip_address: "10.0.0.200" }, { ip_address: other }, shared] } })).status).toBe(200);
  expect((await harness.call("PUT", `/v2.0/ports/${ports[2]}`, { port: { allowed_address_pairs: [shared] } })).status).toBe(200);
  // And has just moved to another host.
  const moved = (await harness.call("PUT", `/v2.0/ports/${ports[0]}`, { port: { device_owner: "compute:nova" } })).body.port as Record<string, unknown>;
  const to = HOSTS.find((host) => host !== moved["binding:host_id"])!;
  expect((await harness.call("POST", `/v2.0/ports/${ports[0]}/bindings`, { binding: { host: to } })).status).toBe(201);
  await harness.plug(to, ports[0]!, 99);
  expect((await harness.call("PUT", `/v2.0/ports/${ports[0]}/bindings/${to}/activate`)).status).toBe(200);
  await harness.settled();
  const active = new Set(HOSTS.flatMap((host) => [...harness.engine.flowsOf(host)].map((f) => harness.engine.provenance(f)).map((p) => `${p.app}/${p.rule}`)));
  const inUse = apps.filter((app) => [...active].some((rule) => rule.startsWith(`${app.name}/`) && rule !== `${app.name}/static`)).map((app) => app.name);
  // What the tenant here does not use has its tests in its own folder.
  expect(inUse).toEqual(expect.arrayContaining(["dhcp", "l2", "l3", "overlay", "security-groups"]));
  const silent = apps.filter((app) => inUse.includes(app.name)).flatMap((app) => (app.rules ?? []).map((r) => `${app.name}/${r.name}`)).filter((rule) => !active.has(rule));
  // Rules that decide only who has flows, which others make, or have rows of the host's database alone, those that other apps bring to life (test/contract/probes), and those of networks on more hosts than there are here (apps/l2/copies.test.ts).
  expect(silent.sort()).toEqual(["dhcp/machines", "flow-export/collectors", "l2/flood-remote-part", "l2/reach-host", "l3/router-zone", "security-groups/policy"]);
});

interface Cost {
  readonly runs: number;
  readonly flowsChanged: number;
  readonly chassis: number;
  readonly flowMods: number;
}

/** What each kind of change of one tenant costs, with so many tenants there. */
async function costs(tenants: number): Promise<Record<string, Cost>> {
  const harness = await make();
  for (const host of HOSTS) await harness.addChassis(host);
  const mine = await addTenant(harness, 0);
  for (let tenant = 1; tenant < tenants; tenant++) await addTenant(harness, tenant);
  await harness.settled();
  const headers = { "x-project-id": mine.project, "x-roles": "admin" };
  const out: Record<string, Cost> = {};
  const measure = async <T>(kind: string, change: () => Promise<T>): Promise<T> => {
    const { runs, flowsChanged } = harness.engine.stats;
    const touched = new Set<string>();
    let flowMods = 0;
    const stop = harness.engine.onDelta((delta) => {
      for (const [id, d] of delta.chassis) {
        if (d.add.length + d.remove.length === 0) continue;
        touched.add(id);
        flowMods += d.add.length + d.remove.length;
      }
    });
    const result = await change();
    await harness.settled();
    stop();
    const now = harness.engine.stats;
    out[kind] = { runs: now.runs - runs, flowsChanged: now.flowsChanged - flowsChanged, chassis: touched.size, flowMods };
    return result;
  };
  const create = (kind: string, resource: string, values: Record<string, unknown>): Promise<string> => measure(kind, async () => (await harness.create(resource, values, headers)).id);
  const call = (kind: string, method: "PUT" | "DELETE", url: string, body?: unknown): Promise<void> =>
    measure(kind, async () => {
      const answer = await harness.call(method, `/v2.0/${url}`, body, headers);
      if (answer.status >= 300) throw new Error(`${kind}: ${answer.status} ${JSON.stringify(answer.body)}`);
    });

  const port = await create("port create", "port", { network_id: mine.network, security_groups: [mine.group] });
  await measure("port plug", () => plug(harness, "hv2", port));
  for (const [of, url] of Object.entries({ port: `ports/${port}`, network: `networks/${mine.network}`, router: `routers/${mine.router}`, security_group: `security-groups/${mine.group}` })) {
    await call(`${of} text`, "PUT", url, { [of]: { name: "x", description: "what it is for" } });
    await call(`${of} tags`, "PUT", `${url}/tags`, { tags: ["a", "b"] });
  }
  await call("port address pairs", "PUT", `ports/${port}`, { port: { allowed_address_pairs: [{ ip_address: "10.0.0.222" }] } });
  await call("port DHCP options", "PUT", `ports/${port}`, { port: { extra_dhcp_opts: [{ opt_name: "mtu", opt_value: "1400" }] } });
  await call("port fixed address", "PUT", `ports/${port}`, { port: { fixed_ips: [{ ip_address: "10.0.0.123" }] } });
  await call("port groups", "PUT", `ports/${port}`, { port: { security_groups: [] } });
  await call("port security off", "PUT", `ports/${port}`, { port: { port_security_enabled: false, allowed_address_pairs: [] } });
  await call("port security on", "PUT", `ports/${port}`, { port: { port_security_enabled: true, security_groups: [mine.group] } });
  await call("port down", "PUT", `ports/${port}`, { port: { admin_state_up: false } });
  await call("port up", "PUT", `ports/${port}`, { port: { admin_state_up: true } });
  await measure("port unplug", () => harness.unplug("hv2", port));
  await measure("port plug on a new host", () => plug(harness, "hv3", port));
  await measure("port unplug from the new host", () => harness.unplug("hv3", port));
  await call("port delete", "DELETE", `ports/${port}`);
  const group = await create("group create", "security_group", { name: "other" });
  const rule = await create("rule create", "security_group_rule", { security_group_id: mine.group, direction: "ingress", protocol: "udp", port_range_min: 53, port_range_max: 53 });
  await call("rule delete", "DELETE", `security-group-rules/${rule}`);
  const remote = await create("remote rule create", "security_group_rule", { security_group_id: mine.group, direction: "ingress", protocol: "udp", remote_group_id: group });
  await call("port joins a group", "PUT", `ports/${mine.ports[0]}`, { port: { security_groups: [mine.group, group] } });
  await call("port leaves a group", "PUT", `ports/${mine.ports[0]}`, { port: { security_groups: [mine.group] } });
  await call("remote rule delete", "DELETE", `security-group-rules/${remote}`);
  await call("group delete", "DELETE", `security-groups/${group}`);
  const network = await create("network create", "network", { name: "third" });
  const subnet = await create("subnet create", "subnet", { network_id: network, ip_version: 4, cidr: "10.2.0.0/24" });
  await call("router interface add", "PUT", `routers/${mine.router}/add_router_interface`, { subnet_id: subnet });
  const far = await create("port create behind the router", "port", { network_id: network, security_groups: [mine.group] });
  await measure("port plug behind the router", () => plug(harness, "hv2", far));
  await call("routes", "PUT", `routers/${mine.router}`, { router: { routes: [{ destination: "10.30.0.0/16", nexthop: "10.2.0.9" }] } });
  await call("no routes", "PUT", `routers/${mine.router}`, { router: { routes: [] } });
  await call("router down", "PUT", `routers/${mine.router}`, { router: { admin_state_up: false } });
  await call("router up", "PUT", `routers/${mine.router}`, { router: { admin_state_up: true } });
  await call("port delete behind the router", "DELETE", `ports/${far}`);
  await call("subnet change", "PUT", `subnets/${subnet}`, { subnet: { dns_nameservers: ["1.1.1.1"] } });
  await call("router interface remove", "PUT", `routers/${mine.router}/remove_router_interface`, { subnet_id: subnet });
  await call("network MTU", "PUT", `networks/${network}`, { network: { mtu: 1400 } });
  await call("network down", "PUT", `networks/${mine.second}`, { network: { admin_state_up: false } });
  await call("network up", "PUT", `networks/${mine.second}`, { network: { admin_state_up: true } });
  await call("subnet delete", "DELETE", `subnets/${subnet}`);
  await call("network delete", "DELETE", `networks/${network}`);
  expect(harness.engine.conflicts).toEqual([]);
  return out;
}

test("what a change costs does not depend on the number of other tenants", async () => {
  nextOfport.clear();
  const few = await costs(2);
  nextOfport.clear();
  const many = await costs(40);
  expect(many).toEqual(few);
  // And it is small: these numbers are what a regression shows first.
  const worst = Object.entries(few).sort(([, a], [, b]) => b.runs - a.runs).slice(0, 5);
  console.log(worst.map(([kind, cost]) => `${kind}: ${JSON.stringify(cost)}`).join("\n"));
  for (const kind of ["group create", "network create", "subnet create"]) expect(few[kind]!.flowMods, kind).toBe(0);
  const texts = Object.entries(few).filter(([kind]) => /(text|tags)$/.test(kind));
  expect(texts).toHaveLength(8);
  for (const [kind, cost] of texts) expect(cost, kind).toEqual({ runs: 0, flowsChanged: 0, chassis: 0, flowMods: 0 });
}, 120_000);

test("a table that is reached by name stands behind those of its app and stage that lead on: what leaves it by `next` does not come to them again", async () => {
  const { layout } = await make();
  const before = layout.tables.filter((aside) => aside.aside === true && aside.miss === "next").flatMap((aside) =>
    layout.tables.filter((t) => t.app === aside.app && t.stage === aside.stage && t.aside !== true && t.last !== true && t.id > aside.id).map((t) => `${aside.name} comes before ${t.name}`));
  expect(before).toEqual([]);
});
