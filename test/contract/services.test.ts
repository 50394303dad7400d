// What an app's service, packet handler and soft tables can do, and what they cannot, through the real engine and API.
import { afterEach, describe, expect, test } from "vitest";
import {
  chassisTable, defineSoftTable, definePipeline, defineTable, each, extendResource, learned, observedTable, vifTable, type App, type LiveView, type Out, type Row, type ServiceDecl, type ServiceHost,
} from "#app";
import { attachmentTable, hostScope, lanScope, portResource, portTable, type Port } from "../../apps/l2/model.ts";
import { Harness, type HarnessOptions } from "../support/harness.ts";

const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) await h.close();
});

interface Note extends Row {
  readonly text: string;
}
const notes = defineTable<Note>()("note", {});
const unlisted = defineTable<Note>()("unlisted", {});
const heard = defineSoftTable<Note>()("heard", { ttlS: 60, limitPerOwner: 2, limit: 100 });

async function make(app: Partial<App>, options: HarnessOptions = {}): Promise<Harness> {
  const h = await Harness.make([{ name: "probe", about: "", requires: ["l2"], tables: [notes], softTables: [heard], ...app }], undefined, options);
  open.push(h);
  return h;
}

/** A harness with one service whose host the test uses as it likes. */
async function hosted(options: HarnessOptions = {}, stop: () => void | Promise<void> = () => undefined): Promise<{ h: Harness; host: ServiceHost }> {
  let host: ServiceHost | undefined;
  const h = await make({ services: [{ name: "s", about: "", start: (given) => ((host = given), stop) }] }, options);
  return { h, host: host! };
}

async function plugged(h: Harness): Promise<string> {
  await h.addChassis("hv1");
  const network = (await h.create("network", {})).id;
  const port = (await h.create("port", { network_id: network })).id;
  await h.plug("hv1", port, 5);
  await h.settled();
  return port;
}

describe("a service's host", () => {
  test("calls in time, once or again and again, until that is taken back", async () => {
    const { h, host } = await hosted();
    const calls: string[] = [];
    host.after(5, () => void calls.push("once"));
    const stop = host.every(2, () => void calls.push("beat"));
    host.after(1, () => void calls.push("never"))();
    h.clock.advance(7000);
    expect(calls).toEqual(["beat", "beat", "once", "beat"]);
    stop();
    h.clock.advance(60_000);
    expect(calls).toHaveLength(4);
  });

  test.each([NaN, 0, -1, Infinity, undefined as unknown as number])("refuses to call every %s seconds, which would be all the time or never", async (seconds) => {
    const { host } = await hosted();
    expect(() => host.every(seconds, () => undefined)).toThrow(/every .* seconds/);
    if (seconds !== 0) expect(() => host.after(seconds, () => undefined)).toThrow(/after .* seconds/);
  });

  test("leaves turns out while one is not done, and goes on after a failure", async () => {
    const { h, host } = await hosted();
    let begun = 0;
    let finish: () => void = () => undefined;
    host.every(1, () => (begun++, new Promise<void>((resolve, reject) => (finish = begun === 1 ? resolve : () => reject(new Error("late"))))));
    await h.clock.run(5000);
    expect(begun).toBe(1);
    finish();
    await h.clock.run(5000);
    expect(begun).toBe(2);
    finish();
    await h.clock.run(1000);
    expect(h.complaints).toMatchObject([{ app: "probe", service: "s", err: { message: "late" } }]);
    await h.clock.run(1000);
    expect(begun).toBe(3);
    finish();
    h.complaints.length = 0;
  });

  test("a throw costs its call alone, and is logged with app and service", async () => {
    const { h, host } = await hosted();
    let after = 0;
    host.every(1, () => {
      throw new Error("first");
    });
    host.every(1, () => {
      after++;
    });
    host.onCommit([portTable], () => {
      throw new Error("second");
    });
    h.clock.advance(3000);
    expect(after).toBe(3);
    h.clock.advance(10_000);
    await plugged(h);
    expect(h.complaints.length).toBeGreaterThan(0);
    for (const c of h.complaints) expect(c).toMatchObject({ app: "probe", service: "s" });
    expect(h.engine.generation).toBe(h.model.generation);
  });

  test("tells of rows that come, change and go, stored and derived, when all are seen", async () => {
    const { h, host } = await hosted();
    const told: string[] = [];
    host.onCommit([attachmentTable, portTable], (changes) => {
      for (const { table, id, before, after } of changes) {
        told.push(`${table.name} ${before === undefined ? "came" : after === undefined ? "went" : "changed"}`);
        if (table === attachmentTable) expect(host.view.get(attachmentTable, id)).toEqual(after);
      }
    });
    const port = await plugged(h);
    expect(told).toContain("port came");
    expect(told.filter((t) => t.startsWith("attachment"))).toEqual(["attachment came"]);
    told.length = 0;
    await h.call("PUT", `/v2.0/ports/${port}`, { port: { admin_state_up: false } });
    await h.settled();
    expect(told.sort()).toEqual(["attachment went", "port changed"]);
    expect(() => host.onCommit([unlisted], () => undefined)).toThrow("table unlisted, which no app lists");
    expect(h.complaints).toEqual([]);
  });

  test("hears what switches have confirmed, and of which commit it is told", async () => {
    const { h, host } = await hosted();
    const told: string[] = [];
    let compiled = 0;
    host.onCommit([attachmentTable], (_, generation) => void (compiled = generation));
    const stop = host.onConfirmed((chassis, generation) => void told.push(`${chassis} ${generation}`));
    await plugged(h);
    expect(compiled).toBeGreaterThan(0);
    expect(host.confirmed("hv1")).toBe(0);
    h.confirm("hv1");
    expect(host.confirmed("hv1")).toBeGreaterThanOrEqual(compiled);
    expect(told).toEqual([`hv1 ${h.engine.generation}`]);
    stop();
    h.confirm("hv1");
    expect(told).toHaveLength(1);
    host.onConfirmed(() => {
      throw new Error("third");
    });
    h.confirm("hv1");
    expect(h.complaints).toMatchObject([{ app: "probe", service: "s", err: { message: "third" } }]);
    await h.services.stop();
    expect(h.receivers.size).toBe(0);
  });

  test("writes by transactions that say who and what", async () => {
    const { h, host } = await hosted();
    const { result } = await host.transact("noting", (tx) => (tx.put(notes, { id: "n", text: tx.now }), tx.uuid()));
    expect(result).toMatch(/^[0-9a-f-]{36}$/);
    expect(host.view.get(notes, "n")?.text).toBe(new Date(host.clock.now()).toISOString().replace(".000", ""));
    expect(h.model.lastChange("note", "n")?.cause.call).toBe("probe s: noting");
    await expect(host.transact("failing", () => {
      throw new Error("no");
    })).rejects.toThrow("no");
  });

  test("is the same again under the same seed, and another under another", async () => {
    const run = async (seed: number): Promise<unknown[]> => {
      const { h, host } = await hosted({ seed });
      const out: unknown[] = [];
      const next = (): void => {
        host.after(host.random.next() * 10, () => {
          out.push([host.clock.now(), host.random.uuid()]);
          next();
        });
      };
      next();
      h.clock.advance(100_000);
      return out;
    };
    const first = await run(5);
    expect(first.length).toBeGreaterThan(10);
    expect(await run(5)).toEqual(first);
    expect(await run(6)).not.toEqual(first);
  });

  test("sees which hosts have a scope now, and of a scope for each variant those of that one", async () => {
    const { h, host } = await hosted();
    const port = await plugged(h);
    const network = h.view.get(portTable, port)!.network_id;
    await h.addChassis("hv2", { encap_types: ["vxlan"] });
    await h.plug("hv2", (await h.create("port", { network_id: network })).id, 5);
    await h.addChassis("hv3");
    await h.settled();
    expect([...host.having(lanScope(network))].sort()).toEqual(["hv1", "hv2"]);
    const key = h.view.get(chassisTable, "hv1")!.key;
    expect([...host.having(hostScope(key, "vxlan/4"))]).toEqual(["hv2"]);
    for (const [chassis, scope] of [["hv1", lanScope(network)], ["hv2", lanScope(network)], ["hv2", hostScope(key, "vxlan/4")]] as const) expect(host.has(chassis, scope), scope).toBe(true);
    for (const [chassis, scope] of [["hv3", lanScope(network)], ["hv1", hostScope(key, "vxlan/4")], ["hv1", lanScope("none")], ["none", lanScope(network)]] as const) expect(host.has(chassis, scope), scope).toBe(false);
    await h.unplug("hv1", port);
    await h.settled();
    expect([...host.having(lanScope(network))]).toEqual(["hv2"]);
  });

  test("takes back facts of its own app, and of no other", async () => {
    const { h, host } = await hosted();
    host.learn([learned(heard, "a", { id: "1", text: "x" }), learned(heard, "a", { id: "2", text: "y" })]);
    host.forget(heard, ["1", "never"]);
    expect(h.view.facts(heard)).toMatchObject([{ id: "2" }]);
    expect(() => host.forget(observedTable, ["x"])).toThrow("app probe forgets facts of soft table observed, which it does not list");
  });

  test("sends packets, and names what cannot be sent", async () => {
    const { h, host } = await hosted();
    host.send([{ chassis: "hv1", outPort: 1, data: Buffer.alloc(60) }, { chassis: "hv1", stage: "locate", registers: { net: 1, out_port_key: 2 }, data: Buffer.alloc(60) }]);
    expect(h.sent).toHaveLength(2);
    const send = (registers: Record<string, number>, stage: "locate" | "acl_in" = "locate"): void => host.send([{ chassis: "hv1", stage, registers, data: Buffer.alloc(60) }]);
    expect(() => send({ nothing: 1 })).toThrow("no app declares a register nothing");
    expect(() => send({ sg_policy: 1 })).toThrow("app probe sends a packet into locate with register sg_policy of security-groups");
    expect(() => send({ out_host: 65_536 })).toThrow("65536 in register out_host of 16 bits");
    expect(h.sent).toHaveLength(2);
  });
});

describe("the life of services", () => {
  test("they start as apps require each other, stop the other way round, and nothing of them goes on", async () => {
    const log: string[] = [];
    const hosts: ServiceHost[] = [];
    let calls = 0;
    const beat = (): void => {
      calls++;
    };
    const service = (name: string): readonly ServiceDecl[] => [{
      name, about: "",
      start(host) {
        log.push(`start ${name}`);
        hosts.push(host);
        host.every(1, beat);
        host.after(100, beat);
        host.onCommit([portTable], beat);
        return async () => {
          await new Promise((done) => setImmediate(done));
          log.push(`stop ${name}`);
          await host.transact("last words", (tx) => tx.put(notes, { id: name, text: "" }));
        };
      },
    }];
    const h = await Harness.make([
      { name: "b-first", about: "", requires: ["l2"], tables: [notes], services: service("first") },
      { name: "a-second", about: "", requires: ["b-first"], services: service("second") },
    ]);
    open.push(h);
    h.clock.advance(1000);
    expect(calls).toBe(2);
    await h.services.stop();
    expect(log).toEqual(["start first", "start second", "stop second", "stop first"]);
    expect(h.clock.pending).toBe(0);
    for (const host of hosts) {
      host.every(1, beat);
      host.after(1, beat);
      host.onCommit([portTable], beat);
      await expect(host.transact("late", () => undefined)).rejects.toThrow("is stopped");
      await expect(host.fetch("http://127.0.0.1:1/")).rejects.toMatchObject({ code: "STOPPED" });
      expect(() => host.send([])).toThrow("is stopped");
    }
    expect(h.clock.pending).toBe(0);
    await plugged(h);
    h.clock.advance(1_000_000);
    expect(calls).toBe(2);
    expect([...h.view.all(notes)].map((n) => n.id).sort()).toEqual(["first", "second"]);
    expect(h.complaints).toEqual([]);
  });

  test("one that cannot start or stop is logged; the others do", async () => {
    const log: string[] = [];
    const h = await make({
      services: [
        { name: "well", about: "", start: () => () => void log.push("well stopped") },
        {
          name: "broken", about: "",
          start(host) {
            host.every(1, () => void log.push("beat"));
            throw new Error("cannot start");
          },
        },
        { name: "stubborn", about: "", start: () => () => Promise.reject(new Error("cannot stop")) },
      ],
    });
    h.clock.advance(5000);
    await h.services.stop();
    expect(log).toEqual(["well stopped"]);
    expect(h.complaints).toMatchObject([{ service: "broken", err: { message: "cannot start" } }, { service: "stubborn", err: { message: "cannot stop" } }]);
  });

  test("one that never stops is not waited for", async () => {
    const { h } = await hosted({}, () => new Promise<void>(() => undefined));
    const stopped = h.services.stop();
    await h.clock.run(3000);
    await stopped;
  });

  test("two of one name in an app end the start", async () => {
    const s = { name: "s", about: "", start: (): undefined => undefined };
    await expect(make({ services: [s, s] })).rejects.toThrow("app probe has two services named s");
  });
});

describe("soft tables", () => {
  const frame = Buffer.alloc(60, 1);
  const pipeline = definePipeline({ registers: {}, tables: { probe_punt: { stage: "services", miss: "next", about: "probe", match: ["reg:in_port_key", "eth_type"] } } });
  const packet = (h: Harness, key: number): object[] => [
    ...h.packets.handle({ chassis: "hv1", inPort: 5, tableId: h.layout.table("probe_punt").id, data: frame, match: { [h.layout.register("in_port_key").field]: key } }),
  ];

  test("a packet handler sees every table; what it answers with is sent and learned; presentation and services read it until its time is over", async () => {
    let view: LiveView | undefined;
    let host: ServiceHost | undefined;
    const h = await make({
      pipeline,
      extend: [extendResource(portResource, { attributes: { heard: { type: "any", about: "what was heard of it" } }, present: (v: LiveView, row: Port) => ({ heard: v.facts(heard, row.id).map((f) => f.text) }) })],
      services: [{ name: "s", about: "", start: (given) => void (host = given) }],
      packetIn: {
        probe_punt(p, v): readonly Out[] {
          view = v;
          const at = v.by(portTable, "key", String(p.register("in_port_key"))).map((port) => v.get(attachmentTable, port.id)!)[0]!;
          return [
            { chassis: p.chassis, outPort: at.ofport, data: p.data },
            { chassis: p.chassis, stage: "locate", registers: { net: at.net_key, out_port_key: at.port_key }, data: p.data },
            learned(heard, at.port_id, { id: `${at.port_id}/1`, text: `by ${p.inPort}` }),
          ];
        },
      },
    });
    const port = await plugged(h);
    const key = h.view.get(portTable, port)!.key;
    const sent = packet(h, key);
    expect(sent).toMatchObject([{ outPort: 5 }, { chassis: "hv1", actions: [{ type: "set_field" }, { type: "set_field" }, { type: "resubmit", table: h.layout.entry("locate")!.id }] }]);
    expect(view!.all(chassisTable)).toBeDefined();
    const shown = async (): Promise<unknown> => (await h.call("GET", `/v2.0/ports/${port}`)).body.port.heard;
    expect(await shown()).toEqual(["by 5"]);
    expect((await h.call("PUT", `/v2.0/ports/${port}`, { port: { name: "x" } })).body.port.heard).toEqual(["by 5"]);
    expect(host!.view.facts(heard)).toHaveLength(1);
    h.clock.advance(60_000);
    expect(await shown()).toEqual([]);
    // An answer of which one part cannot be sent is none at all.
    expect(h.complaints).toEqual([]);
  });

  test("a handler that throws, or answers with what cannot be sent, costs that packet alone and teaches nothing", async () => {
    const answers: (() => readonly Out[])[] = [
      () => {
        throw new Error("oh no");
      },
      () => [learned(heard, "p", { id: "a", text: "" }), { chassis: "hv1", stage: "locate", registers: { nothing: 1 }, data: frame }],
      () => [learned(heard, "p", { id: "b", text: "" })],
    ];
    const h = await make({ pipeline, packetIn: { probe_punt: () => answers.shift()!() } });
    for (let n = 0; n < 3; n++) {
      expect(packet(h, 1)).toEqual([]);
      h.clock.advance(10_000); // the same hook is logged once in a while
    }
    expect(h.complaints).toMatchObject([{ app: "probe", table: "probe_punt", err: { message: "oh no" } }, { err: { message: "no app declares a register nothing" } }]);
    expect(h.view.facts(heard).map((f) => f.id)).toEqual(["b"]);
  });

  test("a rule or derivation that reads one fails by name, and nothing else does", async () => {
    const soft = heard as unknown as typeof notes;
    const made = defineTable<Note>()("made", { derived: true });
    const h = await make({
      pipeline, tables: [notes, made],
      rules: [pipeline.rule({ name: "curious", about: "", on: each(vifTable), emit: (_, view) => void view.get(soft, "a") })],
      derive: [{ name: "nosy", on: each(vifTable), into: made, reads: [notes], derive: (_, view) => (view.get(soft, "a"), undefined) }],
    });
    await plugged(h);
    expect(h.complaints).toMatchObject(["nosy", "curious"].map(() => ({ err: { message: "soft table heard is read: what packets taught decides no flow" } })));
  });

  test("has a name of its own", async () => {
    await expect(make({ softTables: [heard, heard] })).rejects.toThrow("soft table heard of probe has the name of a table of probe");
    await expect(make({ softTables: [defineSoftTable<Note>()("port", { ttlS: 1, limit: 1, limitPerOwner: 1 })] })).rejects.toThrow("soft table port of probe has the name of a table of l2");
  });
});

test("a transaction cannot decide by what is derived, nor by a table that nobody lists", async () => {
  const { h, host } = await hosted();
  await plugged(h);
  await expect(host.transact("x", (tx) => [...tx.all(attachmentTable)])).rejects.toThrow("table attachment is derived");
  await expect(host.transact("x", (tx) => tx.get(unlisted, "a"))).rejects.toThrow("table unlisted, which no app lists");
  expect(() => h.model.view.get(attachmentTable, "x")).toThrow("table attachment is derived");
});
