// What flows had counted when they were taken off, of real switches: to the packet, told once, of those alone that somebody counts.
import { afterEach, expect, test } from "vitest";
import { FakeSwitch } from "node-openflow/fake-switch";
import type { Flow } from "../../compiler/desired.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { flow, numbered, World, type Wanted, type WorldOptions } from "../testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);
const wants = (...list: Flow[]): (() => Wanted) => () => ({ flows: list });

/** Counts flows whose low cookie is below 10,000; `told`: what of which went. */
async function counted(options: WorldOptions): Promise<{ readonly ovs: Ovs; readonly w: World; readonly told: [n: number, packets: number, bytes: number][] }> {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
  cleanup.push(() => ovs.stop());
  const told: [number, number, number][] = [];
  const w = await World.start({
    ...options,
    counting: {
      isCounted: ({ cookieLo }) => cookieLo < 10_000,
      ended: (chassis, { cookieLo }, { packets, bytes }) => {
        expect(chassis).toBe("hv1");
        told.push([cookieLo, packets, bytes]);
      },
    },
  });
  cleanup.push(() => w.stop());
  await w.adopt(ovs);
  return { ovs, w, told };
}

/** A frame of 60 bytes that meets the flows of table 0 with this register. */
const packet = (ovs: Ovs, n: number): Promise<string> =>
  ovs.ofctl("packet-out", "br-int", `in_port=LOCAL packet=${"02000000000102000000000288b5".padEnd(120, "0")} actions=load:${n}->NXM_NX_REG0[],resubmit(,0)`);
async function packets(ovs: Ovs, n: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await packet(ovs, n);
}

test("of a flow that goes it is told what it had, also when it was written anew before; of one that stays or that nobody counts nothing is", async () => {
  const all = [numbered(1), numbered(2), numbered(3), numbered(20_000)];
  const { ovs, w, told } = await counted({ want: wants(...all) });
  for (const [n, count] of [[1, 3], [2, 2], [20_000, 1]] as const) await packets(ovs, n, count);
  // A flow that is written again keeps what it had.
  await w.confirmed(await w.desired.become(wants(numbered(1, 2), ...all.slice(1))));
  expect(told).toEqual([]);
  await packets(ovs, 1, 4);
  await w.confirmed(await w.desired.become(wants(numbered(2))));
  expect(told.toSorted(([a], [b]) => a - b)).toEqual([[1, 7, 420], [3, 0, 0]]);
  // It counts from 0 when it is there again.
  await w.confirmed(await w.desired.become(wants(numbered(1), numbered(2))));
  await packets(ovs, 1, 2);
  await w.confirmed(await w.desired.become(wants(numbered(2))));
  expect(told.slice(2)).toEqual([[1, 2, 120]]);
});

test("no packet is counted twice or lost that comes while a flow goes", async () => {
  const under = flow({ table_id: 0, priority: 1, cookie: 20_000n, match: {}, instructions: [{ type: "apply_actions", actions: [] }] });
  const { ovs, w, told } = await counted({ want: wants(numbered(1), under) });
  let sent = 0;
  for (let round = 0; round < 3; round++) {
    const sending = Promise.all(range(4).map(() => packets(ovs, 1, 5)));
    await packets(ovs, 1, 1);
    await w.confirmed(await w.desired.become(wants(under)));
    await sending;
    sent += 21;
    await w.confirmed(await w.desired.become(wants(numbered(1), under)));
  }
  await w.confirmed(await w.desired.become(wants(under)));
  const rest = Number(/n_packets=(\d+).* priority=1 /.exec(await ovs.ofctl("dump-flows", "br-int", "table=0"))?.[1]);
  expect(told.reduce((sum, [, n]) => sum + n, 0) + rest).toBe(sent);
  expect(told).toHaveLength(4);
});

test("of one whose connections are forgotten first it is told once", async () => {
  const { ovs, w, told } = await counted({ want: wants(numbered(1), numbered(2)), effects: { withdrawn: new Set([0]), confirmed: new Set(), flushes: () => [{ type: "ct_flush_zone", zone_id: 7 }], packets: () => [] } });
  await packets(ovs, 1, 3);
  await w.confirmed(await w.desired.become(wants(numbered(2, 2))));
  expect(told).toEqual([[1, 3, 180]]);
  expect(await ovs.flows()).toHaveLength(1);
});

test("where a switch refuses something else, what goes is told once, and in pieces as well; of more than a thousand those beyond are not asked for", async () => {
  const bad = flow({ priority: 5, cookie: 20_001n, match: { reg0: 1, tcp_dst: 80 }, instructions: [] });
  const { ovs, w, told } = await counted({ want: wants(...range(1500, 1).map((n) => numbered(n))) });
  await packets(ovs, 9, 2);
  await w.confirmed(await w.desired.become(wants(bad, ...range(1400, 101).map((n) => numbered(n)))));
  expect(w.southbound.quarantined("hv1")).toHaveLength(1);
  expect(told).toHaveLength(100);
  expect(told.find(([n]) => n === 9)).toEqual([9, 2, 120]);
  await w.confirmed(await w.desired.become(wants(bad)));
  expect(told).toHaveLength(1100);
  expect(new Set(told.map(([n]) => n)).size).toBe(1100);
  await ovs.stopVswitchd();
  await eventually("no switch", () => w.info()?.state === "disconnected");
  const fake = new FakeSwitch({ dpid: w.info()!.dpid, maxBundleMessages: 100 });
  cleanup.push(() => fake.close());
  fake.connectTo({ host: "127.0.0.1", port: w.ports.openflow });
  await w.connected();
  await w.confirmed(await w.desired.become(wants(...range(700, 3000).map((n) => numbered(n)))));
  await w.confirmed(await w.desired.become(wants()));
  expect(told.slice(1100).map(([n]) => n).toSorted((a, b) => a - b)).toEqual(range(700, 3000));
});

test("of one that somebody else took off before nothing is told, and the rest goes on", async () => {
  const { ovs, w, told } = await counted({ want: wants(numbered(1), numbered(2), numbered(3)) });
  await packets(ovs, 1, 1);
  await ovs.ofctl("del-flows", "br-int", "table=0,reg0=1");
  await w.confirmed(await w.desired.become(wants(numbered(3))));
  expect(told).toEqual([[2, 0, 0]]);
  expect(await ovs.flows()).toHaveLength(1);
});
