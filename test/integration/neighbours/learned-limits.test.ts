// What switches learn is bounded for each host, whatever how many ports have it learn: a network that has most of it loses of its own, others
// keep theirs, and what is not known is flooded as before.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";
import { sendRaw } from "../../support/api/raw.ts";

const LIMIT = 64;
let cloud: Cloud;
let nets: readonly [Net, Net];
beforeAll(async () => {
  cloud = await Cloud.create({ name: "learned-limits.test", flags: ["--learned-macs", String(LIMIT), "--learned-neighbours", String(LIMIT)] });
  nets = [await cloud.network("10.0.0.0/24"), await cloud.network("10.0.1.0/24")];
});
afterAll(async () => cloud?.destroy());

const unsecured = (hv: number, net: Net): Promise<Instance> => cloud.instance(cloud.hv(hv), net, { port: { port_security_enabled: false, security_groups: [] } });
const nested = (lead: string, n: number): string => `52:54:00:0${lead}:00:${n.toString(16).padStart(2, "0")}`;
const speak = (vm: Vm, macs: readonly string[]): Promise<void> => sendRaw(vm, macs.map((mac) => Buffer.from(`ffffffffffff${mac.replaceAll(":", "")}88b5${"41".repeat(50)}`, "hex")));
const known = async (hv: number, lead: string): Promise<number> => (await cloud.hv(hv).ofctl("dump-flows", "br-int")).split("\n").filter((l) => l.includes("actions=") && l.includes(`dl_dst=52:54:00:0${lead}`)).length;

test("a network that has most loses of its own, another keeps what it has, and all are reached", async () => {
  const [many, more, few, asker] = [await unsecured(1, nets[0]), await unsecured(1, nets[0]), await unsecured(1, nets[1]), await unsecured(2, nets[0])];
  await cloud.synced();
  const its = Array.from({ length: 8 }, (_, n) => nested("f", n));
  await speak(few.vm, its);
  await until("what the small network has", async () => (await known(1, "f")) === 8 && (await known(2, "f")) === 0, { timeoutMs: 5000 });
  for (const [i, { vm }] of [many, more].entries()) {
    for (let at = 0; at < 150; at += 50) await speak(vm, Array.from({ length: 50 }, (_, n) => nested(i === 0 ? "a" : "b", at + n)));
  }
  await until("as many as may be", async () => (await known(1, "a")) + (await known(1, "b")) + (await known(1, "f")) >= LIMIT - 4, { timeoutMs: 5000 });
  for (const hv of [1, 2]) expect((await known(hv, "a")) + (await known(hv, "b")) + (await known(hv, "f"))).toBeLessThanOrEqual(LIMIT);
  expect(await known(1, "f")).toBe(8);
  // What went is flooded: whoever is behind a port answers.
  await many.vm.configure(`link add link eth0 name nested address ${nested("a", 0)} type macvlan mode bridge`);
  await many.vm.sysctl("net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.nested.rp_filter=0");
  await many.vm.configure("link set nested up", "addr add 10.0.0.200/24 dev nested");
  await asker.vm.configure(`neigh replace 10.0.0.200 lladdr ${nested("a", 0)} dev eth0 nud permanent`);
  await until("an answer", () => asker.vm.reaches("10.0.0.200"), { timeoutMs: 5000 });
  expect(await cloud.differences()).toBe("");
  // With the networks' last such port the limit goes too.
  expect(await cloud.hv(1).vsctl("--bare", "--columns=flow_limit,overflow_policy,groups", "find", "Flow_Table")).toMatch(new RegExp(`^${LIMIT}\\s+evict\\s+NXM_NX_REG0\\[\\]\\s+${LIMIT}\\s`));
  for (const { port } of [many, more, few, asker]) await cloud.remove("port", port.id);
  await cloud.synced();
  await until("no limits", async () => (await cloud.hv(1).vsctl("get", "Bridge", "br-int", "flow_tables")) === "{}", { timeoutMs: 5000 });
}, 90_000);
