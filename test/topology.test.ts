// GET /topology over real apps, model and compiler: what it shows, where it draws things, and that it stays bounded.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Topology, type TopologyAnswer, type TopologyQuery } from "../src/ops/topology.ts";
import { chassisTable } from "#app";
import { Harness, withDependents } from "./support/harness.ts";

let h: Harness;
let topology: Topology;
const made = (): Topology =>
  new Topology({
    apps: h.apps, view: h.view, generation: () => h.engine.generation, onChanges: (observer) => h.engine.onChanges(observer),
    switches: () => [...h.model.view.all(chassisTable)].map(({ id, hostname }) => ({ id, hostname, state: "connected" })),
  });
async function look(query: TopologyQuery = {}): Promise<TopologyAnswer> {
  await h.settled();
  return topology.answer(query);
}
const placesOf = (answer: TopologyAnswer): Record<string, unknown> =>
  Object.fromEntries([answer.hosts, answer.projects, answer.networks, answer.external, answer.routers, answer.ports].flat().map(({ id, place }) => [id, place]));

beforeEach(async () => {
  h = await Harness.make();
  topology = made();
});
afterEach(() => h.close());

const A = { project_id: "a" };
const B = { project_id: "b" };

async function small(): Promise<Record<"network" | "subnet" | "outside" | "router" | "port", string>> {
  await h.addChassis("hv1", { gateway: true });
  await h.addChassis("hv2");
  const network = await h.create("network", { name: "web", ...A });
  // Instants of the API are seconds: what was made within one may stand otherwise after a start.
  h.clock.advance(1000);
  const subnet = await h.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24", ...A });
  const outside = await h.create("network", { name: "outside", "router:external": true, ...B });
  await h.create("subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24", ...B });
  h.clock.advance(1000);
  const router = await h.create("router", { name: "edge", external_gateway_info: { network_id: outside.id }, ...A });
  expect((await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id })).status).toBe(200);
  const port = await h.create("port", { name: "vm", network_id: network.id, device_id: "machine", device_owner: "compute:nova", ...A });
  await h.plug("hv2", port.id, 1);
  return { network: network.id, subnet: subnet.id, outside: outside.id, router: router.id, port: port.id };
}

describe("what it shows", () => {
  test("is hosts, projects, networks, what is outside, routers with their links, and ports with their hosts", async () => {
    const ids = await small();
    const answer = await look();
    expect(answer.depth).toBe(3);
    expect(answer.generation).toBe(h.engine.generation);
    expect(answer.hosts).toMatchObject([{ id: "hv1", state: "connected", ports: 0 }, { id: "hv2", ports: 1 }]);
    expect(answer.networks).toMatchObject([{ id: ids.network, name: "web", project: "a", state: "ACTIVE", hosts: ["hv2"] }]);
    expect(answer.external).toMatchObject([{ id: ids.outside, name: "outside", project: "b" }]);
    expect(answer.routers).toMatchObject([{ id: ids.router, name: "edge", project: "a" }]);
    expect(answer.routers[0]!.links.map(({ network, kind }) => ({ network, kind })).sort((a, b) => (a.kind < b.kind ? 1 : -1))).toEqual([{ network: ids.network, kind: "interface" }, { network: ids.outside, kind: "gateway" }]);
    expect(answer.ports.find(({ id }) => id === ids.port)).toMatchObject({ name: "vm", network: ids.network, host: "hv2", state: "BUILD", device_id: "machine", device_owner: "compute:nova", project: "a" });
    expect(answer.projects.find(({ id }) => id === "a")).toMatchObject({ networks: 1, routers: 1 });
    expect(answer.left_out).toEqual({ hosts: 0, projects: 0, networks: 0, routers: 0, ports: 0 });
  });

  test("is as deep as asked", async () => {
    await small();
    expect(await look({ depth: 1 })).toMatchObject({ depth: 1, networks: [], routers: [], ports: [], external: [], left_out: { networks: 2, routers: 1 } });
    expect(await look({ depth: 2 })).toMatchObject({ depth: 2, ports: [] });
  });

  test("is a project's, with what its routers lead to, and nothing else of others", async () => {
    const ids = await small();
    await h.create("network", { name: "other", ...B });
    const answer = await look({ project: "a" });
    expect(answer.projects.map(({ id }) => id)).toEqual(["a"]);
    expect(answer.networks.map(({ id }) => id)).toEqual([ids.network]);
    expect(answer.external.map(({ id }) => id)).toEqual([ids.outside]);
    expect(answer.hosts.map(({ id }) => id)).toEqual(["hv2"]);
    expect(await look({ project: "nobody" })).toMatchObject({ hosts: [], projects: [], networks: [], routers: [], ports: [] });
  });

  test("is a network's, with its routers and ports", async () => {
    const ids = await small();
    const answer = await look({ network: ids.network });
    expect(answer.networks.map(({ id }) => id)).toEqual([ids.network]);
    expect(answer.routers.map(({ id }) => id)).toEqual([ids.router]);
    expect(answer.ports.every(({ network }) => network === ids.network)).toBe(true);
    expect(() => topology.answer({ network: "none" })).toThrow("query parameter network: there is no network 'none'");
    expect(() => topology.answer({ network: ids.network, project: "b" })).toThrow("is of another project");
  });

  test("is what there is where apps are left out", async () => {
    const without = await Harness.make([], undefined, { disabled: withDependents(h.apps, "l3") });
    try {
      const network = await without.create("network", A);
      await without.settled();
      const alone = new Topology({ apps: without.apps, view: without.view, generation: () => 1, onChanges: () => () => undefined, switches: () => [] });
      expect(alone.answer({})).toMatchObject({ networks: [{ id: network.id }], routers: [], external: [] });
    } finally {
      await without.close();
    }
  });

  test("follows what goes, to the last", async () => {
    const ids = await small();
    await h.call("PUT", `/v2.0/routers/${ids.router}/remove_router_interface`, { subnet_id: ids.subnet });
    for (const path of [`routers/${ids.router}`, `ports/${ids.port}`, `networks/${ids.network}`, `networks/${ids.outside}`]) expect((await h.call("DELETE", `/v2.0/${path}`)).status, path).toBe(204);
    const answer = await look();
    expect(answer).toMatchObject({ networks: [], routers: [], ports: [], external: [] });
    // Default security groups are no things of the map.
    expect(answer.projects).toEqual([]);
  });
});

describe("places", () => {
  test("stay where they are when other things come and go, and after a start", async () => {
    const ids = await small();
    const before = placesOf(await look());
    h.clock.advance(1000);
    for (let i = 0; i < 20; i++) await h.create("network", { project_id: `p${i}` });
    const extra = await h.create("network", A);
    await h.create("port", { network_id: ids.network, ...A });
    await h.addChassis("hv0");
    expect(placesOf(await look())).toMatchObject(before);
    await h.call("DELETE", `/v2.0/networks/${extra.id}`);
    const after = placesOf(await look());
    expect(after).toMatchObject(before);
    topology.stop();
    topology = made();
    for (const [id, place] of Object.entries(before)) if (!id.startsWith("hv")) expect(placesOf(await look())[id], id).toEqual(place);
  });

  test("of networks and routers are inside of their project, of ports inside of their network, no two the same", async () => {
    await small();
    for (let i = 0; i < 60; i++) await h.create("network", A);
    const answer = await look();
    const inside = (a: { place: { x: number; y: number; r: number } }, b: { place: { x: number; y: number; r: number } }): boolean => Math.hypot(a.place.x - b.place.x, a.place.y - b.place.y) <= b.place.r;
    const project = answer.projects.find(({ id }) => id === "a")!;
    for (const network of answer.networks) expect(inside(network, project)).toBe(true);
    for (const port of answer.ports) expect(inside(port, [...answer.networks, ...answer.external].find(({ id }) => id === port.network)!)).toBe(true);
    const all = [...answer.networks, ...answer.external, ...answer.routers].map(({ place }) => `${place.x} ${place.y}`);
    expect(new Set(all).size).toBe(all.length);
  });
});

describe("what is much", () => {
  test("is counted, and not listed unless somebody asks", async () => {
    const network = await h.create("network", A);
    for (let i = 0; i < 520; i++) await h.create("network", { project_id: `p${i % 7}` });
    const answer = await look();
    expect(answer).toMatchObject({ depth: 1, networks: [], left_out: { networks: 521, projects: 0 } });
    expect(answer.projects.reduce((sum, { networks }) => sum + networks, 0)).toBe(521);
    expect((await look({ project: "p0" })).networks.length).toBe(75);
    expect((await look({ network: network.id })).depth).toBe(3);
  });
});
