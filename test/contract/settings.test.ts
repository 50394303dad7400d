// Settings of apps where they are read: the API, packet handlers, services and derivations, and not rules; what apps find wrong.
import { afterEach, expect, test } from "vitest";
import { parsePacket, parseRouterAdvertisement } from "packet-codec";
import { defineSettings, defineTable, derivation, each, type App, type AppProblem, type LiveView, type PacketOut, type Row, type StageOut } from "#app";
import { dhcpFrame, dhcpText, solicitation } from "../../apps/dhcp/dhcp.fixture.ts";
import { networkTable, portTable } from "../../apps/l2/model.ts";
import { AppProblems } from "../../src/boot/problems.ts";
import { hookGuard } from "../../src/lib/hook-guard.ts";
import { Harness, type HarnessOptions } from "../support/harness.ts";

const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) await h.close();
});

async function make(apps: readonly App[] = [], options: HarnessOptions = {}): Promise<Harness> {
  const h = await Harness.make(apps, undefined, options);
  open.push(h);
  return h;
}
const mtu = (value: number): HarnessOptions => ({ settings: new Map([["overlay", { mtu: value }]]) });

test.each([[undefined, 1442], [1500, 1442], [9000, 8942], [1400, 1342]])("with --mtu %s networks, DHCP and router advertisements say %s", async (given, wanted) => {
  const h = await make([], given === undefined ? {} : mtu(given));
  await h.addChassis("hv1");
  const network = await h.create("network", {});
  expect((await h.call("GET", `/v2.0/networks/${network.id}`)).body.network.mtu).toBe(wanted);
  expect((await h.call("POST", "/v2.0/networks", { network: { mtu: wanted } })).status).toBe(201);
  expect((await h.call("POST", "/v2.0/networks", { network: { mtu: wanted + 1 } })).body.NeutronError.message).toContain(`maximum is ${wanted}`);
  await h.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" });
  const subnet = (await h.create("subnet", { network_id: network.id, ip_version: 6, cidr: "fd00:1::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" })).id;
  const router = (await h.create("router", {})).id;
  expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet })).status).toBe(200);
  const port = (await h.create("port", { network_id: network.id, mac_address: "fa:16:3e:00:00:01" })).id;
  await h.plug("hv1", port, 5);
  await h.settled();
  const ask = (data: Uint8Array): (PacketOut | { readonly data: Uint8Array })[] =>
    [...h.packets.handle({ chassis: "hv1", inPort: 5, tableId: h.layout.table("dhcp_request").id, data, match: { [h.layout.register("in_port_key").field]: h.view.get(portTable, port)!.key } })];
  expect(dhcpText(ask(dhcpFrame({ type: 1, list: [26] }))[0]!.data)).toMatch(new RegExp(`mtu[^\\n]*\\b${wanted}\\b`));
  const said = (data: Uint8Array): number | undefined => parseRouterAdvertisement(parsePacket(data).icmpv6!.payload).mtu;
  expect(said(ask(solicitation())[0]!.data)).toBe(wanted);
  await h.clock.run(60_000);
  const unasked = h.sent.map(({ packet }) => said((packet as StageOut).data));
  expect(unasked.length).toBeGreaterThan(0);
  expect(new Set(unasked)).toEqual(new Set([wanted]));
});

interface Made extends Row {
  readonly size: number;
}
const made = defineTable<Made>()("made", { derived: true });
const probeSettings = defineSettings({ size: { kind: { integer: [1, 9] }, fallback: "3", about: "how large" } });
const probe = (more: Partial<App>): App => ({ name: "probe", about: "", requires: ["l2"], tables: [made], settings: probeSettings, ...more });

test("a derivation reads them; a rule that does fails by name; two controllers have each their own", async () => {
  const derive = [derivation({ name: "made", on: each(networkTable), into: made, reads: [], derive: (n, view): Made => ({ id: n.id, size: view.settings(probeSettings).size }) })];
  const rules: App["rules"] = [{ name: "curious", about: "", on: each(networkTable), emit: (_, view) => void view.settings(probeSettings) }];
  const [h, other] = [await make([probe({ derive })], { settings: new Map([["probe", { size: 7 }]]) }), await make([probe({ derive, rules })])];
  for (const at of [h, other]) {
    await at.create("network", {});
    await at.settled();
  }
  expect([...h.view.all(made)].map((m) => m.size)).toEqual([7]);
  expect([...other.view.all(made)].map((m) => m.size)).toEqual([3]);
  expect(h.complaints).toEqual([]);
  expect(other.complaints).toMatchObject([{ err: { message: "a rule reads settings (size): a derivation makes a row of what flows depend on" } }]);
  other.complaints.length = 0;
  expect((await h.model.transact({ requestId: "test", call: "test" }, (tx) => tx.settings(probeSettings).size)).result).toBe(7);
});

test("what an app finds wrong is a problem, since it was first found; one that throws has none", async () => {
  const h = await make();
  let problems: (view: LiveView) => readonly AppProblem[] = (view) => [...view.all(networkTable)].map((n) => ({
    kind: "lonely", severity: "warning", text: `${n.id} is lonely`, resources: [{ type: "network", id: n.id }], cure: { text: "visit it" },
  }));
  const complaints: object[] = [];
  const all = new AppProblems([probe({ problems: (view) => problems(view) }), { name: "quiet", about: "" }], h.view, hookGuard({ error: (fields: object): void => void complaints.push(fields) }), h.clock);
  expect(all.now()).toEqual([]);
  const { id } = await h.create("network", {});
  const since = new Date(h.clock.now()).toISOString();
  const wanted = { kind: "probe.lonely", severity: "warning", since, text: `${id} is lonely`, resources: [{ type: "network", id }], switches: [], cure: { text: "visit it" } };
  expect(all.now()).toEqual([wanted]);
  await h.clock.run(5000);
  expect(all.now()).toEqual([wanted]);
  const lonely = problems;
  problems = () => {
    throw new Error("cannot look");
  };
  expect(all.now()).toEqual([]);
  expect(complaints).toMatchObject([{ app: "probe", hook: "problems", err: { message: "cannot look" } }]);
  problems = lonely;
  expect(all.now()[0]!.since).not.toBe(since);
  problems = () => Array.from({ length: 150 }, (_, i) => ({ kind: "many", severity: "error", text: String(i), since: "2026-01-01T00:00:00Z", cure: { text: "" } }));
  expect(all.now()).toHaveLength(100);
});
