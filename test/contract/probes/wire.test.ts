// Probe: a patch between the integration bridge and a bridge of the operator's. One end of it is a row on a bridge that is not ours; it
// comes and goes with its wish, waits for its bridge, and nothing else there is touched.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Resource } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";
import { expectGone, expectHealing, expectIncremental, expectNoLookup, expectQuietRestart, held, makeScene, Probes, settlesTo, type Held, type Scene } from "./support.ts";

const probes = new Probes("wire");
afterAll(() => probes.delete());

test("incremental equals from scratch, ports at both ends, whatever wires come and go", async () => {
  await expectIncremental(probes, {
    resource: "wire",
    values: ({ ports }, n, m) => ({ port_id: ports[n], physical_network: `phys${m % 2}`, blocked: n < 2 ? ["2001:db8::/32"] : [] }),
    change: (n) => ({ blocked: n < 3 ? [] : [`2001:db8:${n}::/48`] }),
    count: (h) => ["hv0", "hv1", "hv2"].flatMap((host) => [...h.engine.rowsOf(host)].filter((r) => r.key.startsWith("axion-far-") || r.table === "Flow_Table")).length,
  });
}, 120_000);

describe.skipIf(!nightly || Lab.missing().length > 0)("on real switches", () => {
  const [HERE, THERE, THERE6] = ["10.9.0.1", "10.9.0.2", "fd09::2"];
  let scene: Scene;
  let clean: Held[];
  let hv: Hypervisor;

  // The wired port is one more VM on hv1; what it reaches is the bridge of the physical network at hv2.
  let wired: Resource;
  let reaches: (address: string) => Promise<boolean>;
  beforeAll(async () => {
    scene = await makeScene(await probes.cloud({ physnets: ["ext"] }));
    hv = scene.cloud.hv(1);
    const { vm, port } = await scene.cloud.instance(hv, scene.nets[0]);
    await vm.configure(`addr add ${HERE}/24 dev eth0`, "addr add fd09::1/64 dev eth0 nodad");
    await scene.cloud.hv(2).configure(`addr add ${THERE}/24 dev br-ext`, `addr add ${THERE6}/64 dev br-ext nodad`, "link set br-ext up");
    [wired, reaches] = [port, (address) => vm.reaches(address)];
    await scene.cloud.synced();
    clean = await held(scene.cloud);
  }, 60_000);
  afterAll(async () => scene?.cloud.destroy());

  const use = (blocked: readonly string[] = []): Promise<Resource> => scene.cloud.create("wire", { port_id: wired.id, physical_network: "ext", blocked });
  const ports = (bridge: string): Promise<string> => hv.vsctl("list-ports", bridge);
  /** The ports of the patch: its number is another each time. */
  const end = async (bridge: string): Promise<string> => (await ports(bridge)).split("\n").find((name) => /^axion-(near|far)-\d+$/.test(name)) ?? "";

  test("unused it costs no lookup; the patch carries a ping, and goes without a trace", async () => {
    const { cloud } = scene;
    await expectNoLookup(scene);
    expect(await reaches(THERE)).toBe(false);
    const foreign = await hv.vsctl("get", "Bridge", "br-ext", "controller", "fail_mode", "protocols", "external_ids", "other_config");
    const { id } = await use();
    await until("an answer from the physical network", () => reaches(THERE));
    await until("and by IPv6", () => reaches(THERE6));
    expect(await ports("br-ext")).toBe(`${await end("br-ext")}\np-ext`);
    expect(await hv.vsctl("get", "Bridge", "br-ext", "controller", "fail_mode", "protocols", "external_ids", "other_config")).toBe(foreign);
    await expectNoLookup(scene);
    expect(await cloud.differences()).toBe("");
    // Both ends are repaired.
    await hv.vsctl("del-port", await end("br-ext"), "--", "set", "Interface", await end("br-int"), "options:peer=nowhere");
    await until("the patch again", () => reaches(THERE));
    await cloud.remove("wire", id);
    await settlesTo(cloud, clean);
    expect(await reaches(THERE)).toBe(false);
  }, 60_000);

  test("a table is told its prefixes by name, at the number it has; what is known by a prefix is one megaflow", async () => {
    const { cloud } = scene;
    const { id } = await use(["2001:db8::/32"]);
    await until("an answer", () => reaches(THERE6));
    const number = (await hv.vsctl("get", "Bridge", "br-int", "flow_tables")).replaceAll(/[{}]|=.*/g, "");
    expect(Number(number)).toBeGreaterThan(0);
    expect(await hv.vsctl("--bare", "--columns=prefixes,external_ids", "find", "Flow_Table", "external_ids:axion-row=wires")).toBe("ipv6_dst\naxion-row=wires");
    const flows = await hv.ofctl("--no-stats", "dump-flows", "br-int", `table=${number}`);
    expect(flows).toContain("ipv6_dst=2001:db8::/32");
    // Of an address the switch looks at no more than tells it from the prefix.
    const inPort = await hv.vsctl("get", "Interface", (await hv.vsctl("--bare", "--columns=name", "find", "Interface", `external_ids:iface-id=${wired.id}`)).trim(), "ofport");
    const trace = await hv.appctl("ofproto/trace", "br-int", `in_port=${inPort},ipv6,ipv6_src=fd09::1,ipv6_dst=fd09::2`);
    expect(/^Megaflow:.*ipv6_dst=[^,]*\/(\d+)/m.exec(trace)?.[1] ?? trace, trace).not.toBe("128");
    await cloud.update("wire", id, { blocked: [] });
    await until("no table", async () => (await hv.vsctl("get", "Bridge", "br-int", "flow_tables")) === "{}");
    await cloud.remove("wire", id);
    await settlesTo(cloud, clean);
  }, 60_000);

  test("a bridge that is not there is named, the rest goes on, and the port is made when it comes", async () => {
    const { cloud } = scene;
    await hv.vsctl("set", "Open_vSwitch", ".", "external_ids:axion-bridge-mappings=ext:br-later");
    const { id } = await use();
    const problems = async (): Promise<string> => JSON.stringify((await cloud.controller.ops("GET", "/problems")).body);
    await until("the problem", async () => (await problems()).includes("the host has no bridge br-later; the port is made when it comes"));
    await until("the near end", async () => (await end("br-int")).startsWith("axion-near-"));
    await hv.vsctl("add-br", "br-later", "--", "set", "Bridge", "br-later", "datapath_type=netdev");
    await until("the far end", async () => (await end("br-later")).startsWith("axion-far-"));
    await until("no problem", async () => !(await problems()).includes("br-later"));
    // The other way: the operator takes his bridge away, and names the one that is there.
    await hv.vsctl("del-br", "br-later");
    await until("the problem again", async () => (await problems()).includes("br-later"));
    await hv.vsctl("set", "Open_vSwitch", ".", "external_ids:axion-bridge-mappings=ext:br-ext");
    await until("an answer by the other bridge", () => reaches(THERE));
    await until("no problem", async () => !(await problems()).includes("br-later"));
    await cloud.remove("wire", id);
    await settlesTo(cloud, clean);
  }, 60_000);

  test("a restart sends nothing, a crash while it is withdrawn heals, and taken out nothing of it is left", async () => {
    const { cloud } = scene;
    const made = await use(["2001:db8::/32"]);
    await until("an answer", () => reaches(THERE));
    await expectQuietRestart(cloud);
    expect(await reaches(THERE)).toBe(true);
    await cloud.remove("wire", made.id);
    await settlesTo(cloud, clean);
    await expectHealing(cloud, clean, async () => {
      const { id } = await use(["2001:db8::/32"]);
      await until("an answer", () => reaches(THERE));
      return () => cloud.remove("wire", id);
    }, { atNight: true });
    await use(["2001:db8::/32"]);
    await until("an answer", () => reaches(THERE));
    await cloud.synced();
    await expectGone(probes, scene, clean);
  }, 150_000);
});
