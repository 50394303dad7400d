// @module-tag long
// Three controllers of one version become three of the next one after the other, and back, while VMs ping each other: the next has more apps, hence other tables
// and registers, so that each switch that goes from one to the other gets another layout.
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import path from "node:path";
import { haveEtcd } from "etcd-v3-client/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { repositoryRoot, type Controller } from "../../../lab/controller.ts";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { Probes } from "../../contract/probes/support.ts";
import { ADMIN, House } from "./house.ts";

const NEXT = "99.0.0";
const probes = new Probes("beacon", "floating", "port-meters");
const folder = path.join(repositoryRoot(), ".lab", `upgrade-${process.pid}`);
const programOf = (name: string): string => path.join(folder, name);
/** What is started from now on under a name. */
const install = (name: string, program: string): void => {
  rmSync(programOf(name), { force: true });
  symlinkSync(program, programOf(name));
};

const versions = async (of: Controller): Promise<string[]> => (await of.ops<{ members: { version: string }[] }>("GET", "/cluster")).body.members.map(({ version }) => version);
const told = async (of: Controller): Promise<string[]> => (await of.ops<{ kind: string }[]>("GET", "/problems")).body.map(({ kind }) => kind).filter((kind) => kind === "member_version" || kind === "role_refused" || kind === "flow_refused");
const differs = async (of: Controller): Promise<unknown[]> => (await of.ops<{ flows: unknown[] }>("GET", "/flows?state=diff")).body.flows;

/** But for what switches learn of machines by themselves, which ages. */
const dumps = async (house: House): Promise<string[]> => (await house.dumps()).map((text) => text.split("\n").filter((line) => !/ hard_timeout=\d+, priority/.test(line)).join("\n"));

describe.skipIf(!haveEtcd || Lab.missing().length > 0)("a rolling upgrade", () => {
  const present = path.join(repositoryRoot(), "dist/src/main.js");
  let next: string;
  let house: House;

  beforeAll(async () => {
    mkdirSync(folder, { recursive: true });
    next = probes.program(NEXT);
    for (const name of ["c0", "c1", "c2"]) install(name, present);
    house = await House.build({ name: "upgrade.test", hosts: 3, vmsPerHost: 2, main: programOf });
  }, 300_000);
  afterAll(async () => {
    await house?.destroy();
    rmSync(folder, { recursive: true, force: true });
    probes.delete();
  });

  /** Each in turn is stopped, and started as another; what is told while they are not of one kind. */
  async function roll(program: string, wanted: string): Promise<void> {
    const pings = await house.ping([...house.pairs(6, 20), ...house.pairs(20, 1000, 6)]);
    const happened: { readonly at: number; readonly what: string }[] = [];
    for (const [n, controller] of house.controllers.entries()) {
      happened.push({ at: performance.now(), what: `stop of ${controller.name}` });
      expect(await controller.stop()).toBe(0);
      await house.settled(house.controllers.filter((one) => one !== controller));
      install(controller.name, program);
      happened.push({ at: performance.now(), what: `start of ${controller.name}` });
      await controller.start();
      await house.settled();
      for (const one of house.controllers) await until("what is told", async () => (await told(one)).join() === (n < 2 ? "member_version" : ""), { timeoutMs: 20_000 });
    }
    console.info(await house.lostNone(pings, happened));
    for (const controller of house.controllers) {
      expect(await versions(controller)).toEqual([wanted, wanted, wanted]);
      expect(await differs(controller)).toEqual([]);
    }
  }

  test("to a version with other tables, and back: no ping is lost, every switch has what its master wants, and afterwards what it had", { timeout: 600_000 }, async () => {
    const active = async (): Promise<number> => (await house.controllers[0]!.api<{ ports: unknown[] }>("GET", "/v2.0/ports?status=ACTIVE&fields=id", undefined, ADMIN)).body.ports.length;
    await until("every VM to be plugged", async () => (await active()) >= house.guests.length, { timeoutMs: 60_000 });
    await house.settled();
    const before = await dumps(house);
    const [version] = await versions(house.controllers[0]!);
    await roll(next, NEXT);
    const after = await dumps(house);
    for (const [i, dump] of after.entries()) expect(dump).not.toBe(before[i]);
    await roll(present, version!);
    expect(await dumps(house)).toEqual(before);
  });
});
