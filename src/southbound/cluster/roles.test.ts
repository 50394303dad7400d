// What two controllers are at one switch, a real ovs-vswitchd, while they do not know the same of members and hosts.
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { machineClock, SimulatedClock, type Clock } from "../../lib/clock.ts";
import { Metrics } from "../../lib/metrics.ts";
import { Connections } from "../bounds/connections.ts";
import { Troubles } from "../bounds/troubles.ts";
import { listenOpenFlow, type OpenFlowListener, type SwitchSession } from "../openflow/session.ts";
import { Known } from "../testing/known.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { numbered, World } from "../testing/world.ts";
import { southboundMetrics } from "../metrics.ts";
import { Roles } from "./roles.ts";

const log = pino({ level: "silent" });

/** A controller, as far as its role at a switch is concerned. */
class Party extends Known {
  took = 0;
  /** How often a switch refused it: then it asks for what there is. */
  refused = 0;
  readonly roles: Roles;
  constructor(name: string, clock: Clock = machineClock) {
    super(name);
    this.roles = new Roles({ masterOnHost: () => Promise.resolve(null), cluster: this, clock, log, counted: southboundMetrics(new Metrics(), () => 0, () => ({ active: 0, waiting: 0 })), master: () => this.took++, slave: () => undefined });
  }
  override refresh(): Promise<void> {
    this.refused++;
    return super.refresh();
  }
  session: SwitchSession | undefined;
  listener!: OpenFlowListener;

  async listen(): Promise<this> {
    const troubles = new Troubles(log, machineClock);
    this.listener = await listenOpenFlow({
      host: "127.0.0.1", port: 0, maxConnections: 10, handshakeTimeoutMs: 5000, clock: machineClock, troubles,
      connections: new Connections({ port: "OpenFlow", perAddress: 10, perPrefix: 10, total: 10, troubles }),
      onSession: (session) => {
        this.session = session;
        this.roles.enter("hv1", session);
      },
    });
    return this;
  }
  get role(): string | undefined {
    return this.roles.of("hv1");
  }
  asked(): Promise<string> {
    return this.session!.role("nochange");
  }
}
let ovs: Ovs;
let a: Party;
let b: Party;

beforeAll(async () => {
  [ovs, a, b] = await Promise.all([Ovs.start(), new Party("a").listen(), new Party("b").listen()]);
  await ovs.vsctl("add-br", "br0", "--", "set-controller", "br0", ...[a, b].map(({ listener }) => `tcp:127.0.0.1:${listener.port}`), "--", "set", "Bridge", "br0", "protocols=OpenFlow13");
  await eventually("a session of each", () => a.role === "master" && b.role === "slave");
}, 60_000);
afterAll(async () => {
  for (const party of [a, b]) party.roles.stop();
  await Promise.all([a, b].map(({ listener }) => listener.close()));
  await ovs.stop();
});

test("who stays the master claims it in each new term: what another one claims that knows less is refused, and no comparison comes of it", async () => {
  const took = a.took;
  a.knows("a", 10);
  await eventually("the claim", async () => (await b.session!.role("slave", 9n)) === "stale");
  // It thinks that it is the master, as of hosts that are not those of today.
  b.knows("b", 9);
  await eventually("b is refused", async () => (await b.asked()) === "slave" && b.role !== "master");
  expect([await a.asked(), a.role, a.took]).toEqual(["master", "master", took]);
  b.knows("a", 10);
  await eventually("b is a slave", () => b.role === "slave");
});

test("another one claimed it before the new term came: who is the master finds that out, and compares as one that comes", async () => {
  const took = a.took;
  b.knows("b", 20);
  await eventually("b is the master", () => b.role === "master");
  expect(await a.asked()).toBe("slave");
  // Nobody has told it.
  expect(a.role).toBe("master");
  b.knows("a", 21);
  await eventually("b gives it back", () => b.role === "slave");
  a.knows("a", 21);
  await eventually("a has it again", async () => (await a.asked()) === "master" && a.took === took + 1);
  expect([a.role, await b.asked()]).toEqual(["master", "slave"]);
});

test("a switch that refuses is not asked the same again before its pause is over, whatever is told meanwhile; in a later term it is, at once", async () => {
  const c = await new Party("c", new SimulatedClock()).listen();
  try {
    // Of hosts that are not those of today.
    c.knows("c", 5);
    await ovs.vsctl("--id=@c", "create", "Controller", `target="tcp:127.0.0.1:${c.listener.port}"`, "--", "add", "Bridge", "br0", "controller", "@c");
    await eventually("it is refused", () => c.refused === 1);
    for (let n = 0; n < 20; n++) {
      c.knows("c", 5);
      await c.asked(); // what was sent before has its answer by then
    }
    expect([c.refused, c.role]).toEqual([1, undefined]);
    // Nor in a later one that the switch is known to refuse as well.
    await eventually("what the switch knows", () => c.roles.refusing("hv1")?.term === 21n);
    for (let term = 6; term < 21; term++) {
      c.knows("c", term);
      await c.asked();
    }
    expect([c.refused, c.role]).toEqual([1, undefined]);
    c.knows("c", 30);
    await eventually("it is the master", () => c.role === "master");
    for (const party of [a, b]) party.knows("c", 30);
  } finally {
    c.roles.stop();
    await c.listener.close();
  }
});

test("changes that a switch refuses because it has another master are no refused flows: they come when this controller is the master again", async () => {
  const host = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
  const known = new Known("a");
  const w = await World.start({ cluster: known, want: () => ({ flows: [numbered(1)] }) });
  const other = new Party("b");
  try {
    await w.adopt(host);
    await other.listen();
    other.term = 5;
    await host.vsctl("--id=@c", "create", "Controller", `target="tcp:127.0.0.1:${other.listener.port}"`, "--", "add", "Bridge", "br-int", "controller", "@c");
    await eventually("both", () => other.role === "slave" && w.info()?.role === "master");
    other.knows("b", 6);
    await eventually("the other one is the master", () => other.role === "master");
    const generation = await w.desired.become(() => ({ flows: [numbered(1), numbered(2)] }));
    await eventually("it is known to be no master", () => w.info()?.role !== "master" && w.info()?.state === "standby");
    expect([w.southbound.quarantined("hv1"), await host.flows()]).toEqual([[], [expect.stringContaining("reg0=0x1 ")]]);
    expect(w.log.filter(({ message }) => message === "switch refused a flow; it is set aside")).toEqual([]);
    // It is found out that this one is the master, in the latest term; the other one gives way.
    known.newest = { master: "a", term: 7 };
    other.knows("a", 7);
    await w.confirmed(generation);
    expect((await host.flows()).length).toBe(2);
  } finally {
    other.roles.stop();
    await other.listener.close();
    await w.stop();
    await host.stop();
  }
}, 60_000);
