// Whatever sequence of calls, by whomever, with restarts in between, which change no answer: stored rows agree with each other and with what the API counts, what the compiler has is what it
// would have from scratch, and in the end everything can be deleted, and leaves nothing. Run one again with AXION_SEQUENCE_SEED=<seed>.
import { expect, test } from "vitest";
import { vifTable } from "#app";
import { ADMIN, ApiWorld, as, HOSTS, isFault, PROJECTS, type Headers } from "../support/api/api-world.ts";
import { compare } from "../support/from-scratch.ts";
import { expectSoundRows, leftOf } from "../support/sound-rows.ts";

/** But for what becomes of what hosts have done: a port that was being built is found to be active by the next controller. */
const steady = (text: string): string => text.replaceAll(/"(status|revision_number|updated_at)":[^,}]*/g, "");

const nightly = process.env.AXION_NIGHTLY === "1";
const given = process.env.AXION_SEQUENCE_SEED;
const first = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
const SEEDS = given === undefined ? Array.from({ length: nightly ? 400 : 6 }, (_, i) => first + i) : [first];
const CALLS = nightly ? 600 : 250;
/** Looked at after so many. */
const EVERY = 25;
const CALLERS: readonly Headers[] = [ADMIN, ADMIN, ADMIN, as("p1"), as("p2"), as("p1", "manager"), as("nobody", "admin")];
/** What refers to others comes before these; all else first. */
const ORDER = ["/port-forwardings", "/conntrack-helpers", "/ndp-proxies", "/floatingips", "/routers", "/ports", "/subnets", "/rbac-policies", "/networks", "/qos/policies", "/subnetpools", "/security-group-rules", "/security-groups", "/address-groups", "/quotas"];

interface Listed {
  readonly id: string;
  readonly project_id?: string;
  readonly device_owner?: string;
  readonly device_id?: string;
}

class Sequence {
  readonly world: ApiWorld;
  /** What went through since it was last looked. */
  private done: string[] = [];
  private ofport = 100;

  constructor(world: ApiWorld) {
    this.world = world;
  }

  async run(): Promise<void> {
    const { world } = this;
    const { requests } = world;
    const changing = world.routes.filter(({ method }) => method !== "GET");
    const choice = changing.flatMap((r) => Array.from({ length: r.method === "DELETE" ? 2 : r.method === "POST" ? 5 : 3 }, () => r));
    for (let n = 1; n <= CALLS; n++) {
      requests.mistakes = requests.pick([0, 0, 0, 3]);
      if (requests.chance(4)) await this.plug();
      else if (requests.chance(1)) await this.restart();
      else {
        const route = requests.pick(choice);
        const [url, body, headers] = [requests.path(route), requests.body(route), requests.pick(CALLERS)];
        const { status, text } = await world.raw(route.method, url, body, headers);
        expect(isFault({ status, text }), `${status} of ${route.method} ${url} ${body ?? ""}: ${text}`).toBe(false);
        if (status < 300) this.done.push(`${route.method} ${url} ${body ?? ""} -> ${text.slice(0, 200)}`);
      }
      if (n % EVERY === 0) await this.look();
    }
    await this.restart();
    await this.look();
    compare(world.h, HOSTS);
    await this.deleteAll();
  }

  private async plug(): Promise<void> {
    const { h, requests } = this.world;
    const [vif] = [...h.view.all(vifTable)].slice(requests.below(5));
    if (vif !== undefined && requests.chance(40)) {
      this.done.push(`unplug ${vif.iface_id}`);
      return h.unplug(vif.chassis, vif.iface_id);
    }
    const port = requests.pick(this.world.known("port"));
    this.done.push(`plug ${port}`);
    return h.plug(requests.pick(HOSTS), port, this.ofport++);
  }

  private async restart(): Promise<void> {
    this.done.push("restart");
    // Sometimes as soon as something was answered: what follows from it is not there yet.
    if (this.world.requests.chance(50)) {
      await this.world.h.settled();
      const before = await this.world.lists();
      await this.world.restart();
      await this.world.h.settled();
      for (const [path, text] of await this.world.lists()) expect(steady(text), `${path} after a restart`).toBe(steady(before.get(path)!));
      return;
    }
    await new Promise((done) => setImmediate(done));
    await this.world.restart();
  }

  private async look(): Promise<void> {
    const { world } = this;
    await world.h.settled();
    try {
      await expectSoundRows(world.h, PROJECTS);
    } catch (error) {
      if (error instanceof Error) error.message += `\nsince it was last sound:\n${this.done.join("\n")}`;
      throw error;
    }
    this.done = [];
    await world.look();
  }

  private async list(path: string): Promise<Listed[]> {
    const { body, status } = await this.world.h.call("GET", path);
    // Only ports of compute services have them.
    if (status === 400 && path.endsWith("/bindings")) return [];
    expect(status, path).toBe(200);
    return Object.values(body as object)[0] as Listed[];
  }

  /** In any order that goes: what is refused is tried again when something else is gone. */
  private async deleteAll(): Promise<void> {
    const { world } = this;
    for (const vif of [...world.h.view.all(vifTable)]) await world.h.unplug(vif.chassis, vif.iface_id);
    const refused = new Map<string, string>();
    const remove = async (method: "DELETE" | "PUT", path: string, body?: unknown): Promise<number> => {
      const answer = await world.h.call(method, path, body);
      expect(answer.status, `${method} ${path}`).toBeLessThan(500);
      // What is configured stays.
      if ((answer.body as { NeutronError?: { type?: string } } | undefined)?.NeutronError?.type === "NetworkSegmentRangeDefaultReadOnly") return 0;
      if (answer.status >= 300) refused.set(`${method} ${path}`, JSON.stringify(answer.body));
      return answer.status < 300 ? 1 : 0;
    };
    const rank = (path: string): number => ORDER.findIndex((end) => path.endsWith(`${end}/{id}`));
    const deletable = world.routes.filter((r) => r.method === "DELETE" && r.path.endsWith("/{id}") && !r.path.includes("auto-allocated")).toSorted((a, b) => rank(a.path) - rank(b.path));
    for (let gone = 1; gone > 0; ) {
      gone = 0;
      refused.clear();
      for (const router of await this.list("/v2.0/routers")) {
        gone += await this.without(router, remove);
      }
      // One that is disabled is not deleted.
      for (const { id } of await this.list("/v2.0/trunks?admin_state_up=false")) gone += await remove("PUT", `/v2.0/trunks/${id}`, { trunk: { admin_state_up: true } });
      for (const route of deletable) {
        const path = route.path.slice(0, -"/{id}".length);
        const parents = /\/v2\.0\/([^{]+)\/\{/.exec(path);
        const own = path.slice(path.lastIndexOf("/"));
        const collections = parents === null ? [path] : (await this.list(`/v2.0/${parents[1]!}`)).map(({ id }) => `/v2.0/${parents[1]!}/${id}${own}`);
        for (const collection of collections) for (const { id, project_id } of await this.list(collection)) gone += await remove("DELETE", `${collection}/${encodeURIComponent(own === "/quotas" ? (project_id ?? id) : id)}`);
      }
    }
    expect(refused).toEqual(new Map());
    await world.h.settled();
    await world.h.zonesFlushed();
    await world.h.settled();
    expect(leftOf(world.h)).toEqual({});
    expect(world.h.complaints).toEqual([]);
    compare(world.h, HOSTS);
  }

  /** A router without what holds it. */
  private async without(router: Listed, remove: (method: "PUT", path: string, body: unknown) => Promise<number>): Promise<number> {
    let gone = 0;
    const { routes, external_gateway_info: gateway } = (await this.world.h.call("GET", `/v2.0/routers/${router.id}`)).body.router as { routes: unknown[]; external_gateway_info: unknown };
    if (routes.length > 0) gone += await remove("PUT", `/v2.0/routers/${router.id}`, { router: { routes: [] } });
    for (const { id, device_owner } of await this.list(`/v2.0/ports?device_id=${router.id}`)) if (device_owner === "network:router_interface") gone += await remove("PUT", `/v2.0/routers/${router.id}/remove_router_interface`, { port_id: id });
    if (gateway !== null) gone += await remove("PUT", `/v2.0/routers/${router.id}`, { router: { external_gateway_info: null } });
    return gone;
  }
}

test(`rows agree after ${SEEDS.length} sequences of ${CALLS} calls, from seed ${first}`, { timeout: nightly ? 3_600_000 : 240_000 }, async () => {
  for (const seed of SEEDS) {
    const world = await ApiWorld.make(seed, 0);
    try {
      await new Sequence(world).run();
    } catch (error) {
      if (error instanceof Error) error.message = `seed ${seed}: ${error.message}`;
      throw error;
    } finally {
      await world.h.close();
    }
  }
});
