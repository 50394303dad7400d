// Probe: a port with a second place at another host. It gets its packets at both, and speaks from the active one only, until the app
// says that the other one may.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Vm } from "../../../lab/vm.ts";
import type { Resource } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";
import { expectGone, expectHealing, expectIncremental, expectNoLookup, expectQuietRestart, flowTexts, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const probes = new Probes("standby");
afterAll(() => probes.delete());

test("incremental equals from scratch, whatever standby places come and go", async () => {
  await expectIncremental(probes, {
    resource: "standby",
    values: ({ ports }, n, m) => ({ port_id: ports[n % Math.max(1, ports.length)], host: `hv${m % 3}` }),
    change: (n) => ({ speaks: n % 2 === 0 }),
    count: (h) => ["hv0", "hv1", "hv2"].flatMap((host) => flowTexts(h, host, "l2_lookup")).filter((f) => f.startsWith("priority=106,")).length,
  });
}, 120_000);

describe.skipIf(!nightly || Lab.missing().length > 0)("on real switches", () => {
  let scene: Scene;
  let twin: Vm;
  let clean: Held[];

  // b is on hv2; at hv1, where a is too, there is another interface of its port: as a hypervisor has it before a VM moves there.
  beforeAll(async () => {
    scene = await makeScene(await probes.cloud({ hypervisors: 3 }));
    const { cloud, b } = scene;
    twin = await cloud.lab.addVm({ name: "twin", hypervisor: cloud.hv(1), portId: b.port.id, mac: b.port.mac_address as string });
    await twin.setAddress(`${b.ip}/24`);
    await cloud.synced();
    clean = await held(cloud);
  }, 60_000);
  afterAll(async () => scene?.cloud.destroy());
  afterEach(async () => {
    const { standbies } = (await scene.cloud.call("GET", "/v2.0/standbies")).body as unknown as { standbies?: { id: string }[] };
    for (const { id } of standbies ?? []) await scene.cloud.remove("standby", id);
  });

  const stand = (speaks = false): Promise<Resource> => scene.cloud.create("standby", { port_id: scene.b.port.id, host: "hv1", speaks });
  /** Echo requests of a sender that each place hears, and the answers that the sender gets. */
  const heardOf = async (from: Vm): Promise<{ readonly active: number; readonly standby: number; readonly answers: number }> => {
    const captures = await Promise.all([scene.b.vm, twin].map((vm) => vm.tcpdump("icmp[icmptype] == icmp-echo")));
    const answers = await from.tcpdump("icmp[icmptype] == icmp-echoreply");
    await from.ping(scene.b.ip, { count: 5, intervalMs: 50 });
    // The standby's copy of the last one may come after the active's answer.
    await sleep(300);
    const [active, standby, back] = await Promise.all([...captures, answers].map(async (c) => (await c.stop()).lines.filter((l) => l.includes("ICMP echo")).length));
    return { active: active!, standby: standby!, answers: back! };
  };

  test("unused it costs no lookup; then both places hear, from the same host, from another, and across the router, and the active one alone is heard", async () => {
    const { cloud, a, b, c } = scene;
    await expectNoLookup(scene);
    expect(await heardOf(a.vm)).toEqual({ active: 5, standby: 0, answers: 5 });
    const made = await stand();
    await cloud.synced();
    await until("an answer", () => a.vm.reaches(b.ip));
    expect(await heardOf(a.vm), "from the host of the standby").toEqual({ active: 5, standby: 5, answers: 5 });
    await until("an answer", () => c.vm.reaches(b.ip));
    expect(await heardOf(c.vm), "from the host of the active, across the router").toEqual({ active: 5, standby: 5, answers: 5 });
    // What the other sends is dropped, until it may speak.
    expect(await twin.reaches(a.ip, { timeoutMs: 300 })).toBe(false);
    await cloud.update("standby", made.id, { speaks: true });
    await cloud.synced();
    // It asked for a's MAC while it might not speak: it asks again when it likes.
    await until("a word of the standby", async () => {
      const capture = await a.vm.tcpdump("icmp[icmptype] == icmp-echo");
      await twin.reaches(a.ip, { timeoutMs: 300 });
      return (await capture.stop()).lines.some((l) => l.includes(`${b.ip} > ${a.ip}: ICMP echo request`));
    });
    await until("answers of both", () => heardOf(a.vm).then(({ answers }) => answers === 10));
    expect(await cloud.differences()).toBe("");
    await cloud.remove("standby", made.id);
    await cloud.synced();
    expect(await held(cloud)).toEqual(clean);
    await expectNoLookup(scene);
  }, 60_000);

  test("a restart sends nothing, a crash while it is withdrawn heals, and taken out nothing of it is left", async () => {
    const { cloud } = scene;
    const made = await stand();
    await expectQuietRestart(cloud);
    await cloud.remove("standby", made.id);
    await expectHealing(cloud, clean, async () => {
      const again = await stand();
      return () => cloud.remove("standby", again.id);
    }, { atNight: true });
    await stand();
    await cloud.synced();
    await expectGone(probes, scene, clean);
  }, 150_000);
});
