// Probe: rows of a host's database, and a column of a row that is somebody else's. They are desired state like flows: read back,
// repaired, put back when nobody wants them.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Resource } from "../../support/cloud.ts";
import { expectGone, expectHealing, expectIncremental, expectNoLookup, expectQuietRestart, held, makeScene, Probes, settlesTo, type Held, type Scene } from "./support.ts";

const probes = new Probes("qos-export");
afterAll(() => probes.delete());

test("incremental equals from scratch, rows and patches, whatever policies come and go", async () => {
  await expectIncremental(probes, {
    resource: "uplink_policy",
    values: (_world, n, m) => ({ host: `hv${n % 4}`, uplink: `eth${m % 2}`, kbps: 1000 + m, collector: "192.0.2.1:4739" }),
    change: (n) => ({ kbps: 2000 + n }),
    count: (h) => ["hv0", "hv1", "hv2"].flatMap((host) => [...[...h.engine.rowsOf(host)].filter((r) => r.table !== "Port"), ...h.engine.patchesOf(host)]).length,
  });
}, 120_000);

describe.skipIf(Lab.missing().length > 0)("on real databases", () => {
  const UPLINK = "p-ext";
  let scene: Scene;
  let clean: Held[];
  let hv: Hypervisor;
  let foreign: string;

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud({ physnets: ["ext"] }));
    hv = scene.cloud.hv(1);
    // Somebody has shaped the uplink before.
    await hv.vsctl("set", "Port", UPLINK, "qos=@q", "--", "--id=@q", "create", "QoS", "type=linux-htb", "other_config:max-rate=9000000");
    foreign = await hv.vsctl("get", "Port", UPLINK, "qos");
    clean = await held(scene.cloud);
  });
  afterAll(async () => scene?.cloud.destroy());

  const use = (kbps = 5000): Promise<Resource> => scene.cloud.create("uplink_policy", { host: "hv1", uplink: UPLINK, kbps, collector: "192.0.2.1:4739" });
  const own = async (table: string, id: string): Promise<string> => (await hv.vsctl("--bare", "--columns=_uuid", "find", table, `external_ids:axion-row="${id}"`)).trim();
  const rate = (table: string, uuid: string): Promise<string> => hv.vsctl("get", table, uuid, "other_config:max-rate");
  /** That all is as the policy says. */
  const inOrder = async (id: string, bps: number): Promise<boolean> => {
    const [queue, qos, ipfix] = [await own("Queue", `${id}/0`), await own("QoS", id), await own("IPFIX", id)];
    if (queue === "" || qos === "" || ipfix === "") return false;
    return (await rate("Queue", queue)) === `"${bps}"` && (await rate("QoS", qos)) === `"${bps}"` && (await hv.vsctl("get", "QoS", qos, "queues")) === `{0=${queue}}`
      && (await hv.vsctl("get", "Port", UPLINK, "qos")) === qos && (await hv.vsctl("get", "Bridge", "br-int", "ipfix")) === ipfix && (await hv.vsctl("get", "IPFIX", ipfix, "sampling")) === "64";
  };

  test("rows are made, changed, repaired after foreign changes, and taken back; the foreign column is as before", async () => {
    const { cloud } = scene;
    const { id } = await use();
    await until("the rows", () => inOrder(id, 5_000_000));
    await expectNoLookup(scene);
    await cloud.update("uplink_policy", id, { kbps: 6000 });
    await until("the change", () => inOrder(id, 6_000_000));
    const meddling: Readonly<Record<string, () => Promise<string[]>>> = {
      "another rate of the queue": async () => ["set", "Queue", await own("Queue", `${id}/0`), "other_config:max-rate=1"],
      "no queue": async () => ["clear", "QoS", await own("QoS", id), "queues"],
      "another type of IPFIX": async () => ["set", "IPFIX", await own("IPFIX", id), "sampling=1"],
      "no IPFIX": () => Promise.resolve(["clear", "Bridge", "br-int", "ipfix"]),
      "the old QoS at the uplink": () => Promise.resolve(["set", "Port", UPLINK, `qos=${foreign}`]),
      "no QoS at all": async () => ["clear", "Port", UPLINK, "qos", "--", "destroy", "QoS", await own("QoS", id)],
    };
    for (const [what, args] of Object.entries(meddling)) {
      await hv.vsctl(...(await args()));
      await until(`the repair of ${what}`, () => inOrder(id, 6_000_000));
    }
    await cloud.remove("uplink_policy", id);
    await until("the old QoS", async () => (await hv.vsctl("get", "Port", UPLINK, "qos")) === foreign);
    await settlesTo(cloud, clean);
  }, 60_000);

  test("a restart sends nothing, a crash while it is withdrawn heals, and taken out nothing of it is left", { tags: "long", timeout: 120_000 }, async () => {
    const { cloud } = scene;
    const policy = await use();
    await until("the rows", () => inOrder(policy.id, 5_000_000));
    await expectQuietRestart(cloud);
    await cloud.remove("uplink_policy", policy.id);
    await settlesTo(cloud, clean);
    await expectHealing(cloud, clean, async () => {
      const { id } = await use();
      await until("the rows", () => inOrder(id, 5_000_000));
      return () => cloud.remove("uplink_policy", id);
    }, { rowsAlone: true });
    const last = await use();
    await until("the rows", () => inOrder(last.id, 5_000_000));
    await expectGone(probes, scene, clean);
    expect(await hv.vsctl("get", "Port", UPLINK, "qos")).toBe(foreign);
  });
});
