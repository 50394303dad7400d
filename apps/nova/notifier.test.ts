// What Nova hears of ports, through the real engine and API: its side is a recorder that answers as it is told.
import { afterEach, describe, expect, test } from "vitest";
import { Harness } from "../../test/support/harness.ts";
import { Share } from "../../src/services/share.ts";
import { problems } from "./problems.ts";

const NOVA = "http://nova.example:8774";
const SERVER = "0d6a5b3e-7f0c-4f7e-9c39-2f4b8f0d1c11";
const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) await h.close();
});

interface Said {
  readonly name: string;
  readonly tag: string;
}
type Answers = (events: readonly Said[], nth: number) => Response;

class Nova {
  readonly urls = new Set<string>();
  /** Requests, each as `<name> <port>` of its events. */
  readonly requests: string[][] = [];
  readonly h: Harness;
  readonly network: string;

  private constructor(h: Harness, network: string) {
    this.h = h;
    this.network = network;
  }

  static async make(answers: Answers = () => Response.json({ events: [] }), more: { readonly share?: Share } = {}): Promise<Nova> {
    let nova: Nova | undefined;
    const h = await Harness.make([], undefined, {
      ...more,
      settings: new Map([["nova", { "nova-url": NOVA }]]),
      http: async (url, { method, body, headers }) => {
        const { events } = JSON.parse(body as string) as { events: (Said & Record<string, unknown>)[] };
        expect([method, headers["content-type"]]).toEqual(["POST", "application/json"]);
        for (const event of events) expect(event).toEqual({ name: event.name, tag: event.tag, server_uuid: SERVER, status: "completed" });
        nova!.urls.add(String(url));
        nova!.requests.push(events.map(({ name, tag }) => `${name} ${tag}`));
        return Promise.resolve(answers(events, nova!.requests.length));
      },
    });
    open.push(h);
    for (const host of ["hv1", "hv2"]) await h.addChassis(host);
    const network = (await h.create("network", {})).id;
    await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" });
    return (nova = new Nova(h, network));
  }

  async port(values: Record<string, unknown> = {}): Promise<string> {
    return (await this.h.create("port", { network_id: this.network, device_id: SERVER, device_owner: "compute:nova", ...values })).id;
  }
  /** What is said in so many seconds. */
  async heard(seconds = 1): Promise<string[]> {
    await this.h.settled();
    const before = this.requests.length;
    await this.h.clock.run(seconds * 1000);
    expect(this.h.complaints).toEqual([]);
    return this.requests.slice(before).flat();
  }
  async plug(host: string, port: string, ofport: number): Promise<void> {
    await this.h.plug(host, port, ofport);
    await this.h.installed(host, port);
  }
  async update(port: string, values: Record<string, unknown>): Promise<void> {
    expect((await this.h.call("PUT", `/v2.0/ports/${port}`, { port: values })).status).toBe(200);
  }
}

describe("of a server's port", () => {
  test("plugged when its flows are confirmed, not before; unplugged; deleted", async () => {
    const nova = await Nova.make();
    const port = await nova.port();
    expect(await nova.heard()).toEqual([]);
    await nova.h.plug("hv1", port, 5);
    expect(await nova.heard()).toEqual([]);
    await nova.h.installed("hv1", port);
    expect(await nova.heard()).toEqual([`network-vif-plugged ${port}`]);
    await nova.h.unplug("hv1", port);
    expect(await nova.heard()).toEqual([`network-vif-unplugged ${port}`]);
    await nova.h.call("DELETE", `/v2.0/ports/${port}`);
    expect(await nova.heard()).toEqual([`network-vif-deleted ${port}`]);
    expect([...nova.urls]).toEqual([`${NOVA}/v2.1/os-server-external-events`]);
  });

  test("changed by any attribute, its own, another app's, or a floating IP's; each once, many in a request", async () => {
    const nova = await Nova.make();
    const [port, other] = [await nova.port(), await nova.port()];
    await nova.heard();
    const changed = [`network-changed ${port}`];
    const group = (await nova.h.create("security_group", { name: "g" })).id;
    for (const values of [{ name: "x" }, { security_groups: [group] }, { fixed_ips: [{ ip_address: "10.0.0.77" }] }, { admin_state_up: false }, { admin_state_up: true }, { "binding:host_id": "hv1" }]) {
      await nova.update(port, values);
      expect(await nova.heard(), JSON.stringify(values)).toEqual(changed);
    }
    for (const name of ["a", "b"]) for (const id of [port, other]) await nova.update(id, { name });
    expect(await nova.heard()).toEqual([...changed, `network-changed ${other}`]);
    const external = (await nova.h.create("network", { "router:external": true })).id;
    await nova.h.create("subnet", { network_id: external, ip_version: 4, cidr: "203.0.113.0/24" });
    const router = (await nova.h.create("router", { external_gateway_info: { network_id: external } })).id;
    const subnet = (await nova.h.call("GET", `/v2.0/subnets?network_id=${nova.network}`)).body as { subnets: [{ id: string }] };
    await nova.h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet.subnets[0].id });
    expect(await nova.heard()).toEqual([]);
    const floating = (await nova.h.create("floatingip", { floating_network_id: external, port_id: port })).id;
    expect(await nova.heard()).toEqual(changed);
    await nova.h.call("PUT", `/v2.0/floatingips/${floating}`, { floatingip: { port_id: other } });
    expect((await nova.heard()).sort()).toEqual([...changed, `network-changed ${other}`].sort());
    await nova.h.call("DELETE", `/v2.0/floatingips/${floating}`);
    expect(await nova.heard()).toEqual([`network-changed ${other}`]);
  });

  test("moved to another host: plugged there; plugged and unplugged before Nova heard: what it is now", async () => {
    const nova = await Nova.make();
    const port = await nova.port();
    await nova.plug("hv1", port, 5);
    await nova.heard();
    await nova.h.unplug("hv1", port);
    await nova.plug("hv2", port, 7);
    expect((await nova.heard()).filter((e) => e.includes("plugged"))).toEqual([`network-vif-plugged ${port}`]);
  });

  test("a live migration: plugged once it is wired where it is about to be, though it is ACTIVE where it still is", async () => {
    const nova = await Nova.make();
    const port = await nova.port({ "binding:host_id": "hv1" });
    await nova.plug("hv1", port, 5);
    expect(await nova.heard()).toEqual([`network-vif-plugged ${port}`]);
    const call = async (method: "POST" | "PUT" | "DELETE", rest = "", body?: unknown): Promise<number> => (await nova.h.call(method, `/v2.0/ports/${port}/bindings${rest}`, body)).status;
    expect(await call("POST", "", { binding: { host: "hv2" } })).toBe(201);
    await nova.h.plug("hv2", port, 7);
    expect(await nova.heard()).toEqual([]);
    await nova.h.installed("hv2", port);
    expect(await nova.heard()).toEqual([`network-vif-plugged ${port}`]);
    // A start in between tells it again.
    const again = await nova.h.restart();
    open.push(again);
    const before = nova.requests.length;
    await again.clock.run(1000);
    expect(nova.requests.slice(before).flat()).toEqual([`network-vif-plugged ${port}`]);
    const heard = async (method: "PUT" | "DELETE", rest: string): Promise<string[]> => {
      const since = nova.requests.length;
      expect((await again.call(method, `/v2.0/ports/${port}/bindings${rest}`)).status).toBeLessThan(300);
      await again.settled();
      await again.clock.run(1000);
      return nova.requests.slice(since).flat();
    };
    expect((await heard("PUT", "/hv2/activate")).sort()).toEqual([`network-vif-plugged ${port}`]);
    await again.unplug("hv1", port);
    expect(await heard("DELETE", "/hv1")).toEqual([]);
  });

  test.each([
    ["of nobody", { device_owner: "", device_id: "" }], ["of a load balancer", { device_owner: "network:lb" }], ["of a server whose id is no UUID", { device_id: "vm7" }],
  ])("nothing of one %s", async (_, values) => {
    const nova = await Nova.make();
    const port = await nova.port(values);
    await nova.plug("hv1", port, 5);
    await nova.update(port, { name: "x" });
    await nova.h.call("DELETE", `/v2.0/ports/${port}`);
    expect(await nova.heard(10)).toEqual([]);
  });

  test("without --nova-url nothing is sent", async () => {
    let asked = 0;
    const h = await Harness.make([], undefined, { http: () => Promise.resolve((asked++, Response.json({}))) });
    open.push(h);
    await h.addChassis("hv1");
    const network = (await h.create("network", {})).id;
    await h.plug("hv1", (await h.create("port", { network_id: network, device_id: SERVER, device_owner: "compute:nova" })).id, 5);
    await h.settled();
    await h.clock.run(5000);
    expect(asked).toBe(0);
  });
});

describe("when Nova does not hear", () => {
  test("it is told again, later and later, in order; then the problem is gone", async () => {
    const nova = await Nova.make((_, nth) => (nth <= 3 ? new Response("", { status: 503 }) : Response.json({ events: [] })));
    const port = await nova.port();
    await nova.plug("hv1", port, 5);
    expect(await nova.heard(0.5)).toEqual([`network-vif-plugged ${port}`]);
    expect(problems(nova.h.view)).toMatchObject([{ severity: "error", text: `Nova at ${NOVA} is not told of its servers' ports: it answers 503` }]);
    await nova.update(port, { name: "x" });
    await nova.heard(10);
    expect(nova.requests.slice(1)).toEqual([1, 2, 3].map(() => [`network-vif-plugged ${port}`, `network-changed ${port}`]));
    await nova.h.clock.run(61_000);
    expect(problems(nova.h.view)).toEqual([]);
  });

  test("after five minutes nobody waits any more", async () => {
    const nova = await Nova.make(() => new Response("", { status: 500 }));
    await nova.plug("hv1", await nova.port(), 5);
    expect((await nova.heard(400)).length).toBeGreaterThan(5);
    expect(await nova.heard(120)).toEqual([]);
  });

  test("a server that has no host yet is told of again, one that Nova does not know is not", async () => {
    let codes: Record<string, number> = {};
    const nova = await Nova.make((events) => Response.json({ events: events.map((e) => ({ ...e, code: codes[e.tag] ?? 200 })) }, { status: 207 }));
    const [early, unknown] = [await nova.port(), await nova.port()];
    codes = { [early]: 422, [unknown]: 404 };
    await nova.plug("hv1", early, 5);
    await nova.plug("hv1", unknown, 6);
    expect((await nova.heard(1)).sort()).toEqual([`network-vif-plugged ${early}`, `network-vif-plugged ${unknown}`].sort());
    expect(await nova.heard(3)).toEqual([`network-vif-plugged ${early}`]);
    codes = {};
    expect(await nova.heard(3)).toEqual([`network-vif-plugged ${early}`]);
    expect(await nova.heard(60)).toEqual([]);
    codes = { [early]: 422 };
    await nova.update(early, { name: "y" });
    expect((await nova.heard(100)).length).toBe(11);
  });

  test.each([[404, '{"itemNotFound": {"message": "No instances found for any event", "code": 404}}'], [400, "{}"]])("an answer of %s ends it", async (status, body) => {
    const nova = await Nova.make(() => new Response(body, { status }));
    await nova.plug("hv1", await nova.port(), 5);
    expect(await nova.heard(100)).toHaveLength(1);
  });

  test("a 404 that is not Nova's own is a wrong address: it is tried again, and a problem", async () => {
    const nova = await Nova.make(() => new Response("<html>no such page", { status: 404 }));
    await nova.plug("hv1", await nova.port(), 5);
    expect((await nova.heard(10)).length).toBeGreaterThan(2);
    expect(problems(nova.h.view)).toMatchObject([{ text: expect.stringContaining("it answers 404") }]);
  });

  test("a server without a host is not told that it is plugged once it is unplugged", async () => {
    const nova = await Nova.make((events) => Response.json({ events: events.map((e) => ({ ...e, code: 422 })) }, { status: 207 }));
    const port = await nova.port();
    await nova.plug("hv1", port, 5);
    expect(await nova.heard(1)).toEqual([`network-vif-plugged ${port}`]);
    await nova.h.unplug("hv1", port);
    expect(new Set(await nova.heard(30))).toEqual(new Set([`network-vif-unplugged ${port}`]));
  });

  test("another start tells what may not have been told", async () => {
    const nova = await Nova.make();
    const [port, old] = [await nova.port(), await nova.port()];
    await nova.plug("hv1", old, 5);
    await nova.heard(400);
    await nova.plug("hv1", port, 6);
    await nova.heard();
    const again = await nova.h.restart();
    open.push(again);
    const before = nova.requests.length;
    await again.clock.run(1000);
    expect(nova.requests.slice(before)).toEqual([[`network-vif-plugged ${port}`]]);
  });
});

describe("of several controllers", () => {
  /** Without the one that tells of the server. */
  const left = (live: readonly string[]): string[] => live.filter((name) => !new Share(name, () => live).acts(SERVER));
  /** Of two this one does not tell of the server. */
  const second = (): { readonly share: Share; live: string[] } => {
    const cluster: { readonly share: Share; live: string[] } = { live: ["a", "b"], share: new Share(left(["a", "b"])[0]!, () => cluster.live) };
    return cluster;
  };

  test("one tells; when it ends another tells what was said in the last five minutes, as it is now", async () => {
    const cluster = second();
    const nova = await Nova.make(undefined, cluster);
    const [port, old, gone] = [await nova.port(), await nova.port(), await nova.port()];
    await nova.plug("hv1", old, 4);
    expect(await nova.heard(200)).toEqual([]);
    await nova.plug("hv1", port, 5);
    await nova.plug("hv1", gone, 6);
    expect(await nova.heard(150)).toEqual([]);
    await nova.h.unplug("hv1", gone);
    expect(await nova.heard(10)).toEqual([]);
    cluster.live = left(cluster.live);
    expect(await nova.heard(10)).toEqual([`network-vif-plugged ${port}`, `network-vif-unplugged ${gone}`]);
    expect(await nova.heard(400)).toEqual([]);
  });

  test("what waits while the other takes over is the other's to tell, and comes back with it", async () => {
    const cluster = second();
    const both = cluster.live;
    cluster.live = left(both);
    let answers = false;
    const nova = await Nova.make(() => (answers ? Response.json({ events: [] }) : new Response("", { status: 503 })), cluster);
    const port = await nova.port();
    await nova.plug("hv1", port, 5);
    expect((await nova.heard(3)).length).toBeGreaterThan(0);
    cluster.live = both;
    answers = true;
    await nova.heard(30);
    expect(await nova.heard(30)).toEqual([]);
    cluster.live = left(both);
    expect(await nova.heard(10)).toEqual([`network-vif-plugged ${port}`]);
  });
});
