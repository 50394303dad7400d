// Probe: a service with outbound HTTP. Against a real server on loopback, by a simulated clock and seeded chance: it tells of attached
// ports, tries again with backoff, and of two controllers one acts for each port. On real switches: it leaves packets alone.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Row } from "#app";
import { type Running, until as poll } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { allTables } from "../../../src/boot/registry.ts";
import { machineHttp, Share, type HttpClient } from "../../../src/services/index.ts";
import type { Harness, HarnessOptions } from "../../support/harness.ts";
import { toldTable } from "./beacon/model.ts";
import { nightly } from "../../support/process.ts";
import { expectGone, expectNoLookup, expectQuietRestart, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const probes = new Probes("beacon");
afterAll(() => probes.delete());

/** What a post said, and by which controller's path it came. */
interface Heard {
  readonly path: string;
  readonly key: string;
  readonly port: string;
  readonly chassis: string;
}

class Receiver {
  readonly heard: Heard[] = [];
  /** Status of the next answers; then 204. */
  readonly refusals: number[] = [];
  readonly url: string;
  private readonly server: Server;

  private constructor(server: Server) {
    this.server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(): Promise<Receiver> {
    let receiver: Receiver | undefined;
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { port_id, chassis } = JSON.parse(Buffer.concat(chunks).toString()) as { port_id: string; chassis: string };
        receiver!.heard.push({ path: request.url!, key: String(request.headers["idempotency-key"]), port: port_id, chassis });
        response.writeHead(receiver!.refusals.shift() ?? 204).end();
      });
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return (receiver = new Receiver(server));
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }
}

const told = (h: Harness): Row[] => [...h.view.all(toldTable)];

/** Lets sockets and promises do what they have to, without any of the simulated time. */
async function until(what: string, done: () => boolean): Promise<void> {
  for (let n = 0; n < 1000 && !done(); n++) await new Promise((go) => setTimeout(go, 5));
  expect(done(), what).toBe(true);
}
/** Long enough in real time for a post that should not be to arrive. */
const quiet = (): Promise<unknown> => new Promise((go) => setTimeout(go, 150));

async function addPort(h: Harness, network: string, host = "hv1", ofport = 10): Promise<string> {
  const { id } = await h.create("port", { network_id: network });
  await h.plug(host, id, ofport);
  await h.settled();
  return id;
}

let receiver: Receiver;
const open: Harness[] = [];
beforeEach(async () => {
  receiver = await Receiver.start();
});
afterEach(async () => {
  for (const h of open.splice(0)) await h.close();
  await receiver.stop();
});

describe("one controller", () => {
  async function make(options: HarnessOptions = {}): Promise<{ h: Harness; network: string }> {
    const h = await probes.harness(options);
    open.push(h);
    await h.addChassis("hv1");
    await h.addChassis("hv2");
    const network = (await h.create("network", {})).id;
    await h.create("beacon", { url: `${receiver.url}/a` });
    return { h, network };
  }

  test("tells once of each port that becomes attached, again where it moves, and after it was away", async () => {
    const { h, network } = await make();
    const port = await addPort(h, network);
    await until("told", () => told(h).length === 1);
    expect(receiver.heard).toEqual([{ path: "/a", key: `${port}@hv1`, port, chassis: "hv1" }]);
    await h.call("PUT", `/v2.0/ports/${port}`, { port: { name: "renamed" } });
    await h.settled();
    await h.clock.run(120_000);
    await quiet();
    expect(receiver.heard, "neither a change nor a look tells again").toHaveLength(1);
    await h.unplug("hv1", port);
    await h.settled();
    await until("forgotten", () => told(h).length === 0);
    await h.plug("hv2", port, 11);
    await h.settled();
    await until("told of the other host", () => told(h).length === 1);
    expect(receiver.heard.slice(1)).toEqual([{ path: "/a", key: `${port}@hv2`, port, chassis: "hv2" }]);
    // A receiver that comes later hears of what is there; one that goes takes what it was told with it.
    const late = await h.create("beacon", { url: `${receiver.url}/late` });
    await h.settled();
    await until("the late one told", () => told(h).length === 2);
    expect(receiver.heard.at(-1)!.path).toBe("/late");
    await h.call("DELETE", `/v2.0/beacons/${late.id}`);
    expect(told(h)).toHaveLength(1);
    expect(h.complaints).toEqual([]);
  });

  test("tries again after longer and longer times, the same under the same seed, with the same key", async () => {
    /** When by the simulated clock each request was sent, over the machine's network as always. */
    const times = async (seed: number): Promise<number[]> => {
      const asked: number[] = [];
      let now = (): number => 0;
      let answers = 0;
      const http: HttpClient = async (...request) => {
        asked.push(now());
        try {
          return await machineHttp(...request);
        } finally {
          answers++;
        }
      };
      const { h, network } = await make({ seed, http });
      now = () => h.clock.now();
      const from = receiver.heard.length;
      receiver.refusals.push(500, 503, 302, 429);
      await addPort(h, network);
      for (let n = 1; n <= 5; n++) {
        for (let ms = 0; asked.length < n && ms < 20_000; ms += 10) {
          h.clock.advance(10);
          await new Promise(setImmediate); // what the timers started gets as far as the network
        }
        await until(`post ${n}`, () => receiver.heard.length === from + n);
        await until(`answer ${n}`, () => answers === n);
        for (let turns = 0; turns < 5; turns++) await new Promise(setImmediate); // and the next try is set
      }
      await until("taken", () => told(h).length === 1);
      expect(new Set(receiver.heard.slice(from).map(({ key }) => key)).size).toBe(1);
      return asked;
    };
    const first = await times(7);
    expect(await times(7)).toEqual(first);
    expect(await times(8)).not.toEqual(first);
    const waits = first.slice(1).map((at, n) => at - first[n]!);
    for (const [n, wait] of waits.entries()) {
      expect(wait, `retry ${n + 1}`).toBeGreaterThanOrEqual(500 * 2 ** n);
      expect(wait, `retry ${n + 1}`).toBeLessThanOrEqual(1000 * 2 ** n);
    }
  }, 60_000);

  test("bad URLs and too many receivers are refused", async () => {
    const { h } = await make();
    for (const url of ["ftp://127.0.0.1/", "nowhere", ""]) expect((await h.call("POST", "/v2.0/beacons", { beacon: { url } })).status, url).toBe(400);
    for (let n = 1; n < 8; n++) await h.create("beacon", { url: `${receiver.url}/${n}` });
    expect((await h.call("POST", "/v2.0/beacons", { beacon: { url: receiver.url } })).status).toBe(409);
  });
});

describe("two controllers", () => {
  let live: string[];
  let a: Harness;
  let b: Harness;

  beforeEach(async () => {
    live = ["a", "b"];
    [a, b] = await Promise.all(["a", "b"].map((id) => probes.harness({ share: new Share(id, () => live) }))) as [Harness, Harness];
    open.push(a, b);
  });

  /** What a store that both use would show the other: every stored row. */
  async function replicate(from: Harness, to: Harness): Promise<void> {
    await to.model.transact({ requestId: "test", call: "replicate" }, (tx) => {
      for (const table of allTables(from.apps)) {
        if (table.derived) continue;
        for (const row of from.view.all(table) as Iterable<Row>) tx.put(table, row);
      }
    });
    await to.settled();
  }

  test("exactly one acts for each port; when it leaves, the other takes over what was not told, and that alone", async () => {
    await a.addChassis("hv1");
    const network = (await a.create("network", {})).id;
    // Ports first: both controllers hear of the receiver when everything is to be told.
    const ports: string[] = [];
    for (let n = 0; n < 16; n++) ports.push(await addPort(a, network, "hv1", 10 + n));
    await replicate(a, b);
    await a.create("beacon", { url: `${receiver.url}/` });
    await a.settled();
    await replicate(a, b);
    const mine = ports.filter((p) => new Share("a", () => live).acts(p));
    expect(mine.length, "both have a part").toBeGreaterThan(0);
    expect(mine.length).toBeLessThan(ports.length);
    await until("all told", () => told(a).length === mine.length && told(b).length === ports.length - mine.length);
    expect(receiver.heard.map(({ port }) => port).sort(), "each once").toEqual([...ports].sort());
    expect(told(a).map(({ id }) => id.split("/")[1]!).sort()).toEqual([...mine].sort());
    await a.clock.run(60_000);
    await b.clock.run(60_000);
    await quiet();
    expect(receiver.heard).toHaveLength(ports.length);

    // Of what a has told, b knows; then a port more of a's, and a leaves before it can tell.
    await replicate(a, b);
    let more: string;
    receiver.refusals.push(...Array.from({ length: 8 }, () => 500));
    let n = 0;
    do more = await addPort(a, network, "hv1", 40 + n++);
    while (!new Share("a", () => live).acts(more) && n < 50);
    await until("a was refused", () => receiver.heard.some(({ port }) => port === more));
    receiver.refusals.length = 0;
    await quiet();
    expect(told(a).some(({ id }) => id.endsWith(more)), "refused, so not told").toBe(false);
    await replicate(a, b);
    live = ["b"];
    await a.clock.run(120_000);
    await quiet();
    const before = receiver.heard.length;
    await b.clock.run(31_000); // its next look
    await until("b told of it", () => told(b).some(({ id }) => id.endsWith(more)));
    const after = receiver.heard.slice(before);
    expect(after.some(({ port }) => port === more)).toBe(true);
    expect(after.filter(({ port }) => ports.includes(port)), "what a told is not told again").toEqual([]);
    expect(receiver.heard.filter(({ port }) => port === more).map(({ key }) => key), "the same key").toEqual(receiver.heard.filter(({ port }) => port === more).map(() => `${more}@hv1`));
    expect([...a.complaints, ...b.complaints]).toEqual([]);
  }, 60_000);
});

describe.skipIf(!nightly || Lab.missing().length > 0)("on real switches", () => {
  let scene: Scene;
  let clean: Held[];

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud());
    clean = await held(scene.cloud);
  });
  afterAll(async () => scene?.cloud.destroy());

  /** Beside the controller: says the key of each post, and answers after some time. */
  const listen = (answerMs: number): Running => scene.cloud.controller.node.spawn([
    process.execPath, "-e",
    `require("node:http").createServer((q, r) => { console.log("heard " + q.headers["idempotency-key"]); setTimeout(() => r.writeHead(204).end(), ${answerMs}); }).listen(8099, "127.0.0.1", () => console.log("listens"))`,
  ]);
  const heardBy = (running: Running): string[] => running.lines.filter((line) => line.startsWith("heard ")).map((line) => line.slice(6)).sort();
  const again = async (): Promise<void> => {
    await scene.cloud.controller.start();
    await scene.cloud.synced();
  };

  test("it costs no lookup, a restart sends nothing, a crash while it tells heals, and taken out nothing of it is left", async () => {
    const { cloud, a, b, c } = scene;
    await expectNoLookup(scene);
    const slow = listen(60_000);
    await slow.waitFor(/listens/);
    const beacon = await cloud.create("beacon", { url: "http://127.0.0.1:8099/" });
    // Killed when posts are there and none is answered, it tells again, with the same keys.
    await slow.waitFor(/^heard /);
    await cloud.controller.kill9();
    await slow.stop("SIGKILL");
    const receiver = listen(0);
    await receiver.waitFor(/listens/);
    await again();
    expect(await cloud.show("beacon", beacon.id)).toEqual(beacon);
    await poll("all ports told", () => heardBy(receiver).length >= 3);
    const keys = heardBy(receiver);
    expect(keys.map((key) => key.split("@")[0]).sort()).toEqual([a, b, c].map(({ port }) => port.id).sort());
    expect(keys).toEqual(expect.arrayContaining(heardBy(slow)));
    // What was told is kept: two restarts tell nobody, and send nothing to switches.
    await cloud.synced();
    expect(await held(cloud), "it has nothing on switches").toEqual(clean);
    await expectQuietRestart(cloud);
    expect(heardBy(receiver)).toEqual(keys);
    await cloud.remove("beacon", beacon.id);
    await cloud.controller.kill9();
    await again();
    expect((await cloud.call("GET", `/v2.0/beacons/${beacon.id}`)).status).toBe(404);
    await cloud.create("beacon", { url: "http://127.0.0.1:8099/" });
    await poll("the new one told", () => heardBy(receiver).length === 6);
    await expectGone(probes, scene, clean);
    expect((await cloud.call("GET", "/v2.0/beacons")).status).toBe(404);
    expect(heardBy(receiver)).toHaveLength(6);
    await receiver.stop();
  }, 120_000);
});
