// Probe: from a packet to state. A service takes what a flow punts, stores once that its port spoke, and answers later; on real switches.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Instance } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";
import { expectGone, expectHealing, expectIncremental, expectNoLookup, expectQuietRestart, flowTexts, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const probes = new Probes("resolver");
afterAll(() => probes.delete());

test("incremental equals from scratch, whatever resolvers and ports come and go", async () => {
  await expectIncremental(probes, {
    resource: "resolver",
    values: ({ networks }, n) => ({ network_id: networks[n % networks.length] }),
    count: (h) => ["hv0", "hv1", "hv2"].flatMap((host) => flowTexts(h, host, "resolver_punt")).filter((f) => f.startsWith("priority=100")).length,
  });
}, 120_000);

describe.skipIf(!nightly || Lab.missing().length > 0)("on real switches", () => {
  let scene: Scene;
  let clean: Held[];
  let resolver: string;
  let address: string;

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud());
    clean = await held(scene.cloud);
  }, 120_000);
  afterAll(async () => scene?.cloud.destroy());

  const make = async (): Promise<string> => {
    const { id, port_id: port } = await scene.cloud.create("resolver", { network_id: scene.nets[0].network.id });
    address = ((await scene.cloud.show("port", port as string)).fixed_ips as { ip_address: string }[])[0]!.ip_address;
    await scene.cloud.synced();
    return id;
  };
  /** Sends questions from one socket; what came back within a second, in order. */
  const ask = async ({ vm }: Instance, ...questions: string[]): Promise<string> =>
    (await vm.exec(["bash", "-c", `exec 3<>/dev/udp/${address}/53; for q in ${questions.join(" ")}; do printf %s $q >&3; done; timeout 1 cat <&3`], { allowFailure: true })).stdout;

  test("unused it costs no lookup; a port that asks is answered, and known to have spoken, also after a restart", async () => {
    const { cloud, a, b } = scene;
    await expectNoLookup(scene);
    resolver = await make();
    await until("an answer", async () => (await ask(a, "one")) === "answer to one");
    expect(await ask(a, "two", "three")).toBe("answer to twoanswer to three");
    expect((await cloud.show("port", a.port.id)).spoken_at).toMatch(/^20..-/);
    expect((await cloud.show("port", b.port.id)).spoken_at).toBe(null);
    const said = (await cloud.show("port", a.port.id)).spoken_at as string;
    await expectQuietRestart(cloud);
    expect((await cloud.show("port", a.port.id)).spoken_at).toBe(said);
    expect(await ask(b, "four")).toBe("answer to four");
    await until("that it spoke", async () => (await cloud.show("port", b.port.id)).spoken_at !== null);
  }, 90_000);

  test("a port that asks too much at once is answered for what it may have under way, and another is not held up", async () => {
    const { cloud, a, b } = scene;
    const [many, one] = await Promise.all([ask(a, ...Array.from({ length: 60 }, (_, i) => `q${i}`)), ask(b, "five")]);
    expect(one).toBe("answer to five");
    const answered = many.split("answer to ").length - 1;
    expect(answered).toBeGreaterThan(0);
    expect(answered + (await cloud.metric("axion_service_packets_dropped_total", { service: "resolve", limit: "port" }))).toBe(60);
  }, 60_000);

  test("a crash while it is withdrawn heals, and taken out nothing of it is left", async () => {
    const { cloud } = scene;
    await cloud.remove("resolver", resolver);
    await expectHealing(cloud, clean, async () => {
      const made = await make();
      return () => cloud.remove("resolver", made);
    }, { atNight: true });
    await make();
    await expectGone(probes, scene, clean);
  }, 120_000);
});
