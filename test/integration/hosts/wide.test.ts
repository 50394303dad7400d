// A network on fifteen hundred hosts, and one with hundreds of ports at a host, on a real ovs-vswitchd: each gets its copy of a broadcast. ofproto/trace does not follow packets
// that come back with the datapath's hash, so real ones are counted.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { buildEthernet } from "packet-codec";
import { formatActions, type Action } from "node-openflow";
import { afterEach, expect, test } from "vitest";
import { Controller } from "../../../src/controller.ts";
import { eventually, Ovs } from "../../../src/southbound/testing/ovs.ts";
import { freePorts } from "../../../lab/free-ports.ts";
import { appsFolder, silent, textOf, type Harness } from "../../support/harness.ts";
import { httpCall } from "../../support/process.ts";
import { wide } from "../../support/wide.ts";

const ending: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});
function folder(): string {
  const dir = mkdtempSync(path.join(tmpdir(), "axion-wide-"));
  ending.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}
const BROADCAST = buildEthernet({ src: "fa:16:3e:00:00:01", dst: "ff:ff:ff:ff:ff:ff", ethertype: 0x88b5 }, Buffer.alloc(46)).toString("hex");

/** Frames of a capture: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html */
function frames(pcap: Buffer): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 24; at + 16 <= pcap.length;) {
    const length = pcap.readUInt32LE(at + 8);
    out.push(pcap.subarray(at + 16, at + 16 + length));
    at += 16 + length;
  }
  return out;
}
/** Outer destinations of those that go by Geneve. */
const destinations = (pcap: string): string[] =>
  frames(readFileSync(pcap)).flatMap((frame) => (frame.length > 42 && frame.readUInt16BE(12) === 0x800 && frame[23] === 17 && frame.readUInt16BE(36) === 6081 ? [frame.subarray(30, 34).join(".")] : []));

/** hv1's flows on a switch of its own, where port 10 sends a broadcast: what leaves by tunnels, and for a physical network. */
async function broadcast(h: Harness): Promise<{ readonly tunnelled: () => string[]; readonly physical: () => Buffer[] }> {
  const ovs = await Ovs.start({}, { tunnels: true });
  ending.push(() => ovs.stop());
  const dir = folder();
  const [out, physical] = [`${dir}/out.pcap`, `${dir}/physical.pcap`];
  await ovs.vsctl("add-br", "br-phy", "--", "set", "Bridge", "br-phy", "datapath_type=dummy", "--", "add-port", "br-phy", "phy", "--", "set", "Interface", "phy", "type=dummy", `options:tx_pcap=${out}`);
  await ovs.vsctl(
    "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy", "fail_mode=secure", "protocols=OpenFlow13",
    "--", "add-port", "br-int", "p10", "--", "set", "Interface", "p10", "type=dummy", "ofport_request=10",
    "--", "add-port", "br-int", "patch", "--", "set", "Interface", "patch", "type=dummy", "ofport_request=50001", `options:tx_pcap=${physical}`,
    "--", "add-port", "br-int", "axion-geneve", "--", "set", "Interface", "axion-geneve", "type=geneve", "options:remote_ip=flow", "options:key=flow", "ofport_request=65101",
  );
  await ovs.appctl("netdev-dummy/ip4addr", "br-phy", "10.0.1.1/24");
  await ovs.appctl("ovs/route/add", "10.0.0.0/8", "br-phy", "10.0.1.254");
  await ovs.appctl("tnl/neigh/set", "br-phy", "10.0.1.254", "aa:bb:cc:dd:ee:ff");
  for (const { kind, id, value } of h.engine.itemsOf("hv1")) {
    if (kind === "meter") await ovs.ofctl("add-meter", "br-int", `meter=${id},pktps,burst,bands=type=drop,rate=50,burst_size=100`);
    else {
      const { type, buckets } = value as { readonly type: string; readonly buckets: readonly { readonly weight?: number; readonly actions: readonly Action[] }[] };
      await ovs.ofctl("add-group", "br-int", `group_id=${id},type=${type},${buckets.map((b) => `bucket=${b.weight === undefined ? "" : `weight:${b.weight},`}actions=${formatActions(b.actions)}`).join(",")}`);
    }
  }
  const flows = [...h.engine.flowsOf("hv1")];
  expect(Math.max(...flows.map((f) => f.len))).toBeLessThan(4096);
  writeFileSync(`${dir}/flows`, flows.map((f) => `table=${f.table},${textOf(f)}\n`).join(""));
  await ovs.ofctl("add-flows", "br-int", `${dir}/flows`);
  await ovs.appctl("netdev-dummy/receive", "p10", BROADCAST);
  return { tunnelled: () => destinations(out), physical: () => frames(readFileSync(physical)) };
}

test("fifteen hundred hosts get one copy each", async () => {
  const { h } = await wide(Array.from({ length: 1500 }, (_, n) => n + 1));
  ending.push(() => h.close());
  const { tunnelled } = await broadcast(h);
  await eventually("all copies", () => new Set(tunnelled()).size === 1499);
  expect(tunnelled().length).toBe(1499);
}, 120_000);

test("on a network of several segments hundreds of hosts that are on no physical one get one copy each from the host that hands on, and the physical network one", async () => {
  const settings = new Map([["provider", { "vlan-ranges": new Map([["east", []]]) }]]);
  const segments = [{ "provider:network_type": "vlan", "provider:physical_network": "east", "provider:segmentation_id": 100 }, { "provider:network_type": "geneve" }];
  const { h } = await wide(Array.from({ length: 400 }, (_, n) => n + 1), { settings }, { segments }, (key) => (key <= 2 ? { east: "br-east" } : {}));
  ending.push(() => h.close());
  const { tunnelled, physical } = await broadcast(h);
  await eventually("all copies", () => new Set(tunnelled()).size === 398 && physical().length > 0);
  expect([tunnelled().length, physical().map((frame) => [frame.readUInt16BE(12), frame.readUInt16BE(14) & 0xfff])]).toEqual([398, [[0x8100, 100]]]);
}, 120_000);

const PORTS = 300;

test(`${PORTS} ports of a network at a host get one copy each, by groups that the controller made there`, async () => {
  const [api, ops, openflow, ovsdb] = (await freePorts(4)) as [number, number, number, number];
  const at = (port: number): { host: string; port: number } => ({ host: "127.0.0.1", port });
  const controller = new Controller({
    log: silent, appsFolder,
    config: {
      dataDir: folder(), store: "memory:", api: at(api), ops: at(ops), openflow: at(openflow), ovsdb: at(ovsdb), advertise: undefined, tls: undefined, auth: { kind: "none" }, policyFile: undefined, opsTokenFile: undefined, allowedHosts: [], corsOrigins: [], rates: { project: undefined, unauthenticated: undefined }, disabledApps: [], name: "test", auditIntervalMs: 0, logLevel: "silent", logPretty: false,
    },
  });
  await controller.start();
  ending.push(() => controller.stop());
  const ovs = await Ovs.start({ "system-id": "hv1", "ovn-encap-ip": "192.0.2.11", "ovn-encap-type": "geneve" });
  ending.push(() => ovs.stop());
  await ovs.vsctl("set-manager", `tcp:127.0.0.1:${ovsdb}`);
  await eventually("its bridge", async () => (await ovs.vsctl("list-br")).includes("br-int"));
  const post = async (collection: string, body: object): Promise<any> => (await httpCall(api, "POST", `/v2.0/${collection}`, body)).body;
  const { network } = await post("networks", { network: {} });
  const ids: string[] = [];
  for (let n = 0; n < PORTS; n += 100) ids.push(...(await post("ports", { ports: Array.from({ length: 100 }, () => ({ network_id: network.id, port_security_enabled: false, security_groups: [] })) })).ports.map((p: { id: string }) => p.id));
  await ovs.vsctl(...ids.flatMap((id, n) => ["--", "add-port", "br-int", `d${n}`, "--", "set", "Interface", `d${n}`, `external_ids:iface-id=${id}`]).slice(1));
  await eventually("all of them served", async () => (await ovs.vsctl("--columns=_uuid", "--bare", "find", "Interface", "external_ids:axion-installed=true")).split("\n").filter((line) => line !== "").length === PORTS);
  expect(await ovs.ofctl("dump-groups", "br-int")).toMatch(/type=all[^]*type=select|type=select[^]*type=all/);
  const counted = async (): Promise<number[]> => [...(await ovs.ofctl("dump-ports", "br-int")).matchAll(/port +(\d+): rx[^\n]*\n +tx pkts=(\d+)/g)].flatMap(([, port, sent]) => (Number(port) < 65_000 ? [Number(sent)] : []));
  const before = await counted();
  expect(before.length).toBe(PORTS);
  await ovs.appctl("netdev-dummy/receive", "d0", BROADCAST);
  const more = async (): Promise<number[]> => (await counted()).map((n, i) => n - before[i]!);
  await eventually("all copies", async () => (await more()).reduce((sum, n) => sum + n, 0) >= PORTS - 1);
  expect((await more()).toSorted((a, b) => a - b)).toEqual([0, ...Array.from({ length: PORTS - 1 }, () => 1)]);
  // What it has is what it should have.
  const [host] = (await httpCall(ops, "GET", "/flows?state=diff&switch=hv1&format=text")).text.trim().split("\n");
  expect(host).toBe("");
}, 120_000);
