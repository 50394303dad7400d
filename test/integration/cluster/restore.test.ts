// A cluster's store put back to an earlier state, in an etcd that was made anew: switches, which know the terms of the time after it, take the controllers'
// word again; and not that of one beside a controller that is their master.
import { EtcdClient } from "etcd-v3-client";
import { EtcdServer, haveEtcd } from "etcd-v3-client/testing";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";
import { exec, until } from "../../../lab/exec.ts";
import { startManySwitches, type ManySwitches } from "../../../lab/many.ts";
import { ControllerProcess, nightly } from "../../support/process.ts";

interface SwitchShown {
  readonly id: string;
  readonly role: string;
  readonly flows: { readonly desired: number; readonly installed: number; readonly pending: number };
}

async function etcd(): Promise<EtcdServer> {
  const server = await EtcdServer.start();
  const client = new EtcdClient({ endpoints: server.endpoints });
  await server.untilReady(() => client.range({ key: "ready" }));
  client.close();
  return server;
}
const url = (server: EtcdServer, prefix: string): string => `etcd://${server.endpoints.map((e) => e.replace(/^https?:\/\//, "")).join(",")}/${prefix}`;
const store = (...args: string[]): Promise<unknown> => exec([process.execPath, `${repositoryRoot()}/bin/axion.js`, "store", ...args]);

describe.skipIf(!haveEtcd)("a store that is put back", () => {
  let server: EtcdServer;
  let anew: EtcdServer;
  let hosts: ManySwitches;
  let before: ControllerProcess;
  let backup: string;
  let network: string;
  let flows: string[];

  const shown = async (of: ControllerProcess): Promise<readonly SwitchShown[]> => ((await of.ops("/switches")).body as { switches: SwitchShown[] }).switches;
  const why = (of: ControllerProcess) => async (error: unknown): Promise<never> => {
    throw new Error(`${(error as Error).message}: ${JSON.stringify([await shown(of), (await of.ops("/problems")).body])}\n${of.lines.slice(-20).join("\n")}\n${await hosts.vsctl(0, "show")}`);
  };
  const mastered = (of: ControllerProcess): Promise<boolean> => until("a master of both", async () => {
    const all = await shown(of);
    return all.length === 2 && all.every(({ role, flows: { installed, desired, pending } }) => role === "master" && installed === desired && pending === 0);
  }, { timeoutMs: 90_000 }).catch(why(of));
  const dump = async (): Promise<string[]> => (await Promise.all([0, 1].map((i) => hosts.ofctl(i, "dump-flows", "br-int", "--no-stats", "--no-names")))).flatMap((text) => text.split("\n").filter((line) => line.includes("priority")).sort());
  const manage = (of: ControllerProcess): Promise<unknown> => Promise.all([0, 1].map((i) => hosts.setManager(i, `tcp:127.0.0.1:${of.ovsdbPort}`)));
  const refused = async (of: ControllerProcess): Promise<string[]> => ((await of.ops("/problems")).body as { kind: string; text: string; cure: { text: string } }[]).filter(({ kind }) => kind === "role_refused").map(({ text, cure }) => `${text}\n${cure.text}`);
  /** A port that is plugged becomes active, and goes again: changes reach a switch. */
  async function changes(of: ControllerProcess): Promise<void> {
    const { id } = await of.create("port", { network_id: network });
    const device = await hosts.plug(0, id);
    await until("the port", async () => ((await of.api("GET", `/v2.0/ports/${id}`)).body as { port: { status: string } }).port.status === "ACTIVE", { timeoutMs: 60_000 });
    await hosts.unplug(0, device);
    await of.api("DELETE", `/v2.0/ports/${id}`);
    await until("the flows", async () => (await dump()).length === flows.length, { timeoutMs: 60_000 });
  }
  async function startOn(at: EtcdServer, prefix: string): Promise<ControllerProcess> {
    await store("import", backup, "--store", url(at, prefix));
    const controller = await ControllerProcess.start({ flags: ["--store", url(at, prefix), "--name", prefix] });
    onTestFinished(() => controller.destroy());
    return controller;
  }

  beforeAll(async () => {
    [server, anew] = await Promise.all([etcd(), etcd()]);
    before = await ControllerProcess.start({ flags: ["--store", url(server, "before"), "--name", "before"] });
    hosts = await startManySwitches(2, { manager: `tcp:127.0.0.1:${before.ovsdbPort}` });
    network = (await before.create("network", { name: "net" })).id;
    await before.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" });
    await mastered(before);
    flows = await dump();
    expect(flows.length).toBeGreaterThan(50);
    backup = `${before.dir}/backup`;
    await store("export", backup, "--store", url(server, "before"));
    // Changes after it, then one of the hosts: that is what terms go by, and etcd's revision at which the controller came.
    for (let n = 0; n < 40; n++) await before.api("PUT", `/v2.0/networks/${network}`, { network: { name: `net${n}` } });
    await before.stop();
    await before.start();
    await hosts.vsctl(0, "set", "Open_vSwitch", ".", "external_ids:hostname=later");
    await mastered(before);
  }, 240_000);
  afterAll(async () => {
    await hosts?.destroy();
    await before?.destroy();
    await Promise.all([server, anew].map((one) => one?.stop()));
  });

  // Two clusters at one host take the lock of its database from each other by turns, so that it may take minutes until each has its row there.
  test.skipIf(!nightly)("beside a controller that is the master of its switches: these are not taken, and that is told; when it is gone they are", { timeout: 300_000 }, async () => {
    const restored = await startOn(anew, "beside");
    await Promise.all([0, 1].map((i) => hosts.setManager(i, `tcp:127.0.0.1:${before.ovsdbPort}`, `tcp:127.0.0.1:${restored.ovsdbPort}`)));
    await until("what is told", async () => (await refused(restored)).length === 2, { timeoutMs: 60_000 }).catch(why(restored));
    for (const text of await refused(restored)) expect(text).toContain(`its master is tcp:127.0.0.1:${before.openflowPort}`);
    await changes(before);
    expect((await shown(before)).map(({ role }) => role)).toEqual(["master", "master"]);
    await before.stop();
    await mastered(restored);
    await manage(restored);
    await changes(restored);
    expect(await dump()).toEqual(flows);
    await until("nothing to tell", async () => (await refused(restored)).length === 0, { timeoutMs: 10_000 });
    await restored.stop();
  });

  test("where no controller is left: at once, and a second controller goes by the same terms", { timeout: 300_000 }, async () => {
    await before.stop();
    const restored = await startOn(anew, "alone");
    await manage(restored);
    await mastered(restored);
    await changes(restored);
    expect(await dump()).toEqual(flows);
    expect(restored.lines.filter((line) => line.includes("terms are raised above it")).length).toBe(1);
    // A second one has the same, by what the first has written.
    const second = await ControllerProcess.start({ flags: ["--store", url(anew, "alone"), "--name", "second"] });
    onTestFinished(() => second.destroy());
    await Promise.all([0, 1].map((i) => hosts.setManager(i, `tcp:127.0.0.1:${restored.ovsdbPort}`, `tcp:127.0.0.1:${second.ovsdbPort}`)));
    await until("a master and a slave of each", async () => {
      const roles = (await Promise.all([restored, second].map(shown))).map((all) => all.map(({ role }) => role));
      return roles[0]!.length === 2 && roles[0]!.every((role, i) => [role, roles[1]![i]].sort().join() === "master,slave");
    }, { timeoutMs: 60_000 });
    expect([...(await refused(restored)), ...(await refused(second))]).toEqual([]);
    expect(await dump()).toEqual(flows);
  });
});
