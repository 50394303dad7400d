// Filters of what apps show operators: whatever they name is found by id or name, or said not to be there.
import { afterAll, beforeAll, expect, test } from "vitest";
import { chassisTable } from "#app";
import { allTables } from "../src/boot/registry.ts";
import { hookGuard } from "../src/lib/hook-guard.ts";
import { Named } from "../src/ops/named.ts";
import { createOps, type OpsServer } from "../src/ops/server.ts";
import { appLists } from "../src/ops/shown.ts";
import { Topology, topologyRoutes } from "../src/ops/topology.ts";
import { Harness, silent } from "./support/harness.ts";

let h: Harness;
let ops: OpsServer;
const p = { "x-project-id": "p", "x-roles": "member" };
const ids: Record<string, string> = {};

beforeAll(async () => {
  h = await Harness.make();
  const named = new Named(allTables(h.apps), h.view);
  const { dump } = h.past();
  ops = createOps({ log: silent, providers: { ready: () => ({ ok: true }), switches: () => [], switch: (id) => (id === "hv1" ? { id } : undefined), problems: () => [], removeSwitch: () => Promise.resolve(false), checkFlowQuery: (query) => dump.check(query), flows: (query) => dump.flows(query), onFlowEvent: () => () => undefined } });
  appLists(ops, { apps: h.apps, view: h.view, guard: hookGuard(silent), log: silent, isChassis: (id) => h.view.get(chassisTable, id) !== undefined, named });
  topologyRoutes(ops, new Topology({ apps: h.apps, view: h.view, generation: () => 1, onChanges: (observer) => h.engine.onChanges(observer), switches: () => [] }), named);
  await h.addChassis("hv1");
  ids.network = (await h.create("network", { name: "blue" }, p)).id;
  for (const name of ["web", "db", "db", "edge"]) ids[name] = (await h.create("port", { network_id: ids.network, name }, p)).id;
  ids.router = (await h.create("router", { name: "edge" }, p)).id;
  ids.group = (await h.create("security_group", { name: "letting" }, p)).id;
  await h.create("security_group_rule", { security_group_id: ids.group, direction: "ingress", protocol: "tcp" }, p);
  await h.plug("hv1", ids.web!, 10);
  await h.settled();
});
afterAll(async () => {
  await ops.close();
  await h.close();
});

async function get(url: string): Promise<{ status: number; body: any }> {
  const answer = await ops.inject(url);
  return { status: answer.statusCode, body: answer.json() };
}
const refusal = async (url: string): Promise<unknown> => {
  const { status, body } = await get(url);
  return [status, (body as { error?: { message: string } }).error?.message];
};

test("every filter of every list says what it names", () => {
  const unsaid = h.apps.flatMap((app) => (app.opsLists ?? []).flatMap(({ path, filters = {} }) => Object.entries(filters).flatMap(([name, { values, chassis, integer, resource, project }]) => ([values, chassis, integer, resource, project].every((kind) => kind === undefined) ? [`${path}?${name}`] : []))));
  expect(unsaid).toEqual([]);
});

test("what no list has is refused by every filter that names resources, projects or switches", async () => {
  const asked = h.apps.flatMap((app) => (app.opsLists ?? []).flatMap(({ path, filters = {} }) => Object.entries(filters).filter(([, { resource, project, chassis }]) => resource !== undefined || project === true || chassis === true).map(([name]) => [path, name] as const)));
  expect(asked.length).toBeGreaterThan(12);
  for (const [path, name] of asked) {
    const { status, body } = await get(`/${path}?${name}=nosuch`);
    expect([status, (body as { error?: { message: string } }).error?.message], `${path}?${name}`).toEqual([name === "switch" ? 404 : 400, expect.stringMatching(`^query parameter ${name}: .*'nosuch'`)]);
  }
});

test("a port, a router and a group by name; a name that several have, with their ids", async () => {
  expect((await get("/statistics?id=web")).body).toMatchObject([{ type: "port", id: ids.web }]);
  expect((await get(`/statistics?id=${ids.web}`)).body).toMatchObject([{ type: "port", id: ids.web }]);
  expect((await get("/statistics?type=router&id=edge")).body).toMatchObject([{ type: "router", id: ids.router }]);
  expect(await refusal("/statistics?id=edge")).toEqual([400, `query parameter id: several have the name edge: port ${ids.edge} (project p), router ${ids.router} (project p)`]);
  expect(await refusal(`/statistics?type=router&id=${ids.web}`)).toEqual([400, `query parameter id: there is no router '${ids.web}'; whether and when it was deleted, axion history --resource ${ids.web} says`]);
  expect(await refusal("/drops?port=db")).toEqual([400, expect.stringMatching(/^query parameter port: several ports have the name db: \S+ \(project p\), \S+ \(project p\)$/)]);
  expect(await get("/drops?port=web")).toEqual({ status: 200, body: [] });
  const rules = (await get("/rules?group=letting")).body as { group: string }[];
  expect(new Set(rules.map(({ group }) => group))).toEqual(new Set([ids.group]));
  expect((await get("/rules?port=web")).body).not.toEqual([]);
});

test("a project that has nothing in a list has an empty one; one of which there is nothing at all is said not to be there", async () => {
  expect(await get("/drops?project=p")).toEqual({ status: 200, body: [] });
  expect(await refusal("/drops?project=q")).toEqual([400, "query parameter project: nothing here is of a project 'q'; projects are given by their ids"]);
});

test("flows by the name of what caused them, the map by the name of a network", async () => {
  const flows = async (resource: string): Promise<unknown[]> => ((await get(`/flows?resource=${resource}`)).body as { flows: unknown[] }).flows;
  expect(await flows("web")).toEqual(await flows(ids.web!));
  expect(await flows("web")).not.toEqual([]);
  expect(await refusal("/flows?resource=edge")).toEqual([400, `query parameter resource: several have the name edge: port ${ids.edge} (project p), router ${ids.router} (project p)`]);
  expect(await refusal("/flows?resource=nosuch")).toEqual([400, "query parameter resource: there is no API resource 'nosuch', and no flow because of one"]);
  expect((await get("/topology?network=blue")).body).toMatchObject({ networks: [{ id: ids.network }] });
  expect(await refusal("/topology?network=red")).toEqual([400, "query parameter network: there is no network 'red'"]);
  expect(await refusal(`/topology?network=blue&project=r`)).toEqual([400, `query parameter project: nothing here is of a project 'r'; projects are given by their ids`]);
  expect(await refusal("/topology?project=zz")).toEqual([400, "query parameter project: nothing here is of a project 'zz'; projects are given by their ids"]);
  expect((await get("/topology?project=p")).body).toMatchObject({ projects: [{ id: "p" }] });
  expect((await get("/topology?project=")).status, "of no project").toBe(200);
});

test("a name is that of the project's own; what is of another is said to be of it", async () => {
  const q = { "x-project-id": "q", "x-roles": "member" };
  const network = (await h.create("network", { name: "blue" }, q)).id;
  const port = (await h.create("port", { network_id: network, name: "web" }, q)).id;
  await h.settled();
  for (const [project, id] of [["q", port], ["p", ids.web]]) expect((await get(`/statistics?id=web&project=${project}`)).body).toMatchObject([{ id, project }]);
  expect(await refusal("/statistics?id=web&type=port")).toEqual([400, expect.stringMatching(/^query parameter id: several ports have the name web: \S+ \(project [pq]\), \S+ \(project [pq]\)$/)]);
  expect(await refusal(`/statistics?id=${port}&project=p`)).toEqual([400, `query parameter id: port ${port} is of another project, q`]);
  expect(await refusal("/drops?port=db&project=q")).toEqual([400, expect.stringMatching(/^query parameter port: there is no port 'db' of project 'q'; several ports have the name db: /)]);
  const groups = async (project: string): Promise<unknown> => new Set(((await get(`/rules?group=default&project=${project}`)).body as { project: string }[]).map((rule) => rule.project));
  expect([await groups("p"), await groups("q")]).toEqual([new Set(["p"]), new Set(["q"])]);
  expect((await get("/topology?network=blue&project=q")).body).toMatchObject({ networks: [{ id: network }] });
  expect(await refusal(`/topology?network=${network}&project=p`)).toEqual([400, `query parameter network: network ${network} is of another project, q`]);
});

test("a floating IP goes by its address, here and in what is told of it", async () => {
  const outside = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24", enable_dhcp: false });
  const { id, floating_ip_address: address } = (await h.create("floatingip", { floating_network_id: outside }, p)) as { readonly id: string; readonly floating_ip_address?: string };
  await h.settled();
  expect((await get("/statistics?type=floatingip")).body).toMatchObject([{ id, name: address }]);
  expect((await get(`/statistics?id=${address}`)).body).toMatchObject([{ type: "floatingip", id }]);
  expect((await get(`/flows?resource=${address}`)).status).toBe(200);
  expect(await refusal("/statistics?id=203.0.113.250")).toEqual([400, "query parameter id: there is no port, router or floating IP '203.0.113.250'"]);
});

test("that nothing is logged is said where no log is: it is no word of what is dropped", async () => {
  const why = async (query: string): Promise<unknown> => {
    const { headers, body } = await ops.inject(`/logs?${query}`);
    return [body, headers["x-axion-why-empty"]];
  };
  expect(await why("")).toEqual(["[]", expect.stringMatching(/^no log is on, so nothing is kept; to make one, .*openstack network log create NAME --resource-type security_group$/)]);
  expect(await why("port=edge")).toEqual(["[]", `no log that is on is of port ${ids.edge}, so nothing of it is kept; to make one: openstack network log create NAME --resource-type security_group --target ${ids.edge}`]);
  const made = await h.call("POST", "/v2.0/log/logs", { log: { resource_type: "security_group", target_id: ids.edge, event: "DROP" } });
  const log = (made.body as { log: { id: string } }).log.id;
  expect(await why("port=edge")).toEqual(["[]", undefined]);
  expect(await why("")).toEqual(["[]", undefined]);
  expect(await why("port=edge&event=ACCEPT")).toEqual(["[]", expect.stringMatching(/^no log that is on is of port \S+ and ACCEPT/)]);
  expect(await why("project=p")).toEqual(["[]", expect.stringContaining("no log is on")]);
  await h.call("PUT", `/v2.0/log/logs/${log}`, { log: { enabled: false } });
  expect(await why(`log=${log}`)).toEqual(["[]", `log ${log} is off: openstack network log set --enable ${log}`]);
  expect(await why("port=web&project=p")).toEqual(["[]", expect.stringMatching(/^no log that is on is of port/)]);
});

test("what a host causes is asked for by its id, whatever a project calls so", async () => {
  const { id } = await h.create("port", { network_id: ids.network, name: "hv1" }, p);
  await h.settled();
  const named = new Named(allTables(h.apps), h.view);
  expect(named.idOf("resource", "hv1")).toBe("hv1");
  expect(named.idOf("port", "hv1", { types: ["port"] })).toBe(id);
  expect((await get("/flows?resource=hv1")).status).toBe(200);
});
