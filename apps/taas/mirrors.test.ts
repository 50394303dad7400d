// Tap mirrors by the API, and the tunnels and flows of their hosts; frames on real switches are in test/integration/hosts/taps.test.ts.
import { afterEach, beforeEach, expect, test } from "vitest";
import { compare } from "../../test/support/from-scratch.ts";
import { Harness, textOf } from "../../test/support/harness.ts";
import { poolNumberTable } from "#app";
import { COPIES_MAX, mirrorPorts } from "./model.ts";

let h: Harness;
let port: string;
const p = { "x-project-id": "p", "x-roles": "member" };
const MIRRORS = "/v2.0/taas/tap_mirrors";
const HOSTS = ["hv1", "hv2"];
const REMOTE = "198.51.100.7";
const flows = (host: string, table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf).sort();
};
interface Tunnel { readonly type: string; readonly options: Readonly<Record<string, string>>; readonly ofport_request: number }
const tunnels = (host: string): Tunnel[] => [...h.engine.rowsOf(host)].filter((r) => r.key.startsWith("axion-tap-")).map((r) => (r as unknown as { columns: { interface: Tunnel } }).columns.interface);
const wanted = (values: Record<string, unknown>) => ({ tap_mirror: { port_id: port, remote_ip: REMOTE, mirror_type: "gre", directions: { IN: 101, OUT: 102 }, ...values } });
async function mirror(values: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await h.call("POST", MIRRORS, wanted(values), p);
  expect(status, JSON.stringify(body)).toBe(201);
  await h.settled();
  return body.tap_mirror.id as string;
}
const refused = async (values: Record<string, unknown>, headers: Record<string, string> = p): Promise<string> => {
  const before = h.model.generation;
  const { status, body } = await h.call("POST", MIRRORS, wanted(values), headers);
  expect(h.model.generation).toBe(before);
  return `${status} ${body.NeutronError?.type}: ${body.NeutronError?.message}`;
};

beforeEach(async () => {
  h = await Harness.make();
  for (const host of HOSTS) await h.addChassis(host);
  const network = (await h.create("network", { shared: true })).id;
  port = (await h.create("port", { network_id: network }, p)).id;
  await h.plug("hv1", port, 5);
  await h.settled();
});
afterEach(async () => {
  compare(h, HOSTS);
  expect(h.engine.conflicts).toEqual([]);
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("each direction leaves by a tunnel of its own at the port's host, both by one if that is asked for, and go along when it moves", async () => {
  const id = await mirror();
  expect(tunnels("hv1").map(({ type, options }) => [type, options])).toEqual([["gre", { remote_ip: REMOTE, key: "101", local_ip: "172.31.0.1" }], ["gre", { remote_ip: REMOTE, key: "102", local_ip: "172.31.0.1" }]]);
  const [inward, outward] = tunnels("hv1").map((t) => t.ofport_request);
  const to = (ofport: number): string => `0x${(2 ** 24 + ofport).toString(16)}`;
  expect(flows("hv1", "tap_in")[0]).toContain(`set_field:${to(inward!)}->reg0`);
  expect(flows("hv1", "tap_out")).toEqual([expect.stringContaining(`set_field:${to(outward!)}->reg0`)]);
  expect(flows("hv1", "tap_deliver")).toEqual([inward, outward].map((n) => expect.stringMatching(new RegExp(`reg0=${to(n!)} actions=output:${n!}$`)) as unknown));
  expect([...tunnels("hv2"), ...flows("hv2", "tap_deliver")]).toEqual([]);
  await h.unplug("hv1", port);
  await h.settled();
  expect([...tunnels("hv1"), ...flows("hv1", "tap_deliver")]).toEqual([]);
  await h.plug("hv2", port, 6);
  await h.settled();
  expect(tunnels("hv2")).toHaveLength(2);
  expect((await h.call("DELETE", `${MIRRORS}/${id}`, undefined, p)).status).toBe(204);
  await mirror({ mirror_type: "erspanv1", directions: { BOTH: 1023 }, remote_ip: "2001:db8::7" });
  expect(tunnels("hv2").map(({ type, options }) => [type, options])).toEqual([["erspan", { remote_ip: "2001:db8::7", key: "1023", erspan_ver: "1", erspan_idx: "0" }]]);
  expect((await h.call("DELETE", `/v2.0/ports/${port}`, undefined, p)).status).toBe(204);
  await h.settled();
  expect([tunnels("hv2"), (await h.call("GET", MIRRORS, undefined, p)).body.tap_mirrors]).toEqual([[], []]);
});

test("what no tunnel can be is refused, and what another is", async () => {
  for (const [values, why] of [
    [{ directions: {} }, "names none"], [{ directions: { BOTH: 1, IN: 2 } }, "BOTH beside others"], [{ directions: { IN: -1 } }, "has -1 for IN"], [{ directions: { IN: 2 ** 32 } }, "from 0 to 4294967295"],
    [{ mirror_type: "erspanv1", directions: { OUT: 1024 } }, "from 0 to 1023"], [{ remote_ip: "127.0.0.1" }, "no address of a machine"], [{ remote_ip: "239.1.1.1" }, "no address of a machine"],
    [{ remote_ip: "::ffff:198.51.100.7" }, "no address of a machine"], [{ remote_ip: "ff02::1" }, "no address of a machine"],
  ] as const) expect(await refused(values)).toMatch(new RegExp(`^400 InvalidInput: .*${why}`));
  for (const values of [{ mirror_type: "vxlan" }, { remote_ip: "x" }, { directions: { UP: 1 } }, { directions: { IN: "x" } }, { directions: null }]) expect(await refused(values)).toMatch(/^400 /);
  expect(await refused({ directions: { IN: 5, OUT: 5 } })).toMatch(/^409 TapMirrorTunnelConflict: .*tunnel_id 5 /);
  await mirror();
  expect(await refused({ directions: { OUT: 101 }, mirror_type: "erspanv1" })).toMatch(/^409 TapMirrorTunnelConflict: .*tunnel_id 101 /);
  for (let i = 2; i < COPIES_MAX; i++) await mirror({ directions: { IN: 200 + i } });
  expect(await refused({ directions: { IN: 1 } })).toMatch(/^409 TooManyCopies/);
  expect(await refused({ project_id: "q" }, { "x-project-id": "a", "x-roles": "admin" })).toMatch(/^403 PortDoesNotBelongToProject/);
});

test("projects know nothing of each other's ids: what has one id to one machine leaves a host by one tunnel, as long as somebody sends by it", async () => {
  const q = { "x-project-id": "q", "x-roles": "member" };
  const { network_id } = (await h.call("GET", `/v2.0/ports/${port}`, undefined, p)).body.port;
  const other = (await h.create("port", { network_id }, q)).id;
  await h.plug("hv1", other, 6);
  const mine = await mirror({ directions: { BOTH: 101 } });
  const own = [tunnels("hv1"), flows("hv1", "tap_deliver")];
  const { status, body } = await h.call("POST", MIRRORS, wanted({ port_id: other, directions: { BOTH: 101 } }), q);
  expect(status, JSON.stringify(body)).toBe(201);
  expect(await refused({ port_id: other, directions: { IN: 101 } }, q)).toMatch(/^409 TapMirrorTunnelConflict/);
  await h.settled();
  expect([tunnels("hv1"), flows("hv1", "tap_deliver")]).toEqual(own);
  const copied = flows("hv1", "tap_out").map((f) => /set_field:(0x1\S+)->reg0/.exec(f)![1]);
  expect(copied).toHaveLength(2);
  expect(new Set(copied).size).toBe(1);
  expect((await h.call("DELETE", `${MIRRORS}/${mine}`, undefined, p)).status).toBe(204);
  await h.settled();
  expect([tunnels("hv1"), flows("hv1", "tap_deliver")]).toEqual(own);
  expect((await h.call("DELETE", `${MIRRORS}/${body.tap_mirror.id}`, undefined, q)).status).toBe(204);
  await h.settled();
  expect([tunnels("hv1"), flows("hv1", "tap_deliver"), flows("hv1", "tap_out")]).toEqual([[], [], []]);
});

test("a tunnel for which its host has no port left is a problem, until there is one", async () => {
  await h.model.transact({ requestId: "full", call: "test" }, (tx) => {
    for (let n = mirrorPorts.min; n <= mirrorPorts.max; n++) tx.put(poolNumberTable, { id: `mirror-port/hv1|x${n}`, pool: "mirror-port", part: "hv1", holder: `x${n}`, n, claimed: false, releasing: false });
  });
  await h.settled();
  await mirror({ directions: { BOTH: 101 } });
  expect([tunnels("hv1"), flows("hv1", "tap_out"), flows("hv1", "tap_in").filter((f) => f.includes("clone"))]).toEqual([[], [expect.not.stringContaining("clone")], []]);
  expect([...h.claims.problems()]).toEqual([expect.objectContaining({
    kind: "number", switches: ["hv1"], text: expect.stringMatching(/^mirror-port: gre 198\.51\.100\.7 101 on hv1 gets no number: /) as unknown, cure: { text: expect.stringContaining("take away some") as unknown },
  })]);
  await h.model.transact({ requestId: "free", call: "test" }, (tx) => tx.delete(poolNumberTable, `mirror-port/hv1|x${mirrorPorts.min}`));
  await h.settled();
  expect(tunnels("hv1")).toHaveLength(1);
  expect([...h.claims.problems()]).toEqual([]);
});

test("nothing is sent where a host's tunnels end, whoever was there first: it would be taken for another host's", async () => {
  await h.addChassis("hv4", { encap_ip: "2001:DB8:0::5" });
  await h.settled();
  expect(await refused({ remote_ip: "2001:db8::5" })).toMatch(/^400 InvalidInput: .*tunnels of a host end/);
  expect(await refused({ remote_ip: "172.31.0.2" })).toMatch(/^400 InvalidInput: .*tunnels of a host end/);
  const id = await mirror();
  expect(tunnels("hv1")).toHaveLength(2);
  await h.addChassis("hv3", { encap_ip: REMOTE });
  await h.settled();
  expect([...tunnels("hv1"), ...flows("hv1", "tap_out"), ...flows("hv1", "tap_deliver")]).toEqual([]);
  const { problems } = h.apps.find((app) => app.name === "taas")!;
  expect(problems!(h.view)).toEqual([expect.objectContaining({ kind: "mirror_to_host", switches: ["hv3"], resources: [{ type: "tap_mirror", id, name: "" }] })]);
});
