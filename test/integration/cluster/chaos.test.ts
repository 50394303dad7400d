// What can happen to three controllers and three members of etcd happens, by a plan of a seed, while clients write and VMs ping each other: what was
// acknowledged is there once, no ping is lost, and switches have what they should. Run one again with AXION_SEED=<seed>.
// @module-tag long
import { setTimeout as sleep } from "node:timers/promises";
import { haveEtcd } from "etcd-v3-client/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { request, type Controller, type Response } from "../../../lab/controller.ts";
import { until } from "../../../lab/exec.ts";
import { SeededRandom } from "../../../src/lib/random.ts";
import { metricOf, nightly } from "../../support/process.ts";
import { ADMIN, fakeTime, House } from "./house.ts";

const SEED = Number(process.env.AXION_SEED ?? (nightly ? Date.now() % 1_000_000 : 1));
const CLIENTS = 3;
/** What a client has made and not deleted, at the most. */
const OWN = 12;

interface Named {
  readonly id: string;
  readonly name: string;
  readonly fixed_ips?: readonly { readonly ip_address: string }[];
}

/** What clients were told. */
class Ledger {
  /** Acknowledged, and not asked to go. */
  readonly there = new Map<string, string>();
  readonly gone = new Set<string>();
  readonly asked = new Set<string>();
  statuses = new Map<string, number>();

  count(what: string): void {
    this.statuses.set(what, (this.statuses.get(what) ?? 0) + 1);
  }
}

class Clients {
  readonly ledger = new Ledger();
  /** One that stands still would do what it was asked when it goes on, and nobody waited for the answer. */
  avoid: Controller | undefined;
  private going = true;
  private paused = 0;
  private readonly busy = new Set<number>();
  private readonly ended: Promise<unknown>;
  private readonly house: House;
  private readonly random: SeededRandom;

  constructor(house: House, random: SeededRandom) {
    this.house = house;
    this.random = random;
    this.ended = Promise.all(Array.from({ length: CLIENTS }, (_, i) => this.run(i)));
    this.ended.catch(() => undefined); // told by stop
  }

  /** Nothing of them is under way when it resolves. */
  async pause(): Promise<void> {
    this.paused++;
    while (this.busy.size > 0) await sleep(5);
  }
  resume(): void {
    this.paused--;
  }
  async stop(): Promise<void> {
    this.going = false;
    await this.ended;
  }

  private async run(client: number): Promise<void> {
    const own: { readonly id: string; readonly path: string; readonly generation: string }[] = [];
    for (let n = 0; this.going; n++) {
      if (this.paused > 0) {
        await sleep(5);
        continue;
      }
      this.busy.add(client);
      try {
        const those = this.house.controllers.filter((one) => one !== this.avoid);
        const at = those[Math.floor(this.random.next() * those.length)]!;
        if (own.length >= OWN || (own.length > 0 && this.random.next() < 0.4)) {
          const { id, path, generation } = own.shift()!;
          this.ledger.there.delete(id);
          // Made by another controller a moment ago, perhaps: one that has not heard of it would not know it.
          const status = (await this.call(at, "DELETE", `${path}/${id}`, undefined, { "x-axion-min-generation": generation }))?.status;
          // One that was in doubt is asked for no more: it may be there or not.
          if (status === 204) this.ledger.gone.add(id);
        } else {
          const name = `${client}-${n}`;
          this.ledger.asked.add(name);
          // A rule of the group of all VMs is flows on all hosts; a port takes an address.
          const [path, body]: [string, object] = n % 2 === 0
            ? ["/v2.0/ports", { port: { network_id: this.house.network, name } }]
            : ["/v2.0/security-group-rules", { security_group_rule: { security_group_id: this.house.group, direction: "ingress", ethertype: "IPv4", protocol: "tcp", port_range_min: client * 20_000 + n + 1, port_range_max: client * 20_000 + n + 1, description: name } }];
          const answer = await this.call(at, "POST", path, body);
          if (answer?.status === 201) {
            const [{ id }] = Object.values(answer.body as Record<string, Named>) as [Named];
            this.ledger.there.set(id, name);
            own.push({ id, path, generation: String(answer.headers["x-axion-generation"]) });
          }
        }
      } finally {
        this.busy.delete(client);
      }
      await sleep(30);
    }
  }

  /** undefined: it was not answered. */
  private async call(at: Controller, method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response<unknown> | undefined> {
    const answer = await request(at.apiSocket, method, path, body, { ...ADMIN, ...headers }, 8000).catch(() => undefined);
    this.ledger.count(answer === undefined ? "none" : String(answer.status));
    if (answer !== undefined) expect(answer.status === 503 ? [answer.headers["retry-after"]] : answer.status, JSON.stringify(answer.body)).toEqual(answer.status === 503 ? ["1"] : method === "DELETE" ? 204 : 201);
    return answer;
  }
}

interface Happening {
  readonly of: "controllers" | "etcd";
  /** What it is, and whose. */
  begin(): Promise<string>;
  end(): Promise<void>;
}

let house: House;

const metric = async (of: Controller, name: string, labels?: Record<string, string>): Promise<number> => metricOf((await of.ops<string>("GET", "/metrics")).body, name, labels);
/** Bundles that switches have taken of it. */
const bundles = (of: Controller): Promise<number> => metric(of, "axion_bundles_total", { result: "committed" });

/** Each kind of what may happen; which controller, or how much, is of the seed. */
function kinds(random: SeededRandom): Record<string, () => Happening> {
  const any = (): number => Math.floor(random.next() * house.controllers.length);
  const toController = (what: string, begin: (i: number) => Promise<void>, end: (i: number) => Promise<void>) => (): Happening => {
    const i = any();
    return { of: "controllers", begin: () => begin(i).then(() => `${what} ${house.controllers[i]!.name}`), end: () => end(i) };
  };
  const toLeader = (what: string, begin: (i: number) => void | Promise<void>, end: (i: number) => void | Promise<void>) => (): Happening => {
    let i = 0;
    const find = async (): Promise<string> => {
      i = await house.etcd.untilLed();
      await begin(i);
      return `${what} m${i}, etcd's leader`;
    };
    return { of: "etcd", begin: find, end: () => Promise.resolve(end(i)) };
  };
  const { etcd, controllers, nodes } = house;
  return {
    "controller killed": toController("kill -9 of", (i) => controllers[i]!.kill9(), (i) => controllers[i]!.start()),
    "controller cut off": toController("link down of", (i) => nodes[i]!.setLink("down"), (i) => nodes[i]!.setLink("up")),
    "clock set": toController("clock set of", (i) => house.setClock(i, Math.round((random.next() - 0.5) * 20_000)), (i) => house.setClock(i, 0)),
    "leader killed": toLeader("kill -9 of", (i) => etcd.kill(i), (i) => etcd.begin(i)),
    "leader stopped": toLeader("SIGSTOP of", (i) => etcd.freeze(i), (i) => etcd.thaw(i)),
    "leader cut off": toLeader("link down of", (i) => etcd.setLink(i, "down"), (i) => etcd.setLink(i, "up")),
    "no majority": () => {
      let gone: readonly number[] = [];
      return {
        of: "etcd",
        begin: async () => {
          const leads = await etcd.untilLed();
          gone = [leads, (leads + 1) % 3];
          await Promise.all(gone.map((i) => etcd.kill(i)));
          return `kill -9 of ${gone.map((i) => `m${i}`).join(" and ")}: no majority of etcd`;
        },
        end: () => {
          for (const i of gone) etcd.begin(i);
          return Promise.resolve();
        },
      };
    },
    "compacted": () => ({ of: "etcd", begin: () => etcd.compact().then(() => "etcd compacted"), end: () => etcd.compact() }),
    "disk full": () => ({ of: "etcd", begin: async () => `disk of m0 full (${(await etcd.fillDisk()) >> 20} MiB were left)`, end: () => etcd.emptyDisk() }),
  };
}

/** The rounds: what happens at once. Each kind once in a deck, decks until there are enough; one of controllers and one of etcd may come together. */
function plan(random: SeededRandom, rounds: number): (readonly Happening[] | "stale")[] {
  const made: (readonly Happening[] | "stale")[] = [];
  const known = kinds(random);
  if (!nightly) return ["stale", [known["leader killed"]!(), known["clock set"]!()]];
  while (made.length < rounds) {
    const deck: ("stale" | Happening)[] = ["stale", ...Object.values(known).map((make) => make())];
    for (let i = deck.length - 1; i > 0; i--) {
      const j = Math.floor(random.next() * (i + 1));
      [deck[i], deck[j]] = [deck[j]!, deck[i]!];
    }
    for (let i = 0; i < deck.length; i++) {
      const [one, next] = [deck[i]!, deck[i + 1]];
      if (one === "stale" || next === undefined || next === "stale" || one.of === next.of || random.next() < 0.5) made.push(one === "stale" ? one : [one]);
      else {
        made.push([one, next]);
        i++;
      }
    }
  }
  return made;
}

const ready = async (): Promise<void> => {
  for (const controller of house.controllers) await until(`${controller.name} to be ready`, async () => (await controller.ops("GET", "/readyz").catch(() => ({ status: 0 }))).status === 200, { timeoutMs: 60_000 });
};

/** Nothing is under way: what all show and have is the same, and what was acknowledged. */
async function whole({ ledger }: Clients): Promise<void> {
  await house.settled();
  const generation = Math.max(...(await Promise.all(house.controllers.map(async (c) => Number((await c.api("GET", "/v2.0/networks?limit=1", undefined, ADMIN)).headers["x-axion-generation"])))));
  const lists = await Promise.all(house.controllers.map(async (controller) => {
    const list = async (path: string): Promise<Named[]> => {
      const answer = await controller.api<Record<string, Named[]>>("GET", path, undefined, { ...ADMIN, "x-axion-min-generation": String(generation) });
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      return Object.values(answer.body)[0]!;
    };
    const ports = await list("/v2.0/ports?fields=id&fields=name&fields=fixed_ips&sort_key=id&sort_dir=asc");
    const rules = (await list(`/v2.0/security-group-rules?security_group_id=${house.group}&sort_key=id&sort_dir=asc`)) as unknown as { id: string; description: string | null }[];
    return { ports, rules: rules.map(({ id, description }) => ({ id, name: description ?? "" })) };
  }));
  for (const one of lists) expect(one).toEqual(lists[0]);
  const { ports, rules } = lists[0]!;
  const all = [...ports, ...rules].filter(({ name }) => ledger.asked.has(name));
  const byId = new Map(all.map(({ id, name }) => [id, name]));
  for (const [id, name] of ledger.there) expect(byId.get(id), `acknowledged: ${name}`).toBe(name);
  for (const id of ledger.gone) expect(byId.has(id), `deleted: ${id}`).toBe(false);
  expect(new Set(all.map(({ name }) => name)).size, "made twice").toBe(all.length);
  const addresses = ports.flatMap(({ fixed_ips }) => fixed_ips!.map(({ ip_address }) => ip_address));
  expect(new Set(addresses).size, "an address twice").toBe(addresses.length);
  for (const controller of house.controllers) {
    expect((await controller.ops("GET", "/flows?state=diff")).body, `what switches have otherwise than ${controller.name} wants`).toEqual({ flows: [] });
  }
}

/** A master is stopped, others take over and write; it goes on, and changes nothing. */
async function stale(random: SeededRandom, writing: Clients): Promise<string> {
  const shown = await Promise.all(house.controllers.map(async (c) => (await c.ops<{ members: { name: string; switches: number }[] }>("GET", "/cluster")).body.members));
  const masters = house.controllers.filter(({ name }) => shown[0]!.some((m) => m.name === name && m.switches > 0));
  const victim = masters[Math.floor(random.next() * masters.length)]!;
  const others = house.controllers.filter((one) => one !== victim);
  await writing.pause();
  await house.settled();
  const committed = await bundles(victim);
  process.kill(victim.pid, "SIGSTOP");
  writing.avoid = victim;
  writing.resume();
  try {
    await sleep(3000);
    await writing.pause();
    await house.settled(others);
    const before = await house.dumps();
    const told = await metric(victim === others[0] ? others[1]! : others[0]!, "axion_generation");
    process.kill(victim.pid, "SIGCONT");
    await until("the one that goes on to have heard of all", async () => (await metric(victim, "axion_generation")) >= told, { timeoutMs: 60_000 });
    await house.settled();
    expect(await house.dumps(), `flows after ${victim.name} went on`).toEqual(before);
    // Before it has heard that it is the master no more it may send what it wants changed: switches refuse it.
    expect(await bundles(victim)).toBe(committed);
  } finally {
    process.kill(victim.pid, "SIGCONT");
    writing.avoid = undefined;
    writing.resume();
  }
  return `SIGSTOP of ${victim.name}, and SIGCONT when others had its hosts`;
}

describe.skipIf(!haveEtcd)("three controllers, three members of etcd, their hosts", () => {
  beforeAll(async () => {
    house = await House.build({ name: "chaos.test", hosts: nightly ? 5 : 3, vmsPerHost: nightly ? 8 : 2, ...(nightly ? { diskMiB: 160 } : {}) });
  }, 300_000);
  afterAll(async () => {
    await house?.destroy();
  });

  test(`whatever happens to them by the plan of seed ${SEED}, nothing acknowledged is lost or twice, and no ping`, { timeout: nightly ? 3_600_000 : 180_000 }, async () => {
    const random = new SeededRandom(SEED);
    const happened: { readonly at: number; readonly what: string }[] = [];
    const note = (what: string): void => {
      happened.push({ at: performance.now(), what });
      if (nightly) console.info(what);
    };
    const pings = await house.ping(house.pairs(20, nightly ? 50 : 100));
    const clients = new Clients(house, new SeededRandom(SEED + 1));
    try {
      for (const round of plan(random, 40)) {
        if (round === "stale") note(await stale(random, clients));
        else {
          for (const one of round) note(await one.begin());
          await sleep(1500 + random.next() * (nightly ? 4000 : 1000));
          for (const one of round) await one.end();
          note("all is there again");
        }
        await house.etcd.untilLed();
        await ready();
        await clients.pause();
        await whole(clients);
        clients.resume();
        note("all is well");
      }
    } finally {
      await clients.stop();
    }
    const said = await house.lostNone(pings, happened);
    const { statuses, there, gone } = clients.ledger;
    // Otherwise nothing was tried.
    expect(statuses.get("201")).toBeGreaterThan(20);
    if (nightly) console.info(`seed ${SEED}: ${said}; answers ${JSON.stringify([...statuses])}; ${there.size} there, ${gone.size} deleted; ${happened.length} notes`);
  });

  test("a rolling restart of all three loses no ping and changes no flow", { timeout: nightly ? 600_000 : 120_000 }, async () => {
    const pings = await house.ping(nightly ? [...house.pairs(20, 10), ...house.pairs(1000, 1000, 20)] : [...house.pairs(6, 20), ...house.pairs(20, 1000, 6)]);
    const before = await house.dumps();
    const happened: { readonly at: number; readonly what: string }[] = [];
    for (const controller of house.controllers) {
      happened.push({ at: performance.now(), what: `stop of ${controller.name}` });
      expect(await controller.stop()).toBe(0);
      await house.settled(house.controllers.filter((one) => one !== controller));
      happened.push({ at: performance.now(), what: `start of ${controller.name}` });
      await controller.start();
      await house.settled();
      expect(await metric(controller, "axion_flow_mods_sent_total")).toBe(0);
    }
    expect(await house.dumps()).toEqual(before);
    const said = await house.lostNone(pings, happened);
    if (nightly) console.info(said);
  });

  test.skipIf(fakeTime === undefined)("the clocks of controllers were set by libfaketime", async () => {
    await house.setClock(0, 7200);
    await sleep(50);
    const made = await house.controllers[0]!.api<{ network: { created_at: string } }>("POST", "/v2.0/networks", { network: { name: "later" } }, ADMIN);
    expect(Date.parse(made.body.network.created_at) - Date.now()).toBeGreaterThan(7_000_000);
    await house.setClock(0, 0);
  });
});
