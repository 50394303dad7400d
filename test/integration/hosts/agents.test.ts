// An agent is alive as long as its host's sessions are: both ends of the API's word for it are real.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud } from "../../support/cloud.ts";

let cloud: Cloud;
beforeAll(async () => {
  cloud = await Cloud.create({ name: "agents.test", hypervisors: 2 });
});
afterAll(async () => cloud?.destroy());

const agents = async (): Promise<readonly { readonly id: string; readonly host: string; readonly alive: boolean; readonly agent_type: string; readonly availability_zone: string }[]> =>
  (await cloud.call("GET", "/v2.0/agents")).body.agents as never;
const alive = async (number: number): Promise<readonly boolean[]> => {
  const { systemId } = cloud.hv(number);
  return (await agents()).filter((a) => a.host === systemId).map((a) => a.alive);
};
const ALL = [true, true, true];
const NONE = [false, false, false];

test("alive, dead when its switch is gone, dead when its database is, alive again by the same ids", async () => {
  await until("both are alive", async () => String([await alive(1), await alive(2)]) === String([ALL, ALL]));
  const ids = (await agents()).map((a) => a.id).sort();
  await cloud.hv(2).killVswitchd();
  await until("the one without a switch is dead", async () => String(await alive(2)) === String(NONE));
  expect(await alive(1)).toEqual(ALL);
  await cloud.hv(2).startVswitchd();
  await until("it is alive again", async () => String(await alive(2)) === String(ALL), { timeoutMs: 60_000 });
  await cloud.hv(2).vsctl("del-manager");
  await until("the one without a database is dead", async () => String(await alive(2)) === String(NONE));
  await cloud.hv(2).setManager(cloud.lab.manager);
  await until("it is alive once more", async () => String(await alive(2)) === String(ALL), { timeoutMs: 60_000 });
  expect((await agents()).map((a) => a.id).sort()).toEqual(ids);
}, 180_000);

test("a host is in the zone that it names", async () => {
  const { systemId } = cloud.hv(1);
  await cloud.hv(1).vsctl("set", "Open_vSwitch", ".", "external_ids:axion-zone=east");
  await until("its agents are in the zone", async () => (await agents()).filter((a) => a.host === systemId).every((a) => a.availability_zone === "east"));
  expect(((await cloud.call("GET", "/v2.0/availability_zones?resource=router")).body.availability_zones as unknown as { name: string; state: string }[]).map((z) => `${z.name} ${z.state}`)).toEqual(["east available", "nova available"]);
}, 60_000);
