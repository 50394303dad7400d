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
  topologyRoutes(ops, new Topology({ apps: h.apps, view: h.view, generation: () => 1, onChanges: (observer) => h.engine.onChanges(observer), switches: () => [] }));
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
  expect(await refusal("/statistics?id=edge")).toEqual([400, `query parameter id: several have the name edge: port ${ids.edge}, router ${ids.router}`]);
  expect(await refusal(`/statistics?type=router&id=${ids.web}`)).toEqual([400, `query parameter id: there is no router '${ids.web}'`]);
  expect(await refusal("/drops?port=db")).toEqual([400, expect.stringMatching(/^query parameter port: several ports have the name db: \S+, \S+$/)]);
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
  expect(await refusal("/flows?resource=edge")).toEqual([400, `query parameter resource: several have the name edge: port ${ids.edge}, router ${ids.router}`]);
  expect(await refusal("/flows?resource=nosuch")).toEqual([400, "query parameter resource: there is no API resource 'nosuch', and no flow because of one"]);
  expect((await get("/topology?network=blue")).body).toMatchObject({ networks: [{ id: ids.network }] });
  expect(await refusal("/topology?network=red")).toEqual([404, "query parameter network: there is no network 'red'"]);
});
