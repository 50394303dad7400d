// Tunnels that are cut, in both directions or in one, or too narrow: named within ten seconds with what helps, and gone when they are mended. Of each encapsulation.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance } from "../../support/cloud.ts";

interface Problem {
  readonly kind: string;
  readonly severity: string;
  readonly text: string;
  readonly switches: readonly string[];
  readonly cure: { readonly text: string };
}
interface Tunnel {
  readonly from: string;
  readonly to: string;
  readonly type: string;
  readonly state: string;
  readonly latency_ms: number | null;
  readonly loss: number | null;
  readonly mtu: number | null;
}

/** As a firewall would match them. */
const WAY = { geneve: "udp,tp_dst=6081", vxlan: "udp,tp_dst=4789", gre: "ip,nw_proto=47" } as const;

const nightly = process.env.AXION_NIGHTLY === "1";
const types = nightly ? (["geneve", "vxlan", "gre"] as const) : (["geneve"] as const);

describe.skipIf(Lab.missing().length > 0).each(types)("%s", (type) => {
  let cloud: Cloud;
  let ports: string[];
  let first: Instance;
  beforeAll(async () => {
    cloud = await Cloud.create({ hypervisors: 3, encapTypes: [type] });
    const net = await cloud.network("10.0.0.0/24");
    ports = [];
    for (const hv of cloud.hypervisors) {
      const instance = await cloud.instance(hv, net);
      if (ports.push(instance.port.id) === 1) first = instance;
    }
    await cloud.synced();
  });
  afterAll(() => cloud?.destroy());

  const tunnels = async (query = ""): Promise<Tunnel[]> => (await cloud.controller.ops<Tunnel[]>("GET", `/tunnels${query}`)).body;
  const problems = async (): Promise<Problem[]> => (await cloud.controller.ops<Problem[]>("GET", "/problems")).body.filter((p) => p.kind.startsWith("tunnel-watch."));
  const allUp = async (): Promise<void> => {
    let last: Tunnel[] = [];
    await until("all tunnels to be up", async () => {
      last = await tunnels();
      return last.length === 6 && last.every((t) => t.state === "up" && t.mtu === 1500) && (await problems()).length === 0;
    }, { timeoutMs: 30_000 }).catch((error: unknown) => {
      throw new Error(JSON.stringify([last, cloud.controller.lines.slice(-10)]), { cause: error });
    });
  };
  async function shown(kind: string, fault: () => Promise<unknown>, mend: () => Promise<unknown>): Promise<Problem> {
    await allUp();
    await fault();
    let found: Problem[] = [];
    await until(`a problem ${kind}`, async () => (found = (await problems()).filter((p) => p.kind === `tunnel-watch.${kind}`)).length > 0, { timeoutMs: 20_000 });
    // What is cut at one moment is found at several.
    await until("one problem", async () => (found = await problems()).length === 1, { timeoutMs: 10_000 });
    await mend();
    await allUp();
    return found[0]!;
  }
  /** A firewall in front of a host, for the tunnels' packets of another. */
  const rule = (from: number): string => `${WAY[type]},nw_src=${cloud.hv(from).encapIp}`;
  const drops = (from: number, to: number): Promise<unknown> => cloud.hv(to).ofctl("add-flow", "br-phy", `priority=100,in_port=phy,${rule(from)},actions=drop`);
  const lets = (from: number, to: number): Promise<unknown> => cloud.hv(to).ofctl("del-flows", "br-phy", `in_port=phy,${rule(from)}`);

  test("tunnels are up, with how long they take and how large packets may be", async () => {
    await allUp();
    await until("all to be measured", async () => (await tunnels()).every((t) => t.latency_ms !== null && t.loss !== null), { timeoutMs: 15_000 }).catch(async (error: unknown) => {
      throw new Error(JSON.stringify(await tunnels()), { cause: error });
    });
    for (const t of await tunnels()) expect(t).toMatchObject({ type, latency_ms: expect.any(Number) as number });
    expect((await tunnels("?switch=hv1")).map(({ from, to }) => `${from} ${to}`).sort()).toEqual(["hv1 hv2", "hv1 hv3", "hv2 hv1", "hv3 hv1"]);
    expect(await tunnels("?state=down")).toEqual([]);
  });

  test("the link of a host is down: one problem, of the host", async () => {
    const problem = await shown("host_cut", () => cloud.hv(3).setUnderlayLink("down"), () => cloud.hv(3).setUnderlayLink("up"));
    expect(problem).toMatchObject({ severity: "error", switches: ["hv3"], text: "hv3 and the 2 hosts that it has tunnels with do not reach each other" });
  });

  test("a firewall drops what one host sends to another: the direction is named", async () => {
    const problem = await shown("tunnel_down", () => drops(1, 2), () => lets(1, 2));
    expect(problem).toMatchObject({ severity: "error", switches: ["hv1", "hv2"], text: expect.stringMatching(new RegExp(`^what hv1 sends to hv2 by tunnel \\(${type}, .*\\) does not arrive, the other way it does$`)) as string });
  });

  test("ovs-vswitchd of a host ends: no trace over it is said to arrive", async () => {
    await allUp();
    const trace = async () => (await cloud.controller.ops<{ verdict?: string; cause?: { reason: string; text: string } | null }>("POST", "/trace", { from: ports[0], to: ports[2] })).body;
    expect(await trace()).toMatchObject({ verdict: "delivered", cause: null });
    await cloud.hv(3).killVswitchd();
    let answer = await trace();
    await until("it to be known", async () => (answer = await trace()).verdict === "unknown", { timeoutMs: 20_000 });
    expect(answer.cause).toMatchObject({ reason: "not_connected", text: expect.stringContaining("would be delivered: hv3 is not connected") as string });
    // Copies of a broadcast do not go over each other's hosts.
    const ofport = (await cloud.hv(1).vsctl("--bare", "--columns=ofport", "find", "Interface", `external_ids:iface-id=${ports[0]!}`)).trim();
    const flow = `udp,in_port=${ofport},dl_src=${String(first.port.mac_address)},dl_dst=ff:ff:ff:ff:ff:ff,nw_src=${first.ip},nw_dst=255.255.255.255,tp_src=9,tp_dst=9`;
    const { body } = await cloud.controller.ops<{ verdict: string; delivered: { switch: string }[]; notes: string[] }>("POST", "/trace", { switch: "hv1", flow });
    expect(body).toMatchObject({ verdict: "delivered", notes: expect.arrayContaining(["hv3 is not connected: what it should have is shown"]) as string[] });
    expect(body.delivered.map((d) => d.switch).sort()).toEqual(["hv2", "hv3"]);
    await cloud.hv(3).startVswitchd();
    await until("it to arrive again", async () => (await trace()).verdict === "delivered", { timeoutMs: 30_000 });
    await cloud.synced();
  });

  test("the link of a host has a smaller MTU: how large packets may be is found out", { tags: "long" }, async () => {
    const link = (mtu: number) => async (): Promise<void> => {
      await cloud.hv(2).exec(["ip", "link", "set", "phy", "mtu", String(mtu)]);
      await cloud.lab.underlayNode.exec(["ip", "link", "set", "hv2", "mtu", String(mtu)]);
    };
    const problem = await shown("mtu_too_small", async () => {
      await link(1400)();
      await until("the size to be found", async () => (await tunnels("?switch=hv2")).every((t) => t.mtu === 1400), { timeoutMs: 60_000 });
    }, link(1500));
    expect(problem).toMatchObject({ severity: "error", switches: ["hv2"], text: expect.stringMatching(/^packets of up to 1400 bytes get, of 1500, as --mtu has it, do not, between hv2/) as string });
  });
});
