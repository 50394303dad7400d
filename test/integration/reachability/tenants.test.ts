// Many tenants with the same addresses and MACs, each with a router and translation of sources, on five hosts: every reply finds its way, with a controller, without
// one and with it again, and nothing comes to another tenant. Two hundred nightly, twenty otherwise.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Lab } from "../../../lab/lab.ts";
import { nightly } from "../../support/process.ts";
import { Tenants } from "./tenants.ts";

const COUNT = nightly ? 200 : 20;

describe.skipIf(Lab.missing().length > 0)(`${COUNT} tenants with the same addresses`, () => {
  let tenants: Tenants;
  beforeAll(async () => {
    tenants = await Tenants.create(COUNT, (line) => console.log(`${COUNT} tenants, ${line}`));
  }, 300_000);
  afterAll(async () => tenants?.destroy());

  test("at once, from the same ports, to one outside and to each other: no packet crosses, every reply finds its way", async () => {
    const { cloud, vms } = tenants;
    const round = async (when: string): Promise<void> => {
      const { wrong, crossed, answers, wanted, ms } = await tenants.round();
      console.log(`${COUNT} tenants, ${when}: ${answers} answers of ${wanted} in ${ms} ms, ${crossed.length} crossed`);
      expect(crossed.slice(0, 20), when).toEqual([]);
      expect(wrong.slice(0, 20), when).toEqual([]);
    };
    await round("with a controller");
    console.log(`${COUNT} tenants, ${await tenants.figures()}`);
    expect(await cloud.differences()).toBe("");
    await cloud.controller.stop();
    await round("without");
    // It would be seen: what one sends to all of its network is led to another tenant's port.
    const [hv, from, to] = [cloud.hv(vms[0]!.host), vms[0]!, vms.find((vm) => vm.host === vms[0]!.host && vm.number > 1)!];
    const [port, other] = await Promise.all([from, to].map(async ({ device }) => (await hv.vsctl("get", "Interface", device, "ofport")).trim()));
    const astray = `table=0,priority=65535,in_port=${port!},udp,dl_dst=ff:ff:ff:ff:ff:ff`;
    await hv.ofctl("add-flow", "br-int", `${astray},actions=output:${other!}`);
    await sleep(2000); // until the datapath's own flows have followed
    const { wrong, crossed } = await tenants.round(2);
    expect(wrong).toContainEqual(expect.stringMatching(`^${from.name}, across all: .* not nothing$`));
    expect(crossed).toContainEqual(expect.stringMatching(`^0000's 8\\d+ came to ${to.name}$`));
    await hv.ofctl("--strict", "del-flows", "br-int", astray);
    await cloud.controller.start();
    await cloud.synced();
    await round("with it again");
    expect(await cloud.differences()).toBe("");
  }, 240_000);
});
