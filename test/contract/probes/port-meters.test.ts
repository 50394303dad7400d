// Probe: a meter for every port, at both ends: of what it sends in the stage of the sender, of what it gets in the receiver's.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Instance, Resource } from "../../support/cloud.ts";
import { meterPool } from "./port-meters/model.ts";
import { nightly } from "../../support/process.ts";
import { expectGone, expectHealing, expectIncremental, expectNoLookup, expectQuietRestart, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const probes = new Probes("port-meters");
afterAll(() => probes.delete());

test("incremental equals from scratch, meters and flows, whatever rates come and go", async () => {
  await expectIncremental(probes, {
    resource: "rate",
    values: ({ ports }, n, m) => (ports.length === 0 ? undefined : { port_id: ports[n % ports.length], kbps: 1000 + m }),
    change: (n) => ({ kbps: 2000 + n }),
    count: (h) => ["hv0", "hv1", "hv2"].flatMap((host) => [...h.engine.itemsOf(host)]).filter((i) => i.id >= meterPool.min && i.id <= meterPool.max).length,
  });
}, 120_000);

describe.skipIf(!nightly || Lab.missing().length > 0)("on real switches", () => {
  const KBPS = 4000;
  const BYTES = 1_000_000;
  let scene: Scene;
  let clean: Held[];

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud());
    clean = await held(scene.cloud);
  });
  afterAll(async () => scene?.cloud.destroy());

  const limit = ({ port }: Instance): Promise<Resource> => scene.cloud.create("rate", { port_id: port.id, kbps: KBPS });
  /** Kilobits per second of a transfer. */
  const speed = async (from: Instance, to: Instance): Promise<number> => {
    const receiver = await to.vm.receive(5001);
    await from.vm.send(to.ip, 5001, BYTES);
    const { bytes, ms } = await receiver.result;
    expect(bytes).toBe(BYTES);
    return (bytes * 8) / ms;
  };
  /** Packets that a meter of hv1 let through or dropped, and those that it dropped. */
  const counts = async (meter: number): Promise<{ packets: number; dropped: number }> => {
    const text = await scene.cloud.hv(1).ofctl("meter-stats", "br-int", `meter=${meter}`);
    return { packets: Number(/packet_in_count:(\d+)/.exec(text)?.[1]), dropped: Number(/0: packet_count:(\d+)/.exec(text)?.[1]) };
  };

  test("unused it costs no lookup; a port's rate limits what it sends and what it gets, at its own end", async () => {
    const { cloud, a, b } = scene;
    await expectNoLookup(scene);
    expect(await speed(a, b)).toBeGreaterThan(4 * KBPS);
    expect(await speed(b, a)).toBeGreaterThan(4 * KBPS);
    const rate = await limit(a);
    expect([rate.sender_meter, rate.receiver_meter].filter((m) => (m as number) < meterPool.min)).toEqual([]);
    await cloud.synced();
    const sent = await speed(a, b);
    expect(sent, "sent").toBeLessThan(1.3 * KBPS);
    expect(sent, "sent").toBeGreaterThan(0.1 * KBPS);
    const got = await speed(b, a);
    expect(got, "got").toBeLessThan(1.3 * KBPS);
    expect(got, "got").toBeGreaterThan(0.1 * KBPS);
    for (const meter of [rate.sender_meter as number, rate.receiver_meter as number]) {
      const { packets, dropped } = await counts(meter);
      expect(packets, `meter ${meter}`).toBeGreaterThan(BYTES / 2000);
      expect(dropped, `meter ${meter}`).toBeGreaterThan(0);
    }
    // The other end has no meter of it, and other ports are as fast as before.
    expect(await cloud.hv(2).ofctl("dump-meters", "br-int")).not.toContain(`meter=${rate.sender_meter} `);
    expect(await speed(b, scene.c)).toBeGreaterThan(4 * KBPS);
    await cloud.update("rate", rate.id, { kbps: 10 * KBPS });
    await cloud.synced();
    expect(await speed(a, b), "a rate that was raised").toBeGreaterThan(1.3 * KBPS);
    await cloud.remove("rate", rate.id);
    await cloud.synced();
    expect(await held(cloud)).toEqual(clean);
    await expectNoLookup(scene);
  }, 90_000);

  test("a restart sends nothing, a crash while it is withdrawn heals, and taken out nothing of it is left", async () => {
    const { cloud, a, b, c } = scene;
    const rates = await Promise.all([a, b, c].map(limit));
    await cloud.synced();
    await until("packets through all meters", () => a.vm.reaches(c.ip));
    await expectQuietRestart(cloud);
    for (const { id } of rates) await cloud.remove("rate", id);
    await expectHealing(cloud, clean, async () => {
      const rate = await limit(b);
      return () => cloud.remove("rate", rate.id);
    });
    await Promise.all([a, b, c].map(limit));
    await cloud.synced();
    await expectGone(probes, scene, clean);
  }, 120_000);
});
