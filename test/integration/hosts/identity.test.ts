// A real switch on another host that claims a connected switch's datapath id: it is refused, shown, and the one it claims to be
// does not notice.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud } from "../../support/cloud.ts";

interface Shown {
  readonly id: string;
  readonly dpid: string;
  readonly since: string;
  readonly address: string;
  readonly refused: readonly { readonly what: string; readonly address: string; readonly since: string; readonly count: number }[];
}
interface Found {
  readonly kind: string;
  readonly severity: string;
  readonly switches: readonly string[];
  readonly text: string;
  readonly cure: { readonly text: string };
}

let cloud: Cloud;
beforeAll(async () => {
  cloud = await Cloud.create({ hypervisors: 2 });
  await cloud.network("10.0.0.0/24");
});
afterAll(() => cloud.destroy());

const shown = async (id: string): Promise<Shown> => (((await cloud.controller.ops("GET", `/switches/${id}`)).body as { switch: Shown }).switch);
const problems = async (): Promise<Found[]> => (await cloud.controller.ops("GET", "/problems")).body as Found[];

test("a bridge of another host with a connected switch's datapath id is refused, and changes nothing for it", async () => {
  await cloud.synced();
  const before = await shown("hv1");
  const target = (await cloud.hv(2).vsctl("get-controller", "br-int")).split("\n")[0]!;
  await cloud.hv(2).vsctl("add-br", "br-x", "--", "set", "Bridge", "br-x", `other-config:datapath-id=${before.dpid}`, "datapath_type=netdev", "fail_mode=secure", "protocols=OpenFlow13", "--", "set-controller", "br-x", target);
  await until("several refusals", async () => ((await shown("hv1")).refused[0]?.count ?? 0) >= 2, { timeoutMs: 20_000 });
  const after = await shown("hv1");
  expect([after.since, after.address]).toEqual([before.since, before.address]);
  expect(after.refused).toEqual([{ what: "datapath id", address: expect.any(String) as string, since: expect.any(String) as string, count: expect.any(Number) as number }]);
  expect(before.address.startsWith(`${after.refused[0]!.address}:`)).toBe(false);
  expect((await cloud.hv(2).ofctl("dump-flows", "br-x")).split("\n").filter((line) => line.includes("cookie"))).toEqual([]);
  const identity = (await problems()).filter((p) => p.kind === "identity");
  expect(identity).toMatchObject([{ severity: "error", switches: ["hv1"] }]);
  expect(identity[0]!.text).toContain(after.refused[0]!.address);
  expect((await problems()).map((p) => p.kind)).toContain("plain_tcp");
  await cloud.hv(2).vsctl("del-br", "br-x");
  const vm = await cloud.create("port", { network_id: (await cloud.network("10.0.1.0/24")).network.id });
  expect(vm.id).toBeTruthy();
  await cloud.synced();
});
