// The MTU of tenant networks, by what the chassis have: the same as a look at each of them, without one.
import fc from "fast-check";
import { expect, test } from "vitest";
import { chassisTable, type Chassis, type EncapType, type ReadView } from "#app";
import { Layer } from "../../src/model/rows.ts";
import { encapOverhead, tenantMtu } from "./model.ts";

const types: readonly EncapType[] = ["geneve", "vxlan", "gre"];
const chassis = fc.record({ encap_ip: fc.constantFrom("", "10.0.0.1", "fd00::1"), encap_types: fc.subarray([...types]) }).map(
  (made, i = 0): Omit<Chassis, "id"> => ({ hostname: `hv${i}`, key: 1, bridge: "br-int", dpid: "", datapath_type: "system", bridge_mappings: {}, gateway: false, ovs_version: "3.1.0", ...made }),
);

/** By looking at all. */
function slowly(rows: readonly Pick<Chassis, "encap_ip" | "encap_types">[]): number {
  const costs = rows.flatMap((row) => row.encap_types.map((type) => encapOverhead(type, row.encap_ip.includes(":") ? 6 : 4)));
  return 1500 - (costs.length === 0 ? encapOverhead("geneve", 4) : Math.max(...costs));
}

test("any chassis, come and gone, committed or not: as by looking at each, without looking at any", () => {
  fc.assert(fc.property(fc.array(chassis, { maxLength: 6 }), fc.array(chassis, { maxLength: 3 }), fc.nat(6), (rows, staged, gone) => {
    const base = new Layer();
    rows.forEach((row, i) => base.put(chassisTable, { id: `c${i}`, ...row }));
    const layer = new Layer(base);
    staged.forEach((row, i) => layer.put(chassisTable, { id: `c${i + 4}`, ...row }));
    layer.remove(chassisTable, `c${gone}`);
    for (const view of [base, layer]) {
      const all = [...view.all(chassisTable)];
      const blind: ReadView = Object.assign(Object.create(view) as Layer, { all: () => { throw new Error("looked at every chassis"); } });
      expect(tenantMtu(blind)).toBe(slowly(all));
    }
  }));
});
