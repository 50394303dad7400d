// What a controller does with a switch, and its database, of which it becomes the master: on a real switch.
import { afterEach, expect, test } from "vitest";
import { Known } from "../testing/known.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { numbered, port, World, type Wanted } from "../testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function make(want: () => Wanted): Promise<{ readonly ovs: Ovs; readonly w: World; readonly member: Known }> {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
  cleanup.push(() => ovs.stop());
  const member = new Known("a");
  const w = await World.start({ want, cluster: member });
  cleanup.push(() => w.stop());
  return { ovs, w, member };
}
const role = (w: World, of: string): Promise<void> => eventually(`to be ${of}`, () => w.info()?.role === of);

test("who does not know yet what others have committed leaves a switch and its database as they are until it does", async () => {
  const [tunnel, later] = [port("gnv0", "geneve", { key: "flow" }, 65_101), port("vx0", "vxlan", { key: "flow" }, 65_102)];
  const before: Wanted = { flows: [numbered(1)], rows: [tunnel] };
  const after: Wanted = { flows: [numbered(1), numbered(2)], rows: [tunnel, later] };
  const { ovs, w, member } = await make(() => before);
  await w.adopt(ovs);
  const inOrder = await w.desired.become(() => after);
  await w.confirmed(inOrder);
  await eventually("the port", async () => (await ovs.vsctl("list-ports", "br-int")).includes("vx0"));
  // Another one is the master for a while, and goes when it has made what this one is yet to hear of.
  member.knows("b", 2);
  await role(w, "slave");
  const generation = await w.desired.become(() => before);
  expect(await ovs.flows()).toHaveLength(2);
  member.committed = generation + 1;
  const sent = w.count("axion_flow_mods_sent_total");
  member.knows("a", 3);
  await role(w, "master");
  await new Promise((done) => setTimeout(done, 500));
  expect([await ovs.flows(), (await ovs.vsctl("list-ports", "br-int")).split("\n").sort()]).toEqual([expect.objectContaining({ length: 2 }), expect.arrayContaining(["gnv0", "vx0"])]);
  await w.desired.become(() => after);
  await w.connected();
  expect(await ovs.flows()).toHaveLength(2);
  expect(w.count("axion_flow_mods_sent_total")).toBe(sent);
  expect(await ovs.vsctl("list-ports", "br-int")).toContain("vx0");
}, 60_000);

test("a comparison that was begun before another one was the master does not go on beside the next, though the session is the same", async () => {
  const many: Wanted = { flows: Array.from({ length: 12_000 }, (_, n) => numbered(n)) };
  const { ovs, w, member } = await make(() => many);
  await w.adopt(ovs);
  let term = 1;
  for (let n = 0; n < 3; n++) {
    member.knows("b", ++term);
    await role(w, "slave");
    member.knows("a", ++term);
    await role(w, "master");
    // The switch is asked for its flows by now, and answers before it is asked for a role again.
    member.knows("b", ++term);
    await role(w, "slave");
    member.knows("a", ++term);
    await w.connected();
  }
  // Of each time that it began it ends at most once before it begins again.
  const ends: number[] = [];
  for (const { message } of w.log) {
    if (message === "switch connected") ends.push(0);
    else if (message === "switch in order") ends[ends.length - 1]!++;
  }
  expect([ends.length >= 4, Math.max(...ends)]).toEqual([true, 1]);
  expect(w.count("axion_flow_mods_sent_total")).toBe(12_000);
}, 60_000);

test("a host is removed by its master alone, which knows whether it is connected", async () => {
  const { ovs, w, member } = await make(() => ({}));
  await w.adopt(ovs);
  member.knows("b", 2);
  await role(w, "slave");
  await ovs.stop();
  await eventually("it is not connected here", () => w.info()?.database !== "connected" && w.info()?.state === "disconnected");
  expect([w.southbound.otherMaster("hv1"), await w.southbound.remove("hv1")]).toEqual(["b", false]);
  member.knows("a", 3);
  expect([w.southbound.otherMaster("hv1"), await w.southbound.remove("hv1"), w.info()]).toEqual([undefined, true, undefined]);
}, 60_000);
