// GET /topology over real apps, model and compiler: what it shows, where it draws things, and that it stays bounded.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Topology, type TopologyQuery } from "../src/ops/topology.ts";
import type { TopologyAnswer } from "../src/ops/topology-answer.ts";
import { Slots } from "../src/ops/places.ts";
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
  const subnet = await h.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24", ...A });
  const outside = await h.create("network", { name: "outside", "router:external": true, ...B });
  await h.create("subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24", ...B });
  // Instants of the API are seconds: of projects that first had something in the same one, the order is not kept.
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
    expect(placesOf(await look())).toMatchObject(before);
  });

  test("are the same after a start for whatever was made within one second, hosts that joined in any order included", async () => {
    for (const host of ["hv3", "hv1", "hv2"]) await h.addChassis(host);
    for (let i = 0; i < 40; i++) {
      if (i >= 20) h.clock.advance(1000);
      await h.create(i % 3 === 2 ? "router" : "network", i < 20 ? A : { project_id: `p${i % 5}` });
    }
    const before = placesOf(await look());
    expect(Object.keys(before).length).toBe(3 + 6 + 40);
    topology.stop();
    topology = made();
    expect(placesOf(await look())).toEqual(before);
  });

  test("are another's own after a start, but for few that found theirs taken by what is gone", () => {
    const ids = Array.from({ length: 200 }, (_, i) => `thing ${i}`);
    const slotsOf = (those: readonly string[]): Slots => {
      const slots = new Slots(4);
      for (const id of those) slots.take(id);
      return slots;
    };
    const before = slotsOf(ids);
    expect(new Set(ids.map((id) => before.of(id))).size).toBe(200);
    const after = slotsOf(ids.slice(1));
    expect(ids.slice(1).filter((id) => after.of(id) !== before.of(id)).length).toBeLessThan(10);
    // As wide as they are many, by a factor of few.
    expect(Math.max(...ids.map((id) => before.of(id)!))).toBeLessThan(1024);
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

describe("what is asked for beside", () => {
  test("is shown however deep the rest is", async () => {
    const ids = await small();
    const answer = await look({ depth: 1, with: [ids.port, "hv1", ids.router, "gone"] });
    expect(answer.ports.map(({ id }) => id)).toEqual([ids.port]);
    expect(answer.routers.map(({ id }) => id)).toEqual([ids.router]);
    expect(answer.networks.map(({ id }) => id)).toEqual([ids.network]);
    expect(answer.left_out).toMatchObject({ networks: 2, routers: 1 });
    const other = await h.create("network", B);
    const focused = await look({ network: other.id, with: [ids.port, "hv1"] });
    expect(focused.ports.map(({ id }) => id)).toEqual([ids.port]);
    expect(focused.hosts.map(({ id }) => id).sort()).toEqual(["hv1", "hv2"]);
    expect(focused.left_out).toMatchObject({ networks: 0, ports: 0 });
  });
});

describe("what is much", () => {
  test("of one network is counted: its hosts beyond those listed", async () => {
    const network = await h.create("network", A);
    const hosts = 203;
    const ports = ((await h.call("POST", "/v2.0/ports", { ports: Array.from({ length: hosts }, () => ({ network_id: network.id, ...A })) })).body as { ports: { id: string }[] }).ports;
    for (let i = 0; i < hosts; i++) {
      await h.addChassis(`h${i}`);
      await h.plug(`h${i}`, ports[i]!.id, 1);
    }
    const [shown] = (await look({ depth: 2 })).networks;
    expect(shown).toMatchObject({ ports: hosts, host_count: hosts });
    expect(shown!.hosts.length).toBe(200);
  });

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
