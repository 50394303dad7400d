// A house with certificates of `axion pki`: a new authority and all certificates anew while VMs ping each other. No session ends, no packet is lost, no
// flow is sent; and who connects afterwards does so with what is new alone.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Lab } from "../../../lab/lab.ts";
import { runCommand } from "../../../src/cli/program.ts";
import { Cloud, type Instance } from "../../support/cloud.ts";

describe.skipIf(Lab.missing().length > 0)("certificates", () => {
  let dir: string;
  let cloud: Cloud;
  let a: Instance;
  let b: Instance;

  async function pki(...argv: string[]): Promise<string> {
    let [out, err] = ["", ""];
    const code = await runCommand(["pki", argv[0]!, "--dir", dir, ...argv.slice(1)], { write: (text) => Promise.resolve(void (out += text)), error: (text) => (err += text) });
    expect([code, err]).toEqual([0, ""]);
    return out;
  }
  const expectAll = async (pings: ReturnType<Instance["vm"]["pingStart"]>): Promise<void> => {
    const { received, gaps } = await pings.stop();
    expect(received).toBeGreaterThan(50);
    expect(gaps).toEqual([]);
  };
  const since = async (): Promise<string[]> => (await cloud.switches()).map(({ raw }) => (raw as { since: string }).since);
  /** What the command says to run on a host, run there. */
  async function asTold(hv: Hypervisor, name: string, text: string, manager: string): Promise<void> {
    const lines = text.split("\n").flatMap((line) => /^ {2}ovs-vsctl (.*)$/.exec(line)?.[1] ?? []);
    expect(lines).toEqual([`set-ssl DIR/${name}.key DIR/${name}.pem DIR/ca.pem`, `set-manager ${manager}`]);
    await hv.vsctl("set-ssl", `${dir}/hosts/${name}.key`, `${dir}/hosts/${name}.pem`, `${dir}/ca.pem`);
    await hv.setManager(manager);
  }

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "axion-house-"));
    await pki("init");
    const told = await pki("controller", "axion");
    const flags = /^ {2}(--tls-cert .*)$/m.exec(told)![1]!.split(" ");
    cloud = await Cloud.create({
      name: "certificates", flags: [...flags, "--audit-interval", "1"],
      connect: async ({ lab, hypervisors }) => {
        const manager = lab.manager.replace(/^tcp:/, "ssl:");
        for (const [i, hv] of hypervisors.entries()) await asTold(hv, `hv${i + 1}`, await pki("host", `hv${i + 1}`, "--controller", manager.slice("ssl:".length)), manager);
      },
    });
    const net = await cloud.network("10.0.0.0/24");
    a = await cloud.instance(cloud.hv(1), net);
    b = await cloud.instance(cloud.hv(2), net);
    await until("an answer", () => a.vm.reaches(b.ip));
    await cloud.synced();
  }, 120_000);
  afterAll(async () => {
    await cloud?.destroy();
    await rm(dir, { recursive: true, force: true });
  });

  test("hosts come by TLS, as who their certificates say they are", async () => {
    const kinds = ((await cloud.controller.ops("GET", "/problems")).body as { kind: string }[]).map(({ kind }) => kind);
    expect(kinds.filter((kind) => ["plain_tcp", "identity", "certificate"].includes(kind))).toEqual([]);
    expect(await cloud.hv(1).vsctl("get-controller", "br-int")).toMatch(/^ssl:/);
  });

  test("a new authority and new certificates: no ping is lost, no session ends, nothing is sent", async () => {
    await cloud.quiet();
    const before = { since: await since(), mods: await cloud.metric("axion_flow_mods_sent_total") };
    const pings = a.vm.pingStart(b.ip, { intervalMs: 20 });
    await pki("rotate");
    await sleep(2500); // everybody looks once a second
    await pki("renew");
    await sleep(2500);
    await pki("retire");
    await sleep(2500);
    await expectAll(pings);
    expect(await cloud.metric("axion_flow_mods_sent_total")).toBe(before.mods);
    expect(await since()).toEqual(before.since);
  }, 90_000);

  test("who connects anew does so with the new ones, and is sent nothing", async () => {
    const pings = a.vm.pingStart(b.ip, { intervalMs: 20 });
    await cloud.controller.stop();
    await cloud.controller.start();
    await cloud.synced();
    expect(await cloud.metric("axion_flow_mods_sent_total")).toBe(0);
    await expectAll(pings);
  }, 120_000);
});
