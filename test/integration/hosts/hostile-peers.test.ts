// Peers that are broken or mean harm, all kinds at once, beside a host that works: each costs its own connection and few lines, and that
// host's ports are plugged and unplugged as ever. What it costs in time and memory is measured by `npm run bench -- hostile`.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Attack } from "../../../lab/hostile/peer.ts";
import { hostilePeers } from "../../../lab/hostile/peers.ts";
import { startManySwitches, type ManySwitches } from "../../../lab/many.ts";
import { ControllerProcess } from "../../support/process.ts";

let controller: ControllerProcess;
let honest: ManySwitches;
let network: string;

interface SwitchInfo {
  readonly id: string;
  readonly state: string;
  readonly since: string;
  readonly dpid: string;
  readonly address: string;
}
const switches = async (): Promise<readonly SwitchInfo[]> => ((await controller.ops("/switches")).body as { switches: SwitchInfo[] }).switches;
const hv1 = async (): Promise<SwitchInfo | undefined> => (await switches()).find(({ id }) => id === "sw1");
const flows = async (): Promise<string[]> => (await honest.ofctl(0, "dump-flows", "br-int", "--no-stats", "--no-names")).split("\n").map((line) => line.trim()).filter((line) => line.includes("priority")).sort();

beforeAll(async () => {
  controller = await ControllerProcess.start();
  honest = await startManySwitches(1, { manager: `tcp:127.0.0.1:${controller.ovsdbPort}` });
  network = (await controller.create("network", { name: "net" })).id;
  await controller.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" });
  await until("the honest host", async () => (await hv1())?.state === "connected", { timeoutMs: 20_000 });
});
afterAll(async () => {
  await honest?.destroy();
  await controller?.destroy();
});

/** Plugs a port of the API until it is active, and takes it away again. */
async function plugAndUnplug(): Promise<void> {
  const { id } = await controller.create("port", { network_id: network });
  const device = await honest.plug(0, id);
  const status = async (): Promise<unknown> => ((await controller.api("GET", `/v2.0/ports/${id}`)).body as { port: { status: string } }).port.status;
  await until("the port", async () => (await status()) === "ACTIVE", { timeoutMs: 15_000 });
  await honest.unplug(0, device);
  await until("the end of the port", async () => (await status()) === "DOWN", { timeoutMs: 15_000 });
  await controller.api("DELETE", `/v2.0/ports/${id}`);
}

test("every kind of hostile peer at once costs itself, and the honest host does not notice", { timeout: 120_000 }, async () => {
  await plugAndUnplug();
  const before = { flows: await flows(), host: (await hv1())! };
  const victim = { openflow: controller.openflowPort, ovsdb: controller.ovsdbPort, dpid: before.host.dpid, systemId: "sw1" };
  expect(victim.dpid).toMatch(/^[0-9a-f]{16}$/);
  const attacks = hostilePeers.map((peer, n) => new Attack(peer, victim, `127.0.1.${100 + n}`, false));
  try {
    for (let n = 0; n < 5; n++) await plugAndUnplug();
    const names = (list: readonly Attack[]): string[] => list.map(({ peer }) => `${peer.port}: ${peer.name}`);
    await until("the end of those that have to go", () => attacks.every((a) => a.peer.ends !== true || a.ended === a.opened), { timeoutMs: 40_000 })
      .catch(() => expect(names(attacks.filter((a) => a.peer.ends === true && a.ended < a.opened))).toEqual([]));
    expect(names(attacks.filter((a) => a.peer.ends === false && a.ended > 0))).toEqual([]);
    // One line for each connection that ended, one for its limit, and one for what is wrong with the host it says it is.
    const lines = controller.logged(40).map((line) => JSON.stringify(line));
    for (const { peer, address, opened } of attacks) {
      expect(lines.filter((line) => line.includes(address)).length, `lines of ${peer.port}: ${peer.name}`).toBeLessThanOrEqual(opened + 2);
    }
    expect(controller.logged(50).map((line) => line["msg"])).toEqual(controller.logged(50).map(() => "a session is refused: it is not who it says"));
    const problems = (await controller.ops("/problems")).body as { kind: string; text: string }[];
    expect(problems.filter((p) => p.kind === "identity").map((p) => p.text).sort()).toEqual([expect.stringContaining("claims the datapath id of sw1"), expect.stringContaining("claims the system-id of sw1")]);
    expect(problems.filter((p) => p.kind === "peer_limit").length).toBeGreaterThan(3);
    const { state, since, dpid, address } = before.host;
    expect(await hv1()).toMatchObject({ state, since, dpid, address });
    expect((await switches()).map(({ id }) => id)).toEqual(["sw1"]);
    expect((await controller.ops("/healthz")).status).toBe(200);
    expect(await flows()).toEqual(before.flows);
  } finally {
    for (const attack of attacks) attack.stop();
  }
  await plugAndUnplug();
  expect(await flows()).toEqual(before.flows);
});
