// Hooks of apps that throw, each kind of them, now and later: the host is adopted all the same, other apps are called, and the process lives.
import { afterEach, expect, test } from "vitest";
import { vifTable, type App } from "#app";
import { ports } from "node-openflow";
import { eventually, Ovs } from "./testing/ovs.ts";
import { flow, numbered, World } from "./testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

const oh = (): never => {
  throw new Error("oh no");
};
const later = (): Promise<never> => Promise.reject(new Error("later"));
const kinds = { throws: oh, rejects: later } as const;

test.each(Object.keys(kinds) as (keyof typeof kinds)[])("every hook of an app %s", async (kind) => {
  const fail = kinds[kind] as () => never;
  const calls: string[] = [];
  const broken: App = { name: "broken", about: "", vif: { plugged: fail, installed: fail, unplugged: fail, serves: fail } };
  const sound: App = {
    name: "sound", about: "",
    vif: { plugged: () => void calls.push("plugged"), installed: () => void calls.push("installed"), unplugged: () => void calls.push("unplugged"), serves: () => true },
  };
  const punt = flow({ priority: 5, match: {}, instructions: [{ type: "apply_actions", actions: [{ type: "output", port: ports.CONTROLLER, max_len: 0xffff }] }] });
  let packets = 0;
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
  cleanup.push(() => ovs.stop());
  const w = await World.start({
    apps: [broken, sound],
    want: (chassis, view) => ({ flows: [punt, ...view.by(vifTable, "chassis", chassis.id).map((vif) => numbered(vif.slot, vif.ofport))] }),
    onPacketIn: () => {
      packets++;
      return fail();
    },
  });
  cleanup.push(() => w.stop());
  await w.adopt(ovs);
  await ovs.vsctl("add-port", "br-int", "tap1", "--", "set", "Interface", "tap1", "external_ids:iface-id=port-1", "ofport_request=5");
  await eventually("the mark", async () => (await ovs.iface("tap1", "external_ids")).includes('axion-installed="true"'));
  // A change of what the interface is for asks serves() from within a commit.
  await w.model.transact({ requestId: "test", call: "touch" }, (tx) => tx.put(vifTable, { id: "hv1/x", chassis: "hv1", iface_id: "hv1/x", name: "x", ofport: 99, slot: 99 }));
  for (let n = 1; n <= 2; n++) {
    await ovs.appctl("netdev-dummy/receive", "tap1", "02000000000202000000000188b5" + "00".repeat(50));
    await eventually("the packet", () => packets === n);
  }
  await ovs.vsctl("del-port", "tap1");
  await eventually("the end", () => calls.at(-1) === "unplugged");
  expect(calls).toContain("installed");
  expect(w.info()).toMatchObject({ state: "connected", database: "connected" });
  await new Promise((resolve) => setImmediate(resolve));
  const failed = new Set(w.lines("error", "hook of an app failed").map((line) => line.fields.hook));
  expect([...failed].sort()).toEqual(["packetIn", "vif.installed", "vif.plugged", "vif.serves", "vif.unplugged"]);
  expect(w.lines("error").filter((line) => line.message !== "hook of an app failed")).toEqual([]);
});
