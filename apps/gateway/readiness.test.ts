import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Gateways, HOSTS, other } from "./gateways.fixture.ts";
import { gatewayPlanTable, gatewayReadyTable, routerGatewayTable } from "./model.ts";

let g: Gateways;
beforeEach(async () => {
  g = await Gateways.make();
});
afterEach(() => g.end());

describe("who may use a host", () => {
  test("one whose flows are confirmed: its users first, its fellows when they have heard", async () => {
    await g.pass(3);
    expect(HOSTS.map((host) => g.ready(host))).toEqual([undefined, undefined]);
    g.synced.add("gw1");
    await g.pass(0.5);
    expect(g.ready("gw1")).toEqual({ users: true, fellows: false });
    await g.pass(2);
    expect(g.ready("gw1")).toEqual({ users: true, fellows: true });
    expect(g.ready("gw2")).toBeUndefined();
  });

  /** Lets time pass, and notes each state of a host that differs from the one before; what its peers see of it follows at once if they answer. */
  async function states(host: string, seconds: number, answers = true): Promise<string[]> {
    const found: string[] = [];
    for (let t = 0; t < seconds * 10; t++) {
      await g.pass(0.1);
      const row = g.h.view.get(gatewayReadyTable, host);
      const text = row === undefined ? "none" : Object.entries(row).flatMap(([name, value]) => (value === true && name !== "gateway" ? [name] : [])).join(" ");
      if (text !== found.at(-1)) found.push(text);
      if (answers) g.see(other(host), host, row?.fellows === true, "up");
    }
    return found;
  }

  test("one that is drained is left in steps: fellows take part, users leave it, fellows stand for it; and is had again likewise", async () => {
    await g.allReady();
    await g.h.addChassis("gw1", { key: 1, gateway: true, drain: true });
    expect(await states("gw1", 6)).toEqual(["users fellows", "users fellows shared", "fellows shared", "shared", "none"]);
    expect(g.plan().hosts).toContain("gw1");
    await g.h.addChassis("gw1", { key: 1, gateway: true });
    await g.h.settled();
    expect(await states("gw1", 6)).toEqual(["none", "shared", "fellows shared", "users fellows shared", "users fellows"]);
  });

  test("one that may have no gateways any more hands over what it has first; said again meanwhile it keeps them", async () => {
    await g.allReady();
    await g.h.addChassis("gw1", { key: 1, gateway: false });
    await g.h.settled();
    expect(g.plan().hosts.toSorted()).toEqual(HOSTS);
    expect(await states("gw1", 1.5)).toEqual(["users fellows", "users fellows shared", "fellows shared"]);
    await g.h.addChassis("gw1", { key: 1, gateway: true });
    expect(await states("gw1", 3)).toEqual(["fellows shared", "users fellows shared", "users fellows"]);
    await g.h.addChassis("gw1", { key: 1, gateway: false });
    expect(await states("gw1", 6)).toEqual(["users fellows", "users fellows shared", "fellows shared", "shared", "none"]);
    expect(g.plan().hosts).toEqual(["gw2"]);
  });

  test("one that may have none any more and is lost has none at once", async () => {
    await g.allReady();
    g.h.away.add("gw1");
    g.synced.delete("gw1");
    await g.h.addChassis("gw1", { key: 1, gateway: false });
    await g.pass(0.5);
    expect(g.plan().hosts).toEqual(["gw2"]);
  });

  test("a step waits for the switches of the one before, and not for ever", async () => {
    await g.allReady();
    await g.h.addChassis("gw1", { key: 1, gateway: true, drain: true });
    expect(await states("gw1", 2.8)).toEqual(["users fellows", "users fellows shared", "fellows shared", "shared"]);
    g.see("gw2", "gw1", true);
    expect(await states("gw1", 2, false)).toEqual(["shared"]);
    expect(await states("gw1", 3, false)).toEqual(["shared", "none"]);
  });

  test("one that is drained gets no new gateway while there is another, and has it when it is back", async () => {
    await g.allReady();
    const more = async (): Promise<string> => {
      const { id } = await g.h.create("router", { external_gateway_info: { network_id: g.outside, enable_snat: false } });
      await g.h.settled();
      return id;
    };
    const hostsOf = (id: string): readonly string[] => g.h.view.by(gatewayPlanTable, "router", id)[0]!.hosts.toSorted();
    await g.h.addChassis("gw1", { key: 1, gateway: true, drain: true });
    const second = await more();
    expect(hostsOf(second)).toEqual(["gw2"]);
    expect(hostsOf(g.router)).toEqual(HOSTS);
    await g.pass(3);
    await g.h.addChassis("gw2", { key: 2, gateway: true, drain: true });
    const third = await more();
    // One that is not used is better than none.
    expect(hostsOf(third)).toEqual(HOSTS);
    expect(hostsOf(second)).toEqual(["gw2"]);
    await g.h.addChassis("gw1", { key: 1, gateway: true });
    await g.pass(3);
    expect([hostsOf(second), hostsOf(third)]).toEqual([HOSTS, ["gw1"]]);
    // What it has had since then it hands over like the others.
    await g.h.addChassis("gw1", { key: 1, gateway: true, drain: true });
    await g.pass(0.3);
    expect([hostsOf(g.router), hostsOf(second)]).toEqual([HOSTS, HOSTS]);
    await g.h.addChassis("gw1", { key: 1, gateway: true });
    await g.h.addChassis("gw2", { key: 2, gateway: true });
    await g.pass(3);
    expect(hostsOf(third)).toEqual(HOSTS);
    expect(g.h.view.by(routerGatewayTable, "network", g.outside).some((g) => g.avoids !== undefined)).toBe(false);
  });

  test("one that is lost is not ready at once, and is again when its flows are confirmed", async () => {
    await g.allReady();
    g.h.away.add("gw2");
    g.synced.delete("gw2");
    await g.pass(0.5);
    expect(g.ready("gw2")).toBeUndefined();
    await g.pass(2);
    expect(g.ready("gw2")).toBeUndefined();
    g.h.away.delete("gw2");
    await g.pass(1);
    expect(g.ready("gw2")).toBeUndefined();
    g.synced.add("gw2");
    await g.pass(15);
    expect(g.ready("gw2")).toEqual({ users: true, fellows: true });
  });

  test("a controller that starts believes what was stored, unless a fellow sees that it is not so", async () => {
    await g.allReady();
    g.h = await g.h.restart();
    g.synced.clear();
    for (const host of HOSTS) g.h.away.add(host);
    await g.pass(2);
    expect(HOSTS.map((host) => g.ready(host))).toEqual(HOSTS.map(() => ({ users: true, fellows: true })));
    g.see("gw1", "gw2", false);
    await g.pass(0.5);
    expect(g.ready("gw2")).toBeUndefined();
    expect(g.ready("gw1")).toEqual({ users: true, fellows: true });
  });

  test("one that is no gateway any more leaves nothing", async () => {
    await g.allReady();
    await g.h.call("PUT", `/v2.0/routers/${g.router}`, { router: { external_gateway_info: null } });
    await g.h.settled();
    await g.pass(1);
    expect([...g.h.view.all(gatewayReadyTable)]).toEqual([]);
    expect(g.h.timers, "nothing is looked at any more").toBe(0);
  });
});

test("an administrator sees which hosts a gateway has, and which one has it; others do not", async () => {
  const shown = async (id = g.router, headers: Record<string, string> = {}): Promise<unknown> =>
    ((await g.h.call("GET", `/v2.0/routers/${id}?fields=axion:gateway_hosts`, undefined, headers)).body as { router: Record<string, unknown> }).router["axion:gateway_hosts"];
  const [first, second] = g.plan().hosts as [string, string];
  const hosts = (...of: readonly [ready: boolean, alive: boolean | null][]): object[] => of.map(([ready, alive], i) => ({ host: [first, second][i], ready, alive }));
  expect(await shown()).toEqual([{ network_id: g.outside, port_id: g.plan().id, active: null, hosts: hosts([false, null], [false, null]) }]);
  await g.allReady();
  expect(await shown()).toMatchObject([{ active: first, hosts: hosts([true, true], [true, true]) }]);
  g.see(second, first, false);
  expect(await shown()).toMatchObject([{ active: second, hosts: hosts([true, false], [true, true]) }]);
  const member = { "x-project-id": "p1", "x-roles": "member" };
  expect(await shown((await g.h.create("router", {}, member)).id, member)).toBeUndefined();
  expect(JSON.stringify((await g.h.call("GET", `/v2.0/routers/${g.router}`)).body)).not.toContain("gateway_hosts");
});
