// What hosts are told to export; what they send is read in test/integration/operator/flow-export.test.ts.
import { expect, test } from "vitest";
import { settingValue } from "../../src/app/settings.ts";
import { compare } from "../../test/support/from-scratch.ts";
import { Harness, textOf } from "../../test/support/harness.ts";
import { portTable } from "../l2/model.ts";
import { exportSettings } from "./model.ts";
import { opsLists } from "./shown.ts";

const HOSTS = ["hv1", "hv2"];
const set = (name: keyof typeof exportSettings.declared, text: string): unknown => settingValue(exportSettings.declared[name], text, `--${name}`, () => Buffer.alloc(0));

async function world(settings: Readonly<Record<string, unknown>>): Promise<{ h: Harness; port: string; flows: (host: string) => string[]; rows: (host: string) => [string, unknown][] }> {
  const h = await Harness.make([], undefined, { settings: new Map([["flow-export", settings]]) });
  for (const host of HOSTS) await h.addChassis(host);
  const network = (await h.create("network", { shared: true })).id;
  const port = (await h.create("port", { network_id: network, name: "web" }, { "x-project-id": "p" })).id;
  await h.plug("hv2", port, 5);
  await h.settled();
  return {
    h, port, flows: (host) => [...h.engine.flowsOf(host)].map(textOf).filter((f) => f.includes("sample(")).sort(),
    rows: (host) => [...h.engine.rowsOf(host)].filter((r) => r.key === "flow-export").map((r): [string, unknown] => [r.table, r.columns]).sort(([a], [b]) => (a < b ? -1 : 1)),
  };
}

test("without collectors there is nothing of it, and no port enters a stage for it", async () => {
  const { h, port, flows, rows } = await world({});
  expect(HOSTS.flatMap((host) => [...flows(host), ...rows(host)])).toEqual([]);
  const { id } = h.layout.table("locate");
  const egress = h.layout.entry("egress")!.id;
  expect([...h.engine.flowsOf("hv2")].filter((f) => f.table === id).map(textOf).filter((f) => f.includes(`goto_table:${egress}`))).toEqual([]);
  expect([...opsLists[0]!.rows(h.view, { port })]).toEqual([]);
  await h.close();
});

test("IPFIX: a sample of each port in each direction, at its host alone, with numbers by which it is found", async () => {
  const { h, port, flows, rows } = await world({ "ipfix-collectors": set("ipfix-collectors", "192.0.2.9,[2001:db8::9]:9995"), "ipfix-sampling": 100, "ipfix-cache-s": 30 });
  expect(rows("hv1")).toEqual(rows("hv2"));
  expect(rows("hv1")).toEqual([
    ["Flow_Sample_Collector_Set", { id: 1, ipfix: { ref: "IPFIX", key: "flow-export" } }],
    ["IPFIX", { targets: ["192.0.2.9:4739", "[2001:db8::9]:9995"], cache_active_timeout: 30, cache_max_flows: 65_536 }],
  ]);
  const { key } = h.view.get(portTable, port)!;
  const numbers = `probability=655,collector_set_id=1,obs_domain_id=2,obs_point_id=${key}`;
  expect(flows("hv1")).toEqual([]);
  const [sent, got] = flows("hv2").sort((a, b) => (a.includes("in_port") ? -1 : b.includes("in_port") ? 1 : 0));
  expect(sent).toMatch(new RegExp(`^priority=100,in_port=5,.*sample\\(${numbers},ingress\\)`));
  expect(got).toMatch(new RegExp(`^priority=100,reg2=\\S+ actions=sample\\(${numbers},egress\\),`));
  expect(flows("hv2")).toHaveLength(2);
  const point = { obs_domain_id: 2, obs_point_id: key, switch: "hv2", port, name: "web", project: "p" };
  const asked = (query: Record<string, string>): object[] => [...opsLists[0]!.rows(h.view, query)];
  for (const query of [{}, { port }, { domain: "2" }, { domain: "2", point: String(key) }, { point: String(key) }]) expect(asked(query)).toEqual([expect.objectContaining(point)]);
  for (const query of [{ domain: "1" }, { point: "99" }, { domain: "1", point: String(key) }, { port: "x" }]) expect(asked(query)).toEqual([]);
  compare(h, HOSTS);
  await h.unplug("hv2", port);
  await h.settled();
  expect(flows("hv2")).toEqual([]);
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("sFlow: a row of each host, with its own address as the agent's; flows know nothing of it", async () => {
  const { h, flows, rows } = await world({ "sflow-collectors": set("sflow-collectors", "192.0.2.9"), "sflow-sampling": 1000, "sflow-polling-s": 20 });
  expect(rows("hv2")).toEqual([["sFlow", { targets: ["192.0.2.9:6343"], sampling: 1000, polling: 20, header: 128, agent: "172.31.0.2" }]]);
  expect(flows("hv2")).toEqual([]);
  expect([...opsLists[0]!.rows(h.view, {})]).toEqual([]);
  await h.close();
});

test("settings that no collector or rate can be are refused by name", () => {
  for (const [name, text, why] of [["ipfix-collectors", "collector.example", "list of addresses"], ["ipfix-sampling", "0", "1"], ["ipfix-sampling", "65536", "65535"], ["sflow-collectors", "192.0.2.9:0", "list of addresses"], ["sflow-polling-s", "0", "1"]] as const) {
    expect(() => set(name, text)).toThrow(new RegExp(`--${name}.*${why}`));
  }
});
