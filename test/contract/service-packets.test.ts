// What a service of an app does with packets: it takes them in turns and within bounds, answers later, and writes few rows because of them.
import { afterEach, describe, expect, test } from "vitest";
import { definePipeline, defineTable, learned, defineSoftTable, PacketRateError, type App, type PacketIn, type Row, type ServiceHost } from "#app";
import { Harness } from "../support/harness.ts";

const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) await h.close();
});

interface Note extends Row {
  readonly text: string;
}
const notes = defineTable<Note>()("note", {});
const heard = defineSoftTable<Note>()("heard", { ttlS: 60, limitPerOwner: 2, limit: 100 });
const table = { stage: "services", miss: "next", about: "", match: ["reg:in_port_key", "eth_type"] } as const;
const pipeline = definePipeline({ registers: {}, tables: { probe_punt: table, probe_other: table } });

async function hosted(more: Partial<App> = {}): Promise<{ h: Harness; host: ServiceHost }> {
  let host: ServiceHost | undefined;
  const h = await Harness.make([
    { name: "probe", about: "", requires: ["l2"], tables: [notes], softTables: [heard], pipeline, services: [{ name: "s", about: "", start: (given) => void (host = given) }], ...more },
  ]);
  open.push(h);
  return { h, host: host! };
}

function arrive(h: Harness, port: number, byte = 0, name = "probe_punt"): readonly object[] {
  const data = Buffer.alloc(60, byte);
  const answers = h.packets.handle({ chassis: "hv1", inPort: 5, tableId: h.layout.table(name).id, data, match: { [h.layout.register("in_port_key").field]: port } });
  data.fill(0xee); // the buffer is the connection's, and is used again
  return answers;
}
/** Until what waits in the event loop has had many turns. */
const turns = async (): Promise<void> => {
  for (let n = 0; n < 50; n++) await new Promise((done) => setImmediate(done));
};

describe("packets of a table", () => {
  test("come to a service that asks for them, which answers later, until it asks no more", async () => {
    const { h, host } = await hosted();
    const seen: PacketIn[] = [];
    const stop = host.onPacket("probe_punt", (packet) => {
      seen.push(packet);
      host.after(3, () => host.send([{ chassis: packet.chassis, outPort: packet.inPort, data: packet.data }]));
    });
    expect(arrive(h, 7, 9)).toEqual([]);
    arrive(h, 7, 9, "probe_other");
    await turns();
    expect(seen).toMatchObject([{ chassis: "hv1", inPort: 5, table: "probe_punt" }]);
    expect(seen[0]!.register("in_port_key")).toBe(7);
    expect(h.sent).toEqual([]);
    h.clock.advance(3000);
    expect(h.sent).toMatchObject([{ app: "probe", packet: { outPort: 5, data: Buffer.alloc(60, 9) } }]);
    stop();
    arrive(h, 7);
    await turns();
    expect(seen).toHaveLength(1);
    expect(() => host.onPacket("l2_lookup", () => undefined)).toThrow("app probe wants packets of table l2_lookup, which it does not declare");
    expect(h.complaints).toEqual([]);
  });

  test("come to the table's handler as well", async () => {
    const { h, host } = await hosted({ packetIn: { probe_punt: (p) => [{ chassis: p.chassis, outPort: 1, data: p.data }, learned(heard, "o", { id: "a", text: "" })] } });
    let seen = 0;
    host.onPacket("probe_punt", () => {
      seen++;
    });
    expect(arrive(h, 1)).toHaveLength(1);
    await turns();
    expect([seen, h.view.facts(heard).length]).toEqual([1, 1]);
  });

  test("of a port that sends much cost that port alone: it is dropped and counted", async () => {
    const { h, host } = await hosted();
    const order: number[] = [];
    host.onPacket("probe_punt", (packet) => void order.push(packet.register("in_port_key")), { perPort: 4, total: 6 });
    for (let n = 0; n < 50; n++) arrive(h, 1);
    arrive(h, 2);
    arrive(h, 3);
    arrive(h, 4); // the seventh
    expect(h.dropped).toEqual([...Array.from({ length: 46 }, () => "s port"), "s total"]);
    await turns();
    expect(order).toEqual([1, 2, 3, 1, 1, 1]);
    arrive(h, 4);
    await turns();
    expect(order.at(-1)).toBe(4);
  });

  test("of one owner, however many ports he has, keep no other's out: each has as much as a port, and owners take turns", async () => {
    const { h, host } = await hosted();
    const order: string[] = [];
    const owners = ["", "greedy", "honest", "calm"];
    host.onPacket("probe_punt", (packet) => void order.push(`${owners[packet.data[0]!]!} ${packet.register("in_port_key")}`), {
      perPort: 2, total: 6, owner: ({ data }) => (data[0] === 0 ? undefined : owners[data[0]!]),
    });
    for (let n = 1; n <= 20; n++) arrive(h, n, 1);
    for (let n = 0; n < 3; n++) arrive(h, 30, 2);
    arrive(h, 31, 2); // honest has his two
    arrive(h, 40, 3);
    arrive(h, 50, 0); // nobody's
    expect(h.dropped).toEqual([...Array.from({ length: 14 }, () => "s total"), "s port", "s total", "s total"]);
    await turns();
    expect(order).toEqual(["greedy 1", "honest 30", "calm 40", "greedy 2", "honest 30", "greedy 3", "greedy 4", "greedy 5", "greedy 6"]);
    for (let n = 1; n <= 6; n++) arrive(h, n, 1);
    arrive(h, 50, 0);
    expect(h.dropped.splice(17)).toEqual(["s total"]);
  });

  test("whose owner cannot be told, since that fails, are nobody's", async () => {
    const { h, host } = await hosted();
    let seen = 0;
    host.onPacket("probe_punt", () => {
      seen++;
    }, { owner: () => { throw new Error("no owner"); } });
    arrive(h, 1);
    await turns();
    expect([seen, h.complaints.length]).toEqual([1, 1]);
  });

  test("that are worked on count until the work is done, well or not", async () => {
    const { h, host } = await hosted();
    const ends: ((error?: Error) => void)[] = [];
    host.onPacket("probe_punt", () => new Promise<void>((resolve, reject) => ends.push((error) => (error === undefined ? resolve() : reject(error)))), { perPort: 2, total: 3 });
    for (let n = 0; n < 3; n++) arrive(h, 1);
    await turns();
    expect([ends.length, h.dropped.length]).toEqual([2, 1]);
    ends[0]!();
    ends[1]!(new Error("no answer"));
    await turns();
    for (let n = 0; n < 2; n++) arrive(h, 1);
    await turns();
    expect([ends.length, h.dropped.length]).toEqual([4, 1]);
    expect(h.complaints).toMatchObject([{ app: "probe", service: "s", err: { message: "no answer" } }]);
  });

  test("that make a service throw cost their own call; after the stop none comes", async () => {
    const { h, host } = await hosted();
    let seen = 0;
    host.onPacket("probe_punt", () => {
      seen++;
      throw new Error("bad packet");
    });
    arrive(h, 1);
    arrive(h, 1);
    await turns();
    expect(seen).toBe(2);
    expect(h.complaints).toMatchObject([{ app: "probe", service: "s", err: { message: "bad packet" } }]);
    arrive(h, 1);
    await h.services.stop();
    arrive(h, 1);
    await turns();
    expect(seen).toBe(2);
    host.onPacket("probe_punt", () => {
      seen++;
    });
    arrive(h, 1);
    await turns();
    expect(seen).toBe(2);
  });
});

describe("what is written because of packets", () => {
  test("is little for each port, whichever way it is called; what is written for another reason is not counted", async () => {
    const { h, host } = await hosted();
    const results: string[] = [];
    const write = async (how: string): Promise<void> => {
      const written = host.transact("note", (tx) => tx.put(notes, { id: tx.uuid(), text: how }));
      await written.then(() => results.push(`${how} written`), (error: unknown) => results.push(`${how} ${error instanceof PacketRateError ? "refused" : String(error)}`));
    };
    let how: "now" | "later" = "now";
    host.onPacket("probe_punt", async (packet) => {
      const name = `${packet.register("in_port_key")} ${how}`;
      if (how === "now") await write(name);
      else host.after(0.1, () => write(name));
    });
    for (let n = 0; n < 7; n++) arrive(h, 1);
    await turns();
    await h.settled();
    expect(results).toEqual([...Array.from({ length: 5 }, () => "1 now written"), "1 now refused", "1 now refused"].sort());
    expect([...h.view.all(notes)]).toHaveLength(5);
    expect(h.dropped).toEqual(["s writes", "s writes"]);
    results.length = 0;
    for (let n = 0; n < 20; n++) await write("own");
    expect(results.every((r) => r === "own written")).toBe(true);
    results.length = 0;
    how = "later";
    arrive(h, 1);
    arrive(h, 2);
    await turns();
    await h.clock.run(100);
    await turns();
    expect(results.sort()).toEqual(["1 later refused", "2 later written"]);
    results.length = 0;
    how = "now";
    await h.clock.run(2000);
    for (let n = 0; n < 3; n++) arrive(h, 1);
    await turns();
    expect(results.sort()).toEqual(["1 now refused", "1 now written", "1 now written"]);
    expect(h.complaints).toEqual([]);
  });

  test("of one owner's packets does not keep another from it", async () => {
    const { h, host } = await hosted();
    const written: string[] = [];
    const owner = (packet: PacketIn): string | undefined => ["nobody's", "greedy", "honest"][packet.data[0]!];
    host.onPacket("probe_punt", (packet) => host.transact("note", (tx) => tx.put(notes, { id: `${packet.register("in_port_key")}`, text: "" })).then(() => void written.push(String(owner(packet))), () => undefined), {
      owner: (packet) => (packet.data[0] === 0 ? undefined : owner(packet)),
    });
    const count = async (): Promise<Record<string, number>> => {
      await turns();
      await h.settled();
      await turns();
      const counts: Record<string, number> = {};
      for (const of of written.splice(0)) counts[of] = (counts[of] ?? 0) + 1;
      return counts;
    };
    for (let n = 1; n <= 150; n++) arrive(h, n, 1);
    expect(await count()).toEqual({ greedy: 105 });
    for (let n = 1; n <= 10; n++) arrive(h, 200 + n, 2);
    for (let n = 1; n <= 10; n++) arrive(h, 300 + n, 0);
    expect(await count()).toEqual({ honest: 5 });
    // One a second is left to each, whatever the others take.
    await h.clock.run(1000);
    for (let n = 1; n <= 100; n++) arrive(h, 400 + n, 1);
    expect(await count()).toEqual({ greedy: 51 });
    arrive(h, 201, 2);
    arrive(h, 202, 2);
    expect(await count()).toEqual({ honest: 1 });
  });

  test("is limited for all ports together", async () => {
    const { h, host } = await hosted();
    let [written, refused] = [0, 0];
    host.onPacket("probe_punt", (packet) => host.transact("note", (tx) => tx.put(notes, { id: `${packet.register("in_port_key")}`, text: "" })).then(() => { written++; }, () => { refused++; }));
    for (let n = 1; n <= 150; n++) arrive(h, n);
    await turns();
    await h.settled();
    await turns();
    expect([written, refused]).toEqual([100, 50]);
    await h.clock.run(1000);
    for (let n = 1; n <= 60; n++) arrive(h, 1000 + n);
    await turns();
    expect([written, refused]).toEqual([150, 60]);
  });
});
