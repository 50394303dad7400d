// Names in place of numbers, over the flows that all apps make.
import { expect, test } from "vitest";
import { decodeInstructions, decodeMatch, FLOW_MOD_MATCH_OFFSET, formatInstructions, formatMatch } from "node-openflow";
import { allTables } from "../../src/boot/registry.ts";
import { Names } from "../../src/ops/flows/names.ts";
import { History } from "../property/history.ts";
import { Harness } from "../support/harness.ts";

test("whatever apps emit is shown by names of tables and registers, and a port by its resource's name", async () => {
  const h = await Harness.make();
  try {
    const history = new History(h);
    for (const n of [0, 1]) await history.run({ do: "chassis", n });
    await h.settled();
    const names = new Names({ layout: h.layout, view: h.engine.view, tables: allTables(h.apps), desired: h.engine });
    const ports = names.ports("hv0");
    let flows = 0;
    for (const flow of h.engine.flowsOf("hv0")) {
      const at = flow.off + FLOW_MOD_MATCH_OFFSET;
      const app = h.engine.provenance(flow).app;
      const match = names.match(formatMatch(decodeMatch(flow.slab, at)), h.layout.tableById(flow.table)!.app, ports);
      const actions = names.actions(formatInstructions(decodeInstructions(flow.slab, at + flow.matchLen, flow.len - FLOW_MOD_MATCH_OFFSET - flow.matchLen)), app, ports);
      expect(match).not.toMatch(/\breg\d|metadata/);
      expect(actions).not.toMatch(/resubmit\(,\d|goto_table:\d|\btable=\d|->x*reg\d|NXM_NX_X*REG/);
      flows++;
    }
    expect(flows).toBeGreaterThan(50);
  } finally {
    await h.close();
  }
});

test("registers are read from words, parts of words and wide fields; what is no name stays as it is", async () => {
  const h = await Harness.make();
  try {
    const names = new Names({ layout: h.layout, view: h.engine.view, tables: allTables(h.apps), desired: h.engine });
    const ports = new Map([[7, "web"]]);
    const registers = [...h.layout.registers.values()].filter((r) => !r.scratch);
    const word = registers.find((r) => r.bits === 32 && /^reg/.test(r.field))!;
    const small = registers.find((r) => r.bits < 32 && /^reg/.test(r.field))!;
    const wide = registers.find((r) => r.ip)!;
    expect(names.match(`${word.field}=0x5,in_port=7,ip`, word.app, ports)).toBe(`${word.name}=0x5,in_port=web,ip`);
    const mask = (2 ** small.bits - 1) * 2 ** small.ofs;
    expect(names.match(`${small.field}=0x${(2 ** small.ofs).toString(16)}/0x${mask.toString(16)}`, small.app, ports)).toBe(`${small.name}=0x1`);
    const first = 4 * Number(wide.field.slice(5));
    expect(names.match([0, 1, 2].map((n) => `reg${first + n}=0`).join() + `,reg${first + 3}=0xa000001`, wide.app, ports)).toBe(`${wide.name}=10.0.0.1`);
    expect(names.match(`reg${first}=0x20010db8,reg${first + 1}=0,reg${first + 2}=0,reg${first + 3}=0x1`, wide.app, ports)).toBe(`${wide.name}=2001:db8::1`);
    const { id, name: table } = h.layout.tables[3]!;
    expect(names.actions(`load:0x1->NXM_NX_${wide.field.toUpperCase()}[0..31],set_field:0x${(3 * 2 ** small.ofs).toString(16)}/0x${mask.toString(16)}->${small.field},move:NXM_NX_${wide.field.toUpperCase()}[]->NXM_OF_IP_DST[],output:7,output:9,resubmit(,${id})`, small.app, ports)).toBe(
      `load:0x1->${wide.name}[0..31],set_field:0x3->${small.name},move:${wide.name}->NXM_OF_IP_DST[],output:web,output:9,resubmit(,${table})`,
    );
  } finally {
    await h.close();
  }
});
