// What several stores on one etcd promise each other, and what becomes of one whose etcd is away. The contract of every backend is in
// contract.test.ts.
import { createHash, randomBytes } from "node:crypto";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { EtcdClient } from "etcd-v3-client";
import { EtcdServer, haveEtcd } from "etcd-v3-client/testing";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import type { KvStore } from "../kv.ts";
import type { Keep } from "../log.ts";
import { openStore } from "../open.ts";
import { etcdUrl, list, put, stopEtcd } from "../testing/backends.ts";
import { parseEtcdUrl } from "./url.ts";

afterAll(stopEtcd);

const until = async (what: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await what())) await new Promise((done) => setTimeout(done, 10));
};
/** A connection to a port that can be cut. */
class Cable {
  private readonly to: number;
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();
  port = 0;

  private constructor(to: number) {
    this.to = to;
  }

  static async lay(to: number): Promise<Cable> {
    const cable = new Cable(to);
    await cable.mend();
    return cable;
  }

  async mend(): Promise<void> {
    const server = (this.server = createServer((from) => {
      const on = connect(this.to, "127.0.0.1");
      for (const socket of [from, on]) {
        this.sockets.add(socket);
        socket.on("error", () => undefined).once("close", () => {
          this.sockets.delete(socket);
          from.destroy();
          on.destroy();
        });
      }
      from.pipe(on).pipe(from);
    }));
    await new Promise<void>((done) => server.listen(this.port, "127.0.0.1", done));
    this.port = (server.address() as AddressInfo).port;
  }

  async cut(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    for (const socket of this.sockets) socket.destroy();
    if (server !== undefined) await new Promise((done) => server.close(done));
  }
}
async function open(url: string, keep?: Keep): Promise<KvStore> {
  const store = await openStore(url, { dataDir: "", ...(keep && { keep }) });
  onTestFinished(() => store.close());
  return store;
}
/** "revision writer key=value ..." of each that is told. */
function told(store: KvStore): string[] {
  const lines: string[] = [];
  store.watch({ prefix: "" }, (revision, events, writer) => lines.push(`${revision} ${writer} ${events.map(({ key, value }) => `${key}=${value?.toString() ?? "-"}`).join(" ")}`), (error) => lines.push(error.code));
  return lines;
}
const digest = (value: Buffer | undefined): string => (value === undefined ? "-" : createHash("sha1").update(value).digest("hex"));
async function all(store: KvStore): Promise<unknown> {
  const log: unknown[] = [];
  for await (const { changes, ...commit } of store.history(store.oldest)) log.push({ ...commit, changes: changes.map(({ key, before, after }) => [key, before?.modRevision, digest(before?.value), digest(after)]) });
  return { rows: (await list(store)).map(({ value, ...row }) => ({ ...row, value: digest(value) })), log };
}
/** Both have come to the same: rows and log. */
async function same(a: KvStore, b: KvStore): Promise<void> {
  await until(() => a.revision === b.revision);
  expect(await all(a)).toEqual(await all(b));
}

test("of a URL: endpoints, their ports, TLS, the prefix; what is none says why", () => {
  expect(parseEtcdUrl("etcd://a:1,b,[::1]:2,[::1],a:1")).toEqual({ endpoints: ["a:1", "b:2379", "[::1]:2", "[::1]:2379"], tls: false, prefix: "axion" });
  expect(parseEtcdUrl("etcds://192.0.2.1/clouds/one")).toEqual({ endpoints: ["192.0.2.1:2379"], tls: true, prefix: "clouds/one" });
  for (const url of ["etcd:", "etcd://", "etcd:///a", "etcd://a:0", "etcd://a:1:2", "etcd://a,,b", "etcd://u:p@a", "etcd://a/.", `etcd://${Array.from({ length: 17 }, (_, i) => `h${i}`).join(",")}`]) expect(() => parseEtcdUrl(url), url).toThrow(/etcd:\/\/HOST:2379/);
  expect(() => parseEtcdUrl("etcd://u:secret@a")).not.toThrow(/secret/);
});

describe.skipIf(!haveEtcd)("two stores on one etcd", () => {
  test("each is told every commit of the other, in order; one that was decided on less than is there is refused, or decided anew", async () => {
    const url = await etcdUrl();
    const [a, b] = [await open(url), await open(url)];
    const [toldA, toldB] = [told(a), told(b)];
    await a.append(0, [{ ops: [put("x", "1")] }, { ops: [put("y", "1")] }], "A");
    // B may not have heard of it: it is refused, and has heard of it then.
    const refused = await b.append(0, [{ ops: [put("x", "lost")] }], "B");
    expect(refused).toEqual({ ok: false, revision: 2 });
    expect((await b.get("y"))?.value.toString()).toBe("1");
    expect(await b.append(2, [{ ops: [put("x", "2")] }], "B")).toEqual({ ok: true, revisions: [3] });
    // A txn says itself what it depends on, as far as its store has heard.
    await until(() => a.revision === 3);
    expect(await a.txn([{ key: "x", modRevision: 3 }], [put("z", "1")])).toMatchObject({ ok: true });
    expect(await b.txn([{ key: "z", modRevision: 0 }], [put("z", "lost")])).toMatchObject({ failed: "z", revision: 4 });
    await same(a, b);
    expect(toldA).toEqual(["1 A x=1", "2 A y=1", "3 B x=2", "4  z=1"]);
    expect(toldB).toEqual(toldA);
  });

  test("hundreds of increments from both sides lose none", { timeout: 120_000 }, async () => {
    const url = await etcdUrl();
    const stores = [await open(url), await open(url)];
    const tolds = stores.map(told);
    await Promise.all(
      stores.flatMap((store) =>
        Array.from({ length: 4 }, async () => {
          for (let n = 0; n < 25; ) {
            const entry = await store.get("n");
            const { ok } = await store.txn([{ key: "n", modRevision: entry?.modRevision ?? 0 }], [put("n", String(Number(entry?.value.toString() ?? "0") + 1))]);
            if (ok) n++;
          }
        }),
      ),
    );
    await same(stores[0]!, stores[1]!);
    expect((await stores[0]!.get("n"))?.value.toString()).toBe("200");
    expect(tolds[0]).toEqual(Array.from({ length: 200 }, (_, i) => `${i + 1}  n=${i + 1}`));
    expect(tolds[1]).toEqual(tolds[0]);
  });

  test("a commit too large for one request is there as a whole, for both and after a restart", async () => {
    const url = await etcdUrl();
    const [a, b] = [await open(url), await open(url)];
    const seen = told(b);
    const large = Array.from({ length: 3 }, (_, i) => ({ put: `large/${i}`, value: randomBytes(2_000_000) }));
    await a.txn([], [...large, ...Array.from({ length: 1000 }, (_, i) => put(`small/${i}`, `${i}`))]);
    await until(() => seen.length === 1);
    for (const { put: key, value } of large) expect((await b.get(key))?.value.equals(value)).toBe(true);
    await same(a, b);
    await same(a, await open(url));
    await a.checkpoint();
    await same(a, await open(url));
  });

  test("what one lets go of is gone for the other; one that starts reads rows and the rest of the log", { timeout: 60_000 }, async () => {
    const url = await etcdUrl();
    const keep = { ms: 1e12, bytes: 100_000 };
    const [a, b] = [await open(url, keep), await open(url, keep)];
    for (let round = 0; round < 20; round++) {
      for (const store of [a, b]) {
        for (let ok = false; !ok; ) ({ ok } = await store.append(store.revision, Array.from({ length: 40 }, (_, i) => ({ ops: [put(`k${i}`, `${round} `.repeat(50)), put(`r${round}/${i}`)] }))));
      }
    }
    expect(a.oldest).toBeGreaterThan(1);
    for (const store of [a, b]) await store.checkpoint();
    await until(() => a.oldest === b.oldest);
    await same(a, b);
    const c = await open(url); // it lets go of nothing
    expect(c.oldest).toBe(a.oldest);
    await same(a, c);
    await c.txn([], [put("more")]);
    await same(a, c);
    await same(b, c);
  });

  test("one that asks to be first is let go first, once; one that asks and is gone is not waited for", { timeout: 60_000 }, async () => {
    const url = await etcdUrl();
    const [a, b, c] = [await open(url), await open(url), await open(url)];
    let writing = true;
    let others = 0;
    const writers = [b, c].map(async (store) => {
      while (writing) others += (await store.append(store.revision, [{ ops: [put("n", `${others}`)] }])).ok ? 1 : 0;
    });
    for (let round = 0; round < 5; round++) {
      let tries = 0;
      for (let ok = false; !ok; tries++) {
        await a.goFirst();
        const at = a.revision;
        await new Promise((later) => setTimeout(later, 100)); // what takes long to decide
        ({ ok } = await a.append(at, [{ ops: [put("a", `${round}`)] }]));
      }
      // Else it would come second for as long as the others write. Each of them has one under way at first.
      expect(tries).toBeLessThan(6);
      const after = others;
      await until(() => others > after + 10);
    }
    await a.goFirst();
    await a.close();
    const before = others;
    await until(() => others > before + 10);
    writing = false;
    await Promise.all(writers);
    await same(b, c);
    expect((await b.get("a"))?.value.toString()).toBe("4");
  });

  test("etcd's own compaction, and keys that somebody touched, change nothing", async () => {
    const url = await etcdUrl();
    const { endpoints, prefix } = parseEtcdUrl(url);
    const [a, b] = [await open(url), await open(url)];
    await a.txn([], [put("x", "1")]);
    const client = new EtcdClient({ endpoints });
    onTestFinished(() => client.close());
    const { kvs: [head], header } = await client.range({ key: `${prefix}/head` });
    await client.compact(header!.revision);
    await client.put({ key: `${prefix}/head`, value: head!.value });
    await a.txn([], [put("x", "2")]);
    await b.txn([], [put("y", "1")]);
    await same(a, b);
    expect(a.revision).toBe(3);
  });

  test("one that was cut off for so long that the log was let go of is told what came of it, each row by the generation that wrote it", { timeout: 60_000 }, async () => {
    const url = await etcdUrl();
    const { endpoints, prefix } = parseEtcdUrl(url);
    const cable = await Cable.lay(Number(endpoints[0]!.split(":")[1]));
    onTestFinished(() => cable.cut());
    const [a, b] = [await open(`etcd://127.0.0.1:${cable.port}/${prefix}`), await open(url, { ms: 1e12, bytes: 20_000 })];
    const seen: { readonly revision: number; readonly rows: readonly string[] }[] = [];
    a.watch({ prefix: "" }, (revision, events) => seen.push({ revision, rows: events.map(({ key, value, modRevision }) => `${key}=${value?.toString().slice(0, 8) ?? "-"} ${modRevision}`) }), () => undefined);
    await a.txn([], [put("kept", "1"), put("gone", "1"), put("changed", "1")]);
    await until(() => b.revision === 1);
    await cable.cut();
    await b.txn([], [put("changed", "2")]);
    await b.txn([], [{ delete: "gone" }]);
    for (let n = 0; n < 600; n += 300) await b.append(b.revision, Array.from({ length: 300 }, (_, i) => ({ ops: [put("many", `${n + i}`.repeat(50))] })));
    for (let n = 0; n < 2; n++) {
      await b.txn([], [put(`more${n}`)]);
      await b.checkpoint();
    }
    expect(b.oldest).toBeGreaterThan(2);
    await cable.mend();
    await until(() => a.revision === b.revision);
    expect(seen).toEqual([{ revision: 1, rows: ["kept=1 1", "gone=1 1", "changed=1 1"] }, { revision: 605, rows: ["changed=2 2", `many=${"599".repeat(3).slice(0, 8)} 603`, "more0= 604", "more1= 605", "gone=- 605"] }]);
    expect(await list(a)).toEqual(await list(b));
    // And both go on.
    await until(() => a.txn([], [put("after")]).then(() => true, () => false));
    await same(a, b);
  });

  test("what is damaged, missing or put back is found, and nothing is written over it", async () => {
    const url = await etcdUrl();
    const { endpoints, prefix } = parseEtcdUrl(url);
    const client = new EtcdClient({ endpoints });
    onTestFinished(() => client.close());
    const a = await open(url);
    for (const value of ["1", "2", "3"]) await a.txn([], [put("x", value)]);
    const key = `${prefix}/log/000000000002`;
    const { value } = (await client.range({ key })).kvs[0]!;
    await client.deleteRange({ key });
    await expect(open(url)).rejects.toMatchObject({ code: "LOSS", message: expect.stringContaining("up to 3, its log goes to 1") as string });
    await client.put({ key, value: value.subarray(0, -1) });
    await expect(open(url)).rejects.toMatchObject({ code: "CORRUPT", message: expect.stringContaining(key) as string });
    await client.put({ key, value });
    expect((await (await open(url)).get("x"))?.value.toString()).toBe("3");
    await client.deleteRange({ key: `${prefix}/`, range_end: `${prefix}0` });
    await expect(a.txn([], [put("z")])).rejects.toMatchObject({ code: "LOSS" });
    expect(a.trouble).toMatch(/earlier state/);
    expect((await client.range({ key: `${prefix}/`, range_end: `${prefix}0`, count_only: true })).count).toBe(0);
  });
});

describe.skipIf(!haveEtcd)("a store whose etcd is away", () => {
  test("refuses writes, goes on reading, and is well again by itself; what was acknowledged is there", { timeout: 120_000 }, async () => {
    const server = await EtcdServer.start();
    onTestFinished(() => server.stop());
    const ready = new EtcdClient({ endpoints: server.endpoints });
    await server.untilReady(() => ready.status());
    ready.close();
    const url = `etcd://${server.endpoints[0]!}/away`;
    const [a, b] = [await open(url), await open(url)];
    const seen = told(b);
    const acknowledged: number[] = [];
    for (let i = 0; i < 20; i++) acknowledged.push((await a.txn([], [put(`k${i}`, `${i}`)])).revision);
    for (const away of ["kill", "freeze"] as const) {
      if (away === "kill") await server.kill(0);
      else await server.freeze(0);
      const answers = await Promise.allSettled([a.txn([], [put("lost")]), a.append(a.revision, [{ ops: [put("lost")] }], "A")]);
      expect(answers.map((answer) => (answer as PromiseRejectedResult).reason?.code)).toEqual(["UNAVAILABLE", "UNAVAILABLE"]);
      expect(a.trouble).toContain(server.endpoints[0]!);
      expect((await a.get("k19"))?.value.toString()).toBe("19");
      if (away === "kill") server.begin(0);
      else server.thaw(0);
      await until(() => a.trouble === undefined && b.trouble === undefined);
      await until(() => a.txn([], [put(`after ${away}`)]).then(() => true, () => false));
    }
    await same(a, b);
    for (const [i, revision] of acknowledged.entries()) expect((await b.get(`k${i}`))?.modRevision).toBe(revision);
    // Each generation once, in order.
    expect(seen.map((line) => Number(line.split(" ")[0]))).toEqual(Array.from({ length: b.revision }, (_, i) => i + 1));
    await same(a, await open(url));
  });
});
